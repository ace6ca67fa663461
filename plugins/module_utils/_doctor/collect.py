# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: asking a cluster for what the doctor looks at. Reads only, page by
page, and cuts every object when it arrives. What may not be read is noted, not failed for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.documents import (
    name_of,
    text_at,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import ClusterError
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.objects import (
    node_view,
    read_pod,
    read_quota,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.snapshot import (
    CONFIG_MAP,
    DAEMON_SETS,
    GPU_CLUSTERS,
    PODS,
    POLICY,
    QUOTAS,
    ForeignPod,
    Location,
    NodeView,
    Operand,
    Quota,
    Snapshot,
    Workload,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import Cluster
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.objects import (
    CLUSTER_POLICIES,
    NODES,
    namespaced,
    object_path,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.config_map import (
    ConfigMap,
    read_config_map,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._provider.cluster_policy import (
    oldest_first,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.desired import Desired

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

    def add(self, found: Operand | Workload | ForeignPod | None) -> None:
        if isinstance(found, Operand):
            self.operands[found.pod.node].append(found)
        elif isinstance(found, Workload):
            self.workloads[found.node].append(found)
        elif found is not None:
            self.foreign_pods.append(found)


@dataclass
class _Collector:
    """One look at a cluster. unreadable gathers what it does not let us see."""

    cluster: Cluster
    location: Location
    node: str = ""  # of one node only
    operator: str = ""  # its namespace, as it tells; the pods and DaemonSets are there
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
        """The GPU nodes, and those of the inventory. Nothing works without them."""
        only = f"metadata.name={self.node}" if self.node else ""
        views = (node_view(item) for item in self.cluster.items(NODES, fields=only))
        return {
            view.state.name: view
            for view in views
            if view.state.has_gpus or view.state.name in desired.assignments
        }

    def pods(self) -> _Pods:
        fields = f"spec.nodeName={self.node}" if self.node else "status.phase!=Succeeded"
        found = _Pods()
        for item in self.cluster.items(_PODS, fields=fields):
            found.add(read_pod(item, self.operator))
        return found

    def config_map(self) -> ConfigMap | None:
        path = namespaced("configmaps", self.location.namespace)
        document = self.cluster.find(object_path(path, self.location.config_map))
        return read_config_map(document) if document else None

    def elsewhere(self) -> tuple[str, ...]:
        """Other namespaces with a ConfigMap of the name; none where we may not look."""
        fields = f"metadata.name={self.location.config_map}"
        try:
            found = list(self.cluster.items(_CONFIG_MAPS, fields=fields, metadata_only=True))
        except ClusterError as error:
            if error.status not in _NOT_ALLOWED:
                raise
            return ()
        return tuple(sorted(text_at(item, "metadata", "namespace") for item in found))

    def policies(self) -> dict[str, object]:
        found = self.cluster.items(CLUSTER_POLICIES)
        return {name_of(item): item for item in oldest_first(found)}

    def daemon_sets(self) -> tuple[object, ...]:
        path = namespaced("daemonsets", self.operator, "apis/apps/v1")
        return tuple(self.cluster.items(path))

    def quotas(self) -> tuple[Quota, ...]:
        read = (read_quota(item) for item in self.cluster.items(_QUOTAS))
        return tuple(quota for quota in read if quota.limits)

    def gpu_clusters(self) -> tuple[str, ...]:
        return tuple(name_of(item) for item in self.cluster.items(_GPU_CLUSTERS))


def collect(
    cluster: Cluster,
    location: Location,
    desired: Desired,
    known: frozenset[str],
    node: str = "",
) -> Snapshot:
    """The snapshot of the nodes of desired; of one node only where it is named, which is cheaper.

    Raises ClusterError where the cluster cannot be reached, or does not let us list nodes.
    """
    here = _Collector(cluster, location, node)
    nodes = here.nodes(desired)
    policies = here.attempt(POLICY, here.policies, dict[str, object]())
    policy = policies.get(location.cluster_policy)
    here.operator = text_at(policy, "status", "namespace") or location.namespace
    pods = here.attempt(PODS, here.pods, _Pods())
    config_map = here.attempt(CONFIG_MAP, here.config_map, None)
    missing = config_map is None and CONFIG_MAP not in here.unreadable
    return Snapshot(
        desired=desired,
        location=location,
        known=known,
        nodes=nodes,
        operator=here.operator,
        operands=pods.operands,
        workloads=pods.workloads,
        foreign_pods=tuple(pods.foreign_pods),
        config_map=config_map,
        elsewhere=here.elsewhere() if missing else (),
        policy=policy,
        policies=tuple(policies),
        gpu_clusters=here.attempt(GPU_CLUSTERS, here.gpu_clusters, ()),
        daemon_sets=here.attempt(DAEMON_SETS, here.daemon_sets, ()),
        quotas=here.attempt(QUOTAS, here.quotas, ()),
        unreadable=here.unreadable,
        whole=not node,
    )
