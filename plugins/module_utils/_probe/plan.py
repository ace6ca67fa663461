# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: what to probe: nodes, their free slots, and what should happen to a request of two.
Pure.

The expected slots come from the profile, not from what the node advertises, so that the probe
detects a node that advertises fewer or more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from .._common.documents import dig
from .._common.errors import FleetError
from .._common.table import format_table
from .._common.text import plural, some
from .._nodes.capacity import expected_allocatable, physical_devices
from .._nodes.pods import GpuPod
from .._nodes.state import COUNT_LABEL, NodeState, node_state
from .._nodes.taints import Taint, taints_of, tolerates
from .._profiles.model import GPU_RESOURCE, Profile

COLUMNS = (
    "node",
    "profile",
    "resource",
    "free",
    "pods",
    "ran at once",
    "one more",
    "request of two",
    "GPUs seen",
    "result",
)


class TwoSlots(Enum):
    """What happens to a pod that requests two slots."""

    REFUSED = "refused"  # scheduled, then rejected by the node
    ADMITTED = "admitted"
    EITHER = "either"  # depends on the version of the plugin


class ProbeOutcome(Enum):
    """How the probe of one resource of one node ended."""

    PASSED = "passed"
    FAILED = "failed"
    BUSY = "busy"  # others took a slot meanwhile: the probe proves nothing, and nothing is wrong
    SKIPPED = "skipped"  # not probed
    PLANNED = "planned"  # in check mode


@dataclass(frozen=True)
class Candidate:
    """A node that may be probed, from the inventory."""

    name: str
    profile: Profile
    group: str = ""
    gpus: int | None = None


@dataclass(frozen=True)
class ProbeNode:
    """A node as the scheduler sees it."""

    state: NodeState
    cordoned: bool = False
    taints: tuple[Taint, ...] = ()


@dataclass(frozen=True)
class ProbeTarget:
    """One resource of one node, and how to probe it, in slots.

    used is what other pods request. pods is the number of pods of one slot that the probe creates.
    skipped is the reason not to probe it.
    """

    node: str
    profile: str
    group: str = ""
    resource: str = GPU_RESOURCE
    physical: int = 0
    expected: int = 0
    allocatable: int = 0
    used: int = 0
    pods: int = 0
    two: TwoSlots = TwoSlots.EITHER
    skipped: str = ""

    @property
    def free(self) -> int:
        return max(0, self.expected - self.used)

    @property
    def rest(self) -> int:
        """What the extra pod requests, so that it must wait: one slot more than is left."""
        return self.free - self.pods + 1

    @property
    def can_try_two(self) -> bool:
        """Whether a request of two slots can be tried."""
        return not self.skipped and self.free >= 2


@dataclass
class ProbeResult:
    """What the probe of a target has observed so far."""

    target: ProbeTarget
    ran: int | None = None  # most pods of one slot that ran at the same time
    more: str = ""  # what happened to the extra pod
    two: str = ""  # what happened to the pod of two slots
    seen: dict[str, tuple[str, ...]] = field(default_factory=dict)  # GPUs by pod
    failed: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)

    @property
    def outcome(self) -> ProbeOutcome:
        if self.target.skipped:
            return ProbeOutcome.SKIPPED
        if self.failed:
            return ProbeOutcome.FAILED
        if self.busy:
            return ProbeOutcome.BUSY
        return ProbeOutcome.PLANNED if self.ran is None else ProbeOutcome.PASSED

    @property
    def reason(self) -> str:
        return self.target.skipped or "; ".join(self.failed or self.busy)

    @property
    def gpus(self) -> dict[str, int]:
        """Pods by GPU."""
        return dict(sorted(Counter(gpu for gpus in self.seen.values() for gpu in gpus).items()))


def read_node(document: object) -> ProbeNode:
    cordoned = dig(document, "spec", "unschedulable") is True
    return ProbeNode(node_state(document), cordoned, tuple(taints_of(document)))


def obstacle(node: ProbeNode | None, tolerations: Sequence[Mapping[str, object]]) -> str:
    """Why no pod of the probe can run on a node; empty if one can."""
    if node is None:
        return "not in the cluster"
    if not node.state.ready:
        return "node is NotReady"
    if node.cordoned:
        return "cordoned"
    for taint in node.taints:
        if taint.repels and not any(tolerates(t, taint) for t in tolerations):
            return f"taint {taint} is not among the tolerations"
    return ""


def requested(pods: Iterable[GpuPod]) -> dict[str, Counter[str]]:
    """Slots that pods request, by node and resource."""
    requests: dict[str, Counter[str]] = {}
    for pod in pods:
        requests.setdefault(pod.node, Counter()).update(pod.requests)
    return requests


def two_slots_by_profile(profile: Profile, device: str) -> TwoSlots:
    """What the device plugin should do with a request of two slots.

    It allocates devices that are not shared as requested. With MPS, plugins before v0.20.0 always
    reject the request.
    """
    if profile.replicas_of(device) == 1:
        return TwoSlots.ADMITTED
    if profile.content.fail_requests_greater_than_one:
        return TwoSlots.REFUSED
    return TwoSlots.EITHER if profile.content.mps else TwoSlots.ADMITTED


