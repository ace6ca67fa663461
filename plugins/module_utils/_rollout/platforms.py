# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: nodes whose GPUs something else than the operator's device plugin hands out, so that
profiles cannot share them. The doctor explains each (GS057 to GS062). Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .._common.text import some
from .._nodes.platform import (
    DAS_PREFIX,
    GKE_WITHOUT_PLUGIN,
    GPUSTACK_PREFIXES,
    has_gke_plugin,
    resource_of,
    vm_workload,
)
from .._nodes.state import NodeState

_OUT = "take the nodes out of the inventory"


def claimed_nodes(
    nodes: Mapping[str, NodeState],
    policy: object | None,
    dra_nodes: Collection[str],
    *,
    installed: bool,
) -> list[str]:
    """Which nodes, by whom, and what to do; empty where all are free. policy is the ClusterPolicy
    that the operator uses, installed whether its device plugin or a ClusterPolicy is there.
    """
    found: dict[str, list[str]] = {}
    for name, node in sorted(nodes.items()):
        if said := _claimed(node, policy, offered=name in dra_nodes, installed=installed):
            found.setdefault(said, []).append(name)
    return [f"Nodes {some(names)}: {said}" for said, names in found.items()]


def _claimed(node: NodeState, policy: object | None, *, offered: bool, installed: bool) -> str:
    if workload := vm_workload(node.labels, policy):
        return (
            f"the GPU Operator runs the workload {workload} there (virtual machines), and no device"
            f" plugin. Please {_OUT}, or set their label nvidia.com/gpu.workload.config to"
            " container (GS057)."
        )
    if has_gke_plugin(node.labels):
        return (
            "GKE runs its own device plugin there. Set the label"
            f" {GKE_WITHOUT_PLUGIN}=true on the nodes and in their node pool, or {_OUT} (GS058)."
        )
    if resource := resource_of(node.allocatable, DAS_PREFIX):
        return (
            f"OpenShift's Dynamic Accelerator Slicer partitions their GPUs ({resource}). Uninstall"
            f" it, or {_OUT} (GS061)."
        )
    if resource := resource_of(node.allocatable, *GPUSTACK_PREFIXES):
        return f"another operator shares their GPUs ({resource}). Remove it, or {_OUT} (GS062)."
    if offered:
        return (
            "NVIDIA's DRA driver offers their GPUs, too (ResourceSlices of gpu.nvidia.com). Set its"
            f" Helm value resources.gpus.enabled to false, or {_OUT} (GS060)."
        )
    return "" if installed else _on_the_host(node)


def _on_the_host(node: NodeState) -> str:
    """GPUs of a node before any device plugin of the operator is there."""
    if not node.ready or not node.gpu_slots:
        return ""
    resource = min(node.gpu_slots)
    return (
        f"they have {resource} although no GPU Operator is there: another device plugin, or one of"
        f" the node image, advertises it. Remove it and run again a minute later, or {_OUT} (GS036,"
        " GS059)."
    )
