# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: who else hands out the GPUs of a node, as its labels and resources show. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from .._common.documents import dig, text_at

WORKLOAD_LABEL = "nvidia.com/gpu.workload.config"
CONTAINER, *VM_WORKLOADS = ("container", "vm-passthrough", "vm-vgpu")
GKE_LABEL = "cloud.google.com/gke-accelerator"
GKE_WITHOUT_PLUGIN = "gke-no-default-nvidia-gpu-device-plugin"
KARPENTER_POOL = "karpenter.sh/nodepool"
INSTANCE_TYPE = "node.kubernetes.io/instance-type"
# Labels of nodes that are read besides NVIDIA's.
PLATFORM_LABELS = (GKE_LABEL, GKE_WITHOUT_PLUGIN, KARPENTER_POOL, INSTANCE_TYPE)
# Resources of the Dynamic Accelerator Slicer (openshift/instaslice-operator) and of GPUStack's
# operator (gpustack/gpustack-operator, docs: accelerator requests).
DAS_PREFIX = "mig.das.com/"
GPUSTACK_PREFIXES = ("nvidia.com/gpu.sliced", "nvidia.com/gpu.partitioned")


def vm_workload(labels: Mapping[str, str], policy: object | None) -> str:
    """The workload of a node for virtual machines; empty for containers. As the GPU Operator
    decides: only with sandboxWorkloads.enabled, by the label, else by defaultWorkload. Without a
    ClusterPolicy the label decides.

    Source: gpu-operator controllers/state_manager.go (getWorkloadConfig).
    """
    if policy is not None and dig(policy, "spec", "sandboxWorkloads", "enabled") is not True:
        return ""
    value = labels.get(WORKLOAD_LABEL, "")
    if value not in (CONTAINER, *VM_WORKLOADS):
        value = text_at(policy, "spec", "sandboxWorkloads", "defaultWorkload")
    return value if value in VM_WORKLOADS else ""


def has_gke_plugin(labels: Mapping[str, str]) -> bool:
    """Whether GKE runs its own device plugin on a node (GKE docs, how-to/gpu-operator)."""
    return GKE_LABEL in labels and labels.get(GKE_WITHOUT_PLUGIN) != "true"


def resource_of(resources: Mapping[str, int], *prefixes: str) -> str:
    """The first resource with one of these prefixes that there is any of; else empty."""
    return min(
        (name for name, n in resources.items() if n and name.startswith(prefixes)), default=""
    )
