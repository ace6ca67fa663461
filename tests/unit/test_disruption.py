# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods a profile disrupts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.disruption import (
    Disruption,
    Hazard,
    disruption_table,
    find_disruptions,
    may_disrupt,
    mig_disruptions,
    pods_of,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.pods import GpuPod
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.model import Profile
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    parse_profile,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions, numbers

GPU = "nvidia.com/gpu"
SHARED = "nvidia.com/gpu.shared"
MIG = "nvidia.com/mig-1g.5gb"
NONE = Profile("none")
SIX = parse_profile("six", {"replicas": 6})
EIGHT = parse_profile("eight", {"replicas": 8})
RENAMED = parse_profile("renamed", {"replicas": 4, "rename_by_default": True})
POD = GpuPod("ns", "p", "u", "n", "", False, False, {GPU: 1}, "Running", False)


def pods(count: int, resource: str = GPU, each: int = 1) -> list[GpuPod]:
    names = [f"p{number}" for number in range(count)]
    return [replace(POD, name=name, uid=name, requests={resource: each}) for name in names]


GONE, ABOVE, NOT_EXCLUSIVE = (
    Hazard.GONE_RESOURCE,
    Hazard.ABOVE_CAPACITY,
    Hazard.NOT_EXCLUSIVE,
)


@pytest.mark.parametrize(
    ("devices", "now", "after", "running", "hazards"),
    [
        pytest.param({GPU: 1}, {GPU: 8}, SIX, pods(6), [], id="shrinks, all fit"),
        pytest.param({GPU: 1}, {GPU: 8}, SIX, pods(7), [ABOVE] * 7, id="shrinks, too many"),
        pytest.param({GPU: 1}, {GPU: 8}, SIX, pods(2, each=4), [ABOVE] * 2, id="two pods, 8 slots"),
        pytest.param({GPU: 1}, {GPU: 6}, EIGHT, pods(9), [], id="grows, though above"),
        pytest.param({GPU: 1}, {GPU: 6}, SIX, pods(7), [], id="above already"),
        pytest.param({GPU: 1}, {GPU: 0}, SIX, pods(6), [], id="plugin down, all fit"),
        pytest.param({GPU: 1}, {GPU: 0}, SIX, pods(7), [ABOVE] * 7, id="plugin down"),
        pytest.param({GPU: 1}, {}, RENAMED, pods(1), [GONE], id="plugin down, renamed"),
        pytest.param({GPU: 2}, {}, NONE, pods(2), [], id="plugin down, unknown before"),
        pytest.param({GPU: 1}, {GPU: 8}, RENAMED, pods(1), [GONE], id="renamed"),
        pytest.param(
            {GPU: 1}, {SHARED: 4, GPU: 0}, SIX, pods(1, SHARED), [GONE], id="renamed back"
        ),
        pytest.param({GPU: 1}, {SHARED: 4, GPU: 0}, SIX, pods(1), [], id="gone before already"),
        pytest.param({GPU: 1}, {SHARED: 4}, RENAMED, pods(5, SHARED), [], id="renamed, the same"),
        pytest.param(
            {GPU: 2}, {GPU: 16}, NONE, pods(1), [NOT_EXCLUSIVE], id="room for a second pod"
        ),
        pytest.param(
            {GPU: 2}, {GPU: 16}, NONE, pods(2), [NOT_EXCLUSIVE] * 2, id="may be on one GPU"
        ),
        pytest.param({GPU: 2}, {GPU: 16}, NONE, pods(3), [ABOVE] * 3, id="three on two"),
        pytest.param({GPU: 1}, {GPU: 8}, NONE, pods(1), [], id="the only GPU is taken"),
        pytest.param({GPU: 1}, {GPU: 8}, NONE, pods(2), [ABOVE] * 2, id="two on the only GPU"),
        pytest.param({GPU: 2}, {GPU: 2}, NONE, pods(2), [], id="exclusive before"),
        pytest.param({GPU: 0, MIG: 2}, {MIG: 4}, NONE, pods(3, MIG), [ABOVE] * 3, id="MIG devices"),
        pytest.param({MIG: 7}, {GPU: 8, MIG: 7}, SIX, pods(9), [], id="GPUs not known"),
        pytest.param({}, {GPU: 8}, SIX, pods(9), [], id="nothing known"),
        pytest.param({GPU: 1}, {GPU: 8}, SIX, [], [], id="no pods"),
    ],
)
def test_find_disruptions(
    devices: dict[str, int],
    now: dict[str, int],
    after: Profile,
    running: list[GpuPod],
    hazards: list[Hazard],
) -> None:
    node = NodeState("n", {}, {}, now)
    elsewhere = [replace(pod, node="other") for pod in pods(9)]
    found = find_disruptions(node, after, devices, [*reversed(running), *elsewhere])
    assert [each.hazard for each in found] == hazards
    assert [each.pod for each in found] == (running if hazards else [])
    assert len({each.text for each in found}) <= 1


