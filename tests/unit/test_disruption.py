# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods hold slots, which of them a profile disrupts, and which quotas it bypasses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.disruption import (
    Disruption,
    Hazard,
    disruption_table,
    find_disruptions,
    mig_disruptions,
    pods_of,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.pods import GpuPod, gpu_pods
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.quotas import (
    BypassedQuota,
    bypassed_quotas,
)
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
MIXED = parse_profile("mixed", {"resources": [{"name": MIG, "replicas": 2}]})
POD = GpuPod("ns", "p", "u", "n", "", False, False, {GPU: 1}, "Running", False)


def container(amount: object = None, resource: str = GPU, **more: str) -> dict[str, Any]:
    return {**more, "resources": {"requests": {resource: amount, "cpu": "1"} if amount else {}}}


def document(
    *containers: dict[str, Any],
    init: tuple[dict[str, Any], ...] = (),
    node: str = "n",
    phase: str = "Running",
    **metadata: Any,
) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "ns", "name": "p", "uid": "u", **metadata},
        "spec": {"nodeName": node, "containers": list(containers), "initContainers": list(init)},
        "status": {"phase": phase},
    }


def owned(kind: str, name: str, *, controller: bool = True) -> list[dict[str, object]]:
    return [{"kind": "Node", "name": "x"}, {"kind": kind, "name": name, "controller": controller}]


SIDECAR = {"restartPolicy": "Always"}


@pytest.mark.parametrize(
    ("found", "requests"),
    [
        pytest.param(document(container("2")), {GPU: 2}, id="one container"),
        pytest.param(document(container("2"), container("1")), {GPU: 3}, id="a sum"),
        pytest.param(
            document(container("2"), container("1", MIG)), {GPU: 2, MIG: 1}, id="two resources"
        ),
        pytest.param(
            document({"resources": {"limits": {GPU: "2"}}}), {GPU: 2}, id="limits are requests"
        ),
        pytest.param(
            document(container("1"), init=(container("3"), container("2"))),
            {GPU: 3},
            id="an init container that needs more",
        ),
        pytest.param(
            document(container("2"), init=(container("1", **SIDECAR), container("1"))),
            {GPU: 3},
            id="side-car and container",
        ),
        pytest.param(
            document(container("1"), init=(container("1", **SIDECAR), container("4"))),
            {GPU: 5},
            id="init container beside a side-car",
        ),
        pytest.param(
            document(container("1"), init=(container("4"), container("1", **SIDECAR))),
            {GPU: 4},
            id="init container before a side-car",
        ),
        pytest.param(document(container("1"), phase="Pending"), {GPU: 1}, id="bound, Pending"),
    ],
)
def test_gpu_pods_requests(found: dict[str, Any], requests: dict[str, int]) -> None:
    assert [pod.requests for pod in gpu_pods([found])] == [requests]


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(document(container()), id="no GPU"),
        pytest.param(document(container("0")), id="zero GPUs"),
        pytest.param(document(container("1", "amd.com/gpu")), id="another vendor's"),
        pytest.param(document(container("1"), node=""), id="not bound"),
        pytest.param(document(container("1"), phase="Succeeded"), id="Succeeded"),
        pytest.param(document(container("1"), phase="Failed"), id="Failed"),
        pytest.param({}, id="nothing at all"),
    ],
)
def test_gpu_pods_left_out(found: dict[str, Any]) -> None:
    assert gpu_pods([found]) == []


