# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the plan of a rollout: what each node needs.

A device plugin follows its node's label at once, but never notices a change of content: then its
pods have to be restarted. The node's annotation gpufleet.sharing/config-hash records the content
that its plugin has loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from .._common.errors import SharingError
from .._common.names import CONFIG_HASH_ANNOTATION
from .._fleet.assignments import LabelChange
from .._nodes.capacity import judge
from .._nodes.operands import OperandPod
from .._nodes.state import NodeState
from .._profiles.config_map import ConfigMap
from .._profiles.hashing import same_content
from .._profiles.rendering import to_plugin_config
from .desired import Observation, Target, profile_label
from .settle import not_settled


class Step(Enum):
    """What a node needs."""

    NOTHING = "nothing"  # its annotation shows the right content
    RECORD = "record"  # it has loaded the right content, and only the annotation is missing
    WAIT = "wait"  # its label or its pods have just changed, and it loads the content by itself
    FLIP = "flip"  # its label has to change, and the plugin loads the other key
    RESTART = "restart"  # its plugin has older content, or crashes; its label may change too
    SKIP = "skip"  # it is NotReady, or not in the cluster


@dataclass(frozen=True)
class RolloutPlan:
    """What each node needs; its hash before and after; and its change of label.

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
    wanted = {target.node: target for target in targets}
    steps = {node: _step(target, observed) for node, target in sorted(wanted.items())}
    before = {node: _recorded_hash(observed.nodes.get(node)) for node in wanted}
    labels = {
        node: LabelChange(node, profile_label(observed.nodes[node]), target.label)
        for node, target in sorted(wanted.items())
        if steps[node] is not Step.SKIP and profile_label(observed.nodes[node]) != target.label
    }
    refresh = frozenset(
        node
        for node in labels
        if steps[node] is Step.FLIP
        and not _runs_content(_remaining_pods(observed, node), wanted[node], observed.config_map)
    )
    after = {node: target.hash for node, target in wanted.items()}
    return RolloutPlan(steps, before, after, labels, refresh)


def needs_pods(targets: Iterable[Target], observed: Observation) -> bool:
    """Whether plan_rollout depends on the pods. Usually all nodes are as they should be, and the
    pods, which are many, need not be listed.
    """
    return any(_step_without_pods(target, observed) is None for target in targets)


def _step_without_pods(target: Target, observed: Observation) -> Step | None:
    """What a node needs; None when that depends on its pods."""
    node = observed.nodes.get(target.node)
    if node is None or not node.ready:
        return Step.SKIP
    if profile_label(node) != target.label or _recorded_hash(node) != target.hash:
        return None
    certain = (
        _never_replaced(target, observed.config_map) or judge(node, target.profile, target.gpus).ok
    )
    return Step.NOTHING if certain else None


def _step(target: Target, observed: Observation) -> Step:
    if (step := _step_without_pods(target, observed)) is not None:
        return step
    node = observed.nodes[target.node]
    flip = profile_label(node) != target.label
    pods = _remaining_pods(observed, target.node)
    current = _runs_content(pods, target, observed.config_map)
    new = _never_replaced(target, observed.config_map)
    if not flip and _recorded_hash(node) == target.hash:
        # The key had other content for a while, and a plugin that started then loaded that
        return Step.RESTART if pods and not current else Step.NOTHING
    if flip:
        certain = not pods or current or new
        crashing = any(pod.crashes for pod in pods)  # the kubelet would back off for minutes
        return Step.FLIP if certain and not crashing else Step.RESTART
    if not pods:
        return Step.WAIT
    settled = not_settled(target, node, pods) is None
    if current:
        return Step.RECORD if settled else Step.WAIT
    loaded = new and target.label is not None  # its plugin loaded the key when it got the label
    return Step.RECORD if loaded and settled else Step.RESTART


def _remaining_pods(observed: Observation, node: str) -> list[OperandPod]:
    return [pod for pod in observed.pods.get(node, ()) if not pod.leaving]


def _recorded_hash(node: NodeState | None) -> str:
    return node.annotations.get(CONFIG_HASH_ANNOTATION, "") if node else ""


def _never_replaced(target: Target, config_map: ConfigMap | None) -> bool:
    """Whether the target's key never had other content, so that any plugin loads the right one."""
    if config_map is None or target.key not in config_map.data:
        return True
    record = config_map.written.get(target.key)
    return _has_content(target, config_map) and record is not None and not record.replaced


def _has_content(target: Target, config_map: ConfigMap) -> bool:
    return same_content(config_map.data.get(target.key), to_plugin_config(target.profile))


def check_content(targets: Iterable[Target], config_map: ConfigMap | None) -> None:
    """Raise SharingError when a key does not have its profile's content, before a node loads it."""
    for target in targets:
        if config_map is None or not _has_content(target, config_map):
            raise SharingError(
                f"The key {target.key} of the ConfigMap differs from profile"
                f" '{target.profile.name}': it was changed after it was written. No other node was"
                " changed. Run again to restore the key."
            )


def _runs_content(pods: Sequence[OperandPod], target: Target, config_map: ConfigMap | None) -> bool:
    """Whether every container of the pods started after the profile's content was written."""
    if config_map is None or not _has_content(target, config_map):
        return False  # the content is still to be written
    written = config_map.written_at(target.key)
    return written is not None and all(
        pod.started is not None and pod.started >= written for pod in pods
    )
