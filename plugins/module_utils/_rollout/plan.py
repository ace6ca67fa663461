# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: bringing profiles to the nodes, batch by batch.

A plugin acts on its node's label at once, and never picks up a change of content by itself: then
its pods are restarted. Which nodes need it is written on the nodes: the annotation
gpufleet.sharing/config-hash names the content that a node's plugin has really loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    SharingError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.names import (
    CONFIG_HASH_ANNOTATION,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.assignments import (
    LabelChange,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.capacity import (
    judge,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.operands import (
    OperandPod,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.config_map import ConfigMap
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.hashing import (
    same_content,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rendering import (
    to_plugin_config,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.desired import (
    Observation,
    Target,
    label_of,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.settle import unsettled


class Step(Enum):
    """What a node needs."""

    NOTHING = "nothing"  # it is annotated with the content it should have
    RECORD = "record"  # it has loaded the content already: only the annotation is missing
    WAIT = "wait"  # its label or its pods have just changed: it will get there by itself
    FLIP = "flip"  # its label names another key, which the plugin then loads
    RESTART = "restart"  # its plugin runs on older content, or crashes; its label may change too
    SKIP = "skip"  # it is NotReady, or not in the cluster


@dataclass(frozen=True)
class RolloutPlan:
    """What each node needs; the hash it has, and the hash it should have; and its label.

    refresh holds nodes whose pods have to see the ConfigMap's new key before their label names it.
    """

    steps: Mapping[str, Step]
    before: Mapping[str, str]
    after: Mapping[str, str]
    labels: Mapping[str, LabelChange]
    refresh: frozenset[str] = frozenset()

    def nodes(self, *steps: Step) -> list[str]:
        return [node for node, needed in self.steps.items() if needed in steps]

    @property
    def changing(self) -> list[str]:
        return [node for node, step in self.steps.items() if step not in (Step.NOTHING, Step.SKIP)]

    def __bool__(self) -> bool:
        return bool(self.changing)


def plan_rollout(targets: Iterable[Target], observed: Observation) -> RolloutPlan:
    """Decide for each node what it needs."""
    wanted = {target.node: target for target in targets}
    steps = {node: _step(target, observed) for node, target in sorted(wanted.items())}
    before = {node: _annotated(observed.nodes.get(node)) for node in wanted}
    labels = {
        node: LabelChange(node, label_of(observed.nodes[node]), target.label)
        for node, target in sorted(wanted.items())
        if steps[node] is not Step.SKIP and label_of(observed.nodes[node]) != target.label
    }
    refresh = frozenset(
        node
        for node in labels
        if steps[node] is Step.FLIP
        and not _started_after_content(_staying(observed, node), wanted[node], observed.config_map)
    )
    after = {node: target.hash for node, target in wanted.items()}
    return RolloutPlan(steps, before, after, labels, refresh)


def needs_pods(targets: Iterable[Target], observed: Observation) -> bool:
    """Whether plan_rollout has to know the pods. It has not where all nodes are as they should be,
    which is the common case, and pods are many.
    """
    return any(_sure_step(target, observed) is None for target in targets)


def _sure_step(target: Target, observed: Observation) -> Step | None:
    """What a node needs, where this does not depend on its pods."""
    node = observed.nodes.get(target.node)
    if node is None or not node.ready:
        return Step.SKIP
    if label_of(node) != target.label or _annotated(node) != target.hash:
        return None
    sure = _is_new(target, observed.config_map) or judge(node, target.profile, target.gpus).ok
    return Step.NOTHING if sure else None


def _step(target: Target, observed: Observation) -> Step:
    if (sure := _sure_step(target, observed)) is not None:
        return sure
    node = observed.nodes[target.node]
    flip = label_of(node) != target.label
    pods = _staying(observed, target.node)
    current = _started_after_content(pods, target, observed.config_map)
    new = _is_new(target, observed.config_map)
    if not flip and _annotated(node) == target.hash:
        # A key that had other content for a while: a plugin that started then has loaded that.
        return Step.RESTART if pods and not current else Step.NOTHING
    if flip:
        certain = not pods or current or new
        crashing = any(pod.crashes for pod in pods)  # the kubelet's pauses would come first
        return Step.FLIP if certain and not crashing else Step.RESTART
    if not pods:
        return Step.WAIT
    settled = unsettled(target, node, pods) is None
    if current:
        return Step.RECORD if settled else Step.WAIT
    moved = new and target.label is not None  # its plugin has read the key when the label came
    return Step.RECORD if moved and settled else Step.RESTART


def _staying(observed: Observation, node: str) -> list[OperandPod]:
    return [pod for pod in observed.pods.get(node, ()) if not pod.leaving]


def _annotated(node: NodeState | None) -> str:
    return node.annotations.get(CONFIG_HASH_ANNOTATION, "") if node else ""


def _is_new(target: Target, config_map: ConfigMap | None) -> bool:
    """Whether the target's key never had other content: then whoever reads it reads the right
    one.
    """
    if config_map is None or target.key not in config_map.data:
        return True
    record = config_map.written.get(target.key)
    return _is_written(target, config_map) and record is not None and not record.replaced


def _is_written(target: Target, config_map: ConfigMap) -> bool:
    return same_content(config_map.data.get(target.key), to_plugin_config(target.profile))


def check_content(targets: Iterable[Target], config_map: ConfigMap | None) -> None:
    """Raise SharingError where a key does not have its profile's content: nobody is to load it."""
    for target in targets:
        if config_map is None or not _is_written(target, config_map):
            raise SharingError(
                f"The key {target.key} of the ConfigMap is not what profile"
                f" '{target.profile.name}' says: somebody has changed it since it was written."
                " Nothing else was changed. Write it again (site does, and the module profiles)."
            )


def _started_after_content(
    pods: Sequence[OperandPod], target: Target, config_map: ConfigMap | None
) -> bool:
    """Whether every container of the pods has started after the profile's content was written."""
    if config_map is None or not _is_written(target, config_map):
        return False  # it is yet to be written
    written = config_map.written_at(target.key)
    return written is not None and all(
        pod.started is not None and pod.started >= written for pod in pods
    )
