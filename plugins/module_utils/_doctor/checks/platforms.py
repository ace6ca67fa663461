# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: findings GS057 to GS062: platforms and other software that hand out the same GPUs.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..._nodes.platform import (
    DAS_PREFIX,
    GPUSTACK_PREFIXES,
    has_gke_plugin,
    resource_of,
    vm_workload,
)
from ..causes import NODE_NOT_READY
from ..engine import Check, per_node
from ..snapshot import GKE_PLUGIN, PODS, POLICY, SLICES, NodeTrace, Snapshot

Values = Iterator[Mapping[str, str]]


def _vm(trace: NodeTrace, snapshot: Snapshot) -> Values:
    if workload := vm_workload(trace.state.labels, snapshot.policy):
        yield {"workload": workload}


def _gke(trace: NodeTrace, snapshot: Snapshot) -> Values:
    pods = (pod.node for pod in snapshot.foreign_pods if pod.kind == GKE_PLUGIN)
    if has_gke_plugin(trace.state.labels) or trace.node in pods:
        yield {}


def _on_the_host(trace: NodeTrace, _snapshot: Snapshot) -> Values:
    """GPUs of a node that is Ready, and no pod that could have registered them."""
    slots = trace.state.gpu_slots
    if trace.plugin is None and trace.state.ready and slots:
        resource = min(slots)
        yield {"resource": resource, "slots": str(slots[resource])}


def _dra(trace: NodeTrace, snapshot: Snapshot) -> Values:
    if trace.node in snapshot.dra_nodes:
        yield {}


def _das(trace: NodeTrace, _snapshot: Snapshot) -> Values:
    if resource := resource_of(trace.view.capacity, DAS_PREFIX):
        yield {"resource": resource}


def _gpustack(trace: NodeTrace, _snapshot: Snapshot) -> Values:
    if resource := resource_of(trace.view.capacity, *GPUSTACK_PREFIXES):
        yield {"resource": resource}


CHECKS = (
    Check(
        code="GS057",
        title="A node is for virtual machines",
        cause="workload {workload}",
        seen="{nodes}: the GPU Operator runs the workload {workload} there, not containers.",
        why="The operator runs no device plugin on such a node; its GPUs are for virtual machines."
        " A profile has no effect.",
        fix="Take the nodes out of gpu_nodes. If they should run containers, and no virtual machine"
        " uses their GPUs: `kubectl label node {nodes:q} nvidia.com/gpu.workload.config=container"
        " --overwrite`",
        find=per_node(_vm),
        follows=("GS001", "GS002"),
        reads=(POLICY,),
    ),
    Check(
        code="GS058",
        title="GKE's device plugin runs on a node",
        cause="device plugin of GKE",
        seen="{nodes}: GKE runs its own device plugin there.",
        why="It registers nvidia.com/gpu as the operator's plugin does. The last one wins, and each"
        " restart changes which one that is. GKE restores it if somebody deletes it.",
        fix="Turn it off on these nodes: `kubectl label node {nodes:q}"
        " gke-no-default-nvidia-gpu-device-plugin=true --overwrite`; and set that label in the node"
        " pool (gcloud: --node-labels), so that new nodes have it. To keep GKE's plugin, share GPUs"
        " with GKE's own settings (gcloud: gpu-sharing-strategy), and take the nodes out of"
        " gpu_nodes.",
        find=per_node(_gke),
        follows=("GS001",),
    ),
    Check(
        code="GS059",
        title="GPUs are advertised without a pod of the device plugin",
        cause="{resource} without a plugin pod",
        seen="{nodes}: {slots} {resource} are allocatable, but no pod of the device plugin runs"
        " there.",
        why="A device plugin on the host registers them, which reads no profile. Some node images"
        " bring one, such as Bottlerocket's.",
        fix="Run the doctor again in a minute: after a plugin has stopped, the number stays that"
        " long. If the finding stays, share the GPUs with the settings of the node image"
        " (Bottlerocket: settings.kubelet-device-plugins.nvidia.time-slicing), and take the nodes"
        " out of gpu_nodes; or use an image without a device plugin.",
        find=per_node(_on_the_host),
        follows=(
            *("GS001", "GS002", "GS004", "GS055", "GS034", "GS036", *NODE_NOT_READY),
            *("GS058", "GS061", "GS062"),
        ),
        reads=(PODS,),
    ),
    Check(
        code="GS060",
        title="NVIDIA's DRA driver allocates the same GPUs",
        cause="ResourceSlices of gpu.nvidia.com",
        seen="{nodes}: ResourceSlices of the driver gpu.nvidia.com offer the GPUs there.",
        why="The DRA driver and the device plugin do not know of each other: each gives the same"
        " GPU to other pods.",
        fix="Turn off the GPUs of the DRA driver in its Helm values (resources.gpus.enabled:"
        " false); its ComputeDomains may stay. Or take the nodes out of gpu_nodes, and keep the"
        " device plugin away from them: `kubectl label node {nodes:q}"
        " nvidia.com/gpu.deploy.device-plugin=false --overwrite`",
        find=per_node(_dra),
        follows=("GS001",),
        reads=(SLICES,),
    ),
    Check(
        code="GS061",
        title="The Dynamic Accelerator Slicer partitions the same GPUs",
        cause="{resource} of the Dynamic Accelerator Slicer",
        seen="{nodes}: OpenShift's Dynamic Accelerator Slicer (DAS) advertises {resource}.",
        why="DAS creates MIG devices when pods ask for them, and needs the device plugin to be off:"
        " both together allocate the same GPU.",
        fix="Take the nodes out of gpu_nodes, with spec.devicePlugin.enabled: false in the"
        " ClusterPolicy if DAS has all GPU nodes; or uninstall the DAS operator: `kubectl get"
        " daemonset -A` shows its namespace.",
        find=per_node(_das),
        follows=("GS001",),
    ),
    Check(
        code="GS062",
        title="Another operator shares the same GPUs",
        cause="{resource} of another operator",
        seen="{nodes}: {resource} is advertised, which is not of NVIDIA's device plugin. GPUStack's"
        " operator uses such names.",
        why="Two device plugins on one node allocate the same GPU twice, and may both register"
        " nvidia.com/gpu.",
        fix="Take the nodes out of gpu_nodes, or remove the other operator from them: `kubectl get"
        " daemonset -A` shows what runs on nodes.",
        find=per_node(_gpustack),
        follows=("GS001",),
    ),
)
