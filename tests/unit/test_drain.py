# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draining: what is written to nodes, who cannot be moved, and how evictions are asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.clock import Clock
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    ClusterError,
    LeaseError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import Cluster
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.objects import NODES
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.throttle import Throttle
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes import pods as _pods
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.pods import GpuPod
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout import drain as _drain
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout import gpu_pods
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.drain import (
    Drainer,
    DrainError,
    cordon_patch,
    left_cordoned,
    uncordon_patch,
    unmovable,
    without_controller,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions, numbers
from ansible_collections.gpufleet.sharing.tests.unit.fake_api import FakeApi

GPU = "nvidia.com/gpu"
PODS = "/api/v1/namespaces/ns/pods"
MARK = {"gpufleet.sharing/cordoned": "true"}
POD = GpuPod("ns", "p", "u", "n", "Deployment/d", False, False, {GPU: 1}, "Running", False)
BUDGET = "The disruption budget web needs 2 healthy pods and has 2 currently"


def node(
    name: str = "n", *, cordoned: bool | None = None, marked: bool = False, version: int = 1
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "resourceVersion": str(version)}
    if marked:
        metadata["annotations"] = dict(MARK)
    return {"metadata": metadata, "spec": {} if cordoned is None else {"unschedulable": cordoned}}


def pod(
    name: str = "p", where: str = "n", owner: str = "ReplicaSet", **spec: Any
) -> dict[str, Any]:
    owners = [{"kind": owner, "name": "o", "controller": True}] if owner else []
    return {
        "metadata": {"namespace": "ns", "name": name, "uid": name, "ownerReferences": owners},
        "spec": {
            "nodeName": where,
            "containers": [{"resources": {"requests": {GPU: "1"}}}],
            **spec,
        },
        "status": {"phase": "Running"},
    }


@pytest.mark.parametrize(
    ("found", "cordons", "uncordons"),
    [
        pytest.param(node(), True, False, id="as it should be"),
        pytest.param(node(cordoned=False), True, False, id="uncordoned by kubectl"),
        pytest.param(node(cordoned=True), False, False, id="cordoned by somebody else"),
        pytest.param(node(cordoned=True, marked=True), False, True, id="cordoned by us"),
        pytest.param(node(marked=True), True, True, id="ours, uncordoned by somebody else"),
    ],
)
def test_patches(found: dict[str, Any], cordons: bool, uncordons: bool) -> None:
    cordon = {
        "metadata": {"resourceVersion": "1", "annotations": MARK},
        "spec": {"unschedulable": True},
    }
    uncordon = {
        "metadata": {"resourceVersion": "1", "annotations": dict.fromkeys(MARK)},
        "spec": {"unschedulable": None},
    }
    assert cordon_patch(found) == (cordon if cordons else {})
    assert uncordon_patch(found) == (uncordon if uncordons else {})


def test_left_cordoned_lists_annotated_nodes() -> None:
    states = [
        NodeState("b", annotations=MARK),
        NodeState("a", annotations=MARK),
        NodeState("c", annotations={"other": "true"}),
    ]
    assert left_cordoned(states) == ["a", "b"]


def test_without_controller() -> None:
    lone = replace(POD, owner="")
    assert without_controller([POD, lone]) == [lone]


def test_unmovable() -> None:
    daemon = replace(POD, uid="d", owner="DaemonSet/d", daemon=True, tolerant=True)
    tolerant = replace(POD, uid="t", tolerant=True)
    reasons = unmovable([POD, daemon, tolerant])
    assert list(reasons) == ["d", "t"]
    assert mentions(reasons["d"], "DaemonSet/d")
    assert mentions(reasons["t"], "node.kubernetes.io/unschedulable")


def test_drain_error_is_a_table_that_is_cut() -> None:
    pods = [replace(POD, name=f"p{number:02}", uid=str(number)) for number in range(22)]
    error = _drain.drain_error("22 pods:", pods[::-1], {each.uid: "why" for each in pods}, "Go on.")
    lines = str(error).splitlines()
    assert (lines[0], lines[-1]) == ("22 pods:", "Go on.")
    assert lines[3].split() == ["n", "ns", "p00", "why"]
    assert lines[-3].split() == ["n", "ns", "p19", "why"]
    assert numbers(lines[-2]) == [2]
    assert error.problems[21] == "n: ns/p21: why"


@dataclass
class FakeCluster:
    """Nodes and pods of an API server, which says no as told."""

    nodes: dict[str, dict[str, Any]]
    pods: dict[str, dict[str, Any]]
    refusals: dict[str, list[ClusterError]] = field(default_factory=dict)  # by pod
    faults: list[ClusterError] = field(default_factory=list)  # of patches
    stays: set[str] = field(default_factory=set)  # pods that take their time
    asked: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def items(self, path: str, *, fields: str) -> Iterator[dict[str, Any]]:
        name = fields.partition("=")[2]
        if path == NODES:
            return iter([self.nodes[name]] if name in self.nodes else [])
        return iter([each for each in self.pods.values() if each["spec"]["nodeName"] == name])

    def patch(self, path: str, body: dict[str, Any]) -> None:
        with self.lock:
            if self.faults:
                raise self.faults.pop(0)
            found = self.nodes[path.rpartition("/")[2]]
            metadata = found["metadata"]
            assert body["metadata"]["resourceVersion"] == metadata["resourceVersion"]
            metadata["resourceVersion"] += "1"
            metadata["annotations"] = {
                key: value
                for key, value in body["metadata"]["annotations"].items()
                if value is not None
            }
            found["spec"]["unschedulable"] = body["spec"]["unschedulable"] is True

    def evict(self, namespace: str, name: str, *, uid: str) -> None:
        assert (namespace, uid) == ("ns", name)
        with self.lock:
            self.asked.append(name)
            if refusals := self.refusals.get(name):
                raise refusals.pop(0) if len(refusals) > 1 else refusals[0]
            if name in self.stays:
                self.pods[name]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            else:
                del self.pods[name]

    for_each = Cluster.for_each
    _throttle = Throttle(4)

    def cordoned(self) -> dict[str, bool]:
        """Whether the cordon is ours, by cordoned node."""
        return {
            name: "gpufleet.sharing/cordoned" in found["metadata"].get("annotations", {})
            for name, found in self.nodes.items()
            if found["spec"].get("unschedulable")
        }


@dataclass
class Time:
    now: float = 0.0
    on_pause: Callable[[], None] = lambda: None

    def pause(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds
        self.on_pause()


@dataclass
class FakeWatch:
    """Watches pods; a wait lets the time pass."""

    cluster: FakeCluster
    time: Time

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def pods(self) -> list[GpuPod]:
        return _pods.gpu_pods(self.cluster.pods.values())

    def wait(self, seconds: float) -> Collection[str]:
        self.time.pause(seconds)
        return ()


@dataclass
class Scene:
    cluster: FakeCluster
    time: Time = field(default_factory=Time)
    lines: list[str] = field(default_factory=list)

    @property
    def drainer(self) -> Drainer:
        clock = Clock(lambda: self.time.now, self.time.pause)
        cluster = cast("Cluster", self.cluster)
        return Drainer(
            cluster,
            60,
            self.lines.append,
            clock=clock,
            watch=lambda _cluster, _nodes: FakeWatch(self.cluster, self.time),
        )

    def drain(self, disrupted: Callable[[Any], Any] = list) -> list[str]:
        return [each.name for each in self.drainer.drain(list(self.cluster.nodes), disrupted)]


def scene(*pods: dict[str, Any], nodes: tuple[dict[str, Any], ...] = (), **more: Any) -> Scene:
    by_name = {each["metadata"]["name"]: each for each in nodes or (node(),)}
    return Scene(FakeCluster(by_name, {each["metadata"]["name"]: each for each in pods}, **more))


def refusal(status: int, said: str = "", retry_after: float = 0) -> ClusterError:
    return ClusterError(f"failed ({status}): {said}", status, said, retry_after)


def test_drain_evicts_disrupted_pods_and_leaves_nodes_cordoned() -> None:
    nodes = node("n"), node("m"), node("k", cordoned=True)
    found = scene(pod("a"), pod("b", "m"), pod("c", "m"), pod("d", "k"), nodes=nodes)
    evicted = found.drain(lambda pods: [each for each in pods if each.name != "c"])
    assert sorted(evicted) == ["a", "b", "d"]
    assert list(found.cluster.pods) == ["c"]
    assert found.cluster.cordoned() == {"n": True, "m": True, "k": False}
    assert len(found.lines) == 3
    for line, facts in zip(sorted(found.lines), ("k: ns/d", "m: ns/b", "n: ns/a"), strict=True):
        assert mentions(line, *facts.split())
    found.drainer.uncordon(["n", "m", "k"])
    assert found.cluster.cordoned() == {"k": False}


def test_drain_stops_when_what_is_left_is_not_disrupted() -> None:
    """The budget lets one of two go, and then the other one fits."""
    found = scene(pod("a"), pod("b"), refusals={"b": [refusal(429, BUDGET)]})
    assert found.drain(lambda pods: pods if len(pods) > 1 else []) == ["a"]
    assert list(found.cluster.pods) == ["b"]


def test_drain_with_nothing_disrupted_cordons_and_evicts_nothing() -> None:
    found = scene(pod("a"))
    assert found.drain(lambda _pods: []) == []
    assert found.cluster.cordoned() == {"n": True}
    assert found.time.now == 0


def test_drain_finds_a_pod_bound_meanwhile() -> None:
    found = scene(pod("a"))
    late = pod("late")

    def bind() -> None:
        if "late" not in found.cluster.asked:
            found.cluster.pods["late"] = late

    found.time.on_pause = bind
    assert found.drain() == ["a", "late"]


@pytest.mark.parametrize("pods", [1, 3])
def test_drain_ends_where_pods_come_back_to_a_cordoned_node(pods: int) -> None:
    """As those of a Deployment whose template has a nodeName."""
    found = scene(*(pod(f"p{number}") for number in range(pods)))

    def replace_all() -> None:
        for number in range(len(found.cluster.asked), len(found.cluster.asked) + pods):
            found.cluster.pods.setdefault(f"p{number}", pod(f"p{number}"))

    found.time.on_pause = replace_all
    with pytest.raises(DrainError) as caught:
        found.drain()
    assert mentions(caught.value, "nodeName", "n", "ns")
    assert len(found.cluster.asked) <= 6 * pods
    assert found.time.now < 60
    assert found.cluster.cordoned() == {}


@pytest.mark.parametrize(
    ("refusals", "asked_at_least", "waited"),
    [
        pytest.param([refusal(429, BUDGET)] * 2, 3, 4, id="budget"),
        pytest.param([refusal(429, BUDGET, 10)], 2, 10, id="as the API server says"),
        pytest.param([refusal(500)], 2, 2, id="fault"),
        pytest.param([refusal(403, "being terminated")], 2, 2, id="namespace being deleted"),
        pytest.param([refusal(0)], 2, 2, id="cut connection"),
    ],
)
def test_drain_asks_again(refusals: list[ClusterError], asked_at_least: int, waited: float) -> None:
    found = scene(pod("a"))
    found.cluster.refusals = {"a": [*refusals, refusal(1)]}

    def relent() -> None:
        if len(found.cluster.refusals["a"]) == 1:
            found.cluster.refusals = {"a": []}

    found.time.on_pause = relent
    assert found.drain() == ["a"]
    assert found.cluster.asked == ["a"] * asked_at_least
    assert waited <= found.time.now < waited + 3


@pytest.mark.parametrize("status", [404, 409])
def test_drain_pod_that_has_gone_or_is_another(status: int) -> None:
    found = scene(pod("a"), refusals={"a": [refusal(status)]})
    found.time.on_pause = found.cluster.pods.clear
    assert found.drain() == []
    assert found.lines == []


def test_drain_budget_that_blocks_is_named_and_nodes_are_uncordoned() -> None:
    nodes = node(), node("other", cordoned=True)
    found = scene(pod("a"), pod("b"), nodes=nodes, refusals={"a": [refusal(429, BUDGET)]})
    with pytest.raises(DrainError) as caught:
        found.drain()
    lines = str(caught.value).splitlines()
    assert numbers(lines[0]) == [1, 1, 60]  # pods, nodes, seconds
    assert [line.split() for line in lines if BUDGET in line] == [["n", "ns", "a", *BUDGET.split()]]
    assert caught.value.problems == (f"n: ns/a: {BUDGET}",)
    assert found.cluster.cordoned() == {"other": False}
    blocked, evicted = sorted(found.lines, key=lambda line: "ns/b" in line)
    assert mentions(blocked, "n: ", "ns/a", BUDGET)
    assert mentions(evicted, "n: ", "ns/b")
    assert 60 <= found.time.now < 61


def test_drain_pod_that_does_not_end() -> None:
    found = scene(pod("a"), stays={"a"})
    with pytest.raises(DrainError) as caught:
        found.drain()
    assert [problem.startswith("n: ns/a: ") for problem in caught.value.problems] == [True]
    assert found.cluster.asked == ["a"]


def test_drain_pod_seen_only_at_the_end() -> None:
    found = scene(pod("a"), stays={"a"})

    def bind() -> None:
        if found.time.now >= 60:
            found.cluster.pods = {"late": pod("late")}

    found.time.on_pause = bind
    with pytest.raises(DrainError) as caught:
        found.drain()
    assert [problem.startswith("n: ns/late: ") for problem in caught.value.problems] == [True]


@pytest.mark.parametrize(
    ("stuck", "reason"),
    [
        (pod("s", owner="DaemonSet"), "DaemonSet/o"),
        (pod("s", tolerations=[{"operator": "Exists"}]), "node.kubernetes.io/unschedulable"),
    ],
)
def test_drain_refuses_before_any_write(stuck: dict[str, Any], reason: str) -> None:
    found = scene(pod("a"), stuck)
    with pytest.raises(DrainError, match=reason):
        found.drain()
    assert found.cluster.asked == []
    assert found.cluster.nodes["n"] == node()


def test_drain_without_credentials_fails_at_once() -> None:
    found = scene(pod("a"), refusals={"a": [refusal(401, "no")]})
    with pytest.raises(ClusterError, match="401"):
        found.drain()
    assert found.time.now == 0
    assert found.cluster.cordoned() == {}


@pytest.mark.parametrize("status", [409, 500, 0])
def test_cordon_tries_again(status: int) -> None:
    found = scene(faults=[refusal(status)] * 5)
    found.drainer.cordon(["n", "gone"])
    assert found.cluster.cordoned() == {"n": True}


@pytest.mark.parametrize(("status", "tries"), [(409, 6), (403, 1)])
def test_cordon_gives_up(status: int, tries: int) -> None:
    found = scene(faults=[refusal(status)] * 9)
    with pytest.raises(ClusterError, match=rf"^n\b.*{status}"):
        found.drainer.cordon(["n"])
    assert len(found.cluster.faults) == 9 - tries


def test_drain_says_when_uncordoning_fails_too() -> None:
    found = scene(nodes=(node(marked=True, cordoned=True),), faults=[refusal(403)] * 9)
    found.cluster.pods = {"a": pod("a")}
    found.cluster.refusals = {"a": [refusal(401, "no")]}
    with pytest.raises(DrainError) as caught:
        found.drain()
    drained, uncordoned = str(caught.value).splitlines()
    assert mentions(drained, "401")
    assert mentions(uncordoned, "n ", "uncordon", "403")


@pytest.mark.parametrize("one_by_one", [200, 1])
def test_drain_watches_instead_of_listing_again(
    one_by_one: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long a pod takes to end: a list before the cordon, one to watch from, a last one."""
    monkeypatch.setattr(gpu_pods, "ONE_BY_ONE", one_by_one)
    api = FakeApi()
    for name in ("n", "m"):
        api.put(f"{NODES}/{name}", {"spec": {}})
    for name, where in (("slow", "n"), ("quick", "m"), ("other", "k")):
        api.put(f"{PODS}/{name}", pod(name, where))
    slow = api.objects[f"{PODS}/slow"]
    slow["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    ending = threading.Timer(1.5, api.drop, [f"{PODS}/slow"])
    ending.start()
    evicted = Drainer(api.cluster, 20, lambda _line: None).drain(["n", "m"], list)
    ending.join()
    api.hang_up()
    assert [each.name for each in evicted] == ["quick"]
    assert f"{PODS}/other" in api.objects
    lists_of_nodes = 2 if one_by_one > 1 else 1
    assert api.requests.count("GET /api/v1/pods") == 3 * lists_of_nodes + 1  # and the watch


def test_drain_that_may_not_watch_fails_and_uncordons() -> None:
    api = FakeApi(fault=lambda method, _path: 403 if method == "WATCH" else 0)
    api.put(f"{NODES}/n", {"spec": {}})
    api.put(f"{PODS}/slow", pod("slow"))
    api.objects[f"{PODS}/slow"]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    with pytest.raises(ClusterError, match="injected 403"):
        Drainer(api.cluster, 20, lambda _line: None).drain(["n"], list)
    assert "unschedulable" not in api.objects[f"{NODES}/n"]["spec"]


@pytest.mark.parametrize("lost_at", [0, 1, 2])
def test_run_that_has_lost_its_lease_neither_evicts_nor_uncordons(lost_at: int) -> None:
    """Checked before the cordon, each round of evictions, and the removal of the cordon."""
    found = scene(pod("a"), refusals={"a": [refusal(401, "no")]})
    checks = []

    def check() -> None:
        checks.append(1)
        if len(checks) > lost_at:
            raise LeaseError("lost")

    drainer = replace(found.drainer, check=check)
    with pytest.raises(LeaseError):
        drainer.drain(["n"], list)
    assert found.cluster.cordoned() == ({"n": True} if lost_at else {})
    assert found.cluster.asked == (["a"] if lost_at == 2 else [])
