# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: findings GS045 to GS054, GS056, GS064: pods that use GPUs, quotas, metrics,
autoscalers, and what could not be read. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from ..._common.documents import list_at
from ..._common.text import plural, some
from ..._nodes.capacity import expected_allocatable, physical_devices
from ..._nodes.platform import INSTANCE_TYPE, KARPENTER_POOL
from ..._profiles.model import GPU_RESOURCE, SHARED_SUFFIX
from ..._provider.daemonsets import app_of, variables_of
from ..causes import PLUGIN_DOWN
from ..engine import Check, Match, Severity, per_node
from ..snapshot import (
    AUTOSCALER,
    DAEMON_SETS,
    KARPENTER,
    PODS,
    QUOTAS,
    NodeTrace,
    Snapshot,
    Workload,
)

DCGM_APP = "nvidia-dcgm-exporter"
_CANNOT_START = ("CreateContainerError", "RunContainerError")
_TOO_LARGE = "maximum request size for shared resources is 1"
_GONE = "no longer healthy"
_INSUFFICIENT = re.compile(r"Insufficient (\S+?)[.,]?(?:\s|$)")  # the scheduler's words
_CRASHES = 3
_SEVERAL = "requested more than 1 shared GPU"
_NO_SLOT = "its slot no longer exists"
_NO_DEVICE = "the kubelet got no device for it"
_REPLACEMENTS = {
    _SEVERAL: "request 1, or set fail_requests_greater_than_one: false in the profile",
    _NO_SLOT: "its replacement starts where a slot is free",
    _NO_DEVICE: "its replacement starts elsewhere",
}
_RENAME = "set rename_by_default: true in the profile of their nodes"
_NO_RENAME = "remove rename_by_default from the profile of their nodes"
Values = Iterator[Mapping[str, str]]


def _names(pod: Workload) -> dict[str, str]:
    return {"pod": str(pod), "namespace": pod.namespace, "name": pod.name}


def _above(trace: NodeTrace, _snapshot: Snapshot) -> Values:
    requested: Counter[str] = Counter()
    for pod in trace.workloads:
        requested.update(pod.requests if pod.active else {})
    for resource, count in sorted(requested.items()):
        has = trace.state.allocatable.get(resource, 0)
        if count > has:
            yield {"resource": resource, "requested": str(count), "has": str(has)}


def _rejected(trace: NodeTrace, _snapshot: Snapshot) -> Values:
    for pod in trace.workloads:
        if pod.phase == "Failed" and pod.reason == "UnexpectedAdmissionError" and pod.requests:
            reason, advice = _why_rejected(pod.message)
            yield {**_names(pod), "reason": reason, "advice": advice}


def _why_rejected(message: str) -> tuple[str, str]:
    reason = _NO_DEVICE
    if _TOO_LARGE in message:
        reason = _SEVERAL
    elif _GONE in message:
        reason = _NO_SLOT
    return reason, _REPLACEMENTS[reason]


def _cannot_start(trace: NodeTrace, _snapshot: Snapshot) -> Values:
    active = (pod for pod in trace.workloads if pod.active and pod.requests)
    if stuck := [pod for pod in active if pod.waits_for in _CANNOT_START]:
        number = plural(len(stuck), "GPU pod")
        yield {**_names(stuck[0]), "state": stuck[0].waits_for, "number": number}


def _several(trace: NodeTrace, _snapshot: Snapshot) -> Values:
    profile = trace.target.profile
    shared = [profile.advertised(entry.name) for entry in profile.content.resources]
    for pod in trace.workloads:
        requested = max((pod.requests.get(name, 0) for name in shared), default=0)
        if pod.active and requested > 1:
            yield {"pod": str(pod), "requested": str(requested)}


def _old_name(snapshot: Snapshot) -> Iterator[Match]:
    pending = [pod for pod in snapshot.workloads.get("", ()) if pod.phase == "Pending"]
    for pod in pending if snapshot.complete else ():
        for resource in sorted(pod.requests):
            if new := snapshot.counterpart(resource):
                advice = _RENAME if resource.endswith(SHARED_SUFFIX) else _NO_RENAME
                names = {"old": resource, "new": new, "pod": str(pod)}
                yield Match((), {**names, "advice": advice})


