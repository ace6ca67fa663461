# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: freeing nodes of the pods that a change would hurt, and of no others.

Pods leave through the eviction API, so PodDisruptionBudgets hold. A node that is cordoned for it
carries a mark, and only what carries it is uncordoned: somebody else's cordon stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.backoff import pauses
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.clock import CLOCK, Clock
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.documents import (
    dig,
    mapping_at,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    ClusterError,
    LeaseError,
    SharingError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.names import (
    CORDONED_ANNOTATION,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.table import (
    format_first_rows,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import some
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import Cluster
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.objects import (
    NODES,
    if_unchanged,
    object_path,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.disruption import (
    UNSCHEDULABLE_TAINT,
    GpuPod,
    gpu_pods,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState

PODS = "/api/v1/pods"
ONE_BY_ONE = 200  # nodes whose pods are asked for node by node; of more, all pods are listed
COLUMNS = ("node", "namespace", "pod", "why")
MOST_LINES = 20
TRIES = 6  # writes to a node; kubelet and controllers write to it too
ASK_AGAIN = 2.0  # seconds until an eviction that was refused is asked for again
NOT_ALLOWED = (401, 403)
CHANGED = (404, 409)  # the pod has gone, or another has its name: the next look tells


class DrainError(SharingError):
    """Pods that could not be evicted; problems holds a line for each."""


def lost(pods: Iterable[GpuPod]) -> list[GpuPod]:
    """The pods that nothing makes again once they are evicted."""
    return [pod for pod in pods if not pod.owner]


def leftover(states: Iterable[NodeState]) -> list[str]:
    """Nodes that a run which was killed has left cordoned."""
    return sorted(state.name for state in states if CORDONED_ANNOTATION in state.annotations)


def cordon_patch(node: object) -> dict[str, object]:
    """The patch that cordons a node and marks it; empty where it is cordoned, by whomever."""
    if dig(node, "spec", "unschedulable") is True:
        return {}
    return _patch(node, unschedulable=True, mark="true")


def uncordon_patch(node: object) -> dict[str, object]:
    """The patch that takes our cordon and its mark away; empty where there is no mark."""
    marked = CORDONED_ANNOTATION in mapping_at(node, "metadata", "annotations")
    return _patch(node, unschedulable=None, mark=None) if marked else {}


def _patch(node: object, *, unschedulable: bool | None, mark: str | None) -> dict[str, object]:
    patch = {
        "metadata": {"annotations": {CORDONED_ANNOTATION: mark}},
        "spec": {"unschedulable": unschedulable},
    }
    return if_unchanged(patch, node)


def unmovable(pods: Iterable[GpuPod]) -> dict[str, str]:
    """Pods that evicting would not move, by uid, and why."""
    reasons = {}
    for pod in pods:
        if pod.daemon:
            reasons[pod.uid] = f"its owner {pod.owner} runs it on this very node"
        elif pod.tolerant:
            reasons[pod.uid] = (
                f"it tolerates the taint {UNSCHEDULABLE_TAINT}, so it could come back at once"
            )
    return reasons


def blocked(
    said: str, pods: Sequence[GpuPod], reasons: Mapping[str, str], advice: str
) -> DrainError:
    """The error that names pods and what holds each, by uid."""
    ordered = sorted(pods, key=lambda pod: (pod.node, pod.namespace, pod.name))
    rows = [
        dict(zip(COLUMNS, (pod.node, pod.namespace, pod.name, reasons[pod.uid]), strict=True))
        for pod in ordered
    ]
    lines = format_first_rows(COLUMNS, rows, MOST_LINES, "pods")
    problems = [f"{pod.node}: {pod.namespace}/{pod.name}: {reasons[pod.uid]}" for pod in ordered]
    return DrainError("\n".join([said, *lines, advice]), problems)


@dataclass
class Progress:
    """What has been asked for while nodes are drained; all by uid of the pod."""

    evicted: dict[str, GpuPod] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)  # the API server's last word
    not_before: dict[str, float] = field(default_factory=dict)  # when to ask again

    def due(self, pods: Iterable[GpuPod], now: float) -> Iterator[GpuPod]:
        for pod in pods:
            if not pod.leaving and self.not_before.get(pod.uid, now) <= now:
                yield pod

    def reason(self, pod: GpuPod) -> str:
        if pod.leaving:
            return "it is being deleted, and its containers have not ended yet"
        return self.refused.get(pod.uid, "it was seen only just before the time was over")


@dataclass(frozen=True)
class Drainer:
    """Drains nodes of one cluster. timeout, in seconds, is for all nodes that are drained at once;
    said takes lines that tell people how far it is.
    """

    cluster: Cluster
    timeout: float
    said: Callable[[str], None]
    clock: Clock = CLOCK

    def drain(
        self, nodes: Sequence[str], hurt: Callable[[list[GpuPod]], list[GpuPod]]
    ) -> list[GpuPod]:
        """Cordon nodes and evict pods until none of those that are left there is hurt.

        hurt tells which of the GPU pods of these nodes would be. Returns the pods that were
        evicted; the nodes stay cordoned. Raises DrainError or ClusterError: then what was cordoned
        here is uncordoned again.
        """
        refuse_unmovable(hurt(self.look(nodes)))
        try:
            self.cordon(nodes)
            return self.evict(nodes, hurt)
        except LeaseError:
            raise  # the run that has taken over sees to the nodes
        except SharingError as error:
            self._undo(nodes, error)
            raise

    def look(self, nodes: Sequence[str]) -> list[GpuPod]:
        """The GPU pods of nodes."""
        if len(nodes) > ONE_BY_ONE:
            running = "status.phase!=Succeeded,status.phase!=Failed,spec.nodeName!="
            wanted = set(nodes)
            pods = gpu_pods(self.cluster.items(PODS, fields=running))
            return [pod for pod in pods if pod.node in wanted]
        found: dict[str, list[GpuPod]] = {}

        def read(node: str) -> None:
            found[node] = gpu_pods(self.cluster.items(PODS, fields=f"spec.nodeName={node}"))

        self._each(nodes, read, "could not be looked at")
        return [pod for node in nodes for pod in found[node]]

    def cordon(self, nodes: Sequence[str]) -> None:
        """Cordon and mark the nodes that are not cordoned."""
        self._each(nodes, lambda node: self._write(node, cordon_patch), "could not be cordoned")

    def uncordon(self, nodes: Sequence[str]) -> None:
        """Uncordon the nodes that carry our mark."""
        self._each(nodes, lambda node: self._write(node, uncordon_patch), "could not be uncordoned")

    def evict(
        self, nodes: Sequence[str], hurt: Callable[[list[GpuPod]], list[GpuPod]]
    ) -> list[GpuPod]:
        """Evict the pods that are hurt, and wait until they have gone. Nodes have to be cordoned.

        A pod that was bound while its node was being cordoned is found too, since every look asks
        anew.
        """
        progress = Progress()
        deadline = self.clock.now() + self.timeout
        pause = pauses()
        while pods := hurt(self.look(nodes)):
            refuse_unmovable(pods)
            now = self.clock.now()
            if now >= deadline:
                raise self._too_late(pods, progress)
            self._ask(list(progress.due(pods, now)), progress)
            self.clock.pause(min(next(pause), deadline - now))
        return list(progress.evicted.values())

    def _ask(self, pods: list[GpuPod], progress: Progress) -> None:
        """Ask for evictions, and note what the API server says to each."""
        by_uid = {pod.uid: pod for pod in pods}
        answers: dict[str, ClusterError] = {}

        def ask(uid: str) -> None:
            pod = by_uid[uid]
            try:
                self.cluster.evict(pod.namespace, pod.name, uid=uid)
            except ClusterError as error:
                answers[uid] = error

        self.cluster.for_each(list(by_uid), ask)
        for uid, pod in by_uid.items():
            error = answers.get(uid)
            if error is None:
                progress.evicted[uid] = pod
                self.said(f"{pod.node}: evicted {pod.namespace}/{pod.name}")
            elif error.status == 401:
                raise error
            else:
                self._note(pod, error, progress)

    def _note(self, pod: GpuPod, error: ClusterError, progress: Progress) -> None:
        """Remember why a pod was not evicted, and when to ask again.

        So too with 403: webhooks and namespaces that are being deleted refuse evictions with it.
        """
        wait = max(error.retry_after, ASK_AGAIN)
        progress.not_before[pod.uid] = self.clock.now() + wait
        reason = error.detail or str(error)
        if error.status not in CHANGED and progress.refused.get(pod.uid) != reason:
            self.said(f"{pod.node}: {pod.namespace}/{pod.name} is not evicted yet: {reason}")
        progress.refused[pod.uid] = reason

    def _too_late(self, pods: list[GpuPod], progress: Progress) -> DrainError:
        many = len({pod.node for pod in pods})
        return blocked(
            f"Not evicted within {self.timeout:g} s (pods: {len(pods)}, nodes: {many}):",
            pods,
            {pod.uid: progress.reason(pod) for pod in pods},
            "Run again when what holds them has given way, or with more time.",
        )

    def _undo(self, nodes: Sequence[str], error: SharingError) -> None:
        """Uncordon after an error, and say both where that fails too."""
        try:
            self.uncordon(nodes)
        except ClusterError as another:
            message = f"{error}\n{another} Run again to uncordon them."
            raise DrainError(message, [*error.problems, str(another)]) from error

    def _write(self, node: str, patch: Callable[[object], dict[str, object]]) -> None:
        """Patch a node, again after a conflict or a fault."""
        for pause in islice(pauses(), TRIES - 1):
            try:
                return self._write_once(node, patch)
            except ClusterError as error:
                if error.status in NOT_ALLOWED:
                    raise
            self.clock.pause(pause)
        return self._write_once(node, patch)

    def _write_once(self, node: str, patch: Callable[[object], dict[str, object]]) -> None:
        """Patch a node as it is now. One that has left the cluster needs nothing."""
        for document in self.cluster.items(NODES, fields=f"metadata.name={node}"):
            if body := patch(document):
                self.cluster.patch(object_path(NODES, node), body)

    def _each(self, nodes: Sequence[str], action: Callable[[str], None], failed: str) -> None:
        if failures := self.cluster.for_each(list(nodes), action):
            raise ClusterError(f"{some(sorted(failures))} {failed}: {min(failures.values())}")


def refuse_unmovable(pods: Sequence[GpuPod]) -> None:
    """Raise DrainError naming pods that evicting would not move."""
    if reasons := unmovable(pods):
        stuck = [pod for pod in pods if pod.uid in reasons]
        raise blocked(
            f"Evicting would not free the nodes of these pods ({len(stuck)}):",
            stuck,
            reasons,
            "Delete or move them, then run again.",
        )
