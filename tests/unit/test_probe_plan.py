# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to probe: nodes, free slots, and the expected answer to a request of two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import FleetError
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.pods import GpuPod
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.taints import Taint
from ansible_collections.gpufleet.sharing.plugins.module_utils._probe.plan import (
    Candidate,
    ProbeNode,
    ProbeOutcome,
    ProbeResult,
    ProbeTarget,
    TwoSlots,
    choose,
    obstacle,
    probe_table,
    probe_verdict,
    read_node,
    requested,
    row,
    targets,
    two_slots_by_profile,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.model import Profile
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    checked_profiles,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions, numbers

GPU = "nvidia.com/gpu"
NODE = NodeState("n", labels={"nvidia.com/gpu.count": "2"}, allocatable={GPU: 8})
PROBE_NODE = ProbeNode(NODE)
TAINT = Taint("nvidia.com/gpu", "present", "NoSchedule")


def profile(name: str = "p", **settings: Any) -> Profile:
    return checked_profiles({name: settings})[name]


FOUR = profile(replicas=4)


def of(
    node: ProbeNode | None = PROBE_NODE, used: int = 0, most: int = 16, hindrance: str = ""
) -> ProbeTarget:
    (target,) = targets(Candidate("n", FOUR), node, {GPU: used}, most, hindrance)
    return target


@pytest.mark.parametrize(
    ("used", "most", "pods", "free", "rest"),
    [(0, 16, 8, 8, 1), (5, 16, 3, 3, 1), (7, 16, 1, 1, 1), (0, 3, 3, 8, 6)],
)
def test_free_slots_are_those_that_the_profile_promises_less_those_in_use(
    used: int, most: int, pods: int, free: int, rest: int
) -> None:
    target = of(used=used, most=most)
    assert (target.pods, target.free, target.rest) == (pods, free, rest)
    assert (target.expected, target.allocatable, target.physical) == (8, 8, 2)
    assert target.can_try_two is (free >= 2)


def test_what_a_node_advertises_decides_nothing() -> None:
    lies = ProbeNode(replace(NODE, allocatable={GPU: 3}))
    assert (of(lies).pods, of(lies).allocatable) == (8, 3)


@pytest.mark.parametrize(
    ("target", "facts"),
    [
        (of(used=8), ("busy", "8", GPU)),
        (of(used=9), ("busy", "8", GPU)),
        (of(hindrance="cordoned"), ("cordoned",)),
        (of(None, hindrance="why"), ("why",)),
        (of(ProbeNode(replace(NODE, labels={}))), ("nvidia.com/gpu.count",)),
        (of(ProbeNode(replace(NODE, labels={"nvidia.com/gpu.count": "0"}))), ("GPU",)),
    ],
)
def test_node_that_is_not_probed_says_why(target: ProbeTarget, facts: tuple[str, ...]) -> None:
    assert mentions(target.skipped, *facts)
    assert (target.pods, target.can_try_two) == (0, False)
    assert ProbeResult(target).outcome is ProbeOutcome.SKIPPED


def test_only_slot_in_use() -> None:
    candidate = Candidate("n", profile(replicas=1), gpus=1)
    (target,) = targets(candidate, ProbeNode(replace(NODE, labels={})), {GPU: 1}, 16, "")
    assert mentions(target.skipped, "busy", GPU)


def test_each_mig_resource_is_probed_by_itself() -> None:
    labels = {
        "nvidia.com/mig.strategy": "mixed",
        "nvidia.com/mig-1g.5gb.count": "7",
        "nvidia.com/mig-2g.10gb.count": "3",
    }
    shared = [{"name": "nvidia.com/mig-1g.5gb", "replicas": 2}]
    candidate = Candidate("n", profile(resources=shared, rename_by_default=True))
    state = NodeState("n", labels=labels)
    used = {"nvidia.com/mig-2g.10gb": 1}
    found = targets(candidate, ProbeNode(state), used, 16, "")
    assert [(t.resource, t.expected, t.pods, t.two) for t in found] == [
        ("nvidia.com/mig-1g.5gb.shared", 14, 14, TwoSlots.REFUSED),
        ("nvidia.com/mig-2g.10gb", 3, 2, TwoSlots.ADMITTED),
    ]


@pytest.mark.parametrize(
    ("settings", "two"),
    [
        ({"replicas": 4}, TwoSlots.REFUSED),
        ({"replicas": 4, "fail_requests_greater_than_one": False}, TwoSlots.ADMITTED),
        ({"replicas": 1}, TwoSlots.ADMITTED),
        ({"replicas": 4, "strategy": "mps"}, TwoSlots.REFUSED),
        (
            {"replicas": 4, "strategy": "mps", "fail_requests_greater_than_one": False},
            TwoSlots.EITHER,
        ),
    ],
)
def test_request_of_two(settings: dict[str, Any], two: TwoSlots) -> None:
    assert two_slots_by_profile(profile(**settings), GPU) is two


def test_toleration_removes_the_obstacle() -> None:
    node = ProbeNode(NODE, taints=(TAINT,))
    toleration = {"key": "nvidia.com/gpu", "operator": "Exists"}
    assert mentions(obstacle(node, [{"key": "other"}]), "nvidia.com/gpu=present:NoSchedule")
    assert obstacle(node, [toleration]) == ""


@pytest.mark.parametrize(
    ("node", "facts"),
    [
        (None, ("cluster",)),
        (ProbeNode(replace(NODE, ready=False)), ("NotReady",)),
        (ProbeNode(NODE, cordoned=True), ("cordoned",)),
        (ProbeNode(NODE, taints=(Taint("a", "", "PreferNoSchedule"),)), ()),
        (ProbeNode(NODE, taints=(Taint("a", "", "NoExecute"),)), ("taint", "a:NoExecute")),
        (PROBE_NODE, ()),
    ],
)
def test_obstacle(node: ProbeNode | None, facts: tuple[str, ...]) -> None:
    reason = obstacle(node, [])
    assert bool(reason) is bool(facts)
    assert mentions(reason, *facts)


def test_read_node() -> None:
    taint = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    spec = {"unschedulable": True, "taints": [taint]}
    document = {"metadata": {"name": "n"}, "spec": spec, "status": {}}
    node = read_node(document)
    assert (node.state.name, node.cordoned, node.taints) == ("n", True, (TAINT,))


def test_requests_are_summed_by_node() -> None:
    pod = GpuPod("ns", "p", "u", "n", "", False, False, {GPU: 2}, "Running", False)
    found = requested([pod, replace(pod, node="m"), pod])
    assert found == {"n": {GPU: 4}, "m": {GPU: 2}}


def target(node: str, profile_: str = "p", free: int = 0, skipped: str = "") -> list[ProbeTarget]:
    return [ProbeTarget(node, profile_, expected=free, pods=free, skipped=skipped)]


FOUND = {
    "a": target("a", free=2),
    "b": target("b", free=8),
    "c": target("c", free=8),
    "d": target("d", "q", skipped="busy"),
    "e": target("e", "q", skipped="cordoned"),
}


@pytest.mark.parametrize(
    ("names", "per_profile", "chosen"),
    [
        ([], 1, ["b", "d"]),
        ([], 2, ["b", "c", "d"]),
        ([], 0, ["a", "b", "c", "d", "e"]),
        (["e", "a", "a"], 1, ["a", "e"]),
    ],
)
def test_choice(names: list[str], per_profile: int, chosen: list[str]) -> None:
    assert [t.node for t in choose(FOUND, names, per_profile)] == chosen


def test_choice_of_a_node_that_is_not_there() -> None:
    with pytest.raises(FleetError, match="x, z"):
        choose(FOUND, ["z", "a", "x"], 1)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, "planned"),
        ({"ran": 8}, "passed"),
        ({"ran": 8, "busy": ["b"]}, "busy: b"),
        ({"ran": 7, "failed": ["x", "y"], "busy": ["b"]}, "failed: x; y"),
    ],
)
def test_outcome(changes: dict[str, Any], outcome: str) -> None:
    report = ProbeResult(of(), **changes)
    told = f"{report.outcome.value}: {report.reason}" if report.reason else report.outcome.value
    assert told == outcome


