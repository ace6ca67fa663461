# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: what uninstall removes and restores, from one look at a cluster, and which running pods
lose their GPU or their slot by it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from .._common.errors import ClusterError, SharingError
from .._common.names import CONFIG_HASH_ANNOTATION, LOADED_ANNOTATION, PROFILE_LABEL
from .._fleet.assignments import LabelPlan, plan_labels
from .._kube.objects import object_path
from .._nodes.admission import check_not_busy
from .._nodes.disruption import (
    Disruption,
    find_disruptions,
    may_disrupt,
    mig_disruptions,
    pods_of,
    unknown_disruptions,
)
from .._nodes.mig import MIG_LABEL, undo_patch
from .._nodes.pods import GpuPod
from .._nodes.state import NodeState
from .._profiles.config_map import ConfigMap, ConfigMapPlan, plan_removal, read_config_map
from .._profiles.model import SHARED_SUFFIX, Profile
from .._profiles.validation import checked_profiles
from .._provider.cluster_policy import DevicePluginConfig, read_plugin_config
from .desired import Target, profile_label
from .drain import to_uncordon
from .gpu_pods import gpu_pods_on
from .guard import DisruptionGuard
from .observed import Observed
from .operator_removal import OperatorFate, UninstallRequest, plan_removal_of_operator

UNSHARED = Profile("")
ANNOTATIONS = {CONFIG_HASH_ANNOTATION, LOADED_ANNOTATION}


@dataclass(frozen=True)
class NodeEffect:
    """What changes on a node: its label, its profile (None: unknown), its MIG configuration. before
    is the profile that it has so far, where known.
    """

    state: NodeState
    label: str | None
    before: Profile | None
    after: Profile | None
    unknown: str = ""  # why after is not known
    gpus: int | None = None


