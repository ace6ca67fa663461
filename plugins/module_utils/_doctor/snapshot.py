# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the snapshot that the doctor checks: a cluster at one moment, reduced to what findings
need, next to what the inventory asks for. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from .._common.documents import list_at, mapping_at
from .._common.names import CONFIG_HASH_ANNOTATION, PROFILE_LABEL
from .._nodes.capacity import PRODUCT_LABEL, REPLICAS_LABEL, Verdict, judge
from .._nodes.operands import GFD_APP, MPS_APP, PLUGIN_APP, OperandPod
from .._nodes.state import COUNT_LABEL, NodeState
from .._nodes.taints import Taint, kept_away_by
from .._profiles.config_map import ConfigMap
from .._profiles.hashing import config_hash, from_note
from .._profiles.model import GPU_RESOURCE, SHARED_SUFFIX
from .._profiles.plugin import Plugin
from .._provider.cluster_policy import DevicePluginConfig, read_plugin_config
from .._provider.daemonsets import app_of
from .._provider.plugin import read_plugin
from .._rollout.desired import Desired, Target

# What can be unreadable.
PODS, POLICY, CONFIG_MAP, DAEMON_SETS = "pods", "ClusterPolicy", "ConfigMap", "DaemonSets"
QUOTAS, GPU_CLUSTERS, SLICES = "ResourceQuotas", "GPUClusters", "ResourceSlices"
# Kinds of operands besides those that read profiles.
DRIVER, TOOLKIT = "driver", "toolkit"
# Kinds of foreign pods.
HAMI, OTHER_PLUGIN, GKE_PLUGIN = "HAMi", "device plugin", "device plugin of GKE"
AUTOSCALER, KARPENTER = "Cluster Autoscaler", "Karpenter"
_TEMPLATE = ("spec", "template")
TERMINAL = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Location:
    """Where the inventory expects the operator and the profiles."""

    namespace: str = "gpu-operator"
    config_map: str = "device-plugin-config"
    cluster_policy: str = "cluster-policy"


@dataclass(frozen=True)
class NodeView:
    """A node, with what only the doctor needs."""

    state: NodeState
    capacity: Mapping[str, int] = field(default_factory=dict)  # as node_resources gives it
    cordoned: bool = False
    taints: tuple[Taint, ...] = ()  # that keep pods away, except those that Kubernetes sets itself
    hami: bool = False  # HAMi has registered its GPUs
    mig_state_since: datetime | None = None  # while the MIG manager is working


@dataclass(frozen=True)
class Operand:
    """A pod of the operator on a node. kind is its label app, or DRIVER or TOOLKIT."""

    pod: OperandPod
    kind: str
    blocked: str = ""  # the init container that it waits in

    @property
    def state(self) -> str:
        """Its state in one or two words."""
        if self.pod.leaving:
            return "Terminating"
        if self.pod.ready:
            return "Ready"
        waits = self.pod.waits_for
        return waits or (f"waits in {self.blocked}" if self.blocked else "NotReady")


@dataclass(frozen=True)
class Workload:
    """A pod that requests GPUs in any way. Pods that ended successfully are left out."""

    namespace: str
    name: str
    node: str  # empty while it is not scheduled
    phase: str
    requests: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""  # why it ended
    message: str = ""
    waits_for: str = ""  # why a container is not started
    crashes: int = 0
    kai: bool = False  # uses or reserves a fraction of a GPU through KAI

    @property
    def active(self) -> bool:
        """Whether it holds slots of a node."""
        return bool(self.node) and self.phase not in TERMINAL

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class ForeignPod:
    """A pod of another system that affects GPUs: device plugin or autoscaler."""

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
    limits: Mapping[str, str]  # by resource


@dataclass(frozen=True)
class NodeTrace:
    """One node: everything between the inventory and its slots."""

    node: str
    group: str
    target: Target
    view: NodeView  # empty if the node is not in the cluster
    exists: bool
    key: str  # of the ConfigMap, that its plugin uses: the label, else the default
    content: str | None  # of the key
    operands: Mapping[str, Operand]  # by kind
    workloads: Sequence[Workload]
    verdict: Verdict

    @property
    def state(self) -> NodeState:
        return self.view.state

    @property
    def label(self) -> str:
        return self.state.labels.get(PROFILE_LABEL, "")

    @property
    def product(self) -> str:
        return self.state.labels.get(PRODUCT_LABEL, "")

    @property
    def hash(self) -> str:
        return config_hash(self.content) if self.content is not None else ""

    @property
    def loaded_hash(self) -> str:
        return from_note(self.state.annotations.get(CONFIG_HASH_ANNOTATION, ""))

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
    def profile_pods(self) -> list[OperandPod]:
        """Its pods that read profiles, except those that are leaving."""
        operands = (self.plugin, self.gfd, self.mps)
        return [operand.pod for operand in operands if operand and not operand.pod.leaving]

    @property
    def plugin_ready(self) -> bool:
        return self.plugin is not None and self.plugin.pod.ready

    @property
    def used(self) -> int:
        """Slots that its pods request, of the resource that its profile advertises."""
        names = self.verdict.resource.split(", ")
        active = [pod.requests for pod in self.workloads if pod.active]
        return sum(requests.get(name, 0) for requests in active for name in names)

    @property
    def free(self) -> int:
        return max(self.verdict.actual - self.used, 0)

    def row(self) -> dict[str, object]:
        """Its links as JSON."""
        names = self.verdict.resource.split(", ")
        counted = self.state.labels.get(COUNT_LABEL)
        replicas = self.state.labels.get(REPLICAS_LABEL, "?")
        return {
            "label": self.label,
            "key": self.key,
            "key_exists": self.content is not None,
            "hash": self.hash,
            "loaded_hash": self.loaded_hash,
            "plugin_pod": self.plugin.state if self.plugin else "",
            "config_manager": self.plugin.pod.has_config_manager if self.plugin else None,
            "capacity": sum(self.view.capacity.get(name, 0) for name in names),
            "gfd": f"{counted} x {replicas}" if counted else "",
        }