@pytest.mark.parametrize(
    ("devices", "now", "before", "after", "running", "hazards"),
    [
        pytest.param({GPU: 1}, {}, EIGHT, SIX, pods(7), [ABOVE] * 7, id="too many"),
        pytest.param({GPU: 1}, {}, EIGHT, SIX, pods(6), [], id="all fit"),
        pytest.param({GPU: 1}, {GPU: 0}, EIGHT, EIGHT, pods(8), [], id="repair, no change"),
        pytest.param({GPU: 1}, {}, EIGHT, RENAMED, pods(1), [GONE], id="renamed"),
        pytest.param({GPU: 2}, {}, EIGHT, NONE, pods(2), [NOT_EXCLUSIVE] * 2, id="ends sharing"),
        pytest.param({GPU: 2}, {}, NONE, NONE, pods(2), [], id="exclusive before"),
        pytest.param(
            {GPU: 2}, {GPU: 8}, EIGHT, SIX, pods(16), [ABOVE] * 16, id="one device unhealthy"
        ),
        pytest.param(
            {GPU: 2, MIG: 2}, {GPU: 16}, EIGHT, NONE, pods(3, MIG), [ABOVE] * 3, id="MIG down"
        ),
    ],
)
def test_find_disruptions_while_less_is_advertised_than_meant(
    devices: dict[str, int],
    now: dict[str, int],
    before: Profile,
    after: Profile,
    running: list[GpuPod],
    hazards: list[Hazard],
) -> None:
    node = NodeState("n", {}, {}, now)
    found = find_disruptions(node, after, devices, running, before)
    assert [each.hazard for each in found] == hazards
    assert may_disrupt(node, after, devices, before) or not hazards


def test_find_disruptions_text() -> None:
    def text(now: dict[str, int], after: Profile, running: list[GpuPod]) -> str:
        node = NodeState("n", {}, {}, now)
        return find_disruptions(node, after, {GPU: 2}, running)[0].text

    fewer = text({GPU: 16}, SIX, pods(13))
    assert mentions(fewer, GPU)
    assert numbers(fewer) == [12, 13]
    assert mentions(text({GPU: 16}, RENAMED, pods(1)), GPU)
    assert mentions(text({GPU: 16}, NONE, pods(1)), GPU)


def test_mig_disruptions_names_every_pod_by_node() -> None:
    running = [replace(pod, node=node) for node in ("n2", "n1") for pod in pods(2)]
    found = mig_disruptions(running)
    assert [(each.pod.node, each.pod.name) for each in found] == [
        ("n1", "p0"),
        ("n1", "p1"),
        ("n2", "p0"),
        ("n2", "p1"),
    ]
    assert {each.hazard for each in found} == {Hazard.MIG}


def test_pods_of_names_each_once() -> None:
    both = Disruption(POD, ABOVE, "a"), Disruption(POD, GONE, "b")
    assert pods_of(both) == [POD]


def test_disruption_table_groups_by_node_and_owner() -> None:
    web = [replace(pod, owner="Deployment/web") for pod in pods(3)]
    found = [Disruption(pod, ABOVE, "bad") for pod in [*web, replace(POD, node="m", name="lone")]]
    assert [line.split() for line in disruption_table(found)[2:]] == [
        ["m", "ns", "Pod/lone", "1", "bad"],
        ["n", "ns", "Deployment/web", "3", "bad"],
    ]


@pytest.mark.parametrize(("count", "lines", "last"), [(20, 22, "bad"), (23, 23, " 3 ")])
def test_disruption_table_is_cut(count: int, lines: int, last: str) -> None:
    table = disruption_table([Disruption(pod, ABOVE, "bad") for pod in pods(count)])
    assert len(table) == lines
    assert mentions(table[-1], last)