@dataclass
class UninstallPlan:
    """What one uninstall does. It reads when it is created; find() judges other pods by it."""

    request: UninstallRequest
    observed: Observed
    operator: OperatorFate = field(init=False)
    labels: LabelPlan = field(init=False)
    effects: Mapping[str, NodeEffect] = field(init=False)
    pods: list[GpuPod] = field(init=False)
    disruptions: list[Disruption] = field(init=False)

    def __post_init__(self) -> None:
        """Raises RefusedError or FleetError for what cannot be removed now."""
        self.operator = plan_removal_of_operator(self.request, self.observed)
        self.labels = self._plan_labels()
        self.effects = self._plan_effects()
        self.pods = self._counted(gpu_pods_on(self.observed.cluster, sorted(self.effects)))
        self.disruptions = self.find(self.pods)

    @property
    def limited(self) -> bool:
        return self.request.nodes.limited

    # What goes

    def _plan_labels(self) -> LabelPlan:
        desired = dict.fromkeys(self.request.nodes.assignments)
        gpu_nodes = {
            name: state
            for name, state in self.observed.nodes.items()
            if state.has_gpus or name in desired or PROFILE_LABEL in state.labels
        }
        plan = plan_labels(
            desired,
            {name: profile_label(state) for name, state in gpu_nodes.items()},
            known=self.request.nodes.known,
            exclusive=False,
        )
        check_not_busy(gpu_nodes, [change.node for change in plan.changes])
        return plan

    @cached_property
    def mig(self) -> dict[str, str | None]:
        """The MIG configurations that are restored, by node."""
        states, names = self.observed.nodes, self.request.nodes.assignments
        patches = {name: undo_patch(states[name]) for name in sorted(names & states.keys())}
        return {
            name: patch["labels"][MIG_LABEL] for name, patch in patches.items() if "labels" in patch
        }

    @cached_property
    def content(self) -> ConfigMapPlan:
        """What goes of the ConfigMap, once labels and operator have changed."""
        observed, operator = self.observed, self.operator
        if self.limited or observed.config_map is None:
            return ConfigMapPlan(observed.config_map, {}, (), (), {})
        gone = {change.node for change in self.labels.changes}
        nodes = observed.nodes.items()
        used = {profile_label(state) or "" for name, state in nodes if name not in gone}
        pointers = [operator.after]
        pointers += [
            read_plugin_config(policy)
            for policy in observed.policies
            if policy is not observed.policy(self.request.cluster_policy)
        ]
        used |= {one.default for one in pointers if one.name == observed.config_map_name}
        return plan_removal(observed.config_map, used)

    @property
    def removes_crds(self) -> bool:
        """Whether the CustomResourceDefinitions go: nobody else may need them."""
        return self.request.remove_crds and not self.limited and self.operator.leaves_nothing

    @cached_property
    def cordoned(self) -> list[str]:
        """Nodes that a killed run left cordoned, of those that this run uncordons."""
        return to_uncordon(self.observed.nodes.values(), self.request.nodes)

    @property
    def annotated(self) -> list[str]:
        """Nodes with annotations of a rollout, which go too."""
        chosen = self.request.nodes.assignments
        return sorted(
            name
            for name, state in self.observed.nodes.items()
            if ANNOTATIONS & state.annotations.keys() and not (self.limited and name not in chosen)
        )

    # What that does to nodes and pods

    def _plan_effects(self) -> dict[str, NodeEffect]:
        """The nodes on which something changes."""
        states = self.observed.nodes
        if self.operator.removed:
            return {
                name: NodeEffect(state, profile_label(state), None, None)
                for name, state in states.items()
                if state.has_gpus
            }
        gone = {change.node for change in self.labels.changes}
        changing = {*gone, *self.mig}
        if self.operator.restored:
            changing |= {name for name, state in states.items() if state.has_gpus}
        return {name: self._effect(states[name], unlabelled=name in gone) for name in changing}

    def _effect(self, state: NodeState, *, unlabelled: bool) -> NodeEffect:
        label = profile_label(state)
        gpus = self.request.nodes.gpus.get(state.name)
        if self.observed.policy(self.request.cluster_policy) is None:  # no plugin acts on it
            return NodeEffect(state, label, UNSHARED, UNSHARED, gpus=gpus)
        operator = self.operator
        before, _why = self._profile(operator.before, label)
        after, unknown = self._profile(operator.after, None if unlabelled else label)
        effect = NodeEffect(state, label, before, after, unknown, gpus)
        if after and state.gpu_slots and not self.devices(effect):
            return replace(effect, after=None, unknown="the number of its GPUs is not known")
        return effect

    def _profile(
        self, pointer: DevicePluginConfig, label: str | None
    ) -> tuple[Profile | None, str]:
        """The profile of a node with a label, or why it is not known."""
        if not pointer.name:
            return UNSHARED, ""
        key = label or pointer.default
        config_map = self._config_maps.get(pointer.name)
        where = f"ConfigMap {pointer.name} in namespace {self.observed.place}"
        if config_map is None:
            return None, f"{where} cannot be read"
        try:
            return checked_profiles({key: config_map.data.get(key)})[key], ""
        except SharingError:
            return None, f"the key '{key}' of {where} cannot be read"

    @cached_property
    def _config_maps(self) -> dict[str, ConfigMap]:
        """The ConfigMaps of the device plugin configs, where they can be read."""
        observed, found = self.observed, {}
        for name in {self.operator.before.name, self.operator.after.name} - {""}:
            try:
                path = object_path(observed.config_maps_path, name)
                ours = name == observed.config_map_name
                document = observed.config_map_object if ours else observed.cluster.find(path)
            except ClusterError as error:
                if error.status != 403:
                    raise
                continue
            if document:
                found[name] = read_config_map(document)
        return found

    def _guard(self, effects: Mapping[str, NodeEffect]) -> DisruptionGuard:
        targets = {
            name: Target(name, each.after or UNSHARED, each.gpus) for name, each in effects.items()
        }
        before = {name: each.before for name, each in effects.items() if each.before}
        return DisruptionGuard(self.observed.cluster, targets, before)

    def devices(self, effect: NodeEffect) -> dict[str, int]:
        """Devices of a node by resource."""
        return self._guard({effect.state.name: effect}).devices(effect.state)

    @cached_property
    def losing(self) -> list[str]:
        """The nodes that lose slots, or may: nothing may be scheduled on them while pods go."""
        return sorted(name for name, effect in self.effects.items() if self._loses(effect))

    @property
    def spares_a_node(self) -> bool:
        """Whether a ready node loses no slots."""
        states, losing = self.observed.nodes.values(), set(self.losing)
        return any(state.ready for state in states if state.name not in losing)

    def _loses(self, effect: NodeEffect) -> bool:
        if self.operator.removed or effect.after is None or effect.state.name in self.mig:
            return True
        devices = self.devices(effect)
        return may_disrupt(effect.state, effect.after, devices, effect.before)

    def find(self, pods: Iterable[GpuPod]) -> list[Disruption]:
        """The disruptions among GPU pods."""
        by_node: dict[str, list[GpuPod]] = defaultdict(list)
        for pod in self._counted(pods):
            by_node[pod.node].append(pod)
        return [
            each
            for name in sorted(by_node.keys() & self.effects.keys())
            for each in self._on_node(self.effects[name], by_node[name])
        ]

    def disrupted(self, pods: list[GpuPod]) -> list[GpuPod]:
        """Which of some GPU pods are disrupted, for a drain."""
        return pods_of(self.find(pods))

    def _on_node(self, effect: NodeEffect, pods: list[GpuPod]) -> list[Disruption]:
        state = effect.state
        if self.operator.removed:
            names = [*state.gpu_slots, *(name for pod in pods for name in pod.requests)]
            gone = {name.removesuffix(SHARED_SUFFIX): 0 for name in names}
            return find_disruptions(state, UNSHARED, gone, pods)
        if state.name in self.mig:
            return mig_disruptions(pods)
        if effect.after is None:
            return unknown_disruptions(pods, effect.unknown)
        return self._guard({state.name: effect}).find_among([state], pods)

    def _counted(self, pods: Iterable[GpuPod]) -> list[GpuPod]:
        return [pod for pod in pods if pod.namespace != (self.request.probe_namespace or None)]
