# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollout that fails: it stops at the canary and takes back what it did, or leaves it. By site
where people are told, else by the modules that site runs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.gpufleet.sharing.tests.integration.answers import (
    mentions,
    naming,
    texts_of,
)
from ansible_collections.gpufleet.sharing.tests.integration.fleettools import (
    HASH,
    REFUSE,
    State,
    config_map,
    follow,
    noted,
    profiles,
    replicas,
    revisions,
    state,
    states,
)
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    FLEET,
    GROUPS,
    Lab,
    boot,
    shut_down,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import (
    Wanted,
    applied,
    converge,
    differing,
)
from ansible_collections.gpufleet.sharing.tests.integration.sampler import Sampler
from ansible_collections.gpufleet.sharing.tests.integration.workloads import Workload, start

NODES = ["dev-gpu-01", "dev-gpu-02", "prod-gpu-01", "prod-gpu-02", "train-gpu-01"]
GFD_APP = "gpu-feature-discovery"
SLOW = ("restart=600ms", "switch_delay=600ms", "file_propagation=30s")
WORK = Workload("work", NODES)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    booted = boot(f"recovery-{os.getpid()}", FLEET, *SLOW)
    yield booted
    shut_down(booted)


@pytest.fixture(scope="module", autouse=True)
def work(lab: Lab) -> None:
    """Shared GPUs, and a pod on every node that is there until the end."""
    converge(lab)
    start(lab, WORK)


@pytest.fixture
def mended(lab: Lab) -> Iterator[None]:
    yield
    lab.kubectl("annotate", "nodes", "--all", f"{REFUSE}-")


def refuse(lab: Lab, what: str) -> None:
    lab.kubectl("annotate", "nodes", "--all", "--overwrite", f"{REFUSE}={what}")


def seconds_back(output: str) -> str:
    found = re.search(r"\d+ nodes? .* (\d+ (?:s|min|h))\.", output)
    assert found, output
    return found[1]


def away(sampler: Sampler) -> dict[str, float]:
    """How long nodes whose slots changed were not as before."""
    found: dict[str, float] = {}
    for node in sampler.changed:
        moments = [change.at for change in sampler.changes if change.node == node]
        found[node] = round(moments[-1] - moments[1], 1)
    return found


def failing(lab: Lab, wanted: Wanted) -> tuple[str, Sampler]:
    """A rollout that fails. Returns what the modules answered, and what was seen meanwhile."""
    with Sampler(lab) as sampler:
        run = applied(lab, wanted)
    return run.failed().output, sampler


@pytest.mark.full("a whole run of site")
def test_content_that_only_the_plugin_refuses_stops_at_the_canary(
    lab: Lab, inventory: Path, mended: None
) -> None:
    before = state(lab)
    refuse(lab, "6")
    with Sampler(lab) as sampler:
        timed = follow(lab, "site", inventory, **replicas(dev=6))
    output = timed.run.failed().output
    assert state(lab) == before
    assert sampler.changed == sampler.ever_dark == {"dev-gpu-01"}
    assert sampler.most_dark == 1
    assert sampler.disturbed == []
    print(f"in place: back after {seconds_back(output)}; slots away {away(sampler)}")
    row, *_others = naming(texts_of(timed.run.failure), "dev-gpu-01", "pods")
    assert "nvidia-device-plugin-daemonset-" in row
    assert states(lab) == ["good", "failed"]


@pytest.mark.full("another way back after a failure")
def test_same_run_again_fails_the_same_way_and_harms_nobody_else(lab: Lab, mended: None) -> None:
    before = state(lab)
    refuse(lab, "6")
    _output, sampler = failing(lab, Wanted(profiles=profiles(dev=6)))
    assert state(lab) == before
    assert sampler.ever_dark == {"dev-gpu-01"}
    assert states(lab) == ["good", "failed"]


@pytest.mark.full("another way back after a failure")
def test_old_inventory_after_a_failure_restarts_nothing(lab: Lab) -> None:
    before, pods = state(lab), lab.plugin_pods()
    converge(lab)
    assert (state(lab), lab.plugin_pods()) == (before, pods)
    assert states(lab) == ["good", "failed", "good"]
    assert mentions(revisions(lab)[-1]["what"], "revision", 1)
    assert differing(lab, Wanted()) == []


