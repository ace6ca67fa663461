# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet as it changes: nodes and their pods by name, and waking those who wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import ClusterError
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.operands import (
    GFD_APP,
    PLUGIN_APP,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.live import LiveFleet
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions
from ansible_collections.gpufleet.sharing.tests.unit.fake_api import SERVER, FakeApi

NODES = "/api/v1/nodes"
PODS = "/api/v1/namespaces/gpu-operator/pods"
MAP = "/api/v1/namespaces/gpu-operator/configmaps/device-plugin-config"
Scene = tuple[FakeApi, LiveFleet]


def put_node(api: FakeApi, name: str, uid: str, slots: int = 8) -> None:
    status = {
        "allocatable": {"nvidia.com/gpu": str(slots)},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    api.put(f"{NODES}/{name}", {"metadata": {"uid": uid}, "status": status})


def put_pod(api: FakeApi, name: str, node: str, app: str = PLUGIN_APP) -> None:
    metadata = {"uid": f"uid-{name}", "labels": {"app": app}}
    api.put(f"{PODS}/{name}", {"metadata": metadata, "spec": {"nodeName": node}})


@pytest.fixture
def scene() -> Iterator[Scene]:
    api = FakeApi()
    put_node(api, "n1", "u1")
    put_pod(api, "p1", "n1")
    put_pod(api, "other", "n1", "dcgm-exporter")
    live = LiveFleet(api.cluster, "gpu-operator", "device-plugin-config")
    live.read_pods()
    yield api, live
    live.stop()
    api.hang_up()


def changed(live: LiveFleet, *nodes: str) -> None:
    """These nodes change, within a few moments."""
    found: set[str] = set()
    until = time.monotonic() + 5
    while not found >= set(nodes) and time.monotonic() < until:
        found |= set(live.wait(0.5))
    assert found == set(nodes)


def test_live_is_read_at_once(scene: Scene) -> None:
    _api, live = scene
    observed = live.observe()
    assert observed.nodes["n1"].allocatable == {"nvidia.com/gpu": 8}
    assert [pod.name for pod in observed.pods["n1"]] == ["p1"]
    assert observed.config_map is None
    assert live.trouble == ""
    changed(live, "n1")


def test_live_wakes_those_who_wait(scene: Scene) -> None:
    api, live = scene
    live.start()
    changed(live, "n1")
    began = time.monotonic()
    threading.Timer(0.1, put_node, [api, "n1", "u1", 6]).start()
    assert set(live.wait(10)) == {"n1"}
    assert time.monotonic() - began < 5
    assert live.observe().nodes["n1"].allocatable == {"nvidia.com/gpu": 6}


def test_live_waits_no_longer_than_asked(scene: Scene) -> None:
    _api, live = scene
    changed(live, "n1")
    began = live.now()
    assert not live.wait(0.1)
    assert 0.1 <= live.now() - began < 2
    assert not live.wait(-1)


def test_live_gathers_a_burst(scene: Scene) -> None:
    api, live = scene
    live.start()
    changed(live, "n1")
    for number in range(2, 9):
        put_node(api, f"n{number}", f"u{number}")
    until = time.monotonic() + 5
    while len(live.observe().nodes) < 8 and time.monotonic() < until:
        time.sleep(0.005)
    assert set(live.wait(5)) == {f"n{number}" for number in range(2, 9)}


def test_live_node_comes_goes_and_comes_again(scene: Scene) -> None:
    api, live = scene
    live.start()
    changed(live, "n1")
    put_node(api, "n2", "u2")
    changed(live, "n2")
    api.drop(f"{NODES}/n2")
    changed(live, "n2")
    assert list(live.observe().nodes) == ["n1"]
    put_node(api, "n2", "u3")
    changed(live, "n2")
    assert sorted(live.observe().nodes) == ["n1", "n2"]


@pytest.mark.parametrize("slots", [8, 6])
def test_live_node_made_again_while_nobody_watched(scene: Scene, slots: int) -> None:
    """Also where it looks exactly as the one before."""
    api, live = scene
    api.drop(f"{NODES}/n1")
    put_node(api, "n1", "u2", slots)
    cast(Any, live._reflectors[0])._list()
    assert live.observe().nodes["n1"].allocatable == {"nvidia.com/gpu": slots}


def test_live_pod_is_replaced(scene: Scene) -> None:
    api, live = scene
    live.start()
    changed(live, "n1")
    api.drop(f"{PODS}/p1")
    put_pod(api, "p2", "n1")
    put_pod(api, "gfd", "n1", GFD_APP)
    until = time.monotonic() + 5
    while len(live.observe().pods["n1"]) != 2 and time.monotonic() < until:
        live.wait(0.2)
    assert {pod.name for pod in live.observe().pods["n1"]} == {"p2", "gfd"}


def test_live_pod_is_bound_to_its_node_later(scene: Scene) -> None:
    api, live = scene
    live.start()
    put_pod(api, "p2", "")
    changed(live, "", "n1")
    put_pod(api, "p2", "n1")
    changed(live, "", "n1")
    assert [pod.name for pod in live.observe().pods["n1"]] == ["p1", "p2"]
    assert live.observe().pods[""] == ()


def test_live_reads_the_config_map_when_asked(scene: Scene) -> None:
    api, live = scene
    api.put(MAP, {"data": {"dev": "version: v1"}})
    assert live.observe().config_map is None
    live.refresh_config_map()
    config_map = live.observe().config_map
    assert config_map is not None
    assert config_map.data == {"dev": "version: v1"}


@pytest.mark.parametrize("path", [NODES, PODS])
def test_live_tells_trouble_of_either_watch(scene: Scene, path: str) -> None:
    api, live = scene
    api.fault = lambda method, at: 403 if (method, at) == ("WATCH", path) else 0
    live.start()
    until = time.monotonic() + 5
    while not any(reflector.refused for reflector in live._reflectors) and time.monotonic() < until:
        time.sleep(0.01)
    assert mentions(live.trouble, SERVER, "injected 403")
    with pytest.raises(ClusterError) as caught:
        live.wait(5)  # and does not wait for what it will never see
    assert str(caught.value) == live.trouble
