# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: draining nodes of the pods that a change would disrupt, and of no others.

Pods are evicted through the eviction API, which respects PodDisruptionBudgets. Nodes that we cordon
get an annotation, and only nodes with it are uncordoned: other people's cordons stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from .._common.backoff import pauses
from .._common.clock import CLOCK, Clock
from .._common.documents import dig, mapping_at
from .._common.errors import ClusterError, SharingError
from .._common.names import CORDONED_ANNOTATION
from .._common.table import format_first_rows
from .._fleet.nodes import ClusterNodes
from .._kube.client import Cluster
from .._kube.objects import NODES, if_unchanged, object_path
from .._nodes.pods import GpuPod
from .._nodes.state import NodeMetadata
from .._nodes.taints import CORDON
from .gpu_pods import LivePods, for_each_node, gpu_pods_on

COLUMNS = ("node", "namespace", "pod", "why")
MOST_LINES = 20
ATTEMPTS = 6  # to write to a node, which the kubelet and controllers write to as well
RETRY_EVICTION = 2.0  # seconds until an eviction is requested again
MOST_RETURNS = 4  # of an owner's pods to a cordoned node; some were bound during the cordon
MAX_WAIT = 10.0  # seconds until the Lease is checked again
NOT_ALLOWED = (401, 403)
GONE = (404, 409)  # the pod is gone, or another pod has its name: the next check shows which


class DrainError(SharingError):
    """Pods that could not be evicted; problems holds a line for each."""


def without_controller(pods: Iterable[GpuPod]) -> list[GpuPod]:
    """The pods that nothing recreates after their eviction."""
    return [pod for pod in pods if not pod.owner]


def left_cordoned(states: Iterable[NodeMetadata]) -> list[str]:
    """Nodes that a killed run left cordoned."""
    return sorted(state.name for state in states if CORDONED_ANNOTATION in state.annotations)


def to_uncordon(states: Iterable[NodeMetadata], nodes: ClusterNodes) -> list[str]:
    """Those that an uninstall uncordons: only selected ones if nodes are left out."""
    found = left_cordoned(states)
    return [node for node in found if not nodes.limited or node in nodes.assignments]


def cordon_patch(node: object) -> dict[str, object]:
    """The patch that cordons a node and annotates it; empty when it is cordoned already."""
    if dig(node, "spec", "unschedulable") is True:
        return {}
    return _patch(node, unschedulable=True, annotation="true")


def uncordon_patch(node: object) -> dict[str, object]:
    """The patch that removes our cordon and its annotation; empty without the annotation."""
    ours = CORDONED_ANNOTATION in mapping_at(node, "metadata", "annotations")
    return _patch(node, unschedulable=None, annotation=None) if ours else {}


def _patch(
    node: object, *, unschedulable: bool | None, annotation: str | None
) -> dict[str, object]:
    patch = {
        "metadata": {"annotations": {CORDONED_ANNOTATION: annotation}},
        "spec": {"unschedulable": unschedulable},
    }
    return if_unchanged(patch, node)


def unmovable(pods: Iterable[GpuPod]) -> dict[str, str]:
    """Pods that an eviction would not move, by uid, and why."""
    reasons = {}
    for pod in pods:
        if pod.daemon:
            reasons[pod.uid] = f"its owner {pod.owner} runs it on this node only"
        elif pod.tolerant:
            reasons[pod.uid] = f"it tolerates the taint {CORDON.key}, so it could come back at once"
    return reasons


def check_movable(pods: Sequence[GpuPod]) -> None:
    """Raise DrainError with the pods that an eviction would not move."""
    if reasons := unmovable(pods):
        stuck = [pod for pod in pods if pod.uid in reasons]
        raise drain_error(
            f"Evictions would not free the nodes of these pods ({len(stuck)}):",
            stuck,
            reasons,
            "Delete or move them, then run again.",
        )