def test_content_of_profiles_that_were_not_begun_goes_back_too(lab: Lab, mended: None) -> None:
    """A file that nobody has loaded, but any restart would load, is a change that comes later."""
    before = state(lab)
    refuse(lab, "6")
    both = Wanted(profiles=profiles(dev=6, default=3), options={"batches": [1]})
    _output, sampler = failing(lab, both)
    assert state(lab) == before
    assert len(sampler.ever_dark) <= 2


@pytest.mark.full("another way back after a failure")
def test_stop_leaves_everything_and_the_next_run_converges(lab: Lab, mended: None) -> None:
    refuse(lab, "6")
    six = Wanted(profiles=profiles(dev=6))
    _output, sampler = failing(lab, replace(six, options={"on_failure": "stop"}))
    assert "replicas: 6" in config_map(lab)["dev"]
    assert lab.allocatable()["dev-gpu-01"] == "0"
    assert "dev-gpu-01" not in noted(lab, HASH)
    assert sampler.ever_dark == {"dev-gpu-01"}
    assert states(lab)[-1] == "failed"
    lab.kubectl("annotate", "nodes", "--all", f"{REFUSE}-")
    converge(lab, six)
    assert lab.allocatable()["dev-gpu-01"] == lab.allocatable()["dev-gpu-02"] == "6"
    assert states(lab)[-1] == "good"


def test_label_that_leads_to_a_refused_file_goes_back(lab: Lab, mended: None) -> None:
    """All dev nodes move to a new profile, one of them first."""
    before = state(lab)
    refuse(lab, "5")
    moved = {**GROUPS, "dev_gpus": {**GROUPS["dev_gpus"], "vars": {"gpu_sharing_profile": "five"}}}
    output, sampler = failing(lab, Wanted(groups=moved, profiles=profiles(dev=6, five=5)))
    after = state(lab)
    assert (after.labels, after.hashes, after.loaded) == (
        before.labels,
        before.hashes,
        before.loaded,
    )
    assert after.allocatable == before.allocatable
    assert {key: after.data[key] for key in before.data} == before.data
    assert sampler.ever_dark == {"dev-gpu-01"}
    assert sampler.disturbed == []
    print(f"label: back after {seconds_back(output)}; slots away {away(sampler)}")
    assert states(lab)[-1] == "failed"


@pytest.mark.full("another way back after a failure")
def test_failures_that_are_allowed_are_listed_and_the_rest_goes_on(
    lab: Lab, inventory: Path, mended: None
) -> None:
    lab.kubectl("annotate", "node", "dev-gpu-01", f"{REFUSE}=7")
    allowed = {"gpu_sharing_rollout_max_failures": 1}
    run = lab.playbook("site", inventory, variables=replicas(dev=7) | allowed).failed()
    run.names("dev-gpu-01", 1).fails_with(1, 5).fails_with("dev-gpu-01")  # by verification
    assert lab.allocatable()["dev-gpu-02"] == "7"
    assert states(lab)[-1] == "failed"
    lab.kubectl("annotate", "nodes", "--all", f"{REFUSE}-")
    converge(lab, Wanted(profiles=profiles(dev=7)))
    assert lab.allocatable()["dev-gpu-01"] == "7"


@pytest.mark.full("another way back after a failure")
def test_versioned_change_that_is_refused_goes_back_by_labels(lab: Lab, mended: None) -> None:
    """Pods that crash are replaced too: with growing pauses they would be back much later."""
    converge(lab, Wanted(profiles=profiles(dev=7), mode="versioned"))
    before, pods = state(lab), lab.plugin_pods()
    refuse(lab, "6")
    six = Wanted(profiles=profiles(dev=6), mode="versioned")
    output, sampler = failing(lab, six)
    after = state(lab)
    assert without_data(after) == without_data(before)
    assert {key: after.data[key] for key in before.data} == before.data
    new = {pod for pod, uid in lab.plugin_pods().items() if pods[pod] != uid}
    assert new == {f"dev-gpu-01/{app}" for app in ("nvidia-device-plugin-daemonset", GFD_APP)}
    assert sampler.ever_dark == {"dev-gpu-01"}
    assert sampler.disturbed == []
    print(f"versioned: back after {seconds_back(output)}; slots away {away(sampler)}")
    assert states(lab)[-1] == "failed"
    lab.kubectl("annotate", "nodes", "--all", f"{REFUSE}-")
    converge(lab, six)
    assert lab.allocatable()["dev-gpu-01"] == lab.allocatable()["dev-gpu-02"] == "6"


def without_data(found: State) -> dict[str, object]:
    return {name: value for name, value in vars(found).items() if name != "data"}
