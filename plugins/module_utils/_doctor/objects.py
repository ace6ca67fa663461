# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: reads objects of the Kubernetes API into the values of a snapshot. Pure."""

from __future__ import annotations

from .._common.documents import (
    dig,
    entries_with_prefix,
    last_change,
    list_at,
    mapping_at,
    name_of,
    read_time,
    text_at,
)
from .._nodes.mig import STATE_LABEL, is_busy
from .._nodes.operands import OPERAND_APPS, operand_pod
from .._nodes.pods import requested_slots, why_unscheduled
from .._nodes.state import node_resources, node_state
from .._nodes.taints import taints_of
from .._profiles.model import RESOURCE_PREFIX
from .snapshot import (
    AUTOSCALER,
    DRIVER,
    GKE_PLUGIN,
    HAMI,
    KARPENTER,
    OTHER_PLUGIN,
    TOOLKIT,
    ForeignPod,
    NodeView,
    Operand,
    Quota,
    Workload,
)

# Prefixes of the label app of what has to run before the plugin. The driver of an NVIDIADriver has
# the component label instead.
_BEFORE_PLUGIN = (
    ("nvidia-driver-daemonset", DRIVER),
    ("nvidia-container-toolkit-daemonset", TOOLKIT),
)
_COMPONENT = "app.kubernetes.io/component"
# HAMi's device plugin registers GPUs in this annotation of the node (Project-HAMi/HAMi).
_HAMI_REGISTER = "hami.io/node-nvidia-register"
# KAI: a pod requests a fraction by one of these annotations, and a pod in one of these namespaces
# reserves the GPU for it (kai-scheduler/KAI-Scheduler, docs/gpu-sharing; the second name was used
# before v0.6).
_KAI_FRACTIONS = ("gpu-fraction", "gpu-memory")
_KAI_NAMESPACES = ("kai-resource-reservation", "runai-reservation")
# Ends of image names. k8s-device-plugin is NVIDIA's, from its manifests or chart;
# nvidia-gpu-device-plugin is GKE's. Karpenter's is public.ecr.aws/karpenter/controller.
_IMAGES = {
    "hami": HAMI,
    "k8s-device-plugin": OTHER_PLUGIN,
    "nvidia-gpu-device-plugin": GKE_PLUGIN,
    "cluster-autoscaler": AUTOSCALER,
    "karpenter/controller": KARPENTER,
}
_MIG_STATE = ("f:metadata", "f:labels", f"f:{STATE_LABEL}")  # in managedFields
_KUBERNETES_TAINTS = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")


def node_view(document: object) -> NodeView:
    annotations = dig(document, "metadata", "annotations")
    state = node_state(document)
    return NodeView(
        state=state,
        capacity=node_resources(document, "capacity"),
        cordoned=dig(document, "spec", "unschedulable") is True,
        taints=tuple(
            taint
            for taint in taints_of(document)
            if taint.repels and not taint.key.startswith(_KUBERNETES_TAINTS)
        ),
        hami=isinstance(annotations, dict) and _HAMI_REGISTER in annotations,
        mig_state_since=read_time(last_change(document, *_MIG_STATE)) if is_busy(state) else None,
    )


def read_pod(document: object, namespace: str) -> Operand | Workload | ForeignPod | None:
    """A pod that matters to the doctor, else None. namespace is the operator's."""
    if text_at(document, "metadata", "namespace") == namespace and (kind := _kind(document)):
        return Operand(operand_pod(document), kind, _blocked(document))
    if foreign_pod := _foreign_pod(document):
        return foreign_pod
    work = _workload(document)
    return work if work.kai or work.requests else None


def _kind(document: object) -> str:
    labels = mapping_at(document, "metadata", "labels")
    app = labels.get("app", "")
    if app in OPERAND_APPS:
        return app
    if labels.get(_COMPONENT) == "nvidia-driver":
        return DRIVER
    return next((kind for start, kind in _BEFORE_PLUGIN if app.startswith(start)), "")


def _blocked(document: object) -> str:
    """The init container that is running."""
    statuses = list_at(document, "status", "initContainerStatuses")
    running = (status for status in statuses if dig(status, "state", "running") is not None)
    return text_at(next(running, None), "name")


def _foreign_pod(document: object) -> ForeignPod | None:
    for container in list_at(document, "spec", "containers"):
        *folders, name = text_at(container, "image").partition("@")[0].split("/")
        name = name.partition(":")[0]
        if kind := _IMAGES.get("/".join((*folders[-1:], name))) or _IMAGES.get(name):
            return ForeignPod(
                kind=kind,
                namespace=text_at(document, "metadata", "namespace"),
                name=name_of(document),
                node=text_at(document, "spec", "nodeName"),
            )
    return None


def _workload(document: object) -> Workload:
    state = operand_pod(document)
    annotations = mapping_at(document, "metadata", "annotations")
    by_kai = any(name in annotations for name in _KAI_FRACTIONS)
    return Workload(
        namespace=state.namespace,
        name=state.name,
        node=state.node,
        phase=text_at(document, "status", "phase"),
        requests=requested_slots(document),
        reason=text_at(document, "status", "reason"),
        message=text_at(document, "status", "message") or why_unscheduled(document),
        waits_for=state.waits_for,
        crashes=state.crashes,
        kai=by_kai or state.namespace in _KAI_NAMESPACES,
    )


def read_quota(document: object) -> Quota:
    limits = {
        key.removeprefix("requests.").removeprefix("limits."): quantity
        for key, quantity in mapping_at(document, "spec", "hard").items()
    }
    return Quota(
        namespace=text_at(document, "metadata", "namespace"),
        name=name_of(document),
        limits=entries_with_prefix(limits, RESOURCE_PREFIX),
    )
