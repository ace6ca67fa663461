# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versioned keys: a change of content moves labels. Each test goes on where the one before has
stopped, from in place to versioned and back, with a pod on every node.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.keys import config_key
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    parse_profile,
)
from ansible_collections.gpufleet.sharing.tests.integration.answers import mentions
from ansible_collections.gpufleet.sharing.tests.integration.fleettools import (
    CONFIG_MAP,
    HASH,
    NAMESPACE,
    config_map,
    loaded,
    noted,
    profiles,
    revisions,
)
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    FLEET,
    PROFILES,
    Lab,
    boot,
    shut_down,
    write_inventory,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import (
    Wanted,
    applied,
    converge,
    differing,
    planned,
)
from ansible_collections.gpufleet.sharing.tests.integration.sampler import Sampler
from ansible_collections.gpufleet.sharing.tests.integration.workloads import Workload, start

# As in ROLLOUT: nobody can wait for an edited file to arrive by itself.
SLOW = ("restart=600ms", "switch_delay=600ms", "file_propagation=180s")
VERSIONED = {"gpu_sharing_rollout_mode": "versioned", "gpu_sharing_rollout_batches": [1]}
PRUNE = {"gpu_profiles_prune": True}
NODES = ["dev-gpu-01", "dev-gpu-02", "prod-gpu-01", "prod-gpu-02", "train-gpu-01"]
WORK = Workload("work", NODES)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    booted = boot(f"versioned-{os.getpid()}", FLEET, *SLOW)
    yield booted
    shut_down(booted)