@pytest.mark.parametrize(
    ("metadata", "owner", "daemon"),
    [
        pytest.param({}, "", False, id="none"),
        pytest.param(
            {"ownerReferences": owned("Job", "j", controller=False)}, "", False, id="no controller"
        ),
        pytest.param({"ownerReferences": owned("Job", "j")}, "Job/j", False, id="Job"),
        pytest.param(
            {"ownerReferences": owned("DaemonSet", "d")}, "DaemonSet/d", True, id="daemon"
        ),
        pytest.param({"ownerReferences": owned("Node", "n")}, "Node/n", True, id="static pod"),
        pytest.param(
            {
                "ownerReferences": owned("ReplicaSet", "web-a1"),
                "labels": {"pod-template-hash": "a1"},
            },
            "Deployment/web",
            False,
            id="Deployment",
        ),
        pytest.param(
            {
                "ownerReferences": owned("ReplicaSet", "web-b2"),
                "labels": {"pod-template-hash": "a1"},
            },
            "ReplicaSet/web-b2",
            False,
            id="a hash of something else",
        ),
        pytest.param(
            {"ownerReferences": owned("ReplicaSet", "web-")},
            "ReplicaSet/web-",
            False,
            id="ReplicaSet",
        ),
    ],
)
def test_gpu_pods_owner(metadata: dict[str, Any], owner: str, daemon: bool) -> None:
    (pod,) = gpu_pods([document(container("1"), **metadata)])
    assert (pod.owner, pod.daemon) == (owner, daemon)


@pytest.mark.parametrize(
    ("toleration", "tolerant"),
    [
        ({"operator": "Exists"}, True),
        ({"operator": "Exists", "effect": "NoSchedule"}, True),
        ({"operator": "Exists", "effect": "NoExecute"}, False),
        ({"operator": "Exists", "key": "node.kubernetes.io/unschedulable"}, True),
        ({"operator": "Exists", "key": GPU}, False),
        ({"key": "node.kubernetes.io/unschedulable"}, True),
        ({"key": "node.kubernetes.io/unschedulable", "value": "x"}, False),
        ({"key": GPU, "value": "present", "effect": "NoSchedule"}, False),
    ],
)
def test_gpu_pods_that_tolerate_a_cordon(toleration: dict[str, str], tolerant: bool) -> None:
    found = document(container("1"))
    found["spec"]["tolerations"] = [{"key": "other", "operator": "Exists"}, toleration]
    assert [pod.tolerant for pod in gpu_pods([found])] == [tolerant]


def test_gpu_pods_leaving() -> None:
    found = document(container("1"), deletionTimestamp="2026-01-01T00:00:00Z")
    (pod,) = gpu_pods([found])
    assert pod == replace(POD, leaving=True)


def pods(count: int, resource: str = GPU, each: int = 1) -> list[GpuPod]:
    names = [f"p{number}" for number in range(count)]
    return [replace(POD, name=name, uid=name, requests={resource: each}) for name in names]


GONE, ABOVE, NOT_EXCLUSIVE = (
    Hazard.GONE_RESOURCE,
    Hazard.ABOVE_CAPACITY,
    Hazard.NOT_EXCLUSIVE,
)


