# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels of GPU feature discovery that are gone for a moment are waited for."""

from __future__ import annotations

from threading import Timer

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.objects import NODES
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import (
    NodeState,
    node_state,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.labels import (
    wait_for_labels,
)
from ansible_collections.gpufleet.sharing.tests.unit.fake_api import FakeApi

COUNT = {"nvidia.com/gpu.count": "2"}


def put(
    api: FakeApi, name: str, labels: dict[str, str], slots: int = 8, ready: str = "True"
) -> None:
    conditions = [{"type": "Ready", "status": ready}]
    status = {"allocatable": {"nvidia.com/gpu": str(slots)}, "conditions": conditions}
    api.put(f"{NODES}/{name}", {"metadata": {"uid": name, "labels": labels}, "status": status})


def states(api: FakeApi) -> dict[str, NodeState]:
    return {state.name: state for state in map(node_state, api.cluster.items(NODES))}


def test_labels_that_come_back_are_waited_for() -> None:
    api = FakeApi()
    put(api, "n1", {})
    put(api, "n2", COUNT)
    before = states(api)
    timer = Timer(0.2, lambda: put(api, "n1", COUNT))
    timer.start()
    try:
        found = wait_for_labels(api.cluster, before, {}, {"n1": None, "n2": None}, seconds=30)
    finally:
        timer.join()
        api.hang_up()
    assert (found["n1"].physical, found["n2"].physical) == (2, 2)


def test_labels_that_stay_away_are_waited_for_only_so_long() -> None:
    api = FakeApi()
    put(api, "n1", {})
    try:
        found = wait_for_labels(api.cluster, states(api), {}, {"n1": None}, seconds=0.1)
    finally:
        api.hang_up()
    assert found["n1"].physical is None


@pytest.mark.parametrize(
    ("labels", "slots", "ready", "stated", "name"),
    [
        pytest.param(COUNT, 8, "True", {}, "n1", id="counted"),
        pytest.param({}, 0, "True", {}, "n1", id="not in service"),
        pytest.param({}, 8, "False", {}, "n1", id="NotReady"),
        pytest.param({}, 8, "True", {"n1": 2}, "n1", id="stated"),
        pytest.param({}, 8, "True", {}, "other", id="another node"),
    ],
)
def test_nothing_to_wait_for(
    labels: dict[str, str], slots: int, ready: str, stated: dict[str, int], name: str
) -> None:
    api = FakeApi()
    put(api, "n1", labels, slots, ready)
    before = states(api)
    api.requests.clear()
    assert wait_for_labels(api.cluster, before, stated, {name: None}) == before
    assert api.requests == []


def test_other_devices_of_nvidia_are_no_reason_to_wait() -> None:
    api = FakeApi()
    status = {
        "allocatable": {"nvidia.com/hostdev": "8"},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    api.put(f"{NODES}/n1", {"metadata": {"uid": "n1"}, "status": status})
    before = states(api)
    api.requests.clear()
    assert wait_for_labels(api.cluster, before, {}, {"n1": None}) == before
    assert api.requests == []
