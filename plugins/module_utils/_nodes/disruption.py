# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: disruptions: the running pods that a change of a node's profile would harm.

Fewer slots never evict a running pod. The harm comes later, when the kubelet no longer finds the
slot that it gave to the pod.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from .._common.table import format_first_rows
from .._common.text import plural
from .._profiles.model import SHARED_SUFFIX, Profile
from .capacity import expected_allocatable
from .pods import GpuPod
from .state import NodeState

COLUMNS = ("node", "namespace", "owner", "pods", "what would happen")
MOST_LINES = 20


class Hazard(Enum):
    """The kind of a disruption."""

    GONE_RESOURCE = "resource gone"
    ABOVE_CAPACITY = "above capacity"
    NOT_EXCLUSIVE = "not exclusive"
    MIG = "MIG"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Disruption:
    """One pod that would be disrupted, and how: all pods of its kind have the same text."""

    pod: GpuPod
    hazard: Hazard
    text: str
    missing: int = 0  # slots that the pods of its node hold beyond those that will be left


def find_disruptions(
    node: NodeState,
    after: Profile,
    devices: Mapping[str, int],
    pods: Iterable[GpuPod],
    before: Profile | None = None,
) -> list[Disruption]:
    """The pods of a node that a profile would disrupt, by resource and name. devices are its
    physical devices by resource, before is the profile that it is meant to have so far.

    While the plugin is down, nothing is advertised, but pods still hold their slots.
    """
    here = sorted(
        (pod for pod in pods if pod.node == node.name), key=lambda pod: (pod.namespace, pod.name)
    )
    known, slots = known_slots(node, devices, before), expected_allocatable(after, devices)
    found = []
    for resource in sorted(slots):
        users = [pod for pod in here if pod.requests.get(resource)]
        requested = sum(pod.requests[resource] for pod in users)
        now = max(known[resource], 0 if _advertises(node, resource) else requested)
        ends_sharing = now > slots[resource] == devices.get(resource)
        hazard = _hazard(requested, now, slots[resource], ends_sharing=ends_sharing)
        if hazard:
            text = _text(hazard, resource, requested, slots[resource])
            missing = max(0, requested - slots[resource])
            found += [Disruption(pod, hazard, text, missing) for pod in users]
    return found


def may_disrupt(
    node: NodeState, after: Profile, devices: Mapping[str, int], before: Profile | None = None
) -> bool:
    """Whether a node would lose slots of any resource, or advertises none, so that its pods have to
    be looked at.
    """
    known, slots = known_slots(node, devices, before), expected_allocatable(after, devices)
    return any(
        known[resource] > slots[resource] or not _advertises(node, resource) for resource in slots
    )


def known_slots(
    node: NodeState, devices: Mapping[str, int], before: Profile | None
) -> dict[str, int]:
    """Slots by resource, shared names included: those that the node advertises, or those that it is
    meant to have. It advertises less while the plugin is down or a device is unhealthy.
    """
    meant = expected_allocatable(before, devices) if before else {}
    names = (name for device in devices for name in (device, device + SHARED_SUFFIX))
    return {name: max(node.allocatable.get(name, 0), meant.get(name, 0)) for name in names}


def _advertises(node: NodeState, resource: str) -> bool:
    """Whether a node advertises a device under its own or its shared name."""
    name = resource.removesuffix(SHARED_SUFFIX)
    return any(node.allocatable.get(each, 0) for each in (name, name + SHARED_SUFFIX))


def _hazard(requested: int, now: int, slots: int, *, ends_sharing: bool) -> Hazard | None:
    """What happens to the pods on a resource; None when nothing does.

    When sharing ends, a single pod is disrupted: the kubelet knows its slot by a name that no
    longer exists, considers all GPUs free, and may give the GPU to another pod as well.
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
        return f"no {resource} will be left: keeps running, but cannot start again {later}"
    if hazard is Hazard.ABOVE_CAPACITY:
        return (
            f"{requested} {resource} are in use, {slots} will be left: keeps running, but may not"
            f" start again {later}"
        )
    return (
        f"each {resource} will be a whole GPU, but this pod stays on a slot of a shared one: two"
        " pods may get the same GPU"
    )


def mig_disruptions(pods: Iterable[GpuPod]) -> list[Disruption]:
    """All pods of nodes whose GPUs are to be partitioned."""
    text = "its GPU will be partitioned by MIG, which fails while a pod uses it"
    ordered = sorted(pods, key=lambda pod: (pod.node, pod.namespace, pod.name))
    return [Disruption(pod, Hazard.MIG, text) for pod in ordered]


def unknown_disruptions(pods: Iterable[GpuPod], reason: str) -> list[Disruption]:
    """All pods of a node whose slots afterwards are not known."""
    text = f"it is not known how many slots will be left, because {reason}"
    ordered = sorted(pods, key=lambda pod: (pod.node, pod.namespace, pod.name))
    return [Disruption(pod, Hazard.UNKNOWN, text) for pod in ordered]


def pods_of(found: Iterable[Disruption]) -> list[GpuPod]:
    """Each pod once."""
    return list({each.pod.uid: each.pod for each in found}.values())


def on_nodes(found: Iterable[Disruption]) -> str:
    """How many running pods, on how many nodes."""
    pods = pods_of(found)
    nodes = {pod.node for pod in pods}
    return f"{plural(len(pods), 'running pod')} on {plural(len(nodes), 'node')}"


def problems_of(found: Iterable[Disruption]) -> list[str]:
    """Each disruption in a line, for the problems of an error."""
    return [f"{each.pod.node}: {each.pod}: {each.text}" for each in found]


def missing_slots(found: Iterable[Disruption]) -> dict[str, int]:
    """By node, the slots that its disrupted pods hold beyond those that will be left."""
    kinds = {(each.pod.node, each.text): each.missing for each in found if each.missing}
    counts: Counter[str] = Counter()
    for (node, _text), missing in kinds.items():
        counts[node] += missing
    return dict(counts)


def disruption_table(found: Iterable[Disruption]) -> list[str]:
    """Lines of a table: pods counted by node, owner and what would happen."""
    counts = Counter(
        (each.pod.node, each.pod.namespace, each.pod.owner or f"Pod/{each.pod.name}", each.text)
        for each in found
    )
    rows = [
        dict(zip(COLUMNS, (node, namespace, owner, count, text), strict=True))
        for (node, namespace, owner, text), count in sorted(counts.items())
    ]
    return format_first_rows(COLUMNS, rows, MOST_LINES, "lines")
