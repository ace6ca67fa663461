# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: what the doctor looks at: a cluster at one moment, cut to what
findings need, beside what the inventory wants. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.names import (
    CONFIG_HASH_ANNOTATION,
    PROFILE_LABEL,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.capacity import (
    PRODUCT_LABEL,
    Verdict,
    judge,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.operands import (
    GFD_APP,
    MPS_APP,
    PLUGIN_APP,
    OperandPod,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.config_map import ConfigMap
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.hashing import config_hash
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.model import (
    GPU_RESOURCE,
    SHARED_SUFFIX,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.plugin import Plugin
from ansible_collections.gpufleet.sharing.plugins.module_utils._provider.cluster_policy import (
    DevicePluginConfig,
    read_plugin_config,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._provider.plugin import read_plugin
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.desired import (
    Desired,
    Target,
)

NODES, PODS, POLICY, CONFIG_MAP = "nodes", "pods", "ClusterPolicy", "ConfigMap"
DAEMON_SETS, QUOTAS, GPU_CLUSTERS = "DaemonSets", "ResourceQuotas", "GPUClusters"
TERMINAL = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Location:
    """Where the operator and the profiles are to be."""

    namespace: str = "gpu-operator"
    config_map: str = "device-plugin-config"
    cluster_policy: str = "cluster-policy"


@dataclass(frozen=True)
class NodeView:
    """A node, with what only the doctor needs of it."""

    state: NodeState
    capacity: Mapping[str, int] = field(default_factory=dict)  # only nvidia.com/ resources
    cordoned: bool = False
    taints: tuple[str, ...] = ()  # that keep pods away, as key=value:effect; not Kubernetes' own
    hami: bool = False  # HAMi has registered its GPUs


@dataclass(frozen=True)
class Operand:
    """A pod of the operator on a node. kind is its label app, or driver or toolkit."""

    pod: OperandPod
    kind: str
    blocked: str = ""  # the init container that it waits in

    @property
    def state(self) -> str:
        """How it is, in a word or two."""
        if self.pod.leaving:
            return "Terminating"
        if self.pod.ready:
            return "Ready"
        waits = self.pod.waits_for
        return waits or (f"waits in {self.blocked}" if self.blocked else "NotReady")


@dataclass(frozen=True)
class Workload:
    """A pod that asks for GPUs in one way or another, finished well or not at all left out."""

    namespace: str
    name: str
    node: str  # empty while it waits for one
    phase: str
    requests: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""  # of its end
    message: str = ""
    waits_for: str = ""  # why a container is not started
    crashes: int = 0
    kai: bool = False  # uses, or holds, a fraction of a GPU by KAI

    @property
    def active(self) -> bool:
        """Whether it holds slots of a node."""
        return bool(self.node) and self.phase not in TERMINAL

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class ForeignPod:
    """A pod of another system that has to do with GPUs: device plugin, HAMi or autoscaler."""

    kind: str
    namespace: str
    name: str
    node: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Quota:
    namespace: str
    name: str
    limits: frozenset[str]  # resources


@dataclass(frozen=True)
class NodeTrace:
    """One node: everything between the inventory and its slots. key is what its plugin goes by."""

    node: str
    group: str
    target: Target
    view: NodeView | None  # None: it is not in the cluster
    label: str
    key: str
    content: str | None  # of the key
    operands: Mapping[str, Operand]  # by kind
    workloads: Sequence[Workload]
    verdict: Verdict

    @property
    def product(self) -> str:
        return self.view.state.labels.get(PRODUCT_LABEL, "") if self.view else ""

    @property
    def hash(self) -> str:
        return config_hash(self.content) if self.content is not None else ""

    @property
    def loaded_hash(self) -> str:
        return self.view.state.annotations.get(CONFIG_HASH_ANNOTATION, "") if self.view else ""

    @property
    def plugin(self) -> Operand | None:
        return self.operands.get(PLUGIN_APP)

    @property
    def gfd(self) -> Operand | None:
        return self.operands.get(GFD_APP)

    @property
    def mps(self) -> Operand | None:
        return self.operands.get(MPS_APP)

    @property
    def plugin_ready(self) -> bool:
        """Whether the plugin's pod is there and well."""
        return self.plugin is not None and self.plugin.pod.ready

    @property
    def used(self) -> int:
        """Slots that its pods ask for, of the resource that its profile advertises."""
        names = self.verdict.resource.split(", ")
        return sum(
            pod.requests.get(name, 0) for pod in self.workloads for name in names if pod.active
        )

    @property
    def free(self) -> int:
        return max(self.verdict.actual - self.used, 0)


@dataclass(frozen=True)
class Snapshot:
    """unreadable holds what could not be looked at, and why. whole: all nodes were looked at."""

    desired: Desired
    location: Location = Location()
    operator: str = "gpu-operator"  # the namespace where the operator is
    known: frozenset[str] = frozenset()  # nodes of the inventory, also outside the limit
    nodes: Mapping[str, NodeView] = field(default_factory=dict)
    operands: Mapping[str, Sequence[Operand]] = field(default_factory=dict)  # by node
    workloads: Mapping[str, Sequence[Workload]] = field(default_factory=dict)  # by node
    foreign_pods: tuple[ForeignPod, ...] = ()
    config_map: ConfigMap | None = None
    elsewhere: tuple[str, ...] = ()  # namespaces that have a ConfigMap of the same name
    policy: object | None = None
    policies: tuple[str, ...] = ()  # the operator goes by the first
    gpu_clusters: tuple[str, ...] = ()
    daemon_sets: tuple[object, ...] = ()
    quotas: tuple[Quota, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    whole: bool = True

    @property
    def pointer(self) -> DevicePluginConfig:
        return read_plugin_config(self.policy)

    @cached_property
    def plugin(self) -> Plugin:
        return read_plugin(self.daemon_sets)

    @cached_property
    def traces(self) -> Mapping[str, NodeTrace]:
        return {node: self._trace(node) for node in sorted(self.desired.assignments)}

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes that are looked at, and are there."""
        return tuple(node for node in self.traces if node in self.nodes)

    def present(self) -> Iterator[tuple[NodeTrace, NodeView]]:
        """The nodes that are there."""
        for trace in self.traces.values():
            if trace.view is not None:
                yield trace, trace.view

    @cached_property
    def advertised(self) -> frozenset[str]:
        """Resources of which any node has slots."""
        return frozenset(
            name
            for view in self.nodes.values()
            for name, count in view.state.allocatable.items()
            if count
        )

    def counterpart(self, resource: str) -> str:
        """The name that nodes advertise instead of one that no node advertises; else empty."""
        if resource.endswith(SHARED_SUFFIX):
            other = resource.removesuffix(SHARED_SUFFIX)
        else:
            other = resource + SHARED_SUFFIX
        gone = resource not in self.advertised
        return other if gone and other in self.advertised else ""

    def _trace(self, node: str) -> NodeTrace:
        target = self.desired.target(node)
        view = self.nodes.get(node)
        label = view.state.labels.get(PROFILE_LABEL, "") if view else ""
        key = label or self.pointer.default
        data = self.config_map.data if self.config_map else {}
        operands: dict[str, Operand] = {}
        for found in self.operands.get(node, ()):
            if found.kind not in operands or operands[found.kind].pod.leaving:
                operands[found.kind] = found
        return NodeTrace(
            node=node,
            group=self.desired.groups.get(node, ""),
            target=target,
            view=view,
            label=label,
            key=key,
            content=data.get(key) if key else None,
            operands=operands,
            workloads=self.workloads.get(node, ()),
            verdict=verdict_of(target, view.state if view else None),
        )


def verdict_of(target: Target, state: NodeState | None) -> Verdict:
    """A node's expected and actual slots, also of one that the cluster does not have."""
    if state is None:
        resource = target.profile.advertised(GPU_RESOURCE)
        return Verdict(target.node, target.gpus, resource, None, 0, "not in the cluster")
    return judge(state, target.profile, target.gpus)
