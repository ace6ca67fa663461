# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods hold slots, how many, and who owns them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.pods import GpuPod, gpu_pods

GPU = "nvidia.com/gpu"
MIG = "nvidia.com/mig-1g.5gb"
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