def targets(
    candidate: Candidate,
    node: ProbeNode | None,
    used: Mapping[str, int],
    most: int,
    hindrance: str,
) -> list[ProbeTarget]:
    """The targets of a node, at most so many pods for each; if there are none, one that is skipped
    with the reason. hindrance is the obstacle for all pods.
    """

    def skipped(reason: str) -> list[ProbeTarget]:
        resource = candidate.profile.advertised(GPU_RESOURCE)
        target = ProbeTarget(candidate.name, candidate.profile.name, candidate.group, resource)
        return [replace(target, skipped=reason)]

    if node is None or hindrance:
        return skipped(hindrance)
    devices = physical_devices(node.state, candidate.gpus)
    if not devices:
        return skipped(f"physical GPUs unknown: no label {COUNT_LABEL}")
    found = [
        _target(candidate, node.state, device, count, used, most)
        for device, count in devices.items()
        if count
    ]
    return found or skipped("the node has no GPUs")


def _target(
    candidate: Candidate,
    state: NodeState,
    device: str,
    count: int,
    used: Mapping[str, int],
    most: int,
) -> ProbeTarget:
    profile, resource = candidate.profile, candidate.profile.advertised(device)
    target = ProbeTarget(
        node=candidate.name,
        profile=profile.name,
        group=candidate.group,
        resource=resource,
        physical=count,
        expected=expected_allocatable(profile, {device: count})[resource],
        allocatable=state.allocatable.get(resource, 0),
        used=used.get(resource, 0),
        two=two_slots_by_profile(profile, device),
    )
    if not target.free:
        what = f"all {target.expected} slots" if target.expected > 1 else "its only slot"
        return replace(target, skipped=f"busy: {what} of {resource} in use")
    return replace(target, pods=min(target.free, most))


def choose(
    found: Mapping[str, Sequence[ProbeTarget]], names: Sequence[str], per_profile: int
) -> list[ProbeTarget]:
    """The targets of the nodes in names; without names, of so many nodes of each profile, those
    with the most free slots first. per_profile 0 means all nodes. If no node of a profile can be
    probed, one skipped target gives the reason. Raises FleetError for unknown names.
    """
    if missing := sorted(set(names) - found.keys()):
        raise FleetError(
            f"names lists nodes that are not among the selected nodes: {some(missing)}. List nodes"
            " of this cluster, inside the limit."
        )
    if names or not per_profile:
        return [target for node in sorted(set(names) or found) for target in found[node]]
    nodes: dict[str, list[str]] = {}
    for node in sorted(found, key=lambda node: (-sum(t.free for t in _tried(found[node])), node)):
        nodes.setdefault(found[node][0].profile, []).append(node)
    chosen = []
    for profile in sorted(nodes):
        able = [node for node in nodes[profile] if _tried(found[node])][:per_profile]
        chosen += [t for node in able or nodes[profile][:1] for t in found[node]]
    return chosen


def _tried(found: Sequence[ProbeTarget]) -> list[ProbeTarget]:
    return [target for target in found if not target.skipped]


def row(result: ProbeResult) -> dict[str, object]:
    """A result as the module returns it."""
    target = result.target
    return {
        "node": target.node,
        "group": target.group,
        "profile": target.profile,
        "resource": target.resource,
        "physical": target.physical,
        "expected": target.expected,
        "allocatable": target.allocatable,
        "used": target.used,
        "pods": target.pods,
        "ran": result.ran,
        "more": result.more,
        "two": result.two,
        "gpus": result.gpus,
        "result": result.outcome.value,
        "reason": result.reason,
    }


def probe_table(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """The lines of a table for people."""
    return format_table(
        COLUMNS,
        [
            {
                "node": row["node"],
                "profile": row["profile"],
                "resource": row["resource"],
                "free": max(0, int(str(row["expected"])) - int(str(row["used"]))),
                "pods": row["pods"],
                "ran at once": row["ran"],
                "one more": row["more"] or None,
                "request of two": row["two"] or None,
                "GPUs seen": _gpus(row),
                "result": f"{row['result']}: {row['reason']}" if row["reason"] else row["result"],
            }
            for row in rows
        ],
    )


def probe_verdict(results: Sequence[ProbeResult]) -> str:
    """The result in one line. A node with several resources is as good as the worst of them."""
    nodes: dict[str, set[ProbeOutcome]] = {}
    for result in results:
        nodes.setdefault(result.target.node, set()).add(result.outcome)
    failed = [node for node, seen in nodes.items() if ProbeOutcome.FAILED in seen]
    open_ = {ProbeOutcome.BUSY, ProbeOutcome.SKIPPED}
    unproved = [node for node, seen in nodes.items() if seen & open_ and node not in failed]
    planned = [node for node, seen in nodes.items() if ProbeOutcome.PLANNED in seen]
    left = f"; not proved: {some(unproved)}" if unproved else ""
    if failed:
        return f"{len(failed)} of {plural(len(nodes), 'probed node')} failed: {some(failed)}{left}."
    if planned:
        return f"{plural(len(planned), 'node')} would be probed{left}."
    proved = len(nodes) - len(unproved)
    return f"{plural(proved, 'node')} proved with pods{left}."


def _gpus(row: Mapping[str, object]) -> str | None:
    """The distribution of pods over GPUs: "2 (4+4 pods)"."""
    gpus = row["gpus"]
    if not isinstance(gpus, Mapping) or not gpus:
        return None
    return f"{len(gpus)} ({'+'.join(str(count) for count in gpus.values())} pods)"
