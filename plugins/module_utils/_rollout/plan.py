# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the plan of a rollout: what each node needs.

A device plugin follows its node's label at once, but never notices a change of content: then its
pods have to be restarted. loaded.py decides what a node has loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from .._common.errors import SharingError
from .._fleet.assignments import LabelChange
from .._nodes.maintenance import maintenance
from .._nodes.operands import OperandPod
from .._nodes.state import NodeState
from .._profiles.config_map import ConfigMap
from .desired import Observation, Target, profile_label
from .loaded import has_content, has_loaded, is_certain, never_replaced, recorded_hash
from .settle import not_settled


class Step(Enum):
    """What a node needs."""

    NOTHING = "nothing"  # its annotation shows the right content
    RECORD = "record"  # it has loaded the right content, and only the annotation is missing
    WAIT = "wait"  # its label or its pods have just changed, and it loads the content by itself
    FLIP = "flip"  # its label has to change, and the plugin loads the other key
    RESTART = "restart"  # its plugin has older content, or crashes; its label may change too
    SKIP = "skip"  # it is NotReady, not in the cluster, or another controller is working on it


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
    before = {node: recorded_hash(observed.nodes.get(node)) for node in wanted}
    labels = {
        node: LabelChange(node, profile_label(observed.nodes[node]), target.label)
        for node, target in sorted(wanted.items())
        if steps[node] is not Step.SKIP and profile_label(observed.nodes[node]) != target.label
    }
    refresh = frozenset(
        node
        for node in labels
        if steps[node] is Step.FLIP and not _has_loaded(wanted[node], observed)
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
    if node is None or not node.ready or maintenance_of(target, node):
        return Step.SKIP
    if profile_label(node) != target.label or recorded_hash(node) != target.hash:
        return None
    return Step.NOTHING if is_certain(node, target, observed.config_map) else None


def _step(target: Target, observed: Observation) -> Step:
    if (step := _step_without_pods(target, observed)) is not None:
        return step
    node = observed.nodes[target.node]
    flip = profile_label(node) != target.label
    pods = _remaining_pods(observed, target.node)
    current = _has_loaded(target, observed)
    new = never_replaced(target, observed.config_map)
    if not flip and recorded_hash(node) == target.hash:
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


def maintenance_of(target: Target, node: NodeState) -> str:
    """Why a node has to be left alone for now; empty when nobody else is working on it."""
    return maintenance(node, mig=target.profile.mig)


def _remaining_pods(observed: Observation, node: str) -> list[OperandPod]:
    return [pod for pod in observed.pods.get(node, ()) if not pod.leaving]


def _has_loaded(target: Target, observed: Observation) -> bool:
    pods = _remaining_pods(observed, target.node)
    return has_loaded(observed.nodes[target.node], target, pods, observed.config_map)


def check_content(targets: Iterable[Target], config_map: ConfigMap | None) -> None:
    """Raise SharingError when a key does not have its profile's content, before a node loads it."""
    for target in targets:
        if not has_content(target, config_map):
            raise SharingError(
                f"The key {target.key} of the ConfigMap differs from profile"
                f" '{target.profile.name}': it was changed after it was written. No other node was"
                " changed. Run again to restore the key."
            )
