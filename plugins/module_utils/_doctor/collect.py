# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: collects a snapshot from a cluster. It only reads, page by page, keeps only what
findings need, and records what the identity may not read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from .._common.documents import name_of, text_at
from .._common.errors import ClusterError
from .._kube.client import Cluster
from .._kube.objects import CLUSTER_POLICIES, NODES, namespaced, object_path
from .._profiles.config_map import ConfigMap, read_config_map
from .._provider.cluster_policy import oldest_first
from .._provider.plugin import read_plugin
from .._rollout.desired import Desired
from .._rollout.dra import dra_nodes
from .objects import node_view, read_pod, read_quota
from .snapshot import (
    CONFIG_MAP,
    DAEMON_SETS,
    GPU_CLUSTERS,
    PODS,
    POLICY,
    QUOTAS,
    SLICES,
    ForeignPod,
    Location,
    NodeView,
    Operand,
    Quota,
    Snapshot,
    Workload,
)

_PODS = "/api/v1/pods"
_QUOTAS = "/api/v1/resourcequotas"
_CONFIG_MAPS = "/api/v1/configmaps"
_GPU_CLUSTERS = "/apis/nvidia.com/v1alpha1/gpuclusters"
_NOT_ALLOWED = (401, 403)
T = TypeVar("T")


@dataclass
class _Pods:
    operands: dict[str, list[Operand]] = field(default_factory=lambda: defaultdict(list))
    workloads: dict[str, list[Workload]] = field(default_factory=lambda: defaultdict(list))
    foreign_pods: list[ForeignPod] = field(default_factory=list)

    def add(self, pod: Operand | Workload | ForeignPod | None) -> None:
        if isinstance(pod, Operand):
            self.operands[pod.pod.node].append(pod)
        elif isinstance(pod, Workload):
            self.workloads[pod.node].append(pod)
        elif pod is not None:
            self.foreign_pods.append(pod)


@dataclass
class _Collector:
    """Reads each part of one snapshot. unreadable gathers what the identity may not read."""

    cluster: Cluster
    location: Location
    node: str = ""  # the only node to read; empty for all
    operator_namespace: str = ""  # of its pods and DaemonSets
    unreadable: dict[str, str] = field(default_factory=dict)

    def attempt(self, what: str, read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except ClusterError as error:
            if error.status not in _NOT_ALLOWED:
                raise
            self.unreadable[what] = error.detail or str(error)
            return otherwise

    def nodes(self, desired: Desired) -> dict[str, NodeView]:
        """The GPU nodes, and those of the inventory. The doctor cannot run without them."""
        fields = f"metadata.name={self.node}" if self.node else ""
        views = (node_view(item) for item in self.cluster.items(NODES, fields=fields))
        return {
            view.state.name: view
            for view in views
            if view.state.has_gpus or view.state.name in desired.assignments
        }

    def pods(self) -> _Pods:
        fields = f"spec.nodeName={self.node}" if self.node else "status.phase!=Succeeded"
        pods = _Pods()
        for item in self.cluster.items(_PODS, fields=fields):
            pods.add(read_pod(item, self.operator_namespace))
        return pods

    def config_map(self) -> ConfigMap | None:
        path = namespaced("configmaps", self.location.namespace)
        document = self.cluster.find(object_path(path, self.location.config_map))
        return read_config_map(document) if document else None

    def other_namespaces(self) -> tuple[str, ...]:
        """Other namespaces with a ConfigMap of the same name; none if that may not be read."""
        fields = f"metadata.name={self.location.config_map}"
        try:
            found = list(self.cluster.items(_CONFIG_MAPS, fields=fields, metadata_only=True))
        except ClusterError as error:
            if error.status not in _NOT_ALLOWED:
                raise
            return ()
        return tuple(sorted(text_at(item, "metadata", "namespace") for item in found))

    def policies(self) -> dict[str, object]:
        return {name_of(item): item for item in oldest_first(self.cluster.items(CLUSTER_POLICIES))}

    def daemon_sets(self) -> tuple[object, ...]:
        path = namespaced("daemonsets", self.operator_namespace, "apis/apps/v1")
        return tuple(self.cluster.items(path))

    def quotas(self) -> tuple[Quota, ...]:
        quotas = (read_quota(item) for item in self.cluster.items(_QUOTAS))
        return tuple(quota for quota in quotas if quota.limits)

    def gpu_clusters(self) -> tuple[str, ...]:
        return tuple(name_of(item) for item in self.cluster.items(_GPU_CLUSTERS))

    def dra_nodes(self) -> frozenset[str]:
        return dra_nodes(self.cluster)


def collect(
    cluster: Cluster,
    location: Location,
    desired: Desired,
    inventory_nodes: frozenset[str],
    node: str = "",
) -> Snapshot:
    """A snapshot of the nodes of desired, or only of node, which is cheaper.

    Raises ClusterError if the cluster cannot be reached or nodes may not be listed.
    """
    collector = _Collector(cluster, location, node)
    nodes = collector.nodes(desired)
    policies = collector.attempt(POLICY, collector.policies, dict[str, object]())
    policy = policies.get(location.cluster_policy)
    active = next(iter(policies.values()), None)
    collector.operator_namespace = text_at(active, "status", "namespace") or location.namespace
    pods = collector.attempt(PODS, collector.pods, _Pods())
    config_map = collector.attempt(CONFIG_MAP, collector.config_map, None)
    missing = config_map is None and CONFIG_MAP not in collector.unreadable
    daemon_sets = collector.attempt(DAEMON_SETS, collector.daemon_sets, tuple[object, ...]())
    if config_map:
        config_map = replace(config_map, shadowed=frozenset(read_plugin(daemon_sets).shadowed))
    return Snapshot(
        desired=desired,
        location=location,
        inventory_nodes=inventory_nodes,
        nodes=nodes,
        operator_namespace=collector.operator_namespace,
        operands=pods.operands,
        workloads=pods.workloads,
        foreign_pods=tuple(pods.foreign_pods),
        config_map=config_map,
        other_namespaces=collector.other_namespaces() if missing else (),
        policy=policy,
        policies=tuple(policies),
        gpu_clusters=collector.attempt(GPU_CLUSTERS, collector.gpu_clusters, ()),
        dra_nodes=collector.attempt(SLICES, collector.dra_nodes, frozenset[str]()),
        daemon_sets=daemon_sets,
        quotas=collector.attempt(QUOTAS, collector.quotas, ()),
        unreadable=collector.unreadable,
        complete=not node,
        now=cluster.now(),
    )
