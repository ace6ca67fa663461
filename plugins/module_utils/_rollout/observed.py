# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: what a plan reads of a cluster: each part at most once, and only when
it is asked for. Everything that is planned together is planned from one such look.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from .._common.documents import mapping_at, name_of
from .._common.names import PROFILE_LABEL
from .._kube.client import Cluster
from .._kube.objects import CLUSTER_POLICIES, NAMESPACES, NODES, namespaced, object_path
from .._kube.payloads import Json
from .._nodes.operands import OPERAND_SELECTOR, OperandPod, operand_pod
from .._nodes.state import NodeState, node_state
from .._profiles.config_map import ConfigMap, read_config_map
from .._profiles.plugin import Plugin, Version
from .._provider.cluster_policy import read_plugin_config
from .._provider.plugin import read_plugin
from .desired import Observation
from .history import History, Revision


class Observed:
    """One look at a cluster. Every attribute raises ClusterError where it may not be read."""

    def __init__(self, cluster: Cluster, namespace: str, config_map: str) -> None:
        """namespace is that of the operator, config_map the name of the profiles' ConfigMap."""
        self.cluster = cluster
        self.place, self.config_map_name = namespace, config_map
        self._pods: dict[str, tuple[OperandPod, ...]] = {}

    @property
    def config_maps_path(self) -> str:
        return namespaced("configmaps", self.place)

    @property
    def namespace_path(self) -> str:
        return object_path(NAMESPACES, self.place)

    @cached_property
    def nodes(self) -> dict[str, NodeState]:
        states = map(node_state, self.cluster.items(NODES))
        return {state.name: state for state in states}

    @cached_property
    def namespace(self) -> Json | None:
        return self.cluster.find(self.namespace_path)

    @cached_property
    def config_map_object(self) -> Json | None:
        return self.cluster.find(object_path(self.config_maps_path, self.config_map_name))

    @cached_property
    def config_map(self) -> ConfigMap | None:
        return self.read_config_map(self.config_map_object) if self.config_map_object else None

    def read_config_map(self, document: Json) -> ConfigMap:
        """The ConfigMap of an object, with the flags that the plugin's environment overrides where
        they may play a part.
        """
        found = read_config_map(document)
        if not found.has_flags:
            return found
        return replace(found, shadowed=frozenset(self.plugin().shadowed))

    @cached_property
    def daemonsets(self) -> list[Json]:
        path = namespaced("daemonsets", self.place, "apis/apps/v1")
        return list(self.cluster.items(path))

    @cached_property
    def policies(self) -> list[Json]:
        return list(self.cluster.items(CLUSTER_POLICIES))

    def policy(self, name: str) -> Json | None:
        return next((policy for policy in self.policies if name_of(policy) == name), None)

    @property
    def history(self) -> History:
        return History(self.cluster, self.place, self.config_map_name)

    @cached_property
    def revisions(self) -> list[Revision]:
        return list(self.history.load())

    def plugin(
        self, mig_strategy: str | None = None, version_to_be: Version | None = None
    ) -> Plugin:
        """The device plugin that the cluster has; see read_plugin."""
        return read_plugin(self.daemonsets, mig_strategy, version_to_be)

    def defaults(self) -> list[str]:
        """The default keys of operators that use the ConfigMap."""
        pointers = map(read_plugin_config, self.policies)
        return [pointer.default for pointer in pointers if pointer.name == self.config_map_name]

    def keys_in_use(self) -> set[str]:
        """The keys that node labels name, or that are the default of an operator."""
        return self._labels() | set(self.defaults())

    def _labels(self) -> set[str]:
        if "nodes" in vars(self):  # read already
            return {state.labels.get(PROFILE_LABEL, "") for state in self.nodes.values()}
        labelled = self.cluster.items(NODES, labels=PROFILE_LABEL, metadata_only=True)
        return {mapping_at(node, "metadata", "labels").get(PROFILE_LABEL, "") for node in labelled}

    def read_pods(self) -> None:
        """Read the plugin's pods, if they have not been read yet: two or three for each node."""
        if self._pods:
            return
        found: dict[str, list[OperandPod]] = {}
        path = namespaced("pods", self.place)
        for pod in map(operand_pod, self.cluster.items(path, labels=OPERAND_SELECTOR)):
            found.setdefault(pod.node, []).append(pod)
        self._pods = {node: tuple(pods) for node, pods in found.items()}

    def observe(self) -> Observation:
        """What a rollout is planned from."""
        return Observation(self.nodes, self._pods, self.config_map)