def drain_error(
    message: str, pods: Sequence[GpuPod], reasons: Mapping[str, str], advice: str
) -> DrainError:
    """The error that lists pods and why they are still there (reasons, by uid)."""
    ordered = sorted(pods, key=lambda pod: (pod.node, pod.namespace, pod.name))
    rows = [
        dict(zip(COLUMNS, (pod.node, pod.namespace, pod.name, reasons[pod.uid]), strict=True))
        for pod in ordered
    ]
    lines = format_first_rows(COLUMNS, rows, MOST_LINES, "pods")
    problems = [f"{pod.node}: {pod}: {reasons[pod.uid]}" for pod in ordered]
    return DrainError("\n".join([message, *lines, advice]), problems)


def _place(pod: GpuPod) -> tuple[str, str, str]:
    return pod.node, pod.namespace, pod.owner


@dataclass
class Evictions:
    """What has been requested during one drain, until its deadline; all by uid of the pod."""

    deadline: float
    evicted: dict[str, GpuPod] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)  # the API server's last reason
    not_before: dict[str, float] = field(default_factory=dict)  # when to request again

    def due(self, pods: Iterable[GpuPod], now: float) -> Iterator[GpuPod]:
        for pod in pods:
            if not pod.leaving and self.not_before.get(pod.uid, now) <= now:
                yield pod

    def next_due(self, pods: Iterable[GpuPod]) -> list[float]:
        """When evictions of pods have to be requested again."""
        return [self.not_before[pod.uid] for pod in pods if not pod.leaving]

    def check_returns(self, pods: Sequence[GpuPod]) -> None:
        """Raise DrainError for owners that go on creating pods on a cordoned node, as a template
        with a nodeName does: evicting those would never end.
        """
        gone = Counter(map(_place, self.evicted.values()))
        back = [pod for pod in pods if pod.owner and pod.uid not in self.evicted]
        count = Counter(map(_place, back))
        reasons = {
            pod.uid: f"its owner {pod.owner} creates it on this node although the node is cordoned"
            for pod in back
            if gone[_place(pod)] >= MOST_RETURNS * max(count[_place(pod)], 1)
        }
        if reasons:
            raise drain_error(
                f"Evicted pods come back to their nodes at once ({len(reasons)}):",
                [pod for pod in back if pod.uid in reasons],
                reasons,
                "Scale their owners down, or remove spec.nodeName from their template; then run"
                " again.",
            )

    def reason(self, pod: GpuPod) -> str:
        if pod.leaving:
            return "it is being deleted, and its containers are still running"
        return self.rejected.get(pod.uid, "it appeared just before the timeout")


