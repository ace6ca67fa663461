# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""History, and bringing a revision back. Each test goes on where the one before has stopped."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.tests.integration.answers import mentions
from ansible_collections.gpufleet.sharing.tests.integration.fleettools import (
    LABEL,
    config_map,
    profiles,
    replicas,
    revisions,
    states,
)
from ansible_collections.gpufleet.sharing.tests.integration.killing import Moment, Running, kill
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    GROUPS,
    Lab,
    write_inventory,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import Wanted, converge
from ansible_collections.gpufleet.sharing.tests.integration.sampler import Sampler

ONE_BY_ONE = {"gpu_sharing_rollout_batches": [1]}
SIX = replicas(dev=6)


def dev_slots(lab: Lab) -> list[str]:
    found = lab.allocatable()
    return [found[f"dev-gpu-{n:02}"] for n in (1, 2)]


def moved() -> dict[str, Any]:
    """dev-gpu-02 is a prod node."""
    groups: dict[str, Any] = json.loads(json.dumps(GROUPS))
    groups["prod_gpus"]["hosts"]["dev-gpu-02"] = groups["dev_gpus"]["hosts"].pop("dev-gpu-02")
    return groups


@pytest.fixture
def six(tmp_path: Path) -> Path:
    """The inventory says 6, whatever revision is brought back."""
    return write_inventory(tmp_path / "six", variables=SIX)


def test_history_tells_who_when_and_what(lab: Lab, inventory: Path) -> None:
    converge(lab)
    converge(lab, Wanted(profiles=profiles(dev=6)))
    lab.forget_requests()
    run = lab.playbook("history", inventory).succeeded()
    assert lab.writes(dry_run=True) == []
    assert run.changed == {"localhost": 0}
    rows = [line.split() for line in run.answers.texts if re.search(r"\dZ .*@", line)]
    assert [(number, state, nodes) for _key, number, state, _when, nodes, *_who in rows] == [
        ("2", "good", "5"),
        ("1", "good", "5"),
    ], run.output
    assert mentions(" ".join(rows[0]), "dev", 8, 6)


def test_rollback_brings_the_previous_good_revision_back(lab: Lab, six: Path) -> None:
    """The inventory still says 6; batches hold for going back too."""
    with Sampler(lab) as sampler:
        run = lab.playbook("rollback", six, variables=ONE_BY_ONE).succeeded()
    run.names("revision", 1, "good").names("batch 2").names(5, 10, 36)
    assert sampler.most_dark == 1
    assert dev_slots(lab) == ["8", "8"]
    assert "replicas: 8" in config_map(lab)["dev"]
    assert mentions(revisions(lab)[-1]["what"], "revision", 1, "dev", 6, 8)
    assert states(lab) == ["good", "good", "good"]


@pytest.mark.full("another case of a rollback")
def test_extra_variables_that_win_over_the_revision_are_refused(lab: Lab, six: Path) -> None:
    lab.forget_requests()
    run = lab.playbook("rollback", six, "-e", "gpu_sharing_rollback_to=1", variables=SIX)
    run.fails_with("gpu_sharing_profiles", "revision", 1)
    assert lab.writes(dry_run=True) == []


@pytest.mark.full("another case of a rollback")
def test_rollback_to_what_there_is_changes_and_writes_nothing(lab: Lab, inventory: Path) -> None:
    lab.forget_requests()
    run = lab.playbook("rollback", inventory, "-e", "gpu_sharing_rollback_to=3").succeeded()
    assert run.changed == {"localhost": 0}
    assert lab.writes(dry_run=True) == []


@pytest.mark.full("another case of a rollback")
def test_rollback_to_a_number_in_check_mode(lab: Lab, inventory: Path) -> None:
    """Without check mode the last test does it."""
    lab.forget_requests()
    check = ("--check", "--diff", "-e", "gpu_sharing_rollback_to=2")
    run = lab.playbook("rollback", inventory, *check).succeeded()
    assert lab.writes() == []
    assert run.changed["localhost"] > 0
    run.names("+", "dev-gpu-01", "dev", 6, "nvidia.com/gpu")


