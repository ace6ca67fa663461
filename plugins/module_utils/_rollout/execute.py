# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: running a rollout on a cluster, batch by batch. A failed one is rolled back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .._common.errors import RefusedError, SharingError
from .._common.text import by_reason, plural, some
from .._kube.client import Cluster
from .._nodes.disruption import pods_of
from .._nodes.pods import GpuPod
from .._profiles.model import Profile
from .batches import batch_sizes, ordered_nodes
from .desired import Desired, Target
from .drain import Drainer, DrainError
from .guard import DisruptionGuard, disruption_error
from .live import LiveFleet
from .outcome import (
    STOPPED,
    Outcome,
    RolloutError,
    format_duration,
    unsettled_lines,
    unsettled_table,
)
from .plan import RolloutPlan, Step, check_content, maintenance_of, plan_rollout
from .restore import Restorer
from .settings import IGNORE, REFUSE, ROLLBACK, Settings
from .settle import MAINTENANCE, NotSettled, pause_for, wait_until_settled
from .write import Writer

REPORT_INTERVAL = 10.0  # seconds between two lines of progress


@dataclass
class Executor:
    """Brings the nodes of one cluster to their targets.

    check is called before each write, and raises LeaseError when another run has taken over.
    report takes lines of progress.
    """

    cluster: Cluster
    live: LiveFleet
    targets: Mapping[str, Target]
    settings: Settings
    check: Callable[[], None]
    report: Callable[[str], None]
    previous: Desired | None = None  # what a rollback restores
    before: Mapping[str, Profile] = field(default_factory=dict)  # that nodes are meant to have
    outcome: Outcome = field(default_factory=Outcome)

    def execute(self, plan: RolloutPlan) -> None:
        """Raises RolloutError when more nodes fail than allowed, or when pods would be disrupted
        that were not there when the plan was made, or that cannot be evicted.
        """
        self._writer.record(plan.nodes(Step.RECORD), self.targets)
        waiting = plan.nodes(Step.WAIT)
        started = [node for node in waiting if self._differs_from_previous(node)]
        if started:
            what = "started by an earlier run"
            self.report(f"waiting for {plural(len(started), 'node')} {what}")
            self.outcome.touched += started
            self._settle(started, what)
            self._judge([started], what)
        self._run_batches(ordered_nodes(plan, self.targets))
        self._wait_for_others([node for node in waiting if node not in started])

    @property
    def _writer(self) -> Writer:
        return Writer(self.cluster, self.live, self.settings.namespace, self.check)

    def _differs_from_previous(self, node: str) -> bool:
        """Whether a node's target differs from that of the last good revision. If such a node is
        already changing, a killed run started it, and it becomes the canary.
        """
        if self.previous is None or node not in self.previous.assignments:
            return False
        before, after = self.previous.target(node), self.targets[node]
        return (before.hash, before.label) != (after.hash, after.label)

    def _wait_for_others(self, nodes: Sequence[str]) -> None:
        """Wait for nodes that are changing for another reason, such as a reboot. If they fail, this
        rollout is not the cause, so nothing is rolled back.
        """
        if not nodes:
            return
        self.report(f"waiting for {plural(len(nodes), 'node')} whose label or pods just changed")
        failed = self._settle(nodes, "waiting")
        if len(self.outcome.failed) > self.settings.max_failures:
            message = self._failure(failed, len(nodes), "with a changed label or new pods")
            raise RolloutError(f"{message}\n{STOPPED}", unsettled_lines(failed))

    def _run_batches(self, work: Sequence[str]) -> None:
        sizes = batch_sizes(self.settings.batches, len(work))
        started, left, batches = self.live.now(), work, list[list[str]]()
        for number, size in enumerate(sizes, start=1):
            if batches:
                pause_for(self.live, self.settings.pause)
            left = self._available(left)  # so that the canary is a node that can be changed
            if not left:
                break
            batch, left = list(left[:size]), left[size:]
            batches.append(batch)
            what = f"batch {number} of {len(sizes)}"
            self.report(f"{what}: {plural(len(batch), 'node')}, {self._progress(work, started)}")
            try:
                self._run_batch(batch, what)
            except (DrainError, RefusedError) as error:
                raise self._give_up(str(error), error.problems, batches) from error
            self._judge(batches, what)

    def _available(self, nodes: Sequence[str]) -> list[str]:
        """The nodes that can be changed now; the others are recorded as skipped."""
        states, skipped = self.live.observe().nodes, dict[str, str]()
        for node in nodes:
            if node not in states:
                skipped[node] = "it has left the cluster"
            elif not states[node].ready:
                skipped[node] = "it is NotReady"
            elif why := maintenance_of(self.targets[node], states[node]):
                skipped[node] = why
        self._skip(skipped)
        return [node for node in nodes if node not in skipped]

    def _progress(self, work: Sequence[str], started: float) -> str:
        """How many nodes are done, and an estimate of the time left."""
        count = len({*self.outcome.touched, *self.outcome.skipped} & set(work))
        text = f"{count} of {len(work)} done"
        if not count:
            return text
        left = (self.live.now() - started) / count * (len(work) - count)
        return f"{text}, about {format_duration(left)} left"

    def _run_batch(self, nodes: Sequence[str], what: str) -> None:
        """Free the nodes of one batch, change them, wait for them.

        The batch is planned again, because nodes may have been recreated, relabelled or restarted
        since the first plan.
        """
        drained = self._free(nodes)
        try:
            plan = self._plan(nodes)
            if plan.refresh:
                self._writer.refresh(plan.refresh)
                plan = self._plan(nodes)
            self.outcome.touched += nodes
            self._settle(nodes, what, self._writer.apply(nodes, plan, self.targets))
        finally:
            if drained:  # unless another run has taken over: then it uncordons them
                self._drainer.uncordon(nodes)

    def _plan(self, nodes: Sequence[str]) -> RolloutPlan:
        """What nodes need now. Raises SharingError when a key no longer holds its profile."""
        targets = [self.targets[node] for node in nodes]
        self.live.refresh_config_map()
        observed = self.live.observe()
        check_content(targets, observed.config_map)
        return plan_rollout(targets, observed)

    def _free(self, nodes: Sequence[str]) -> bool:
        """Handle the pods that would be disrupted. Returns whether nodes were cordoned."""
        if self.settings.drain == IGNORE:
            return False
        observed = self.live.observe()
        guard = DisruptionGuard(self.cluster, self.targets, self.before)
        found = guard.find(nodes, observed)
        if not found:
            return False
        if self.settings.drain == REFUSE:
            raise disruption_error(found)
        states = [observed.nodes[node] for node in nodes if node in observed.nodes]
        affected = sorted({disruption.pod.node for disruption in found})
        count = plural(len(pods_of(found)), "pod")
        self.report(f"draining {count} from {plural(len(affected), 'node')}")

        def disrupted(pods: Sequence[GpuPod]) -> list[GpuPod]:
            return pods_of(guard.find_among(states, pods))

        self.outcome.evicted += self._drainer.drain(affected, disrupted)
        return True

    @property
    def _drainer(self) -> Drainer:
        return Drainer(self.cluster, self.settings.drain_timeout, self.report, self.check)

    def _settle(
        self, nodes: Sequence[str], what: str, old_pods: Collection[str] = ()
    ) -> dict[str, NotSettled]:
        """Wait for nodes, and annotate those that settle. Returns the others, which have failed."""
        targets = [self.targets[node] for node in nodes if node in self.targets]
        interval = Interval(self.live.now)

        def report(settled: int) -> None:
            self.check()  # a run that has lost the Lease must not wait on
            if settled < len(targets) and interval.is_over():
                self.report(f"{what}: {settled} of {len(targets)} nodes settled")

        left = wait_until_settled(targets, self.live, self.settings.wait, set(old_pods), report)
        self._writer.record([node for node in nodes if node not in left], self.targets)
        failed = {node: why for node, why in left.items() if why.stage != MAINTENANCE}
        self._skip({node: why.reason for node, why in left.items() if node not in failed})
        self.outcome.failed |= failed
        return failed

    def _skip(self, nodes: Mapping[str, str]) -> None:
        """Leave nodes out, each for a reason that this rollout has not caused."""
        self.outcome.skipped |= nodes
        for reason, same in by_reason(nodes).items():
            self.report(f"left out, because {reason}: {some(same)}")

    def _judge(self, batches: Sequence[Sequence[str]], what: str) -> None:
        """Raise RolloutError when too many nodes have failed, after a rollback if configured."""
        failed = self.outcome.failed
        if len(failed) > self.settings.max_failures:
            message = self._failure(failed, len(batches[-1]), what)
            raise self._give_up(message, unsettled_lines(failed), batches)

    def _failure(self, failed: Mapping[str, NotSettled], total: int, what: str) -> str:
        """Which nodes failed, and why."""
        lines = [
            f"{plural(len(failed), 'node')} did not settle within"
            f" {self.settings.wait.timeout:g} s ({what}, {plural(total, 'node')}):",
            *unsettled_table(failed),
        ]
        return "\n".join([*lines, self.live.trouble] if self.live.trouble else lines)

    def _give_up(
        self, message: str, problems: Sequence[str], batches: Sequence[Sequence[str]]
    ) -> RolloutError:
        """Roll back, if configured. Returns the error to raise."""
        rollback = self.settings.on_failure == ROLLBACK
        lines = self._roll_back(max(map(len, batches))) if rollback else [STOPPED]
        return RolloutError("\n".join([message, *lines]), problems)

    def _roll_back(self, batch_size: int) -> list[str]:
        """Restore content and labels, and wait. Returns lines for the error message."""
        if self.previous is None:
            return [f"There is no earlier good revision to roll back to. {STOPPED}"]
        restorer = Restorer(
            writer=self._writer,
            config_map=self.settings.config_map,
            report=self.report,
            previous=self.previous,
            targets=self.targets,
            bring_back=self._bring_back,
        )
        try:
            return restorer.restore(self.outcome, batch_size)
        except SharingError as error:
            return [f"The rollback failed too: {error}"]

    def _bring_back(
        self, targets: Mapping[str, Target], batches: Sequence[Sequence[str]]
    ) -> dict[str, NotSettled]:
        """Bring nodes to earlier targets, without drain: that disrupts no pod that has not been
        disrupted before. Returns the nodes that failed.
        """
        settings = replace(self.settings, drain=IGNORE)
        executor = replace(self, targets=targets, settings=settings, outcome=Outcome())
        for batch in batches:
            executor._run_batch(batch, "rollback")
        return executor.outcome.failed


class Interval:
    """Limits how often progress is reported."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now, self._last = now, now()

    def is_over(self) -> bool:
        """Whether the interval is over; then the next one starts."""
        now = self._now()
        over = now - self._last >= REPORT_INTERVAL
        if over:
            self._last = now
        return over