def test_row_and_table() -> None:
    seen: dict[str, tuple[str, ...]] = {"p1": ("GPU-b",), "p2": ("GPU-a",), "p3": ("GPU-b",)}
    rows: list[Mapping[str, object]] = [
        row(ProbeResult(of(used=2), ran=6, more="waits", two="refused", seen=seen)),
        row(ProbeResult(of(used=8))),
    ]
    assert rows[0]["gpus"] == {"GPU-a": 1, "GPU-b": 2}
    lines = probe_table(rows)
    assert lines[2].split() == (
        ["n", "p", GPU, "6", "6", "6", "waits", "refused", "2", "(1+2", "pods)", "passed"]
    )
    assert lines[3].endswith(f"skipped: {of(used=8).skipped}")


@pytest.mark.parametrize(
    ("results", "figures", "named"),
    [
        ([], [0], ()),
        ([{}, {"node": "b"}], [2], ()),
        ([{}, {"node": "b", "busy": ["x"]}], [1], ("b",)),
        ([{}, {"node": "b", "failed": ["x"]}, {"node": "b"}], [1, 2], ("b",)),
    ],
)
def test_verdict_of_a_probe(
    results: list[dict[str, Any]], figures: list[float], named: tuple[str, ...]
) -> None:
    """Nodes that passed, or those that failed and all of them; not the resources of nodes."""
    found = [
        ProbeResult(
            ProbeTarget(each.get("node", "a"), "p", expected=1, pods=1),
            failed=each.get("failed", []),
            busy=each.get("busy", []),
            ran=1,
        )
        for each in results
    ]
    text = probe_verdict(found)
    assert numbers(text) == figures
    assert mentions(text, *named)
