# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: running pods that a rollout would disrupt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    RefusedError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import plural
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import Cluster
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.capacity import (
    physical_devices,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.disruption import (
    GpuPod,
    Hurt,
    hurt_pods,
    hurt_table,
    pods_of,
    shrinks,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.desired import (
    Observation,
    Target,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.drain import (
    Drainer,
)


class Guard:
    """Finds the running pods that changes would hurt."""

    def __init__(self, cluster: Cluster, targets: Mapping[str, Target]) -> None:
        self._cluster, self._targets = cluster, targets

    def hurts(self, nodes: Iterable[str], observed: Observation) -> list[Hurt]:
        """The pods that the targets of some nodes would hurt."""
        states = [observed.nodes[node] for node in nodes if node in observed.nodes]
        suspects = [state for state in states if self._shrinks(state)]
        if not suspects:
            return []
        drainer = Drainer(self._cluster, 0, lambda _line: None)
        return self.of(suspects, drainer.look([state.name for state in suspects]))

    def of(self, states: Iterable[NodeState], pods: Iterable[GpuPod]) -> list[Hurt]:
        by_node: dict[str, list[GpuPod]] = defaultdict(list)
        for pod in pods:
            by_node[pod.node].append(pod)
        found: list[Hurt] = []
        for state in states:
            target = self._targets[state.name]
            devices = physical_devices(state, target.gpus)
            here = by_node.get(state.name, ())
            found += hurt_pods(state, None, target.profile, devices, here)
        return found

    def _shrinks(self, state: NodeState) -> bool:
        target = self._targets[state.name]
        return shrinks(state, target.profile, physical_devices(state, target.gpus))


def refusal(hurts: Sequence[Hurt]) -> RefusedError:
    """What is said where running work would be hurt."""
    pods = pods_of(hurts)
    nodes = {pod.node for pod in pods}
    lines = [
        f"This change would hurt {len(pods)} running pods on {plural(len(nodes), 'node')}:",
        *hurt_table(hurts),
        "Nothing more is changed. Move these pods, or set O(drain) to evict (they are"
        " evicted batch by batch, as their PodDisruptionBudgets allow) or to ignore (they stay, at"
        " their own risk).",
    ]
    problems = [
        f"{hurt.pod.node}: {hurt.pod.namespace}/{hurt.pod.name}: {hurt.text}" for hurt in hurts
    ]
    return RefusedError("\n".join(lines), problems)
