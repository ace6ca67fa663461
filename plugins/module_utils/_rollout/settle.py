# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: waiting until nodes have their profile."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from .._nodes.capacity import judge, labels_fit
from .._nodes.maintenance import maintenance
from .._nodes.operands import GFD_APP, MPS_APP, PLUGIN_APP, OperandPod
from .._nodes.state import NodeState
from .desired import Observation, Target, profile_label

# The third restart comes half a minute after the first crash: the kubelet's pauses are 0, 10, 20
# and 40 s. A late file is there by then, since a crash updates files within a second. Each further
# crash would leave the node without GPUs for twice as long.
MAX_CRASHES = 3
MAINTENANCE = "maintenance"
MAX_WAIT = 10.0  # seconds until progress is reported again


@dataclass(frozen=True)
class NotSettled:
    """Why a node does not have its profile yet: the stage that is missing (node, pods, allocatable,
    labels or stable), or maintenance, when another controller is working on it; and the reason in
    words.
    """

    stage: str
    reason: str
    final: bool = False  # waiting longer does not help


@dataclass(frozen=True)
class WaitTimes:
    """How long to wait for a node, in seconds. stable is how long it must show the right numbers
    until it counts as settled.
    """

    timeout: float
    stable: float


class WatchedFleet(Protocol):
    """A fleet whose state changes while it is watched."""

    def now(self) -> float:
        """Seconds since some moment."""

    def observe(self) -> Observation:
        """The newest state."""

    def wait(self, seconds: float) -> Collection[str]:
        """Wait for a change, at most some seconds. Returns the nodes that may have changed."""


def pause_for(fleet: WatchedFleet, seconds: float) -> None:
    until = fleet.now() + seconds
    while (left := until - fleet.now()) > 0:
        fleet.wait(left)


def not_settled(
    target: Target, node: NodeState | None, pods: Sequence[OperandPod]
) -> NotSettled | None:
    """Why a node does not have its profile yet; None when it has it."""
    if node is None:
        return NotSettled("node", "the node has left the cluster")
    if reason := maintenance(node):
        return NotSettled(MAINTENANCE, reason, final=True)
    if reason := _node_problem(target, node):
        return NotSettled("node", reason)
    if reason := _pod_problem(pods, mps=target.profile.strategy == "mps"):
        crashed = any(pod.crashes >= MAX_CRASHES for pod in pods if not pod.leaving)
        return NotSettled("pods", reason, final=crashed)
    return _numbers_problem(target, node)


def _numbers_problem(target: Target, node: NodeState) -> NotSettled | None:
    """What is wrong with the node's slots and labels."""
    verdict = judge(node, target.profile, target.gpus)
    if not verdict.ok:
        return NotSettled("allocatable", verdict.problem)
    if labels_fit(node, target.profile):
        return None
    return NotSettled("labels", "labels of GPU feature discovery do not show the profile yet")


def _node_problem(target: Target, node: NodeState) -> str:
    """What is wrong with the node itself; empty when nothing is."""
    if not node.ready:
        return "node is NotReady"
    label = profile_label(node)
    if label == target.label:
        return ""
    return f"its label is {label or 'missing'}, expected {target.label or 'no label'}"


def _pod_problem(pods: Sequence[OperandPod], *, mps: bool) -> str:
    """What is wrong with the pods that load a node's profile; empty when nothing is."""
    by_app = {pod.app: pod for pod in pods if not pod.leaving}
    wanted = {PLUGIN_APP: "device plugin", GFD_APP: "GPU feature discovery"}
    for app, name in (wanted | ({MPS_APP: "MPS control daemon"} if mps else {})).items():
        pod = by_app.get(app)
        if pod is None:
            return f"no {name} pod ({app}) on the node"
        if not pod.has_config_manager:
            return f"pod {pod.name} has no config-manager: the operator has no device plugin config"
        if not pod.ready:
            return f"pod {pod.name} is not ready{_why_not_ready(pod)}"
    return ""


def _why_not_ready(pod: OperandPod) -> str:
    if not pod.waits_for or not pod.crashes:
        return f" ({pod.waits_for})" if pod.waits_for else ""
    return f" ({pod.waits_for}, crashed {pod.crashes} times: see its log)"


def wait_until_settled(
    targets: Sequence[Target],
    fleet: WatchedFleet,
    wait: WaitTimes,
    old_pods: Collection[str] = (),
    report: Callable[[int], None] = lambda _settled: None,
) -> dict[str, NotSettled]:
    """Watch nodes until each has had its profile for wait.stable seconds. Returns those that do
    not settle. The labels of GPU feature discovery come up to a minute after the slots, and do not
    have to be stable.

    old_pods are uids of deleted pods: a node that still has one of them is not settled. report
    gets the number of settled nodes from time to time.
    """
    waiting = _Waiting({target.node: target for target in targets}, fleet, wait, old_pods)
    deadline = fleet.now() + wait.timeout
    changed: Collection[str] = list(waiting.targets)
    while True:
        now = fleet.now()
        unsettled = waiting.check(changed, now)
        report(len(waiting.targets) - len(unsettled))
        if now >= deadline or all(state.final for state in unsettled.values()):
            return unsettled
        until = min([deadline, now + MAX_WAIT, *waiting.stable_at(unsettled)])
        changed = fleet.wait(until - now)


class _Waiting:
    """The state of one wait: since when each node shows the right numbers."""

    def __init__(
        self,
        targets: Mapping[str, Target],
        fleet: WatchedFleet,
        wait: WaitTimes,
        old_pods: Collection[str],
    ) -> None:
        self.targets = targets
        self._fleet, self._stable, self._old_pods = fleet, wait.stable, old_pods
        # Restarts before the wait belong to what the node had before
        pods = fleet.observe().pods
        self._restarts = {pod.uid: pod.restarts for node in targets for pod in pods.get(node, ())}
        self._right_since: dict[str, float] = {}
        self._problems: dict[str, NotSettled | None] = {}

    def check(self, changed: Collection[str], now: float) -> dict[str, NotSettled]:
        """Check the nodes that changed. Returns all nodes that are not settled."""
        observed = self._fleet.observe()
        for node in self.targets.keys() & changed:
            problem = self._check_node(self.targets[node], observed)
            if problem is None or problem.stage == "labels":
                self._right_since.setdefault(node, now)
            else:
                self._right_since.pop(node, None)
            self._problems[node] = problem
        unstable = NotSettled(
            "stable", f"matches the profile, but has not been stable for {self._stable:g} s"
        )
        return {
            node: problem or unstable
            for node, problem in self._problems.items()
            if problem or now < self._right_since[node] + self._stable
        }

    def stable_at(self, nodes: Collection[str]) -> list[float]:
        """When nodes that show the right numbers and labels have done so for long enough."""
        return [
            self._right_since[node] + self._stable for node in nodes if self._problems[node] is None
        ]

    def _check_node(self, target: Target, observed: Observation) -> NotSettled | None:
        pods = [
            replace(pod, crashes=_new_crashes(pod, self._restarts.get(pod.uid, {})))
            for pod in observed.pods.get(target.node, ())
        ]
        problem = not_settled(target, observed.nodes.get(target.node), pods)
        if problem is None and any(pod.uid in self._old_pods for pod in pods):
            return NotSettled("pods", "its old pods are still there")
        return problem


def _new_crashes(pod: OperandPod, restarts: Mapping[str, int]) -> int:
    """Crashes since the restarts were counted; all of them when the count started over."""
    before = restarts.get(pod.crashing, 0)
    return pod.crashes - before if pod.crashes >= before else pod.crashes