@dataclass(frozen=True)
class Snapshot:
    """A cluster, and what the inventory asks for."""

    desired: Desired
    location: Location = Location()
    operator_namespace: str = "gpu-operator"  # where the operator really is
    inventory_nodes: frozenset[str] = frozenset()  # also those outside the limit
    nodes: Mapping[str, NodeView] = field(default_factory=dict)
    operands: Mapping[str, Sequence[Operand]] = field(default_factory=dict)  # by node
    workloads: Mapping[str, Sequence[Workload]] = field(default_factory=dict)  # by node
    foreign_pods: tuple[ForeignPod, ...] = ()
    config_map: ConfigMap | None = None
    other_namespaces: tuple[str, ...] = ()  # that have a ConfigMap of the expected name
    policy: object | None = None
    policies: tuple[str, ...] = ()  # the operator uses the first
    gpu_clusters: tuple[str, ...] = ()
    dra_nodes: frozenset[str] = frozenset()  # whose GPUs the DRA driver offers
    daemon_sets: tuple[object, ...] = ()
    quotas: tuple[Quota, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)  # what could not be read, and why
    complete: bool = True  # whether it covers all nodes
    now: datetime | None = None  # by the API server's clock

    @cached_property
    def plugin_config(self) -> DevicePluginConfig:
        """What the ClusterPolicy sets as devicePlugin.config."""
        return read_plugin_config(self.policy)

    @cached_property
    def plugin(self) -> Plugin:
        return read_plugin(self.daemon_sets)

    def taints_for(self, view: NodeView, labels: Mapping[str, str]) -> str:
        """The taints of a node that the DaemonSet whose pods have these labels does not tolerate;
        all taints if there is no such DaemonSet.
        """
        found = (
            item
            for item in self.daemon_sets
            if labels.items() <= mapping_at(item, *_TEMPLATE, "metadata", "labels").items()
        )
        tolerations = list_at(next(found, None), *_TEMPLATE, "spec", "tolerations")
        return ", ".join(map(str, kept_away_by(view.taints, tolerations))) or "none"

    @cached_property
    def apps(self) -> frozenset[str]:
        """The label app of each DaemonSet of the operator."""
        return frozenset(map(app_of, self.daemon_sets))

    @cached_property
    def active_data(self) -> Mapping[str, str] | None:
        """The data of the ConfigMap; None if it is missing or the plugins read another one."""
        ours = self.plugin_config.name in ("", self.location.config_map)
        return self.config_map.data if self.config_map and ours else None

    @cached_property
    def traces(self) -> Mapping[str, NodeTrace]:
        return {node: self._trace(node) for node in sorted(self.desired.assignments)}

    def existing(self) -> Iterator[NodeTrace]:
        """The nodes to check that are in the cluster."""
        return (trace for trace in self.traces.values() if trace.exists)

    @cached_property
    def node_names(self) -> tuple[str, ...]:
        return tuple(trace.node for trace in self.existing())

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
        target, view = self.desired.target(node), self.nodes.get(node)
        label = view.state.labels.get(PROFILE_LABEL, "") if view else ""
        key = label or self.plugin_config.default
        data = self.config_map.data if self.config_map else {}
        operands: dict[str, Operand] = {}
        for operand in self.operands.get(node, ()):
            if operand.kind not in operands or operands[operand.kind].pod.leaving:
                operands[operand.kind] = operand
        return NodeTrace(
            node=node,
            group=self.desired.groups.get(node, ""),
            target=target,
            view=view or NodeView(NodeState(node, ready=False)),
            exists=view is not None,
            key=key,
            content=data.get(key) if key else None,
            operands=operands,
            workloads=self.workloads.get(node, ()),
            verdict=verdict_of(target, view.state if view else None),
        )


def verdict_of(target: Target, state: NodeState | None) -> Verdict:
    """Expected and actual slots of a node. state is None if it is not in the cluster."""
    if state is None:
        resource = target.profile.advertised(GPU_RESOURCE)
        return Verdict(target.node, target.gpus, resource, None, 0, "not in the cluster")
    return judge(state, target.profile, target.gpus)
