# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the pods that stay Pending after their controllers have recreated what was evicted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from .._common.clock import CLOCK, Clock
from .._common.text import plural
from .._kube.client import Cluster
from .._kube.reflector import Reflector
from .._nodes.pods import GpuPod, PendingPod, pending_pod
from .gpu_pods import PODS
from .live import Live

UNBOUND = "spec.nodeName="
SCHEDULING = 15.0  # seconds: the scheduler retries a pod after 10 at most


@dataclass(frozen=True)
class Pending:
    """Pods of one controller that have no node, and the scheduler's reason for one of them."""

    namespace: str
    owner: str
    pods: int
    reason: str

    def __str__(self) -> str:
        reason = self.reason or "the scheduler has given no reason yet"
        count = plural(self.pods, "pod")
        return f"Pending after the evictions: {self.namespace} {self.owner} ({count}): {reason}"


class WatchedPending(Protocol):
    """Unbound GPU pods that are watched from start to stop."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def pods(self) -> list[PendingPod]: ...

    def wait(self, seconds: float) -> Collection[str]:
        """Wait for a change, at most some seconds."""


class LivePending(Live):
    """The GPU pods of a cluster that have no node."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self._pods: dict[tuple[str, str], PendingPod] = {}
        self._reflectors.append(Reflector(cluster, PODS, pending_pod, self._on_pod, fields=UNBOUND))

    def pods(self) -> list[PendingPod]:
        with self._changes:
            return list(self._pods.values())

    def _on_pod(self, before: PendingPod | None, after: PendingPod | None) -> None:
        with self._changes:
            if before is not None:
                self._pods.pop((before.namespace, before.name), None)
            if after is not None:
                self._pods[after.namespace, after.name] = after
            self._changed.add("")
            self._changes.notify_all()


def left_pending(
    live: WatchedPending, evicted: Iterable[GpuPod], clock: Clock = CLOCK
) -> list[Pending]:
    """The pods of the evicted pods' controllers that still have no node when the scheduler has had
    the time to place them.
    """
    owners = {(pod.namespace, pod.owner) for pod in evicted if pod.owner}
    deadline = clock.now() + SCHEDULING
    live.start()
    try:
        while (found := _of(owners, live.pods())) and (left := deadline - clock.now()) > 0:
            live.wait(left)
    finally:
        live.stop()
    return found


def _of(owners: Collection[tuple[str, str]], pods: Sequence[PendingPod]) -> list[Pending]:
    found: list[Pending] = []
    for namespace, owner in sorted(owners):
        same = [pod for pod in pods if (pod.namespace, pod.owner) == (namespace, owner)]
        if same:
            reason = max(pod.reason for pod in same)
            found.append(Pending(namespace, owner, len(same), reason))
    return found
