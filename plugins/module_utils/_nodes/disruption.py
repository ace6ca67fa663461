# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: the pods that a change of a node's profile would hurt, and quotas that
it would leave behind. Pure.

Running pods are never evicted by fewer slots: what hurts them comes later, when the kubelet no
longer finds the slot that it had given them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.documents import (
    dig,
    list_at,
    mapping_at,
    name_of,
    text_at,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.table import (
    format_first_rows,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.capacity import (
    expected_allocatable,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import (
    NodeState,
    read_quantity,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.model import (
    GPU_RESOURCE,
    RESOURCE_PREFIX,
    SHARED_SUFFIX,
    Profile,
)

HASH_LABEL = "pod-template-hash"  # ends the name of a ReplicaSet that a Deployment made
UNSCHEDULABLE_TAINT = "node.kubernetes.io/unschedulable"  # what cordoning puts on a node
BOUND = ("DaemonSet", "Node")  # owners whose pods come back on the same node, cordoned or not
TERMINAL = ("Succeeded", "Failed")
COLUMNS = ("node", "namespace", "owner", "pods", "what would happen")
MOST_LINES = 20


@dataclass(frozen=True)
class GpuPod:
    """A pod that holds slots of a node, and how many by resource (only nvidia.com/ ones)."""

    namespace: str
    name: str
    uid: str
    node: str
    owner: str  # "Deployment/web": its controller; empty where nothing would make it again
    daemon: bool  # of a DaemonSet, or of the node itself
    tolerant: bool  # would be scheduled onto a cordoned node
    requests: Mapping[str, int]
    phase: str
    leaving: bool  # being deleted


def gpu_pods(documents: Iterable[object]) -> list[GpuPod]:
    """The pods that hold slots: bound to a node and not finished."""
    pods = (_gpu_pod(document) for document in documents)
    return [pod for pod in pods if pod.node and pod.requests and pod.phase not in TERMINAL]


def _gpu_pod(document: object) -> GpuPod:
    kind, owner = _controller(document)
    return GpuPod(
        namespace=text_at(document, "metadata", "namespace"),
        name=name_of(document),
        uid=text_at(document, "metadata", "uid"),
        node=text_at(document, "spec", "nodeName"),
        owner=f"{kind}/{owner}" if kind else "",
        daemon=kind in BOUND,
        tolerant=any(
            _tolerates_cordon(entry) for entry in list_at(document, "spec", "tolerations")
        ),
        requests=requested_slots(document),
        phase=text_at(document, "status", "phase"),
        leaving=bool(text_at(document, "metadata", "deletionTimestamp")),
    )


def _controller(document: object) -> tuple[str, str]:
    """Kind and name of what makes the pod again, a Deployment in the place of its ReplicaSet."""
    owners = list_at(document, "metadata", "ownerReferences")
    owner = next((entry for entry in owners if dig(entry, "controller") is True), None)
    kind, name = text_at(owner, "kind"), text_at(owner, "name")
    suffix = "-" + mapping_at(document, "metadata", "labels").get(HASH_LABEL, "")
    if kind == "ReplicaSet" and len(suffix) > 1 and name.endswith(suffix):
        return "Deployment", name.removesuffix(suffix)
    return kind, name


def _tolerates_cordon(toleration: object) -> bool:
    if text_at(toleration, "effect") not in ("", "NoSchedule"):
        return False
    key, operator = text_at(toleration, "key"), text_at(toleration, "operator")
    if operator == "Exists":
        return key in ("", UNSCHEDULABLE_TAINT)
    return key == UNSCHEDULABLE_TAINT and not text_at(toleration, "value")


def requested_slots(document: object) -> dict[str, int]:
    """Slots by resource as the scheduler counts them: all containers and side-cars together, or
    more where an init container needs more beside the side-cars started before it.
    """
    sidecars: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for container in list_at(document, "spec", "initContainers"):
        if text_at(container, "restartPolicy") == "Always":
            sidecars += _slots(container)
            most |= sidecars
        else:
            most |= sidecars + _slots(container)
    for container in list_at(document, "spec", "containers"):
        sidecars += _slots(container)
    return dict(most | sidecars)


def _slots(container: object) -> Counter[str]:
    limits = mapping_at(container, "resources", "limits")
    asked = limits | mapping_at(container, "resources", "requests")
    return Counter(
        {
            resource: read_quantity(quantity)
            for resource, quantity in asked.items()
            if resource.startswith(RESOURCE_PREFIX)
        }
    )


class Hazard(Enum):
    """How a pod would be hurt."""

    GONE_RESOURCE = "resource gone"
    ABOVE_CAPACITY = "above capacity"
    NOT_EXCLUSIVE = "not exclusive"
    MIG = "MIG"


@dataclass(frozen=True)
class Hurt:
    """One pod that would be hurt, and how, in one line that is the same for its whole group."""

    pod: GpuPod
    hazard: Hazard
    text: str


def hurt_pods(
    node: NodeState,
    before: Profile | None,
    after: Profile,
    devices: Mapping[str, int],
    pods: Iterable[GpuPod],
) -> list[Hurt]:
    """The pods of a node that a profile would hurt, by resource and name.

    devices are its physical devices by resource. before, where it is known, tells the slots of a
    node whose plugin happens to be down.
    """
    here = sorted(
        (pod for pod in pods if pod.node == node.name), key=lambda pod: (pod.namespace, pod.name)
    )
    now = _slots_now(node, before, devices)
    slots = expected_allocatable(after, devices)
    found = []
    for resource in sorted(slots):
        users = [pod for pod in here if pod.requests.get(resource)]
        requested = sum(pod.requests[resource] for pod in users)
        ends_sharing = now[resource] > slots[resource] == devices.get(resource)
        hazard = _hazard(requested, now[resource], slots[resource], ends_sharing=ends_sharing)
        if hazard:
            text = _text(hazard, resource, requested, slots[resource])
            found += [Hurt(pod, hazard, text) for pod in users]
    return found


def shrinks(node: NodeState, after: Profile, devices: Mapping[str, int]) -> bool:
    """Whether a node would have fewer slots of any resource, so that pods could be hurt."""
    now, slots = _slots_now(node, None, devices), expected_allocatable(after, devices)
    return any(now[resource] > slots[resource] for resource in slots)


def _slots_now(
    node: NodeState, before: Profile | None, devices: Mapping[str, int]
) -> dict[str, int]:
    """Slots by resource as advertised; where nothing is, as they were with the profile before."""
    usual = expected_allocatable(before, devices) if before else {}
    slots: dict[str, int] = {}
    for device in devices:
        names = (device, device + SHARED_SUFFIX)
        told = {name: node.allocatable.get(name, 0) for name in names}
        slots |= told if any(told.values()) else {name: usual.get(name, 0) for name in names}
    return slots


def _hazard(requested: int, now: int, slots: int, *, ends_sharing: bool) -> Hazard | None:
    """What happens to the pods on a resource; None where it is nothing new.

    Where sharing ends, one pod is enough: the kubelet knows its slot by a name that no longer is,
    takes all GPUs for free, and may give its GPU to the next pod too, if there is room for one.
    """
    if not requested:
        return None
    if not slots and now:
        return Hazard.GONE_RESOURCE
    if slots < min(requested, now):
        return Hazard.ABOVE_CAPACITY
    return Hazard.NOT_EXCLUSIVE if ends_sharing and slots > 1 else None


def _text(hazard: Hazard, resource: str, requested: int, slots: int) -> str:
    later = "after a restart of the kubelet or a reboot"
    if hazard is Hazard.GONE_RESOURCE:
        return f"no {resource} will be left: runs on, but cannot start again {later}"
    if hazard is Hazard.ABOVE_CAPACITY:
        return (
            f"{requested} {resource} are in use, {slots} will be left: runs on, but may not start"
            f" again {later}"
        )
    return (
        f"each {resource} will mean a whole GPU, but this pod stays on a slot of a shared one: two"
        " pods may get the same GPU"
    )


def mig_hurt(pods: Iterable[GpuPod]) -> list[Hurt]:
    """The pods of nodes whose GPUs are to be cut anew: all of them."""
    text = "its GPU is to be cut by MIG, which fails while a pod uses it"
    ordered = sorted(pods, key=lambda pod: (pod.node, pod.namespace, pod.name))
    return [Hurt(pod, Hazard.MIG, text) for pod in ordered]


def pods_of(hurts: Iterable[Hurt]) -> list[GpuPod]:
    """Each pod once."""
    return list({hurt.pod.uid: hurt.pod for hurt in hurts}.values())


def hurt_table(hurts: Iterable[Hurt], most: int = MOST_LINES) -> list[str]:
    """Lines of a table for people: pods counted by node, owner and what would happen."""
    counts = Counter(
        (hurt.pod.node, hurt.pod.namespace, _owner(hurt.pod), hurt.text) for hurt in hurts
    )
    rows = [
        dict(zip(COLUMNS, (node, namespace, owner, count, text), strict=True))
        for (node, namespace, owner, text), count in sorted(counts.items())
    ]
    return format_first_rows(COLUMNS, rows, most, "lines")


def _owner(pod: GpuPod) -> str:
    return pod.owner or f"Pod/{pod.name}"


def renames(before: Profile, after: Profile) -> dict[str, str]:
    """Advertised names that a change of profile replaces: {old: new}."""
    shared = (*before.content.resources, *after.content.resources)
    names = {GPU_RESOURCE, *(entry.name for entry in shared)}
    moved = {before.advertised(name): after.advertised(name) for name in sorted(names)}
    return {old: new for old, new in moved.items() if old != new}


def renamed_now(node: NodeState, after: Profile, devices: Mapping[str, int]) -> dict[str, str]:
    """Advertised names that a node loses for another one: {old: new}."""
    now, slots = _slots_now(node, None, devices), expected_allocatable(after, devices)
    pairs = [(device, device + SHARED_SUFFIX) for device in devices]
    pairs += [(new, old) for old, new in pairs]
    return {old: new for old, new in pairs if now[old] and not slots[old] and slots[new]}


@dataclass(frozen=True, order=True)
class QuotaFinding:
    """A ResourceQuota that limits a resource under the name that it loses."""

    namespace: str
    quota: str
    old: str
    new: str

    @property
    def text(self) -> str:
        return (
            f"ResourceQuota {self.quota} in namespace {self.namespace} limits {self.old}; pods that"
            f" ask for {self.new} instead are not limited: add requests.{self.new} to it"
        )


def quota_findings(
    documents: Iterable[object], renamed: Mapping[str, str]
) -> Sequence[QuotaFinding]:
    """The quotas on names that are renamed (renames), unless they limit the new name too."""
    found = set()
    for document in documents:
        limited = {key.removeprefix("requests.") for key in mapping_at(document, "spec", "hard")}
        for old, new in renamed.items():
            if old in limited and new not in limited:
                namespace = text_at(document, "metadata", "namespace")
                found.add(QuotaFinding(namespace, name_of(document), old, new))
    return sorted(found)