@pytest.fixture(scope="module")
def inventory(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In place, at first."""
    folder = write_inventory(tmp_path_factory.mktemp("versioned") / "inventory")
    converge(lab)
    start(lab, WORK)
    return folder


def key(name: str, count: int) -> str:
    profile = parse_profile(name, {"replicas": count})
    return config_key(profile, versioned=True)


def labels_of(dev: int, default: int = 4) -> dict[str, str]:
    by_group = {
        "dev": key("dev", dev),
        "prod": key("default", default),
        "train": key("no-sharing", 1),
    }
    return {node: by_group[node.split("-", maxsplit=1)[0]] for node in NODES}


def crashes(lab: Lab) -> int:
    """Restarts of containers of the operator's pods."""
    pods = lab.json("pods", "-n", NAMESPACE)["items"]
    found = [state for pod in pods for state in pod["status"].get("containerStatuses", [])]
    return sum(state["restartCount"] for state in found)


def test_keys_are_named_by_what_they_say() -> None:
    assert re.fullmatch(r"dev\.[0-9a-f]{8}", key("dev", 8))
    assert key("dev", 8) != key("dev", 6)


def test_switch_to_versioned_is_a_rollout_that_darkens_nobody(lab: Lab, inventory: Path) -> None:
    """What is loaded stays the same, so moving labels is all it takes. The old keys are those of
    the last good revision, and stay, even though it is to prune.
    """
    pods = lab.plugin_pods()
    with Sampler(lab) as sampler:
        run = lab.playbook("site", inventory, variables=VERSIONED | PRUNE).succeeded()
    run.names("batch 5")
    assert lab.labels() == labels_of(dev=8)
    assert config_map(lab).keys() == {*labels_of(dev=8).values(), *PROFILES}
    assert lab.plugin_pods() == pods
    assert sampler.most_dark <= 1
    assert sampler.disturbed == []
    assert crashes(lab) == 0
    assert {node: found for node, (found, _digest) in loaded(lab).items()} == lab.labels()


def test_second_run_would_change_nothing(lab: Lab) -> None:
    lab.forget_requests()
    assert differing(lab, Wanted(mode="versioned")) == []
    assert lab.writes(dry_run=True) == []


def test_change_is_a_new_key_and_a_label_that_does_not_wait_for_the_kubelet(lab: Lab) -> None:
    before, pods = config_map(lab), lab.plugin_pods()
    one_by_one = {"batches": [1]}
    wanted = Wanted(profiles=profiles(dev=6), mode="versioned", prune=True, options=one_by_one)
    began = time.monotonic()
    with Sampler(lab) as sampler:
        applied(lab, wanted).succeeded()
    assert time.monotonic() - began < 180  # less than the kubelet takes by itself for one node
    assert lab.labels() == labels_of(dev=6)
    data = config_map(lab)
    expected = {key("dev", 8), *labels_of(dev=6).values(), "default"}
    assert data.keys() == expected  # the old key is the last good one's
    assert {name: data[name] for name in before if name in data}.items() <= before.items()
    assert lab.plugin_pods() == pods
    assert crashes(lab) == 0
    assert sampler.most_dark <= 1
    assert sampler.ever_dark <= {"dev-gpu-01", "dev-gpu-02"}
    assert sampler.disturbed == []
    assert mentions(revisions(lab)[-1]["what"], "dev", 8, 6)


@pytest.mark.full("another change in versioned mode")
def test_default_s_fixed_key_is_rewritten_last_and_old_keys_go_last(lab: Lab) -> None:
    both = profiles(dev=6, default=3)
    lab.forget_requests()
    applied(lab, Wanted(profiles=both, mode="versioned", options={"batches": [1]})).succeeded()
    assert lab.labels() == labels_of(dev=6, default=3)
    data = config_map(lab)
    assert data["default"] == data[key("default", 3)]
    assert key("dev", 8) not in data  # nobody uses it, and it is not the last good revision's
    assert key("default", 4) in data  # the last good revision's
    writes = [request.split("?")[0].split("/")[-1] for request in lab.writes()]
    where = [place for place, name in enumerate(writes) if name == CONFIG_MAP]
    nodes = [place for place, name in enumerate(writes) if name in NODES]
    assert len(where) == 2
    assert where[0] < min(nodes)
    assert max(nodes) < where[1]


@pytest.mark.full("another change in versioned mode")
def test_key_that_a_node_still_uses_is_never_pruned(lab: Lab) -> None:
    """dev-gpu-02 is outside the limit and keeps its key, and so do the shared ones."""
    five = Wanted(profiles=profiles(dev=5, default=3), mode="versioned")
    limited = replace(five, limit=["dev-gpu-01"])
    applied(lab, limited).succeeded()
    assert lab.labels() == labels_of(dev=6, default=3) | {"dev-gpu-01": key("dev", 5)}
    assert {key("dev", 5), key("dev", 6)} <= config_map(lab).keys()
    assert differing(lab, limited) == []
    converge(lab, five)
    assert lab.labels() == labels_of(dev=5, default=3)


@pytest.mark.full("another change in versioned mode")
def test_back_in_place_takes_the_labels_of_default_nodes_away(lab: Lab) -> None:
    back = Wanted(profiles=profiles(dev=5, default=3), options={"batches": [1]})
    with Sampler(lab) as sampler:
        applied(lab, back).succeeded()
    named = {"dev-gpu-01": "dev", "dev-gpu-02": "dev", "train-gpu-01": "no-sharing"}
    assert lab.labels() == named
    assert sampler.most_dark <= 1
    assert sampler.disturbed == []
    slots = {"dev-gpu-01": "5", "dev-gpu-02": "5", "prod-gpu-01": "6", "prod-gpu-02": "6"}
    assert lab.allocatable() == slots | {"train-gpu-01": "4"}
    assert noted(lab, HASH).keys() == set(NODES)
    assert differing(lab, back) == []


@pytest.mark.full("another change in versioned mode")
def test_switch_and_change_at_once_keeps_to_the_batch(lab: Lab) -> None:
    """Content and mode change together, there and back."""
    for mode, dev in (("versioned", 7), ("in_place", 6)):
        wanted = Wanted(profiles=profiles(dev=dev), mode=mode, options={"batches": [1]})
        with Sampler(lab) as sampler:
            applied(lab, wanted).succeeded()
        assert sampler.most_dark <= 1
        assert sampler.disturbed == []
        assert lab.allocatable()["dev-gpu-01"] == lab.allocatable()["dev-gpu-02"] == str(dev)
        assert lab.allocatable()["prod-gpu-01"] == "8"


@pytest.mark.parametrize(
    ("length", "mode", "refused"),
    [(55, "versioned", True), (54, "versioned", False), (55, "in_place", False)],
)
def test_names_too_long_for_a_versioned_key_are_refused(
    lab: Lab, length: int, mode: str, refused: bool
) -> None:
    named = {**profiles(dev=6), "x" * length: {"replicas": 2}}
    lab.forget_requests()
    run = planned(lab, Wanted(profiles=named, mode=mode))
    assert (run.rc != 0) == refused, run.output
    if refused:
        run.fails_with("x" * 55, 54)
    assert lab.writes(dry_run=True) == []
