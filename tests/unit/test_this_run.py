# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run acts on: its inventory is read once, and a run that would do nothing, or does not know
its inventory, fails.
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml
from ansible import constants, context
from ansible.playbook.play import Play

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import FleetError
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._this_run import (
    Part,
    cluster_hosts,
    leaves_out_work,
    read_once,
)
from ansible_collections.gpufleet.sharing.tests.unit.ansible_runs import (
    ROOT,
    group,
    run_playbook,
    write_hosts,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

CLUSTERS = {
    "gpu_clusters": ["c1", "c2"],
    "gpu_nodes": ["n1", "n2"],
    "all": ["c1", "c2", "n1", "n2"],
}


def inventory(folder: Path, prefix: str) -> Path:
    return write_hosts(folder, {"dev_gpus": group(f"{prefix}-gpu-[01:20]")})


def clusters_file(folder: Path, *clusters: str, **of_nodes: object) -> Path:
    """An inventory with clusters, and two nodes in the first of them."""
    nodes = group("n1", "n2", **{"gpu_sharing_cluster": clusters[0], **of_nodes})
    file = write_hosts(folder, {"dev_gpus": nodes})
    content = yaml.safe_load(file.read_text("utf-8"))
    hosts = {cluster: {"gpu_sharing_context": cluster} for cluster in clusters}
    content["all"]["children"]["gpu_clusters"] = {"hosts": hosts}
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


def test_fact_cache_does_not_get_the_fleet(tmp_path: Path) -> None:
    facts = tmp_path / "facts"
    run = run_playbook("gpufleet.sharing.validate", inventory(tmp_path, "x"), facts=facts)
    assert run.code == 0, run.text
    assert mentions(run.text, "dev_gpus")
    assert not facts.exists() or not list(facts.iterdir())


def test_every_play_reads_the_inventory_first() -> None:
    files = [*ROOT.glob("playbooks/*.yml")]
    assert files
    for file in files:
        for play in yaml.safe_load(file.read_text("utf-8")):
            assert play["hosts"] == "{{ gpu_preflight_hosts }}", file
            assert play["vars_files"][0] == "vars/cluster.yml", file
            first, *others = play["tasks"]
            if play["name"] != "Report on the fleet":  # after the play that has read it
                name = first["ansible.builtin.import_tasks"].split("'")[1]
                (task,) = yaml.safe_load((ROOT / "playbooks" / name).read_text("utf-8"))
                role = task["ansible.builtin.import_role"]["name"]
                assert role == "gpufleet.sharing.gpu_preflight", file
                assert first["tags"] == task["tags"] == ["always"], file
            assert not [task for task in others if "tags" in task], file


@pytest.mark.parametrize(
    ("playbook", "arguments"),
    [
        ("drift", ("--tags", "nothing")),
        ("validate", ("--start-at-task", "Check profiles and assignments")),
        ("validate", ("--skip-tags", "always", "--tags", "all")),
    ],
)
def test_run_that_skips_its_first_task_or_the_work_fails(
    playbook: str, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    run = run_playbook(f"gpufleet.sharing.{playbook}", inventory(tmp_path, "new"), *arguments)
    assert run.code != 0
    assert mentions(run.text, arguments[0])


def test_playbook_that_is_only_listed(tmp_path: Path) -> None:
    """As for a check of its syntax, Ansible resolves its hosts."""
    run = run_playbook("gpufleet.sharing.validate", inventory(tmp_path, "new"), "--list-hosts")
    assert run.code == 0, run.text


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        (("--tags", "web"), ("WARNING", "--tags web", "gpu", "ELSEWHERE")),
        (("--skip-tags", "gpu"), ("ELSEWHERE",)),
    ],
)
def test_tags_that_leave_out_a_playbook_of_a_wrapper(
    arguments: tuple[str, ...], seen: tuple[str, ...], tmp_path: Path
) -> None:
    wrapper = tmp_path / "wrapper.yml"
    elsewhere = {"name": "ELSEWHERE", "hosts": "localhost", "gather_facts": False, "tasks": []}
    imported = {"import_playbook": "gpufleet.sharing.validate", "tags": ["gpu"]}
    wrapper.write_text(yaml.safe_dump([imported, elsewhere]), encoding="utf-8")
    run = run_playbook(str(wrapper), inventory(tmp_path / "inv", "new"), *arguments)
    assert run.code == 0, run.text
    assert mentions(run.text, *seen)
    assert "dev_gpus" not in run.text