class WatchedPods(Protocol):
    """GPU pods that are watched from start to stop."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def pods(self) -> list[GpuPod]: ...

    def wait(self, seconds: float) -> Collection[str]:
        """Wait for a change, at most some seconds."""


@dataclass(frozen=True)
class Drainer:
    """Drains nodes of one cluster. timeout, in seconds, is for all nodes of one drain together;
    report takes lines of progress; check is called before writes, and raises LeaseError when
    another run has taken over: then that run handles the cordoned nodes.
    """

    cluster: Cluster
    timeout: float
    report: Callable[[str], None]
    check: Callable[[], None] = lambda: None
    clock: Clock = CLOCK
    watch: Callable[[Cluster, Sequence[str]], WatchedPods] = LivePods

    def drain(
        self, nodes: Sequence[str], disrupted: Callable[[list[GpuPod]], list[GpuPod]]
    ) -> list[GpuPod]:
        """Cordon nodes and evict pods until none of those left on them is disrupted.

        disrupted returns which of the nodes' GPU pods are. Returns the evicted pods; the nodes stay
        cordoned. Raises DrainError or ClusterError, after uncordoning what it cordoned.
        """
        check_movable(disrupted(gpu_pods_on(self.cluster, nodes)))
        try:
            self.cordon(nodes)
            return self.evict(nodes, disrupted)
        except SharingError as error:
            self._undo(nodes, error)
            raise

    def cordon(self, nodes: Sequence[str]) -> None:
        """Cordon and annotate the nodes that are not cordoned."""
        self._write(nodes, cordon_patch, "{nodes} could not be cordoned")

    def uncordon(self, nodes: Sequence[str]) -> None:
        """Uncordon the nodes that have our annotation."""
        self._write(nodes, uncordon_patch, "{nodes} could not be uncordoned")

    def evict(
        self, nodes: Sequence[str], disrupted: Callable[[list[GpuPod]], list[GpuPod]]
    ) -> list[GpuPod]:
        """Evict the disrupted pods of cordoned nodes, and wait until they are gone.

        The pods are watched from after the cordon, so this also finds pods that were bound during
        it. Since a watch may be late, a list confirms that none is left.
        """
        evictions = Evictions(self.clock.now() + self.timeout)
        live = self.watch(self.cluster, nodes)
        live.start()
        try:
            while pods := disrupted(live.pods()) or disrupted(gpu_pods_on(self.cluster, nodes)):
                check_movable(pods)
                evictions.check_returns(pods)
                now = self.clock.now()
                if now >= evictions.deadline:
                    raise self._timeout_error(pods, evictions)
                self.check()
                self._request(list(evictions.due(pods, now)), evictions)
                until = min([evictions.deadline, now + MAX_WAIT, *evictions.next_due(pods)])
                live.wait(until - self.clock.now())
        finally:
            live.stop()
        return list(evictions.evicted.values())

    def _request(self, pods: list[GpuPod], evictions: Evictions) -> None:
        """Request evictions, and record the API server's answer to each."""
        by_uid = {pod.uid: pod for pod in pods}
        errors: dict[str, ClusterError] = {}

        def request(uid: str) -> None:
            pod = by_uid[uid]
            try:
                self.cluster.evict(pod.namespace, pod.name, uid=uid)
            except ClusterError as error:
                errors[uid] = error

        self.cluster.for_each(list(by_uid), request)
        for uid, pod in by_uid.items():
            error = errors.get(uid)
            if error is None:
                evictions.evicted[uid] = pod
                evictions.not_before[uid] = self.clock.now() + RETRY_EVICTION
                self.report(f"{pod.node}: evicted {pod}")
            elif error.status == 401:
                raise error
            else:
                self._record_rejection(pod, error, evictions)

    def _record_rejection(self, pod: GpuPod, error: ClusterError, evictions: Evictions) -> None:
        """Record why a pod was not evicted, and when to request it again.

        Also after status 403: webhooks, and namespaces that are being deleted, return it.
        """
        wait = max(error.retry_after, RETRY_EVICTION)
        evictions.not_before[pod.uid] = self.clock.now() + wait
        reason = error.detail or str(error)
        if error.status not in GONE and evictions.rejected.get(pod.uid) != reason:
            self.report(f"{pod.node}: {pod} is not evicted yet: {reason}")
        evictions.rejected[pod.uid] = reason

    def _timeout_error(self, pods: list[GpuPod], evictions: Evictions) -> DrainError:
        nodes = len({pod.node for pod in pods})
        return drain_error(
            f"Not evicted within {self.timeout:g} s (pods: {len(pods)}, nodes: {nodes}):",
            pods,
            {pod.uid: evictions.reason(pod) for pod in pods},
            "Remove what blocks the evictions or increase O(drain_timeout), and run again.",
        )

    def _undo(self, nodes: Sequence[str], error: SharingError) -> None:
        """Uncordon after an error; when that fails too, raise both."""
        try:
            self.uncordon(nodes)
        except ClusterError as another:
            message = f"{error}\n{another} Run again to uncordon them."
            raise DrainError(message, [*error.problems, str(another)]) from error

    def _write(
        self, nodes: Sequence[str], patch: Callable[[object], dict[str, object]], failure: str
    ) -> None:
        if nodes:
            self.check()
            for_each_node(self.cluster, nodes, lambda node: self._write_node(node, patch), failure)

    def _write_node(self, node: str, patch: Callable[[object], dict[str, object]]) -> None:
        """Patch a node, with retries after conflicts and other errors."""
        for pause in islice(pauses(), ATTEMPTS - 1):
            try:
                return self._patch_once(node, patch)
            except ClusterError as error:
                if error.status in NOT_ALLOWED:
                    raise
            self.clock.pause(pause)
        return self._patch_once(node, patch)

    def _patch_once(self, node: str, patch: Callable[[object], dict[str, object]]) -> None:
        """Patch a node in its current state. A node that has left the cluster needs no patch."""
        for document in self.cluster.items(NODES, fields=f"metadata.name={node}"):
            if body := patch(document):
                self.cluster.patch(object_path(NODES, node), body)