def _no_free_slot(snapshot: Snapshot) -> Iterator[Match]:
    """Not for a name that no node has: then slots that get free do not help."""
    pending = [pod for pod in snapshot.workloads.get("", ()) if pod.phase == "Pending"]
    for pod in pending if snapshot.complete else ():
        for resource in sorted(pod.requests.keys() & snapshot.advertised):
            if resource in _INSUFFICIENT.findall(pod.message):
                yield Match((), {**_names(pod), "resource": resource, "message": pod.message})


def _old_quota(snapshot: Snapshot) -> Iterator[Match]:
    """Not quotas that also limit the new name, nor those on a name that no node has yet."""
    for quota in snapshot.quotas if snapshot.complete else ():
        for resource in sorted(quota.limits):
            new = snapshot.counterpart(resource)
            if new and new not in quota.limits:
                values = {"namespace": quota.namespace, "quota": quota.name}
                number = quota.limits[resource]
                yield Match((), {"old": resource, "new": new, "number": number, **values})


def _crashing(trace: NodeTrace, _snapshot: Snapshot) -> Values:
    for pod in trace.workloads if trace.target.profile.replicas > 1 else ():
        if pod.requests and pod.waits_for == "CrashLoopBackOff" and pod.crashes >= _CRASHES:
            yield {**_names(pod), "crashes": str(pod.crashes)}


def _shares(snapshot: Snapshot) -> bool:
    return any(trace.target.profile.replicas > 1 for trace in snapshot.traces.values())


def _metrics(snapshot: Snapshot) -> Iterator[Match]:
    for item in snapshot.daemon_sets if _shares(snapshot) else ():
        containers = list_at(item, "spec", "template", "spec", "containers")
        entries = [entry for container in containers for entry in list_at(container, "env")]
        virtual = variables_of(entries).get("KUBERNETES_VIRTUAL_GPUS") == "true"
        if app_of(item) == DCGM_APP and not virtual:
            yield Match((), {"app": DCGM_APP})


def _autoscaler(snapshot: Snapshot) -> Iterator[Match]:
    found = [str(pod) for pod in snapshot.foreign_pods if pod.kind == AUTOSCALER]
    if found and _shares(snapshot):
        yield Match((), {"pod": min(found), "slots": _slots_of_new_nodes(snapshot)})


def _karpenter(snapshot: Snapshot) -> Iterator[Match]:
    """By its pod, or by nodes that it has created: some providers run it outside the cluster."""
    found = [f"pod {pod}" for pod in snapshot.foreign_pods if pod.kind == KARPENTER]
    created = (view for view in snapshot.nodes.values() if KARPENTER_POOL in view.state.labels)
    found = found or [f"label {KARPENTER_POOL} of node {view.state.name}" for view in created]
    if found and _shares(snapshot):
        yield Match((), {"what": min(found), "slots": _slots_of_new_nodes(snapshot)})


def _slots_of_new_nodes(snapshot: Snapshot) -> str:
    """The slots of a node by its kind and profile, as those that exist show them."""
    return some(sorted(set(filter(None, map(_slots_like, snapshot.traces.values())))))


def _slots_like(trace: NodeTrace) -> str:
    """The slots of a node like this one; empty if its profile shares nothing."""
    profile, labels = trace.target.profile, trace.state.labels
    if not profile.content.resources:
        return ""
    devices = physical_devices(trace.state, trace.target.gpus)
    slots = {name: n for name, n in expected_allocatable(profile, devices).items() if n}
    unknown = f"{profile.advertised(GPU_RESOURCE)}: GPUs x {profile.replicas}"
    numbers = ", ".join(f"{name}: {n}" for name, n in slots.items()) or unknown
    kind = " ".join(labels[name] for name in (KARPENTER_POOL, INSTANCE_TYPE) if name in labels)
    return f"{kind + ', ' if kind else ''}profile {profile.name} = {numbers}"