@pytest.mark.parametrize(
    ("own", "only", "skip", "left_out"),
    [
        ([], ["all"], [], False),
        ([], ["untagged"], [], False),
        ([], ["all"], ["other"], False),
        ([], ["nothing"], [], True),
        ([], ["tagged"], [], True),
        ([], ["always"], [], True),
        ([], ["all"], ["untagged"], True),
        ([], ["all"], ["all"], True),
        (["gpu"], ["gpu"], [], False),
        (["gpu"], ["web"], [], True),
        (["gpu"], ["all"], ["gpu"], True),
        (["gpu", "always"], ["web"], [], False),  # the wrapper wants it always
        (["gpu", "never"], ["all"], [], True),
    ],
)
def test_tags_that_leave_out_the_work(
    own: list[str], only: list[str], skip: list[str], left_out: bool
) -> None:
    play = Play.load({"hosts": "localhost", "tags": own})
    variables = {"ansible_run_tags": only, "ansible_skip_tags": skip}
    assert leaves_out_work(play, variables) == left_out


@pytest.mark.parametrize(
    ("groups", "limit", "expected"),
    [
        pytest.param(CLUSTERS, None, "gpu_clusters", id="no limit"),
        pytest.param(CLUSTERS, "c2", "gpu_clusters", id="a cluster"),
        pytest.param(CLUSTERS, "all:!n1", "gpu_clusters", id="all but a node"),
        pytest.param(CLUSTERS, "gpu_nodes", "n1", id="nodes alone"),
        pytest.param(CLUSTERS, "n2:!n1", "n2", id="a node alone"),
        pytest.param({"gpu_nodes": ["n1"], "all": ["n1"]}, "localhost,n1", "localhost", id="here"),
        pytest.param({"gpu_nodes": ["n1"], "all": ["n1"]}, "n1", "n1", id="not here"),
        pytest.param({"gpu_clusters": []}, None, "localhost", id="an empty group"),
        pytest.param({}, None, "localhost", id="nothing"),
    ],
)
def test_cluster_hosts(
    groups: dict[str, list[str]],
    limit: str | None,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A host of the limit where that selects no cluster: it says so."""
    monkeypatch.setattr(context, "CLIARGS", {"subset": limit})
    assert cluster_hosts(groups) == expected


@pytest.mark.parametrize("wrong", [False, True])
def test_inventory_is_read_once_for_each_play(
    wrong: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    reads = []

    def read() -> dict[str, Part]:
        reads.append(1)
        if wrong:
            raise FleetError("what is wrong")
        return {"c1": {"limited": False}}

    for number, play in enumerate(("p1", "p2"), start=1):
        for host, told in (("c1", "what is wrong"), ("c2", "c1")):
            with pytest.raises(FleetError, match=told) if wrong else nullcontext():
                assert read_once(play, host, read) == {"c1": {"limited": False}}
        assert len(reads) == number


def test_one_cluster_tells_what_is_wrong_with_the_inventory(tmp_path: Path) -> None:
    file = clusters_file(tmp_path, "c1", "c2", gpu_sharing_cluster="c3")
    run = run_playbook("gpufleet.sharing.validate", file)
    assert run.code != 0
    assert mentions(run.text, "gpu_sharing_cluster", "'c3'", "see the message of c")
    assert run.text.count("fatal:") == 2


@pytest.mark.parametrize(
    ("arguments", "failed"),
    [
        ((), 1),
        (("--limit", "c1"), 0),
        (("-e", "gpu_sharing_allow_empty=true"), 0),
    ],
)
def test_cluster_without_nodes(arguments: tuple[str, ...], failed: int, tmp_path: Path) -> None:
    """It fails alone: the other one goes on."""
    run = run_playbook("gpufleet.sharing.validate", clusters_file(tmp_path, "c1", "c2"), *arguments)
    assert run.text.count("fatal: [c2]") == run.text.count("fatal:") == failed
    assert (run.code != 0) is bool(failed)
    assert mentions(run.text, "dev_gpus")
    assert not failed or mentions(run.text, "gpu_sharing_allow_empty", "AWX")


def test_smart_inventory_of_awx_has_no_groups(tmp_path: Path) -> None:
    script = tmp_path / "hosts"
    content = {"all": {"hosts": ["n1"]}, "_meta": {"hostvars": {"n1": {}}}}
    script.write_text(f"#!{sys.executable}\nprint({json.dumps(content)!r})\n", encoding="utf-8")
    script.chmod(0o700)
    run = run_playbook("gpufleet.sharing.validate", script)
    assert run.code != 0
    assert mentions(run.text, "gpu_nodes", "smart inventory")


@pytest.mark.parametrize("limit", ["dev_gpus", "n1"])
def test_limit_that_selects_no_cluster_fails(limit: str, tmp_path: Path) -> None:
    file = clusters_file(tmp_path, "c1", "c2")
    run = run_playbook("gpufleet.sharing.validate", file, "--limit", limit)
    assert run.code != 0
    assert mentions(run.text, limit, "c1")
    assert run.text.count("fatal:") == 1
