# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The EXAMPLES of all modules run, in check mode, on a fleet that has the nodes they name. One run
of Ansible does all of them: an example with an option that there is not, or that is refused, fails.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.gpufleet.sharing.tests.integration.fleettools import profiles
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    ROOT,
    Lab,
    Run,
    boot,
    shut_down,
    write_inventory,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import Wanted, converge

MODULES = sorted((ROOT / "plugins" / "modules").glob("*.py"))
OURS = "gpufleet.sharing."
KINDS = {"dev": 1, "prod": 2, "train": 4}  # GPUs of a node
GROUPS: dict[str, Any] = {
    f"{kind}_gpus": {
        "hosts": {f"{kind}-gpu-01": {}, f"{kind}-gpu-02": {}},
        "vars": {"gpu_sharing_profile": "dev"} if kind == "dev" else {},
    }
    for kind in KINDS
}
ELSEWHERE = ("chart_repo_url", "chart_version")  # of NVIDIA's repository, which is not asked here


def examples(path: Path) -> list[dict[str, Any]]:
    """The tasks, or plays, of a module's EXAMPLES."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXAMPLES":
            found = yaml.safe_load(ast.literal_eval(node.value))
            assert isinstance(found, list)
            return found
    raise AssertionError(f"{path.name} has no EXAMPLES")


def adapted(task: dict[str, Any], lab: Lab, folder: Path) -> dict[str, Any]:
    """The task with the lab's chart, and a path where a report may be written."""
    if release := task.get(f"{OURS}helm_release"):
        kept = {name: value for name, value in release.items() if name not in ELSEWHERE}
        return task | {f"{OURS}helm_release": kept | {"chart_ref": lab.environ["GPULAB_CHART"]}}
    if report := task.get(f"{OURS}report"):
        return task | {f"{OURS}report": report | {"path": str(folder / "gpus.html")}}
    return task


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two nodes of each kind, whose GPUs know MIG, and two revisions."""
    fleet = tmp_path_factory.mktemp("fleet") / "examples.yml"
    card = {"nodes": 2, "product": "NVIDIA-A100-SXM4-80GB", "memory": 81920}
    groups = {f"{kind}-gpu": card | {"gpus": gpus} for kind, gpus in KINDS.items()}
    fleet.write_text(yaml.safe_dump({"groups": groups}), encoding="utf-8")
    booted = boot(f"examples-{os.getpid()}", fleet)
    converge(booted, Wanted(GROUPS, profiles(dev=6)))
    converge(booted, Wanted(GROUPS))
    yield booted
    shut_down(booted)


@pytest.fixture(scope="module")
def run(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("examples")
    kubeconfig = yaml.safe_load(Path(lab.environ["KUBECONFIG"]).read_text(encoding="utf-8"))
    kubeconfig["contexts"][0]["name"] = kubeconfig["current-context"] = "prod-eu"
    (folder / "kubeconfig").write_text(yaml.safe_dump(kubeconfig), encoding="utf-8")
    found = [each for path in MODULES for each in examples(path)]
    tasks = [adapted(each, lab, folder) for each in found if "hosts" not in each]
    play = {"hosts": "localhost", "gather_facts": False, "tasks": tasks}
    plays = [play, *(each for each in found if "hosts" in each)]
    (folder / "examples.yml").write_text(yaml.safe_dump(plays, sort_keys=False), encoding="utf-8")
    inventory = write_inventory(folder / "inventory", GROUPS, clusters={"prod-eu": {}})
    lab.forget_requests()
    return lab.ansible(
        [str(folder / "examples.yml"), "-i", str(inventory), "--check", "--diff"],
        {"KUBECONFIG": str(folder / "kubeconfig")},
    )


def test_examples_are_accepted_and_write_nothing_in_check_mode(lab: Lab, run: Run) -> None:
    run.succeeded()
    assert lab.writes() == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_module_is_in_its_examples_and_they_ran(run: Run, path: Path) -> None:
    assert f"{OURS}{path.stem}" in yaml.safe_dump(examples(path))
    assert path.stem in run.ran("check")