def _unreadable(snapshot: Snapshot) -> Iterator[Match]:
    for what, error in snapshot.unreadable.items():
        yield Match((), {"what": what, "error": error})


CHECKS = (
    Check(
        code="GS045",
        severity=Severity.WARNING,
        title="Pods hold more slots than a node has",
        cause="more {resource} in use than allocatable",
        seen="{node}: its pods request {requested} {resource}, but allocatable is {has}.",
        why="Fewer replicas evict no pod. After a restart of the kubelet or of a container the node"
        " can reject the pods that exceed the number.",
        fix="Use more replicas in the profile; or delete some of its pods at a good moment, so"
        " that they start elsewhere. This lists them: `kubectl get pods -A --field-selector"
        " spec.nodeName={node:q}`",
        find=per_node(_above),
        follows=(
            *PLUGIN_DOWN,
            *("GS006", "GS008", "GS009", "GS010", "GS018", "GS024", "GS033", "GS037", "GS038"),
            *("GS039", "GS041", "GS043"),
        ),
        reads=(PODS,),
    ),
    Check(
        code="GS046",
        severity=Severity.WARNING,
        title="The node rejected a pod",
        cause="UnexpectedAdmissionError: {reason}",
        seen="{node}: pod {pod} has failed with UnexpectedAdmissionError: {reason}.",
        why="Kubernetes does not retry a pod that failed this way. It stays until somebody deletes"
        " it.",
        fix="Delete it: `kubectl delete pod -n {namespace:q} {name:q}`; {advice}.",
        find=per_node(_rejected),
        follows=("GS033",),
        reads=(PODS,),
        advice=tuple(_REPLACEMENTS.values()),
    ),
    Check(
        code="GS047",
        title="GPU pods cannot start although they have slots",
        cause="GPU pods in {state}",
        seen="{node}: {number} cannot start, such as {pod}: {state}.",
        why="Allocatable can be correct while no GPU container starts: CDI, the container toolkit"
        " or the driver root is broken.",
        fix="Read the runtime's message: `kubectl describe pod -n {namespace:q} {name:q}`; then"
        " restart toolkit and runtime of {node}, and delete the pods.",
        find=per_node(_cannot_start),
        follows=("GS021", "GS029", "GS030"),
        reads=(PODS,),
    ),
    Check(
        code="GS048",
        severity=Severity.INFO,
        title="A pod holds several slots",
        cause="pods with more than 1 slot",
        seen="{node}: pod {pod} requests {requested} slots.",
        why="Several slots can be on one GPU. They add no compute or memory, and take slots from"
        " other pods.",
        fix="Request 1; or reject such pods: fail_requests_greater_than_one: true in the profile."
        " Pods that need whole GPUs need a node with replicas: 1.",
        find=per_node(_several),
        follows=("GS024",),
        reads=(PODS,),
    ),
    Check(
        code="GS049",
        severity=Severity.WARNING,
        title="Pods request a name that no node has any more",
        cause="pods request {old}",
        seen="{count:pod} cannot be scheduled, such as {pod}: requests {old}, but nodes have"
        " {new}.",
        why="A profile with rename_by_default advertises shared GPUs under another name.",
        fix="Make the pods request {new}, or {advice}.",
        find=_old_name,
        reads=(PODS,),
        advice=(_RENAME, _NO_RENAME),
    ),
    Check(
        code="GS050",
        severity=Severity.WARNING,
        title="A quota limits a name that no node has any more",
        cause="ResourceQuota {quota} in {namespace}",
        seen="ResourceQuota {quota} in namespace {namespace} limits {old}, but nodes have {new}.",
        why="It does not limit pods that request the new name.",
        fix="`kubectl patch resourcequota {quota:q} -n {namespace:q} --type merge -p"
        ' \'{{"spec": {{"hard": {{"requests.{new:j}": "{number:j}"}}}}}}\'`, with the number that'
        " the namespace should get. Before, it was {number} {old}.",
        find=_old_quota,
        reads=(QUOTAS,),
    ),
    Check(
        code="GS051",
        severity=Severity.INFO,
        title="A pod crashes repeatedly on a shared GPU",
        cause="crash loops on shared GPUs",
        seen="{node}: pod {pod} has crashed {crashes} times.",
        why="The pod itself may be the cause. On a shared GPU it is often memory: time-slicing does"
        " not limit it, one pod can take all of it, and Kubernetes shows no OOMKilled.",
        fix="Read its log: `kubectl logs -n {namespace:q} {name:q} --all-containers --previous"
        " --ignore-errors`. For memory set a limit in the programs (filter memory_budget gives the"
        " settings), use fewer replicas, MPS or MIG.",
        find=per_node(_crashing),
        follows=("GS029", "GS033"),
        reads=(PODS,),
    ),
    Check(
        code="GS052",
        severity=Severity.INFO,
        title="GPU metrics do not distinguish pods on shared GPUs",
        cause="DaemonSet {app} without KUBERNETES_VIRTUAL_GPUS",
        seen="DaemonSet {app} runs without KUBERNETES_VIRTUAL_GPUS=true.",
        why="One arbitrary pod of those on a GPU gets all its metrics.",
        fix="gpu_operator_values: dcgmExporter.env with name KUBERNETES_VIRTUAL_GPUS and value"
        ' "true", in quotes, because the chart accepts only strings; in queries use max by (UUID),'
        " because values then repeat for each pod.",
        find=_metrics,
        reads=(DAEMON_SETS,),
    ),
    Check(
        code="GS053",
        severity=Severity.INFO,
        title="An autoscaler does not know replicas",
        cause="Cluster Autoscaler {pod}",
        seen="Pod {pod} is Cluster Autoscaler, and profiles share GPUs.",
        why="For node groups at zero it counts physical GPUs, so it creates too many nodes.",
        fix="Set the slots of a new node in the template of its node group: {slots}. On AWS it is"
        " the tag k8s.io/cluster-autoscaler/node-template/resources/nvidia.com/gpu of the Auto"
        " Scaling group, with Cluster API the annotation"
        " capacity.cluster-autoscaler.kubernetes.io/gpu-count. The doctor cannot see that setting:"
        " once it is there, accept the finding with gpu_sharing_doctor_accept: [GS053].",
        find=_autoscaler,
        reads=(PODS,),
    ),
    Check(
        code="GS054",
        severity=Severity.INFO,
        title="The doctor could not read something",
        cause="could not read {what}",
        seen="Could not read {what}: {error}.",
        why="Findings about it are left out.",
        fix="Grant the identity permission to list it; docs/doctor.md has a role to copy.",
        find=_unreadable,
    ),
    Check(
        code="GS056",
        severity=Severity.INFO,
        title="Karpenter does not know replicas",
        cause="Karpenter: {what}",
        seen="Karpenter creates nodes ({what}), and profiles share GPUs.",
        why="It counts the physical GPUs of an instance type: it creates more nodes than are"
        " needed, and none for pods that request nvidia.com/gpu.shared.",
        fix="Set the slots of a new node in a NodeOverlay (karpenter.sh/v1alpha1; feature gate"
        " NodeOverlay): spec.requirements with karpenter.sh/nodepool and"
        " node.kubernetes.io/instance-type, and spec.capacity: {slots}. EKS Auto Mode has no"
        " NodeOverlay. The doctor cannot see that setting: once it is there, accept the finding"
        " with gpu_sharing_doctor_accept: [GS056].",
        find=_karpenter,
        reads=(PODS,),
    ),
    Check(
        code="GS064",
        severity=Severity.INFO,
        title="GPU pods find no free slot",
        cause="pods wait for {resource}",
        seen="{count:pod} cannot be scheduled, such as {pod}: {message}",
        why="Nodes that these pods may use have too few free slots. After a change to fewer"
        " replicas, evicted pods stay Pending if no other node has slots for them.",
        fix="Wait until slots get free, use more replicas in the profile, or scale down what is not"
        " needed: `kubectl get pods -A --field-selector status.phase=Pending`.",
        find=_no_free_slot,
        reads=(PODS,),
    ),
)