@pytest.mark.full("another case of a rollback")
def test_rollback_brings_assignments_back_with_a_limit(lab: Lab, tmp_path: Path) -> None:
    """Both dev nodes have moved; one is brought back, the other stays as it is."""
    converge(lab, Wanted(profiles=profiles(dev=6)))
    converge(lab, Wanted(moved(), profiles(dev=6)))
    lab.kubectl("label", "node", "dev-gpu-01", f"{LABEL}=default", "--overwrite")
    assert "dev-gpu-02" not in lab.labels()
    limit = ("--limit", "localhost,dev-gpu-02")
    inventory = write_inventory(tmp_path / "moved", moved(), SIX)
    lab.playbook("rollback", inventory, *limit).succeeded()
    assert lab.labels()["dev-gpu-02"] == "dev"
    assert lab.labels()["dev-gpu-01"] == "default"  # as it was


@pytest.mark.full("another case of a rollback")
def test_number_that_there_is_not_is_refused(lab: Lab, inventory: Path) -> None:
    run = lab.playbook("rollback", inventory, "-e", "gpu_sharing_rollback_to=99")
    run.fails_with(99, 1, "good")  # asked for, and one that there is


@pytest.mark.full("another case of a rollback")
def test_rollback_of_content_that_reaches_beyond_the_limit_is_refused(lab: Lab, six: Path) -> None:
    converge(lab, Wanted(profiles=profiles(dev=6)))
    lab.forget_requests()
    limit = ("--limit", "localhost,dev-gpu-01", "-e", "gpu_sharing_rollback_to=1")
    lab.playbook("rollback", six, *limit).fails_with("--limit", "dev-gpu-02")
    assert lab.writes(dry_run=True) == []


def second_batch(lab: Lab) -> Moment:
    """As soon as the first of the dev nodes has its new slots."""

    def watch(_run: Running) -> Callable[[], bool]:
        return lambda: lab.allocatable()["dev-gpu-01"] == "8"

    return watch


@pytest.mark.full("another case of a rollback")
def test_rollback_that_is_killed_is_finished_by_the_next(lab: Lab, six: Path) -> None:
    """In the middle of two batches; the next one waits until the Lease of the first is over."""
    slow = ONE_BY_ONE | {"gpu_sharing_rollout_pause": 30}
    command = lab.command("rollback", six, "-e", "gpu_sharing_rollback_to=1", variables=slow)
    killed = kill(lab, command, second_batch(lab))
    assert killed.in_time, killed.output
    assert killed.left == []
    assert dev_slots(lab) == ["8", "6"]
    assert states(lab)[-1] == "started"
    run = lab.playbook("rollback", six, "-e", "gpu_sharing_rollback_to=1").succeeded()
    run.names("gpufleet-sharing", "gpu-operator", 30)  # the wait for the run that was killed
    assert dev_slots(lab) == ["8", "8"]
    assert states(lab)[-1] == "good"


@pytest.mark.full("another case of a rollback")
def test_rollback_takes_nodes_along_that_came_with_the_change(lab: Lab, six: Path) -> None:
    """The revision to go back to does not know dev-gpu-02, whose key gets other content too."""
    fewer: dict[str, Any] = json.loads(json.dumps(GROUPS))
    del fewer["dev_gpus"]["hosts"]["dev-gpu-02"]
    lab.kubectl("label", "node", "dev-gpu-02", f"{LABEL}-")
    converge(lab, Wanted(fewer))
    converge(lab, Wanted(profiles=profiles(dev=6)))
    assert dev_slots(lab) == ["6", "6"]
    lab.playbook("rollback", six).succeeded()
    assert dev_slots(lab) == ["8", "8"]
