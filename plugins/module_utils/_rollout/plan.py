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

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    FleetError,
    SharingError,
    joined,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.fleet import (
    PROFILE_LABEL,
    LabelChange,
    undefined_profiles,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.capacity import (
    CONFIG_HASH_ANNOTATION,
    NodeState,
    judge,
    labels_fit,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.operands import (
    GFD_APP,
    MPS_APP,
    PLUGIN_APP,
    OperandPod,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.config_map import ConfigMap
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    Profile,
    config_hash,
    key_of,
    same_content,
    to_plugin_config,
)

# The third restart comes half a minute after the first crash: the kubelet's pauses are 0, 10, 20
# and 40 s. A file that was late is there by then, since a crash brings files up to date within a
# second. Each crash more would leave the node twice as long without GPUs.
HOPELESS_CRASHES = 3
LONGEST_SILENCE = 10.0  # seconds between two words on progress


class Step(Enum):
    """What a node needs."""

    NOTHING = "nothing"  # it is annotated with the content it should have
    RECORD = "record"  # it has loaded the content already: only the annotation is missing
    WAIT = "wait"  # its label or its pods have just changed: it will get there by itself
    FLIP = "flip"  # its label names another key, which the plugin then loads
    RESTART = "restart"  # its plugin runs on older content, or crashes; its label may change too
    SKIP = "skip"  # it is NotReady, or not in the cluster


@dataclass(frozen=True)
class Target:
    """What one node should have: its profile, the ConfigMap's key with it, the label that names it
    (None where the node is to have none, and gets the default), its GPUs if stated; and its group,
    over which batches are spread.
    """

    node: str
    profile: Profile
    gpus: int | None = None
    label: str | None = None
    key: str = ""
    group: str = ""

    @property
    def hash(self) -> str:
        return config_hash(to_plugin_config(self.profile))


@dataclass(frozen=True)
class Desired:
    """What a fleet should have: the profiles, and by node which (None for the default), its GPUs
    where stated, and its group.
    """

    profiles: Mapping[str, Profile]
    default_profile: str
    assignments: Mapping[str, str | None]
    versioned: bool = False
    gpus: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)

    def target(self, node: str) -> Target:
        """Raises FleetError where the node's profile is not defined."""
        assigned = self.assignments.get(node)
        profile = self.profiles.get(assigned or self.default_profile)
        if profile is None:
            raise joined(
                FleetError, list(undefined_profiles(self.assignments, list(self.profiles), None))
            )
        key = key_of(profile, versioned=self.versioned)
        return Target(
            node=node,
            profile=profile,
            gpus=self.gpus.get(node),
            label=key if assigned or self.versioned else None,
            key=key,
            group=self.groups.get(node, profile.name),
        )

    @property
    def files(self) -> dict[str, str]:
        """The ConfigMap's keys and their content, the fixed key of the default included."""
        files = {
            key_of(profile, versioned=self.versioned): to_plugin_config(profile)
            for profile in self.profiles.values()
        }
        if default := self.profiles.get(self.default_profile):
            files[default.name] = to_plugin_config(default)
        return files

    def targets(self) -> dict[str, Target]:
        return {node: self.target(node) for node in self.assignments}


@dataclass(frozen=True)
class Observation:
    nodes: Mapping[str, NodeState]
    pods: Mapping[str, Sequence[OperandPod]]  # by node
    config_map: ConfigMap | None


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
        node: LabelChange(node, _label(observed.nodes[node]), target.label)
        for node, target in sorted(wanted.items())
        if steps[node] is not Step.SKIP and _label(observed.nodes[node]) != target.label
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
    if _label(node) != target.label or _annotated(node) != target.hash:
        return None
    sure = _is_new(target, observed.config_map) or judge(node, target.profile, target.gpus).ok
    return Step.NOTHING if sure else None


def _step(target: Target, observed: Observation) -> Step:
    if (sure := _sure_step(target, observed)) is not None:
        return sure
    node = observed.nodes[target.node]
    flip = _label(node) != target.label
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


def _label(node: NodeState) -> str | None:
    return node.labels.get(PROFILE_LABEL) or None


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


@dataclass(frozen=True)
class Lack:
    """What a node still lacks: the stage it is at (node, pods, allocatable, labels or stable), and
    the reason in words.
    """

    stage: str
    reason: str
    hopeless: bool = False  # waiting longer is in vain


def unsettled(target: Target, node: NodeState | None, pods: Sequence[OperandPod]) -> Lack | None:
    """Why a node does not have its profile yet; None when it has it."""
    if node is None:
        return Lack("node", "the node has left the cluster")
    if reason := _node_lacking(target, node):
        return Lack("node", reason)
    if reason := _pods_lacking(pods, mps=target.profile.strategy == "mps"):
        crashed = any(pod.crashes >= HOPELESS_CRASHES for pod in pods if not pod.leaving)
        return Lack("pods", reason, hopeless=crashed)
    verdict = judge(node, target.profile, target.gpus)
    if not verdict.ok:
        return Lack("allocatable", verdict.problem)
    if labels_fit(node, target.profile):
        return None
    return Lack("labels", "labels of GPU feature discovery do not show the profile yet")


def _node_lacking(target: Target, node: NodeState) -> str:
    """What is wrong with the node itself, in words; empty when nothing is."""
    if not node.ready:
        return "node is NotReady"
    label = _label(node)
    if label == target.label:
        return ""
    return f"its label is {label or 'none'}, not {target.label or 'none'}"


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
            return f"pod {pod.name} is not ready{_why(pod)}"
    return ""


def _why(pod: OperandPod) -> str:
    if not pod.waits_for or not pod.crashes:
        return f" ({pod.waits_for})" if pod.waits_for else ""
    return f" ({pod.waits_for}, crashed {pod.crashes} times: see its log)"


def spread(nodes: Iterable[str], groups: Mapping[str, str]) -> list[str]:
    """The nodes in an order in which each stretch holds the groups in proportion: a batch, and the
    canary first of all, stands for the fleet.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for node in sorted(nodes):
        members[groups.get(node, "")].append(node)
    placed = [
        ((place + 0.5) / len(group), name, node)
        for name, group in members.items()
        for place, node in enumerate(group)
    ]
    return [node for _fraction, _name, node in sorted(placed)]


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
    """How long to wait for a node, in seconds. stable is how long it must look right before it is
    believed.
    """

    timeout: float
    stable: float


@dataclass(frozen=True)
class Clock:
    """Time, as a value that tests can replace: both in seconds."""

    now: Callable[[], float]
    pause: Callable[[float], None]


class Watch(Protocol):
    """The fleet as it changes."""

    def now(self) -> float:
        """Seconds since some moment."""

    def observe(self) -> Observation:
        """The newest state."""

    def wait(self, seconds: float) -> Collection[str]:
        """Wait until something changes, at most some seconds. Returns the nodes that may have."""


def wait_until_settled(
    targets: Sequence[Target],
    watch: Watch,
    patience: Patience,
    old_pods: Collection[str] = (),
    said: Callable[[int], None] = lambda _settled: None,
) -> dict[str, Lack]:
    """Watch nodes until each has had its profile for patience.stable seconds. Returns what is
    wrong with those that have not. The labels of GPU feature discovery come up to a minute after
    the slots, and need not be there for as long.

    old_pods are uids of pods that were deleted: a node still showing one of them is not settled,
    however right it looks. said is told now and then how many are settled.
    """
    wanted = {target.node: target for target in targets}
    good_since: dict[str, float] = {}
    lacks: dict[str, Lack] = {}
    almost = Lack("stable", f"looks right, but not yet for {patience.stable:g} s")
    deadline = watch.now() + patience.timeout
    changed: Collection[str] = list(wanted)
    pods = watch.observe().pods
    restarts = {pod.uid: pod.restarts for node in wanted for pod in pods.get(node, ())}
    while True:
        observed = watch.observe()
        now = watch.now()
        for node in wanted.keys() & changed:
            lack = _look(wanted[node], observed, old_pods, restarts)
            if lack is None or lack.stage == "labels":
                good_since.setdefault(node, now)
            else:
                good_since.pop(node, None)
            lacks[node] = lack or almost
        moments = {
            n: good_since[n] + patience.stable for n, lack in lacks.items() if lack is almost
        }
        lacks = {n: lack for n, lack in lacks.items() if lack is not almost or now < moments[n]}
        said(len(wanted) - len(lacks))
        if now >= deadline or all(lack.hopeless for lack in lacks.values()):
            return lacks
        coming = [moment for node, moment in moments.items() if node in lacks]
        changed = watch.wait(min(deadline, *coming, now + LONGEST_SILENCE) - now)


def _look(
    target: Target,
    observed: Observation,
    old_pods: Collection[str],
    restarts: Mapping[str, Mapping[str, int]],
) -> Lack | None:
    """What a node lacks. restarts are those of pods when the waiting began: they were of what the
    node had before, and tell nothing of what it gets.
    """
    pods = [
        replace(pod, crashes=_crashes_since(pod, restarts.get(pod.uid, {})))
        for pod in observed.pods.get(target.node, ())
    ]
    lack = unsettled(target, observed.nodes.get(target.node), pods)
    if lack is None and any(pod.uid in old_pods for pod in pods):
        return Lack("pods", "its old pods have not gone yet")
    return lack


def _crashes_since(pod: OperandPod, restarts: Mapping[str, int]) -> int:
    """Crashes beyond those of before; all of them where the kubelet has begun to count anew."""
    before = restarts.get(pod.crashing, 0)
    return pod.crashes - before if pod.crashes >= before else pod.crashes
