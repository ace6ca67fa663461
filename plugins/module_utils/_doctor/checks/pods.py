# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: findings about pods that use GPUs, about quotas on them, and about
what could not be looked at. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.documents import (
    list_at,
    text_at,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.checks.plugin import STOPS
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.engine import (
    Check,
    Match,
    Severity,
    match_on,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.objects import AUTOSCALER
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.snapshot import (
    DAEMON_SETS,
    PODS,
    QUOTAS,
    NodeTrace,
    Snapshot,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._provider.daemonsets import app_of

DCGM_APP = "nvidia-dcgm-exporter"
_CANNOT_START = ("CreateContainerError", "RunContainerError")
_TOO_LARGE = "maximum request size for shared resources is 1"
_GONE = "no longer healthy"
_CRASHES = 3


def _above(snapshot: Snapshot) -> Iterator[Match]:
    for trace, view in snapshot.present():
        asked: Counter[str] = Counter()
        for pod in trace.workloads:
            if pod.active:
                asked.update(pod.requests)
        for resource, count in sorted(asked.items()):
            has = view.state.allocatable.get(resource, 0)
            if count > has:
                yield match_on(trace.node, resource=resource, asked=str(count), has=str(has))


def _rejected(snapshot: Snapshot) -> Iterator[Match]:
    for trace, _view in snapshot.present():
        for pod in trace.workloads:
            if pod.phase == "Failed" and pod.reason == "UnexpectedAdmissionError" and pod.requests:
                yield match_on(
                    trace.node,
                    pod=str(pod),
                    namespace=pod.namespace,
                    name=pod.name,
                    **_reason_of(pod.message),
                )


def _reason_of(message: str) -> dict[str, str]:
    if _TOO_LARGE in message:
        mend = "ask for 1, or set fail_requests_greater_than_one: false in the profile"
        return {"reason": "asked for more than 1 shared GPU", "mend": mend}
    if _GONE in message:
        mend = "it starts again where there is a slot"
        return {"reason": "its slot no longer exists", "mend": mend}
    return {"reason": "the kubelet got no device for it", "mend": "it starts again elsewhere"}


def _cannot_start(snapshot: Snapshot) -> Iterator[Match]:
    for trace, _view in snapshot.present():
        stuck = [
            p for p in trace.workloads if p.active and p.requests and p.waits_for in _CANNOT_START
        ]
        if stuck:
            first = stuck[0]
            yield match_on(
                trace.node,
                state=first.waits_for,
                pod=str(first),
                namespace=first.namespace,
                name=first.name,
                number=str(len(stuck)),
            )


def _several(snapshot: Snapshot) -> Iterator[Match]:
    for trace, _view in snapshot.present():
        for pod in trace.workloads:
            if pod.active and (asked := _shared(trace, pod.requests)) > 1:
                yield match_on(trace.node, pod=str(pod), asked=str(asked))


def _shared(trace: NodeTrace, requests: Mapping[str, int]) -> int:
    """How many slots of a GPU that is shared a pod asks for."""
    profile = trace.target.profile
    names = [profile.advertised(entry.name) for entry in profile.content.resources]
    return max((requests.get(name, 0) for name in names), default=0)


def _old_name(snapshot: Snapshot) -> Iterator[Match]:
    if not snapshot.whole:
        return
    for pod in snapshot.workloads.get("", ()):
        for resource in sorted(pod.requests):
            if pod.phase == "Pending" and (new := snapshot.counterpart(resource)):
                yield Match((), {"old": resource, "new": new, "pod": str(pod)})


def _old_quota(snapshot: Snapshot) -> Iterator[Match]:
    """A quota on .shared where nobody shares under that name may be there in advance."""
    if not snapshot.whole:
        return
    for quota in snapshot.quotas:
        for resource in sorted(quota.limits):
            new = snapshot.counterpart(resource)
            if new and new not in quota.limits:
                yield Match(
                    (),
                    {
                        "old": resource,
                        "new": new,
                        "namespace": quota.namespace,
                        "quota": quota.name,
                    },
                )


def _crashing(snapshot: Snapshot) -> Iterator[Match]:
    for trace, _view in snapshot.present():
        if trace.target.profile.replicas < 2:
            continue
        for pod in trace.workloads:
            if pod.requests and pod.waits_for == "CrashLoopBackOff" and pod.crashes >= _CRASHES:
                yield match_on(
                    trace.node,
                    pod=str(pod),
                    crashes=str(pod.crashes),
                    namespace=pod.namespace,
                    name=pod.name,
                )


def _shares(snapshot: Snapshot) -> bool:
    return any(trace.target.profile.replicas > 1 for trace in snapshot.traces.values())


def _metrics(snapshot: Snapshot) -> Iterator[Match]:
    for item in snapshot.daemon_sets:
        if app_of(item) != DCGM_APP or not _shares(snapshot):
            continue
        variables = [
            entry
            for container in list_at(item, "spec", "template", "spec", "containers")
            for entry in list_at(container, "env")
        ]
        told = {text_at(entry, "name"): text_at(entry, "value") for entry in variables}
        if told.get("KUBERNETES_VIRTUAL_GPUS") != "true":
            yield Match((), {"app": DCGM_APP})


def _autoscaler(snapshot: Snapshot) -> Iterator[Match]:
    found = [str(each) for each in snapshot.foreign_pods if each.kind == AUTOSCALER]
    if found and _shares(snapshot):
        yield Match((), {"pod": min(found)})


def _unreadable(snapshot: Snapshot) -> Iterator[Match]:
    for what, said in snapshot.unreadable.items():
        yield Match((), {"what": what, "said": said})


CHECKS = (
    Check(
        code="GS045",
        severity=Severity.WARNING,
        title="Pods hold more slots than a node has",
        cause="more {resource} in use than there are",
        seen="{node}: its pods ask for {asked} {resource}, and allocatable is {has}.",
        why="Fewer replicas evict nobody. After a restart of the kubelet or of a container the pods"
        " above the number may be turned down.",
        fix="Move pods away at a good moment: delete some of kubectl get pods -A --field-selector"
        " spec.nodeName={node}; or more replicas in the profile.",
        find=_above,
        follows=(
            *STOPS,
            *("GS006", "GS008", "GS009", "GS010", "GS018", "GS024", "GS033", "GS037", "GS038"),
            *("GS039", "GS041", "GS043"),
        ),
        reads=(PODS,),
    ),
    Check(
        code="GS046",
        severity=Severity.WARNING,
        title="A pod was turned down by the node",
        cause="UnexpectedAdmissionError: {reason}",
        seen="{node}: pod {pod} has failed with UnexpectedAdmissionError: {reason}.",
        why="A pod that failed so is not tried again. It stays until somebody deletes it.",
        fix="kubectl delete pod -n {namespace} {name}; {mend}",
        find=_rejected,
        follows=("GS033",),
        reads=(PODS,),
    ),
    Check(
        code="GS047",
        severity=Severity.ERROR,
        title="GPU pods cannot start, though slots are there",
        cause="GPU pods in {state}",
        seen="{node}: {number} GPU pods wait, such as {pod}: {state}.",
        why="Allocatable can be right while no GPU container starts: a fault of CDI, container"
        " toolkit or driver root.",
        fix="See the words of the runtime: kubectl describe pod -n {namespace} {name}; then restart"
        " toolkit and runtime of {node}, and delete the pods.",
        find=_cannot_start,
        follows=("GS021", "GS029", "GS030"),
        reads=(PODS,),
    ),
    Check(
        code="GS048",
        severity=Severity.INFO,
        title="A pod holds several slots",
        cause="pods with more than 1 slot",
        seen="{node}: pod {pod} asks for {asked} slots.",
        why="Several slots may lie on one GPU and buy no more compute or memory; they only take"
        " room from others.",
        fix="Ask for 1; or refuse it: fail_requests_greater_than_one: true in the profile. Who"
        " needs whole GPUs needs a node with replicas: 1.",
        find=_several,
        follows=("GS024",),
        reads=(PODS,),
    ),
    Check(
        code="GS049",
        severity=Severity.WARNING,
        title="Pods ask for a name that no node has any more",
        cause="pods ask for {old}",
        seen="{count} pods wait, such as {pod}: they ask for {old}, and nodes have {new}.",
        why="A profile with rename_by_default advertises shared GPUs under another name.",
        fix="Have the pods ask for {new}, or take rename_by_default out of the profile.",
        find=_old_name,
        reads=(PODS,),
    ),
    Check(
        code="GS050",
        severity=Severity.WARNING,
        title="A quota limits a name that no node has any more",
        cause="ResourceQuota {quota} in {namespace}",
        seen="ResourceQuota {quota} in namespace {namespace} limits {old}, and nodes have {new}.",
        why="Pods that ask for the new name are not limited there.",
        fix="kubectl patch resourcequota {quota} -n {namespace} --type merge -p"
        ' \'{{"spec": {{"hard": {{"requests.{new}": "N"}}}}}}\'',
        find=_old_quota,
        reads=(QUOTAS,),
    ),
    Check(
        code="GS051",
        severity=Severity.INFO,
        title="A pod crashes again and again on a shared GPU",
        cause="crash loops on shared GPUs",
        seen="{node}: pod {pod} has crashed {crashes} times.",
        why="It may be its own fault. On a shared GPU it is often memory: time-slicing limits"
        " none, one neighbour can take all, and Kubernetes shows no OOMKilled.",
        fix="kubectl logs -n {namespace} {name} --previous; for memory set a limit in the programs"
        " (filter memory_budget gives the settings), use fewer replicas, MPS or MIG.",
        find=_crashing,
        follows=("GS029", "GS033"),
        reads=(PODS,),
    ),
    Check(
        code="GS052",
        severity=Severity.INFO,
        title="GPU metrics do not tell pods on shared GPUs apart",
        cause="DaemonSet {app} without KUBERNETES_VIRTUAL_GPUS",
        seen="DaemonSet {app} runs without KUBERNETES_VIRTUAL_GPUS=true.",
        why="One pod of those on a GPU gets all its metrics, picked by chance.",
        fix="gpu_operator_values: dcgmExporter.env with name KUBERNETES_VIRTUAL_GPUS and value"
        ' "true", in quotes, since the chart takes texts alone; in queries take max by (UUID),'
        " since values then repeat for each pod.",
        find=_metrics,
        reads=(DAEMON_SETS,),
    ),
    Check(
        code="GS053",
        severity=Severity.INFO,
        title="An autoscaler does not know replicas",
        cause="autoscaler {pod}",
        seen="Pod {pod} is an autoscaler, and profiles share GPUs.",
        why="For node groups that are at zero it counts physical GPUs, so it makes too many nodes.",
        fix="Tell it the slots of a new node by the node group's resource tag or template"
        " (nvidia.com/gpu = GPUs x replicas). That cannot be seen from here: once it is done, say"
        " so with gpu_sharing_doctor_accept: [GS053].",
        find=_autoscaler,
        reads=(PODS,),
    ),
    Check(
        code="GS054",
        severity=Severity.INFO,
        title="Something could not be looked at",
        cause="could not look at {what}",
        seen="Could not look at {what}: {said}.",
        why="Findings about it are left out.",
        fix="Grant the identity to list them; docs/doctor.md has a role to copy.",
        find=_unreadable,
    ),
)
