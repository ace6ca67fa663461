# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the pods that use GPUs of some nodes, listed once or watched."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .._common.errors import ClusterError
from .._common.text import some
from .._kube.client import Cluster
from .._kube.reflector import Reflector
from .._nodes.pods import GpuPod, gpu_pods
from .live import Live

PODS = "/api/v1/pods"
ONE_BY_ONE = 200  # up to so many nodes, pods are listed node by node; else all pods at once
RUNNING = "status.phase!=Succeeded,status.phase!=Failed,spec.nodeName!="


def gpu_pods_on(cluster: Cluster, nodes: Sequence[str]) -> list[GpuPod]:
    """The GPU pods of nodes."""
    if len(nodes) > ONE_BY_ONE:
        wanted = set(nodes)
        return [pod for pod in gpu_pods(cluster.items(PODS, fields=RUNNING)) if pod.node in wanted]
    found: dict[str, list[GpuPod]] = {}

    def read(node: str) -> None:
        found[node] = gpu_pods(cluster.items(PODS, fields=on_node(node)))

    for_each_node(cluster, nodes, read, "The pods of {nodes} could not be listed")
    return [pod for node in nodes for pod in found[node]]


def for_each_node(
    cluster: Cluster, nodes: Sequence[str], action: Callable[[str], None], failure: str
) -> None:
    """Run an action for each node. Raises ClusterError with failure, which has a {nodes}."""
    if failures := cluster.for_each(list(nodes), action):
        message = failure.format(nodes=some(sorted(failures)))
        raise ClusterError(f"{message}: {min(failures.values())}")


def on_node(node: str) -> str:
    """The field selector of a node's pods."""
    return f"spec.nodeName={node}"


class LivePods(Live):
    """The GPU pods of some nodes. One watch serves them all."""

    def __init__(self, cluster: Cluster, nodes: Sequence[str]) -> None:
        super().__init__()
        self._nodes = frozenset(nodes)
        self._pods: dict[str, GpuPod] = {}
        fields = RUNNING if len(nodes) > ONE_BY_ONE else list(map(on_node, nodes))
        self._reflectors.append(Reflector(cluster, PODS, self._read, self._on_pod, fields=fields))

    def pods(self) -> list[GpuPod]:
        with self._changes:
            return list(self._pods.values())

    def _read(self, document: object) -> GpuPod | None:
        """A GPU pod of the nodes; None for any other pod."""
        found = next(iter(gpu_pods([document])), None)
        return found if found and found.node in self._nodes else None

    def _on_pod(self, before: GpuPod | None, after: GpuPod | None) -> None:
        with self._changes:
            if before is not None:
                self._pods.pop(before.uid, None)
                self._changed.add(before.node)
            if after is not None:
                self._pods[after.uid] = after
                self._changed.add(after.node)
            self._changes.notify_all()