@pytest.mark.parametrize(
    ("devices", "now", "before", "after", "running", "hazards"),
    [
        pytest.param({GPU: 1}, {GPU: 8}, EIGHT, SIX, pods(6), [], id="shrinks, all fit"),
        pytest.param({GPU: 1}, {GPU: 8}, EIGHT, SIX, pods(7), [ABOVE] * 7, id="shrinks, too many"),
        pytest.param(
            {GPU: 1}, {GPU: 8}, EIGHT, SIX, pods(2, each=4), [ABOVE] * 2, id="two pods, 8 slots"
        ),
        pytest.param({GPU: 1}, {GPU: 6}, SIX, EIGHT, pods(9), [], id="grows, though above"),
        pytest.param({GPU: 1}, {GPU: 6}, SIX, SIX, pods(7), [], id="above already"),
        pytest.param({GPU: 1}, {GPU: 0}, None, SIX, pods(7), [], id="plugin down, before unknown"),
        pytest.param({GPU: 1}, {GPU: 0}, EIGHT, SIX, pods(7), [ABOVE] * 7, id="plugin down"),
        pytest.param({GPU: 1}, {}, EIGHT, RENAMED, pods(1), [GONE], id="plugin down, renamed"),
        pytest.param(
            {GPU: 1}, {GPU: 7}, EIGHT, SIX, pods(7), [ABOVE] * 7, id="advertised counts, not before"
        ),
        pytest.param({GPU: 1}, {GPU: 8}, EIGHT, RENAMED, pods(1), [GONE], id="renamed"),
        pytest.param(
            {GPU: 1}, {SHARED: 4, GPU: 0}, RENAMED, SIX, pods(1, SHARED), [GONE], id="renamed back"
        ),
        pytest.param(
            {GPU: 1}, {SHARED: 4, GPU: 0}, RENAMED, SIX, pods(1), [], id="gone before already"
        ),
        pytest.param(
            {GPU: 1}, {SHARED: 4}, RENAMED, RENAMED, pods(5, SHARED), [], id="renamed, the same"
        ),
        pytest.param(
            {GPU: 2}, {GPU: 16}, EIGHT, NONE, pods(1), [NOT_EXCLUSIVE], id="room for a second pod"
        ),
        pytest.param(
            {GPU: 2}, {GPU: 16}, EIGHT, NONE, pods(2), [NOT_EXCLUSIVE] * 2, id="may be on one GPU"
        ),
        pytest.param({GPU: 2}, {GPU: 16}, EIGHT, NONE, pods(3), [ABOVE] * 3, id="three on two"),
        pytest.param({GPU: 1}, {GPU: 8}, EIGHT, NONE, pods(1), [], id="the only GPU is taken"),
        pytest.param(
            {GPU: 1}, {GPU: 8}, EIGHT, NONE, pods(2), [ABOVE] * 2, id="two on the only GPU"
        ),
        pytest.param({GPU: 2}, {GPU: 2}, NONE, NONE, pods(2), [], id="exclusive before"),
        pytest.param(
            {GPU: 0, MIG: 2}, {MIG: 4}, MIXED, NONE, pods(3, MIG), [ABOVE] * 3, id="MIG devices"
        ),
        pytest.param({MIG: 7}, {GPU: 8, MIG: 7}, None, SIX, pods(9), [], id="GPUs not known"),
        pytest.param({}, {GPU: 8}, EIGHT, SIX, pods(9), [], id="nothing known"),
        pytest.param({GPU: 1}, {GPU: 8}, EIGHT, SIX, [], [], id="no pods"),
    ],
)
def test_find_disruptions(
    devices: dict[str, int],
    now: dict[str, int],
    before: Profile | None,
    after: Profile,
    running: list[GpuPod],
    hazards: list[Hazard],
) -> None:
    node = NodeState("n", {}, {}, now)
    elsewhere = [replace(pod, node="other") for pod in pods(9)]
    found = find_disruptions(node, before, after, devices, [*reversed(running), *elsewhere])
    assert [each.hazard for each in found] == hazards
    assert [each.pod for each in found] == (running if hazards else [])
    assert len({each.text for each in found}) <= 1


def test_find_disruptions_text() -> None:
    def text(now: dict[str, int], after: Profile, running: list[GpuPod]) -> str:
        node = NodeState("n", {}, {}, now)
        return find_disruptions(node, None, after, {GPU: 2}, running)[0].text

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


@pytest.mark.parametrize(
    ("hard", "found"),
    [
        ({"requests.nvidia.com/gpu": "4"}, True),
        ({"nvidia.com/gpu": "4"}, True),
        ({"requests.nvidia.com/gpu": "4", "nvidia.com/gpu": "4"}, True),
        ({"requests.nvidia.com/gpu": "4", "requests.nvidia.com/gpu.shared": "4"}, False),
        ({"requests.nvidia.com/gpu.shared": "4"}, False),
        ({"requests.cpu": "4"}, False),
        ({}, False),
    ],
)
def test_bypassed_quotas(hard: dict[str, str], found: bool) -> None:
    quota = {"metadata": {"namespace": "ns", "name": "q"}, "spec": {"hard": hard}}
    expected = [BypassedQuota("ns", "q", GPU, SHARED)] if found else []
    assert bypassed_quotas([quota], {GPU: SHARED}) == expected
    assert bypassed_quotas([quota], {}) == []


def test_bypassed_quota_text() -> None:
    text = BypassedQuota("ns", "q", GPU, SHARED).text
    assert mentions(text, "ResourceQuota q ", " ns ", GPU, f"requests.{SHARED}")
