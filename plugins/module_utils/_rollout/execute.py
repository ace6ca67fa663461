# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: carrying a rollout out on a cluster: batch by batch, guarded, and
taken back where it fails.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    ClusterError,
    LeaseError,
    RefusedError,
    SharingError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.names import (
    CONFIG_HASH_ANNOTATION,
    PROFILE_LABEL,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.table import (
    format_first_rows,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import plural, some
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import Cluster
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.objects import (
    if_unchanged,
    namespaced,
    object_path,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.retry import retry_on_conflict
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.disruption import (
    GpuPod,
    pods_of,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.config_map import (
    plan_config_map,
    read_config_map,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.batches import (
    batch_sizes,
    spread,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.desired import (
    Desired,
    Target,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.drain import (
    Drainer,
    DrainError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.guard import Guard, refusal
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.live import LiveFleet
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.plan import (
    RolloutPlan,
    Step,
    check_content,
    plan_rollout,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.settle import (
    Lack,
    Patience,
    wait_until_settled,
)

REFRESH_ANNOTATION = (
    "gpufleet.sharing/refreshed"  # of pods: the kubelet then reads their files anew
)
REFRESH = 2.0  # seconds; a kubelet takes 0.1 to 0.9, and nothing tells when it has
MOST_LINES = 20
REFUSE, EVICT, IGNORE = DRAINS = ("refuse", "evict", "ignore")
ROLLBACK, STOP = ON_FAILURE = ("rollback", "stop")


class RolloutError(SharingError):
    """Some nodes did not get their profile; problems holds a line for each."""


@dataclass(frozen=True)
class Settings:
    """How a rollout is done. Times are in seconds."""

    namespace: str
    config_map: str
    batches: Sequence[object]
    patience: Patience
    pause: float = 0
    max_failures: int = 0
    on_failure: str = ROLLBACK
    drain: str = REFUSE
    drain_timeout: float = 300


@dataclass
class Outcome:
    """What has happened so far."""

    touched: list[str] = field(default_factory=list)
    failed: dict[str, Lack] = field(default_factory=dict)
    evicted: list[GpuPod] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # had gone before their turn, and why


@dataclass
class Rolling:
    """Brings a fleet to what is desired. check is called before each write, and raises where
    another run has taken over; said takes lines for people.
    """

    cluster: Cluster
    live: LiveFleet
    targets: Mapping[str, Target]
    settings: Settings
    check: Callable[[], None]
    said: Callable[[str], None]
    previous: Desired | None = None  # what to go back to
    done: Outcome = field(default_factory=Outcome)

    def carry_out(self, plan: RolloutPlan) -> None:
        """Raises RolloutError where more nodes fail than may, or where work would be hurt that was
        not there before, or that cannot be evicted.
        """
        self._record(plan.nodes(Step.RECORD))
        waiting = plan.nodes(Step.WAIT)
        begun = [node for node in waiting if self._is_moving(node)]
        if begun:
            what = "begun by a run before this one"
            self.said(f"waiting for {plural(len(begun), 'node')} {what}")
            self.done.touched += begun
            self.done.failed |= self._settle(begun, (), what)
            self._judge([begun], what)
        self._batches(plan)
        self._wait_for_others([node for node in waiting if node not in begun])

    def _is_moving(self, node: str) -> bool:
        """Whether a node is to have something else than before this change, so that a run which was
        killed has begun with it, and it is the canary now.
        """
        if self.previous is None or node not in self.previous.assignments:
            return False
        before, after = self.previous.target(node), self.targets[node]
        return (before.hash, before.label) != (after.hash, after.label)

    def _wait_for_others(self, nodes: Sequence[str]) -> None:
        """Nodes that are on their way for another reason, such as a reboot: where one does not get
        there, the change is not to blame.
        """
        if not nodes:
            return
        self.said(f"waiting for {plural(len(nodes), 'node')} whose label or pods have just changed")
        failed = self._settle(nodes, (), "waiting")
        if len(self.done.failed | failed) > self.settings.max_failures:
            message = self._failure(failed, len(nodes), "with a changed label or new pods")
            raise RolloutError(f"{message}\n{STOPPED}", lack_lines(failed))
        self.done.failed |= failed

    def _batches(self, plan: RolloutPlan) -> None:
        work = work_of(plan, self.targets)
        sizes = batch_sizes(self.settings.batches, len(work))
        started, left, batches = self.live.now(), work, list[list[str]]()
        for number, size in enumerate(sizes, start=1):
            if batches:
                self._pause()
            left = self._available(left)  # so that the canary is one that is there
            if not left:
                break
            batch, left = left[:size], left[size:]
            batches.append(batch)
            what = f"batch {number} of {len(sizes)}"
            self.said(f"{what}: {plural(len(batch), 'node')}, {self._progress(work, started)}")
            try:
                self._batch(batch, what)
            except (DrainError, RefusedError) as error:
                raise self._given_up(str(error), error.problems, batches) from error
            self._judge(batches, what)

    def _available(self, nodes: Sequence[str]) -> list[str]:
        """The nodes that can be changed by now; notes the others."""
        states = self.live.observe().nodes
        for node in nodes:
            if node not in states:
                self.done.skipped[node] = "the node has left the cluster"
            elif not states[node].ready:
                self.done.skipped[node] = "node is NotReady"
        gone = [node for node in nodes if node in self.done.skipped]
        if gone:
            self.said(f"left out, since they are NotReady or gone by now: {some(gone)}")
        return [node for node in nodes if node not in self.done.skipped]

    def _progress(self, work: Sequence[str], started: float) -> str:
        """How far it is, and how long what is left will take if it goes on like this."""
        count = len({*self.done.touched, *self.done.skipped} & set(work))
        text = f"{count} of {len(work)} done"
        if not count:
            return text
        left = (self.live.now() - started) / count * (len(work) - count)
        return f"{text}, about {duration(left)} left"

    def _batch(self, nodes: Sequence[str], what: str) -> None:
        """One batch: free the nodes, change them, wait for them.

        What they need is decided anew: since the plan was made some may have been made again,
        relabelled or restarted.
        """
        drained = self._free(nodes)
        try:
            plan = self._plan_anew(nodes)
            if plan.refresh:
                self._refresh(plan.refresh)
                plan = self._plan_anew(nodes)
            self.done.touched += nodes
            old = self._change(nodes, plan)
            self.done.failed |= self._settle(nodes, old, what)
        except LeaseError:
            drained = False  # the run that has taken over sees to the nodes
            raise
        finally:
            if drained:
                self._drainer().uncordon(nodes)

    def _plan_anew(self, nodes: Sequence[str]) -> RolloutPlan:
        """What nodes need by now. Raises SharingError where a key is not what its profile says."""
        targets = [self.targets[node] for node in nodes]
        self.live.refresh_config_map()
        observed = self.live.observe()
        check_content(targets, observed.config_map)
        return plan_rollout(targets, observed)

    def _free(self, nodes: Sequence[str]) -> bool:
        """See to pods that would be hurt. Whether nodes were cordoned."""
        if self.settings.drain == IGNORE:
            return False
        observed = self.live.observe()
        guard = Guard(self.cluster, self.targets)
        hurts = guard.hurts(nodes, observed)
        if not hurts:
            return False
        if self.settings.drain == REFUSE:
            raise refusal(hurts)
        states = [observed.nodes[node] for node in nodes if node in observed.nodes]
        affected = sorted({hurt.pod.node for hurt in hurts})
        self.said(f"draining {plural(len(affected), 'node')} of {len(pods_of(hurts))} pods")

        def still_hurt(pods: Sequence[GpuPod]) -> list[GpuPod]:
            self.check()
            return pods_of(guard.of(states, pods))

        self.done.evicted += self._drainer().drain(affected, still_hurt)
        return True

    def _drainer(self) -> Drainer:
        return Drainer(self.cluster, self.settings.drain_timeout, self.said)

    def _change(self, nodes: Sequence[str], plan: RolloutPlan) -> list[str]:
        """Move labels and restart pods. Returns the uids of the pods that were deleted."""
        seen = self.live.observe().pods
        patches = {node: _metadata(node, plan) for node in nodes}
        self.check()
        self.cluster.patch_nodes({node: patch for node, patch in patches.items() if patch})
        restarted = [node for node in nodes if plan.steps[node] is Step.RESTART]
        pods = {pod.name: pod for node in restarted for pod in seen.get(node, ())}
        path = namespaced("pods", self.settings.namespace)
        self.check()
        self._each(
            list(pods),
            lambda name: self.cluster.delete(object_path(path, name), uid=pods[name].uid),
        )
        return [pod.uid for pod in pods.values()]

    def _refresh(self, nodes: Collection[str]) -> None:
        """Let the kubelets read the files of the plugin's pods anew, so that a new key is there
        before a label names it: where it is not, the side-car crashes until it is.
        """
        seen = self.live.observe().pods
        path = namespaced("pods", self.settings.namespace)
        mark = {"metadata": {"annotations": {REFRESH_ANNOTATION: self.cluster.now().isoformat()}}}
        self.check()
        self._each(
            [pod.name for node in sorted(nodes) for pod in seen.get(node, ())],
            lambda name: self.cluster.patch_if_exists(object_path(path, name), mark),
        )
        self._let_pass(REFRESH)

    def _each(self, names: list[str], action: Callable[[str], object]) -> None:
        if failures := self.cluster.for_each(names, action):
            raise ClusterError(
                f"{len(failures)} of {len(names)} pods could not be written:"
                f" {min(failures.values())} Run again to finish."
            )

    def _settle(self, nodes: Sequence[str], old: Collection[str], what: str) -> dict[str, Lack]:
        """Wait for nodes, and annotate those that have got there. Returns what the others lack."""
        targets = [self.targets[node] for node in nodes if node in self.targets]
        silence = Silence(self.live.now)

        def progress(settled: int) -> None:
            if settled < len(targets) and silence.is_over():
                self.said(f"{what}: {settled} of {len(targets)} nodes settled")

        lacks = wait_until_settled(targets, self.live, self.settings.patience, set(old), progress)
        self._record([node for node in nodes if node not in lacks])
        return lacks

    def _record(self, nodes: Sequence[str]) -> None:
        """Write on nodes which content they have loaded."""
        if nodes:
            self.check()
            hashes = {node: self.targets[node].hash for node in nodes}
            self.cluster.patch_nodes(
                {node: {"annotations": {CONFIG_HASH_ANNOTATION: hashes[node]}} for node in nodes}
            )

    def _judge(self, batches: Sequence[Sequence[str]], what: str) -> None:
        """Raise where too many nodes have failed; after taking everything back, if so asked."""
        failed = self.done.failed
        if len(failed) <= self.settings.max_failures:
            return
        message = self._failure(failed, len(batches[-1]), what)
        raise self._given_up(message, lack_lines(failed), batches)

    def _failure(self, failed: Mapping[str, Lack], total: int, what: str) -> str:
        """Which nodes failed, and why."""
        message = [
            f"{plural(len(failed), 'node')} did not get their profile"
            f" ({what}, {plural(total, 'node')},"
            f" {self.settings.patience.timeout:g} s each):",
            *lack_table(failed),
        ]
        if self.live.trouble:
            message.append(self.live.trouble)
        return "\n".join(message)

    def _given_up(
        self, message: str, problems: Sequence[str], batches: Sequence[Sequence[str]]
    ) -> RolloutError:
        """Take everything back, if so asked. Returns the error to raise."""
        told = self._take_back(batches) if self.settings.on_failure == ROLLBACK else [STOPPED]
        return RolloutError("\n".join([message, *told]), problems)

    def _take_back(self, batches: Sequence[Sequence[str]]) -> list[str]:
        """Restore content and labels of what was touched, and wait. Returns what to tell."""
        if self.previous is None:
            return [f"There is no good revision before this one to go back to. {STOPPED}"]
        try:
            back = Restorer(self, self.previous)
            return back.restore(self.done.touched, max(map(len, batches)))
        except SharingError as error:
            return [f"Going back failed too: {error}"]

    def _pause(self) -> None:
        self._let_pass(self.settings.pause)

    def _let_pass(self, seconds: float) -> None:
        until = self.live.now() + seconds
        while (left := until - self.live.now()) > 0:
            self.live.wait(left)


STOPPED = "Nothing else was changed. Run again when the cause is mended."


@dataclass(frozen=True)
class Restorer:
    """Takes a rollout back."""

    rolling: Rolling
    previous: Desired

    def restore(self, touched: Sequence[str], at_once: int) -> list[str]:
        """Old content, old labels, and whatever restarts that takes; then all nodes that are not
        as before, those that were changed first.
        """
        rolling = self.rolling
        started = rolling.live.now()
        targets = {node: self.previous.target(node) for node in self.previous.assignments}
        self._restore_content()
        moved = {*touched, *self._moved_before(targets)}
        known = {node: targets[node] for node in sorted(moved) if node in targets}
        back = replace_targets(rolling, known)
        observed = rolling.live.observe()
        plan = plan_rollout(known.values(), observed)
        work = sorted(work_of(plan, known), key=lambda node: node not in rolling.done.failed)
        work += plan.nodes(Step.WAIT, Step.RECORD)
        rolling.said(f"going back: {plural(len(work), 'node')}")
        for start in range(0, len(work), at_once):
            back._batch(work[start : start + at_once], "going back")
        unready = [node for node in plan.nodes(Step.SKIP) if node in observed.nodes]
        self._move_labels(unready, known)
        took = duration(rolling.live.now() - started)
        lacks = back.done.failed | {node: Lack("node", "node is NotReady") for node in unready}
        told = [f"Back on the profiles of before after {took}: {plural(len(work), 'node')}."]
        if lacks:
            told = [
                f"Going back took {took}, and {len(lacks)} of {len(work) + len(unready)} nodes are"
                " not there yet:",
                *lack_table(lacks),
            ]
        if lost := sorted(set(touched) - known.keys()):
            told.append(f"Without a profile of before, and left as they are: {', '.join(lost)}.")
        return [*told, "Correct the profile or the cause, and run again."]

    def _move_labels(self, nodes: Sequence[str], targets: Mapping[str, Target]) -> None:
        """Where a node cannot be waited for, its label at least is as before, for when it comes
        back.
        """
        if nodes:
            self.rolling.check()
            self.rolling.cluster.patch_nodes(
                {
                    node: {
                        "labels": {PROFILE_LABEL: targets[node].label},
                        "annotations": {CONFIG_HASH_ANNOTATION: None},
                    }
                    for node in nodes
                }
            )

    def _moved_before(self, targets: Mapping[str, Target]) -> list[str]:
        """Nodes that have what is now taken back, and not by this run: a run that was killed has
        brought it to them; or their plugin has started meanwhile, and so loaded it.
        """
        observed = self.rolling.live.observe()
        both = self.rolling.targets.keys() & targets.keys() & observed.nodes.keys()
        before = plan_rollout([targets[node] for node in both], observed)
        has, had = before.before, before.after
        return [
            node
            for node in both
            if has[node] == self.rolling.targets[node].hash != had[node]
            or (has[node] == had[node] and before.steps[node] is Step.RESTART)
        ]

    def _restore_content(self) -> None:
        """Put the old content of all keys back into the ConfigMap: also what no plugin has loaded
        yet, any restart would load.
        """
        files = self.previous.files
        rolling = self.rolling
        path = object_path(
            namespaced("configmaps", rolling.settings.namespace), rolling.settings.config_map
        )

        def restore() -> None:
            document = rolling.cluster.find(path)
            if document is None or not files:
                return
            observed = read_config_map(document)
            plan = plan_config_map(observed, files, now=rolling.cluster.now())
            if plan:
                rolling.check()
                rolling.cluster.patch(path, if_unchanged(plan.patch(), document))

        retry_on_conflict(restore)
        rolling.live.refresh_config_map()


def replace_targets(rolling: Rolling, targets: Mapping[str, Target]) -> Rolling:
    """The same rollout with other targets, which hurts nobody that has not been hurt before."""
    settings = replace(rolling.settings, drain=IGNORE, max_failures=len(targets), pause=0)
    return replace(rolling, targets=targets, settings=settings, done=Outcome(), previous=None)


def work_of(plan: RolloutPlan, targets: Mapping[str, Target]) -> list[str]:
    """The nodes that are changed, in the order in which they are."""
    groups = {node: target.group for node, target in targets.items()}
    return spread(plan.nodes(Step.FLIP, Step.RESTART), groups)


def _metadata(node: str, plan: RolloutPlan) -> dict[str, object]:
    """The metadata to merge before a node loads something else: its label, and that it is not
    known what it has loaded.
    """
    patch: dict[str, object] = {}
    if change := plan.labels.get(node):
        patch["labels"] = {PROFILE_LABEL: change.after}
    if plan.before[node] and plan.steps[node] in (Step.FLIP, Step.RESTART):
        patch["annotations"] = {CONFIG_HASH_ANNOTATION: None}
    return patch


def lack_table(lacks: Mapping[str, Lack]) -> list[str]:
    """Node, stage and reason, a line each."""
    rows = [
        {"node": node, "stage": lack.stage, "reason": lack.reason}
        for node, lack in sorted(lacks.items())
    ]
    return format_first_rows(("node", "stage", "reason"), rows, MOST_LINES)


def lack_lines(lacks: Mapping[str, Lack]) -> list[str]:
    return [f"{node}: {lack.reason}" for node, lack in sorted(lacks.items())]


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class Silence:
    """Tells when it is time for another word on progress."""

    def __init__(self, now: Callable[[], float], longest: float = 10.0) -> None:
        self._now, self._longest, self._last = now, longest, now()

    def is_over(self) -> bool:
        if self._now() - self._last < self._longest:
            return False
        self._last = self._now()
        return True
