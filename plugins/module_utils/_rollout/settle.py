# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: waiting until nodes have their profile."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.capacity import (
    judge,
    labels_fit,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.operands import (
    GFD_APP,
    MPS_APP,
    PLUGIN_APP,
    OperandPod,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.desired import (
    Observation,
    Target,
    label_of,
)

# The third restart comes half a minute after the first crash: the kubelet's pauses are 0, 10, 20
# and 40 s. A file that was late is there by then, since a crash brings files up to date within a
# second. Each crash more would leave the node twice as long without GPUs.
HOPELESS_CRASHES = 3
LONGEST_SILENCE = 10.0  # seconds between two words on progress


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
    label = label_of(node)
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


@dataclass(frozen=True)
class Patience:
    """How long to wait for a node, in seconds. stable is how long it must look right before it is
    believed.
    """

    timeout: float
    stable: float


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
