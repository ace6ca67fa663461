# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet is kept once, also where Ansible keeps facts in files, and never acted on in a later
run.
"""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml
from ansible import context
from ansible.playbook.play import Play

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import FleetError
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._this_run import (
    cluster_hosts,
    leaves_out_work,
    this_run,
)
from ansible_collections.gpufleet.sharing.tests.unit.ansible_runs import (
    ROOT,
    group,
    run_playbook,
    write_hosts,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions


@pytest.fixture(scope="module")
def yesterday(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fact cache with the fleet of an earlier run."""
    folder = tmp_path_factory.mktemp("yesterday")
    run = run_playbook("gpufleet.sharing.validate", inventory(folder, "old"), facts=folder / "f")
    assert run.code == 0, run.text
    return folder / "f"


def inventory(folder: Path, prefix: str) -> Path:
    return write_hosts(folder, {"dev_gpus": group(f"{prefix}-gpu-[01:20]")})


def test_fact_cache_gets_the_fleet_once_and_not_for_each_node(tmp_path: Path) -> None:
    facts = tmp_path / "facts"
    run = run_playbook("gpufleet.sharing.validate", inventory(tmp_path, "x"), facts=facts)
    assert run.code == 0, run.text
    assert mentions(run.text, "dev_gpus")
    (only,) = facts.iterdir()
    assert only.name.endswith("localhost")


def test_every_play_after_the_guard_asks_whether_it_has_run() -> None:
    files = [file for file in ROOT.glob("playbooks/*.yml") if file.stem != "guard"]
    assert files
    for file in files:
        plays = yaml.safe_load(file.read_text("utf-8"))
        imported = "ansible.builtin.import_playbook"
        if file.stem != "failed":
            assert plays[0][imported] == "guard.yml"
        for play in plays:
            if play.get(imported) in ("guard.yml", "failed.yml"):
                continue
            assert play["hosts"] == "{{ gpu_preflight_hosts }}", file
            assert play["vars_files"][0] == "vars/cluster.yml", file


@pytest.mark.parametrize(
    ("playbook", "arguments"),
    [
        ("drift", ("--tags", "nothing")),
        ("validate", ("--start-at-task", "Show what each group of nodes gets")),
        ("validate", ("--skip-tags", "always", "--tags", "nothing")),
    ],
)
def test_run_that_skips_the_guard_or_the_work_fails(
    playbook: str, arguments: tuple[str, ...], yesterday: Path, tmp_path: Path
) -> None:
    facts = Path(shutil.copytree(yesterday, tmp_path / "facts"))
    new = inventory(tmp_path, "new")
    run = run_playbook(f"gpufleet.sharing.{playbook}", new, *arguments, facts=facts)
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
    ("options", "passes"),
    [
        ({"skip_tags": ("gpu",)}, True),  # of its import_playbook, so the work is skipped too
        ({"skip_tags": ("gpu", "untagged")}, True),
        ({"skip_tags": ("gpu", "always")}, False),
        ({"skip_tags": ("gpu", "tagged")}, False),
        ({"skip_tags": ("gpu",), "start_at_task": "x"}, False),
        ({"skip_tags": ()}, False),
        ({}, False),
    ],
)
def test_guard_that_was_skipped_with_its_playbook(
    options: dict[str, object], passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "CLIARGS", options)
    with nullcontext() if passes else pytest.raises(FleetError):
        cluster_hosts({}, {"localhost": {}})


@pytest.mark.parametrize("groups", [{"gpu_clusters": ["c1"]}, {}])
def test_hosts_once_the_guard_has_run(groups: dict[object, object]) -> None:
    def hosts(**facts: object) -> str:
        return cluster_hosts(groups, {"localhost": {"ansible_facts": facts}})

    expected = next(iter(groups), "localhost")
    assert hosts(gpu_sharing_run=this_run()) == expected
    assert cluster_hosts(groups, {}) == expected  # a listing
    for facts in ({"gpu_sharing_run": "of yesterday"}, {}):
        with pytest.raises(FleetError, match="--start-at-task"):
            hosts(**facts)
