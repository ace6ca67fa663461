# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the guard against disruptions: finds the running pods that a rollout would disrupt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from .._common.errors import RefusedError
from .._common.text import some
from .._kube.client import Cluster
from .._nodes.capacity import physical_devices
from .._nodes.disruption import (
    Disruption,
    disruption_table,
    find_disruptions,
    may_disrupt,
    on_nodes,
    pods_of,
    problems_of,
)
from .._nodes.pods import GpuPod
from .._nodes.state import NodeState
from .._profiles.model import GPU_RESOURCE, Profile
from .desired import Observation, Target
from .drain import check_movable, without_controller
from .gpu_pods import gpu_pods_on
from .settings import EVICT, IGNORE, REFUSE


class DisruptionGuard:
    """Finds the running pods that changes to targets would disrupt. before holds the profiles that
    nodes are meant to have so far, where known.
    """

    def __init__(
        self, cluster: Cluster, targets: Mapping[str, Target], before: Mapping[str, Profile]
    ) -> None:
        self._cluster, self._targets, self._before = cluster, targets, before

    def find(self, nodes: Iterable[str], observed: Observation) -> list[Disruption]:
        """The disruptions on some nodes. Pods are listed only for nodes that may lose slots."""
        states = [observed.nodes[node] for node in nodes if node in observed.nodes]
        if suspects := [state for state in states if self._may_disrupt(state)]:
            pods = gpu_pods_on(self._cluster, [state.name for state in suspects])
            return self.find_among(suspects, pods)
        return []

    def find_among(self, states: Iterable[NodeState], pods: Iterable[GpuPod]) -> list[Disruption]:
        by_node: dict[str, list[GpuPod]] = defaultdict(list)
        for pod in pods:
            by_node[pod.node].append(pod)
        found: list[Disruption] = []
        for state in states:
            target = self._targets[state.name]
            here = by_node.get(state.name, ())
            before = self._before.get(state.name)
            found += find_disruptions(state, target.profile, self.devices(state), here, before)
        return found

    def _may_disrupt(self, state: NodeState) -> bool:
        target, before = self._targets[state.name], self._before.get(state.name)
        return may_disrupt(state, target.profile, self.devices(state), before)

    def devices(self, state: NodeState) -> dict[str, int]:
        """Devices by resource. While the labels that count them are gone, they follow from the
        slots that the node has and is meant to have for each GPU.
        """
        before = self._before.get(state.name)
        found = physical_devices(state, self._targets[state.name].gpus)
        if found or before is None:
            return found
        slots = state.allocatable.get(before.advertised(GPU_RESOURCE), 0)
        return {GPU_RESOURCE: slots // before.replicas} if slots else {}


def check_disruptions(found: Sequence[Disruption], drain: str) -> None:
    """Raise an error for disruptions that are refused, or that evictions would not avoid."""
    if found and drain == REFUSE:
        raise disruption_error(found)
    if found and drain == EVICT:
        check_movable(pods_of(found))


def disruption_error(found: Sequence[Disruption]) -> RefusedError:
    """The error for a change that would disrupt running pods."""
    lines = [
        f"This change would disrupt {on_nodes(found)}:",
        *disruption_table(found),
        "No node was changed. Move these pods, or set O(drain) to evict (they are evicted"
        " batch by batch, as their PodDisruptionBudgets allow) or to ignore (they keep running,"
        " with the effect that the table shows).",
    ]
    return RefusedError("\n".join(lines), problems_of(found))


def drain_warnings(found: Sequence[Disruption], drain: str) -> list[str]:
    """What evict or ignore does to the disrupted pods."""
    if found and drain == IGNORE:
        table = "\n".join(disruption_table(found))
        return [f"O(drain) is ignore, so these pods are disrupted:\n{table}"]
    lost = without_controller(pods_of(found))
    if lost and drain == EVICT:
        names = some(list(map(str, lost)))
        return [f"These pods have no controller that recreates them after eviction: {names}."]
    return []
