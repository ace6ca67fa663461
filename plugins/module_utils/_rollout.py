# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: bringing changed content to the nodes, batch by batch.

A plugin never picks up a change of content by itself, so its pods are restarted. Which nodes need
it is written on the nodes:
the annotation gpufleet.sharing/config-hash names the content that a node's plugin has really
loaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from ansible_collections.gpufleet.sharing.plugins.module_utils._capacity import (
    CONFIG_HASH_ANNOTATION,
    NodeState,
    judge,
    labels_fit,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._config_map import ConfigMap
from ansible_collections.gpufleet.sharing.plugins.module_utils._errors import SharingError
from ansible_collections.gpufleet.sharing.plugins.module_utils._observed import (
    GFD_APP,
    MPS_APP,
    PLUGIN_APP,
    OperandPod,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles import (
    Profile,
    config_hash,
    same_content,
    to_plugin_config,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._waiting import pauses


class Step(Enum):
    """What a node needs."""

    NOTHING = "nothing"  # it is annotated with the content it should have
    RECORD = "record"  # it has loaded the content already: only the annotation is missing
    WAIT = "wait"  # its label or its pods have just changed: it will get there by itself
    RESTART = "restart"  # its plugin runs on older content
    SKIP = "skip"  # it is NotReady, or not in the cluster


@dataclass(frozen=True)
class Target:
    """What one node should have: its profile (the default one where it has no label), and its GPUs
    if stated.
    """

    node: str
    profile: Profile
    gpus: int | None = None

    @property
    def hash(self) -> str:
        return config_hash(to_plugin_config(self.profile))


@dataclass(frozen=True)
class Observation:
    nodes: Mapping[str, NodeState]
    pods: Mapping[str, Sequence[OperandPod]]  # by node
    config_map: ConfigMap | None


@dataclass(frozen=True)
class RolloutPlan:
    """What each node needs; and the hash it has, and the hash it should have."""

    steps: Mapping[str, Step]
    before: Mapping[str, str]
    after: Mapping[str, str]

    def nodes(self, step: Step) -> list[str]:
        return [node for node, needed in self.steps.items() if needed is step]

    @property
    def changing(self) -> list[str]:
        return [node for node, step in self.steps.items() if step not in (Step.NOTHING, Step.SKIP)]

    def __bool__(self) -> bool:
        return bool(self.changing)

    def diff(self) -> dict[str, dict[str, str]]:
        """What --diff shows: the content's hash and what is done, for the nodes that change."""
        after = {node: f"{self.after[node]} ({self.steps[node].value})" for node in self.changing}
        return {"before": {node: self.before[node] for node in self.changing}, "after": after}


def plan_rollout(targets: Iterable[Target], observed: Observation) -> RolloutPlan:
    """Decide for each node what it needs."""
    wanted = {target.node: target for target in targets}
    steps = {node: _step(target, observed) for node, target in sorted(wanted.items())}
    before = {node: _annotated(observed.nodes.get(node)) for node in wanted}
    return RolloutPlan(steps, before, {node: target.hash for node, target in wanted.items()})


def _step(target: Target, observed: Observation) -> Step:
    node = observed.nodes.get(target.node)
    if node is None or not node.ready:
        return Step.SKIP
    if _annotated(node) == target.hash:
        return Step.NOTHING
    pods = [pod for pod in observed.pods.get(target.node, ()) if not pod.leaving]
    if not pods:
        return Step.WAIT
    if not _started_after_content(pods, target.profile, observed.config_map):
        return Step.RESTART
    return Step.WAIT if unsettled(target, node, pods) else Step.RECORD


def _annotated(node: NodeState | None) -> str:
    return node.annotations.get(CONFIG_HASH_ANNOTATION, "") if node else ""


def _started_after_content(
    pods: Sequence[OperandPod], profile: Profile, config_map: ConfigMap | None
) -> bool:
    """Whether every container of the pods has started after the profile's content was written."""
    if config_map is None or not same_content(
        config_map.data.get(profile.name), to_plugin_config(profile)
    ):
        return False  # it is yet to be written
    written = config_map.written_at(profile.name)
    return written is not None and all(
        pod.started is not None and pod.started >= written for pod in pods
    )


def unsettled(target: Target, node: NodeState | None, pods: Sequence[OperandPod]) -> str:
    """Why a node does not have its profile yet, in words; empty when it has it."""
    if node is None:
        return "the node has left the cluster"
    if not node.ready:
        return "node is NotReady"
    if reason := _pods_lacking(pods, mps=target.profile.strategy == "mps"):
        return reason
    verdict = judge(node, target.profile, target.gpus)
    if not verdict.ok:
        return verdict.problem
    return (
        ""
        if labels_fit(node, target.profile)
        else "labels of GPU feature discovery do not show the profile yet"
    )


def _pods_lacking(pods: Sequence[OperandPod], *, mps: bool) -> str:
    """What is wrong with the pods that load a node's profile, in words; empty when nothing is."""
    by_app = {pod.app: pod for pod in pods if not pod.leaving}
    wanted = {PLUGIN_APP: "device plugin", GFD_APP: "GPU feature discovery"}
    for app, name in (wanted | ({MPS_APP: "MPS control daemon"} if mps else {})).items():
        pod = by_app.get(app)
        if pod is None:
            return f"no {name} pod ({app}) on the node"
        if not pod.has_config_manager:
            return f"pod {pod.name} has no config-manager: the operator has no pointer"
        if not pod.ready:
            return f"pod {pod.name} is not ready"
    return ""


_PERCENT = re.compile(r"([0-9]{1,3})%")


def batch_sizes(spec: Sequence[object], total: int) -> list[int]:
    """Cut total nodes into batches, as Ansible's serial does: numbers or percentages, the last one
    repeated.

    Raises SharingError for anything else. ["1", "25%"] of 10 nodes gives 1, 3, 3, 3.
    """
    steps = [_batch_size(entry, total) for entry in spec] or [total]
    sizes: list[int] = []
    while (left := total - sum(sizes)) > 0:
        sizes.append(min(left, steps[min(len(sizes), len(steps) - 1)]))
    return sizes


def _batch_size(entry: object, total: int) -> int:
    text = str(entry)
    if match := _PERCENT.fullmatch(text):
        if 1 <= int(match[1]) <= 100:
            return max(1, -(-total * int(match[1]) // 100))
    elif text.isdecimal() and int(text) >= 1:
        return int(text)
    raise SharingError(
        f"gpu_sharing_rollout_batches has the entry '{entry}'; allowed: a number of nodes from 1"
        " on, or a percentage"
        " from 1% to 100%, for example [1, '25%']."
    )


def cut(nodes: Sequence[str], spec: Sequence[object]) -> list[list[str]]:
    """The nodes in batches."""
    batches, start = [], 0
    for size in batch_sizes(spec, len(nodes)):
        batches.append(list(nodes[start : start + size]))
        start += size
    return batches


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds. stable is how long a node must look right before it is
    believed.
    """

    timeout: float
    stable: float


@dataclass(frozen=True)
class Clock:
    """Time, as a value that tests can replace: both in seconds."""

    now: Callable[[], float]
    pause: Callable[[float], None]


def wait_until_settled(
    targets: Sequence[Target],
    observe: Callable[[], Observation],
    patience: Patience,
    clock: Clock,
    old_pods: Iterable[str] = (),
) -> dict[str, str]:
    """Watch nodes until each has had its profile for patience.stable seconds. Returns what is
    wrong: {node: reason}.

    old_pods are uids of pods that were deleted: a node still showing one of them is not settled,
    however right it looks.
    """
    gone = set(old_pods)
    good_since: dict[str, float] = {}
    deadline = clock.now() + patience.timeout
    pause = pauses()
    while True:
        observed = observe()
        reasons = {}
        for target in targets:
            pods = observed.pods.get(target.node, ())
            reason = unsettled(target, observed.nodes.get(target.node), pods)
            if not reason and any(pod.uid in gone for pod in pods):
                reason = "its old pods have not gone yet"
            if reason:
                good_since.pop(target.node, None)
            elif clock.now() - good_since.setdefault(target.node, clock.now()) < patience.stable:
                reason = f"looks right, but not yet for {patience.stable:g} s"
            if reason:
                reasons[target.node] = reason
        now = clock.now()
        if not reasons or now >= deadline:
            return reasons
        moments = (deadline, *(since + patience.stable for since in good_since.values()))
        clock.pause(min(next(pause), *(moment - now for moment in moments if moment > now)))
