# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One number changes for 200 nodes, with work running on all of them. Each test goes on where the
one before has stopped.
"""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ansible_collections.gpufleet.sharing.tests.integration.answers import mentions
from ansible_collections.gpufleet.sharing.tests.integration.fleettools import (
    HASH,
    Timed,
    config_map,
    follow,
    noted,
    profiles,
    replicas,
    revisions,
)
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    ROLLOUT,
    Lab,
    boot,
    shut_down,
    write_inventory,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import (
    Wanted,
    converge,
    differing,
)
from ansible_collections.gpufleet.sharing.tests.integration.sampler import Sampler
from ansible_collections.gpufleet.sharing.tests.integration.workloads import Workload, start

SIZES = {"dev": 80, "edge": 40, "prod": 50, "train": 30}
GPUS = {"dev": 1, "edge": 1, "prod": 2, "train": 8}
NODES = [f"{group}-gpu-{n:02}" for group, size in SIZES.items() for n in range(1, size + 1)]
BATCHES = [1, 10, "25%"]
SIX = replicas(dev=6) | {"gpu_sharing_rollout_batches": BATCHES}
GROUPS = {
    f"{group}_gpus": {
        "hosts": {f"{group}-gpu-[01:{size}]": {}},
        "vars": {"gpu_sharing_profile": "dev"},
    }
    for group, size in SIZES.items()
}
DEV = {"hosts": dict.fromkeys(NODES), "vars": {"gpu_sharing_profile": "dev"}}
WORK = Workload("work", NODES)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    booted = boot(f"rollout-{os.getpid()}", ROLLOUT)
    yield booted
    shut_down(booted)


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inventory(tmp_path_factory.mktemp("rollout") / "inventory", GROUPS)


@dataclass(frozen=True)
class Seen:
    timed: Timed
    sampler: Sampler

    def dark_at(self) -> dict[str, float]:
        """When each node lost its slots for the first time."""
        found: dict[str, float] = {}
        for change in self.sampler.changes:
            if not any(change.slots.values()):
                found.setdefault(change.node, change.at)
        return found

    def back_at(self) -> dict[str, float]:
        """When each node got what it has now."""
        return {change.node: change.at for change in self.sampler.changes}


@pytest.fixture(scope="module")
def rolled(lab: Lab, inventory: Path) -> Seen:
    """8 -> 6 under a watch, with a pod on each node."""
    converge(lab, Wanted({"dev_gpus": DEV}, options={"timeout": 300}))
    start(lab, WORK, timeout=120)
    with Sampler(lab) as sampler:
        timed = follow(lab, "site", inventory, **SIX)
    timed.run.succeeded()
    return Seen(timed, sampler)


def batches_of(seen: Seen) -> list[list[str]]:
    """The nodes in the order in which they lost their slots, cut into the sizes asked for."""
    order = sorted(seen.dark_at().items(), key=lambda entry: entry[1])
    found, sizes = [], [1, 10, 50, 50, 50, 39]
    for size in sizes:
        found.append([node for node, _at in order[:size]])
        order = order[size:]
    assert not order
    return found


def test_fleet_has_what_the_inventory_says(lab: Lab, rolled: Seen) -> None:
    expected = {node: str(6 * GPUS[node.split("-")[0]]) for node in NODES}
    assert lab.allocatable() == expected
    assert len(set(noted(lab, HASH).values())) == 1
    assert noted(lab, HASH).keys() == set(NODES)
    rolled.timed.run.names(200, 460, "2,760")  # nodes, GPUs, slots


def test_batch_begins_when_the_one_before_is_back(rolled: Seen) -> None:
    dark, back = rolled.dark_at(), rolled.back_at()
    assert dark.keys() == set(NODES)
    batches = batches_of(rolled)
    for before, after in itertools.pairwise(batches):
        assert max(back[node] for node in before) < min(dark[node] for node in after)


def test_batches_are_spread_over_groups(rolled: Seen) -> None:
    for batch in batches_of(rolled)[1:]:
        counts: dict[str, int] = defaultdict(int)
        for node in batch:
            counts[node.split("-")[0]] += 1
        for group, size in SIZES.items():
            assert abs(counts[group] - size / len(NODES) * len(batch)) <= 1, counts


def test_never_more_nodes_without_gpus_than_a_batch(rolled: Seen) -> None:
    print(f"most nodes without GPUs at once: {rolled.sampler.most_dark}")
    assert rolled.sampler.gaps == 0
    assert 25 < rolled.sampler.most_dark <= 50


def test_running_pods_stay(lab: Lab, rolled: Seen) -> None:
    assert len(rolled.sampler.pods) == len(NODES)
    assert rolled.sampler.disturbed == []
    assert {pod.node for pod in rolled.sampler.pods.values()} == set(NODES)


def test_progress_is_told_while_it_runs(rolled: Seen) -> None:
    timed = rolled.timed
    moments = [timed.at("localhost", f"batch {number}", 6) for number in range(1, 7)]
    print("batches begin at", [round(moment, 1) for moment in moments], "of", round(timed.took, 1))
    dark, back = rolled.dark_at(), rolled.back_at()
    for moment, batch in zip(moments, batches_of(rolled), strict=True):
        end = max(back[node] for node in batch)
        assert moment < end, "told only when it was over"
        assert moment < min(dark[node] for node in batch) + 1.5
    timed.run.names("batch 3", 6, 50, 11, 200)  # its nodes, and those done of all


def test_history_tells_who_when_and_what(lab: Lab, rolled: Seen) -> None:
    first, second = revisions(lab)
    assert (first["state"], second["state"]) == ("good", "good")
    assert mentions(second["what"], "dev", 8, 6)
    assert second["who"]
    assert second["when"].endswith("Z")


def test_second_run_changes_and_writes_nothing(lab: Lab, rolled: Seen) -> None:
    lab.forget_requests()
    assert differing(lab, Wanted({"dev_gpus": DEV}, profiles(dev=6))) == []
    assert lab.writes(dry_run=True) == []
    assert "replicas: 6" in config_map(lab)["dev"]
