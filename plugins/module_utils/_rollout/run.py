# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: one run of the module rollout: observe, plan, refuse or execute, and the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from .._common.errors import ClusterError, FleetError, LeaseError, SharingError, joined
from .._common.names import PROFILE_LABEL
from .._fleet.assignments import LabelPlan, plan_labels, undefined_profiles
from .._kube import lease as _lease
from .._kube.client import Cluster
from .._kube.lease import release_kept_lease
from .._nodes.admission import check_nodes, check_present, notices_removal, waiting_for_mig
from .._nodes.capacity import physical_devices
from .._nodes.disruption import Disruption, disruption_table, pods_of
from .._nodes.quotas import bypassed_quotas, renamed_resources
from .._nodes.state import NodeState
from .._profiles.keys import IN_PLACE, VERSIONED
from .._profiles.model import Profile
from .._profiles.validation import checked_profiles
from .batches import ordered_nodes, split_into_batches
from .desired import Desired, Target, profile_label
from .drain import Drainer, left_cordoned
from .execute import Executor
from .gpu_pods import gpu_pods_on
from .guard import DisruptionGuard, check_disruptions, drain_warnings
from .history import (
    FleetSpec,
    History,
    Revision,
    RevisionState,
    last_good,
    latest,
    merge_assignments,
    same_spec,
)
from .live import LiveFleet
from .observed import Observed
from .outcome import Outcome
from .pending import LivePending, Pending, left_pending
from .plan import Step, maintenance_of, needs_pods, plan_rollout
from .settings import Settings
from .view import OPERATOR, NodeChange, NodeCounts, Notes, node_change, plan_table

QUOTAS = "/api/v1/resourcequotas"


@dataclass(frozen=True)
class Request:
    """The input of one run.

    definitions are the profiles as in the inventory. With planning, nothing is written, and what
    earlier tasks of a real run would change is not there. operator_restarts: before the rollout,
    the operator starts or restarts the plugins of all nodes, so that they load their content.
    """

    desired: Desired
    definitions: Mapping[str, object]
    known_nodes: Sequence[str]
    exclusive: bool
    needs_all: bool
    settings: Settings
    explain: bool = False
    run: str = ""
    planning: bool = False
    operator_restarts: bool = False

    @property
    def explains(self) -> bool:
        """Whether disruptions are only reported, not refused."""
        return self.explain and self.planning


class RolloutRun:
    """One run: observes and plans when it is created, and raises an error for anything that it
    refuses. execute then carries out the plan.
    """

    def __init__(
        self,
        cluster: Cluster,
        request: Request,
        report: Callable[[str], None],
        shared: Observed | None = None,
    ) -> None:
        """shared is an observation that other plans use too; such a run only plans, and its
        caller checks its disruptions.
        """
        self._cluster, self._request, self._report = cluster, request, report
        self._shared = shared
        desired = request.desired
        if problems := list(
            undefined_profiles(desired.assignments, list(desired.profiles), desired.default_profile)
        ):
            raise joined(FleetError, problems)
        self._outcome = Outcome()
        self._revision: int | None = None
        self._pending: list[Pending] = []
        self._observe_and_plan()

    def _observe_and_plan(self) -> None:
        cluster, settings = self._cluster, self._request.settings
        location = settings.namespace, settings.config_map
        self._observed = self._shared or Observed(cluster, *location)
        self._live = None if self._shared else LiveFleet(cluster, *location)
        observed = self._fleet.observe()
        self._labels = self._plan_labels(observed.nodes)
        self._targets = self._make_targets(observed.nodes)
        waiting = self._admit(observed.nodes)
        targets = [target for node, target in self._targets.items() if node not in waiting]
        if needs_pods(targets, observed):
            self._fleet.read_pods()
            observed = self._fleet.observe()
        self._plan = plan_rollout(targets, observed)
        self._waiting_for_mig = sorted(waiting)
        nodes = ordered_nodes(self._plan, self._targets)
        by_operator = self.restarted_by_operator
        work = [node for node in nodes if node not in by_operator]
        self._batches = split_into_batches(work, settings.batches)
        self._left_cordoned = left_cordoned(observed.nodes.values())
        self._history = History(cluster, settings.namespace, settings.config_map)
        self._unfinished = self._is_unfinished()
        self._before = self._profiles_before()
        guard = DisruptionGuard(cluster, self._targets, self._before)
        self._disruptions = guard.find(nodes, observed)
        if not self._shared:
            self._check_disruptions()
        self._changes, self._quotas = self._node_changes(), self._bypassed_quotas()

    @property
    def settings(self) -> Settings:
        return self._request.settings

    @property
    def restarted_by_operator(self) -> set[str]:
        """The nodes that need no more than the restart by the operator."""
        plan = self._plan
        restarted = plan.nodes(Step.RESTART, Step.WAIT) if self._request.operator_restarts else []
        return {*restarted} - plan.labels.keys()

    def _check_disruptions(self) -> None:
        """Raise an error for disruptions that are refused, or that evictions would not avoid."""
        if self._request.explains:
            return
        check_disruptions(self._disruptions, self._request.settings.drain)

    @property
    def disruptions(self) -> list[Disruption]:
        """The running pods that the plan would disrupt."""
        return self._disruptions

    @property
    def differs(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._plan or self._left_cordoned or self._unfinished)

    @property
    def warnings(self) -> list[str]:
        return drain_warnings(self._disruptions, self._request.settings.drain)

    def execute(self) -> None:
        """Write what differs. Raises RolloutError and other errors of the tree."""
        namespace, run = self._request.settings.namespace, self._request.run
        if not self.differs:
            release_kept_lease(self._cluster, namespace, run)
            return
        with _lease.hold_lease(self._cluster, namespace, run, log=self._report) as lease:
            if lease.waited:
                self._observe_and_plan()  # another run has changed the cluster meanwhile
            if self._left_cordoned:
                drainer = Drainer(self._cluster, 0, self._report, lease.check)
                drainer.uncordon(self._left_cordoned)
            revision = self._history.begin(self._spec(), run)
            self._revision = revision.number
            state = RevisionState.FAILED
            try:
                self._roll_out(revision, lease.check)
                if not self._outcome.failed:
                    state = RevisionState.GOOD
            except SharingError:
                with suppress(ClusterError, LeaseError):  # the first error is the one to report
                    self._finish(revision, state, lease.check)
                raise
            self._finish(revision, state, lease.check)
            self._history.prune()
        self._pending = self._find_pending()

    def _find_pending(self) -> list[Pending]:
        """The pods that have no node after the evictions."""
        if not self._outcome.evicted:
            return []
        try:
            return left_pending(LivePending(self._cluster), self._outcome.evicted)
        except ClusterError as error:  # the change itself has succeeded
            self._report(f"pods that stay Pending could not be listed: {error}")
            return []

    @property
    def _fleet(self) -> LiveFleet | Observed:
        return self._live or self._observed

    def _roll_out(self, revision: Revision, check: Callable[[], None]) -> None:
        if self._live is None:
            raise ValueError("A run on a shared observation only plans.")
        executor = Executor(
            cluster=self._cluster,
            live=self._live,
            targets=self._targets,
            settings=self._request.settings,
            check=check,
            report=self._report,
            previous=self._previous(revision),
            before=self._before,
            outcome=self._outcome,
        )
        self._live.start()
        try:
            executor.execute(self._plan)
        finally:
            self._live.stop()

    def _finish(self, revision: Revision, state: RevisionState, check: Callable[[], None]) -> None:
        """Record how the revision ended, unless another run has taken over."""
        check()
        self._history.finish(revision, state)

    def result(self) -> dict[str, object]:
        """What the module returns."""
        plan, outcome = self._plan, self._outcome
        skipped = {*plan.nodes(Step.SKIP), *self._waiting_for_mig, *outcome.skipped}
        counts = self.counts
        unchanged = self._describe(plan.nodes(Step.NOTHING)) if self._changes else []
        notes = Notes(
            missing=list(self._labels.missing),
            unmanaged=list(self._labels.unmanaged),
            unavailable=sorted(skipped),
            maintenance=self._maintenance(skipped),
            unsettled={node: state.reason for node, state in outcome.failed.items()},
            quotas=self._quotas,
            pending=[str(each) for each in self._pending],
        )
        result: dict[str, object] = {
            "changed": self.differs,
            "differs": self.differs,
            "diff": self._diff(),
            "changes": [vars(change) for change in plan.labels.values()],
            "restarted": plan.nodes(Step.RESTART),
            "recorded": plan.nodes(Step.RECORD),
            "waited": plan.nodes(Step.WAIT),
            "batches": self._batches,
            "disruptions": [_disruption_row(each) for each in self._disruptions],
            "disruption_table": disruption_table(self._disruptions) if self._disruptions else [],
            "evicted": list(map(str, outcome.evicted)),
            "uncordoned": self._left_cordoned,
            "unfinished": self._unfinished,
            "nodes": [vars(change) for change in self._changes],
            "counts": counts.as_dict(),
            "table": plan_table(self._changes, counts, unchanged),
            **vars(notes),
            "pending": [vars(each) for each in self._pending],
            "notes": notes.lines(),
        }
        return result | ({} if self._revision is None else {"revision": self._revision})

    def _maintenance(self, skipped: set[str]) -> dict[str, str]:
        """The nodes that are left out because another controller is working on them, and why."""
        states, found = self._fleet.observe().nodes, {}
        for node in sorted(skipped & self._targets.keys() & states.keys()):
            if reason := maintenance_of(self._targets[node], states[node]):
                found[node] = reason
        return found

    def _plan_labels(self, states: Mapping[str, NodeState]) -> LabelPlan:
        """Which GPU nodes are not in the inventory, and which assigned ones not in the cluster."""
        desired = self._request.desired
        gpu_nodes = {
            name: profile_label(state)
            for name, state in states.items()
            if state.has_gpus or name in desired.assignments or PROFILE_LABEL in state.labels
        }
        plan = plan_labels(
            desired.assignments,
            gpu_nodes,
            known=self._request.known_nodes,
            exclusive=self._request.exclusive,
        )
        if self._request.needs_all:
            check_present(
                plan.missing, states.keys() - set(self._request.known_nodes), self._cluster.server
            )
        return plan

    def _make_targets(self, states: Mapping[str, NodeState]) -> dict[str, Target]:
        """The target of each node, including unmanaged nodes that lose their label."""
        desired = self._request.desired
        losing = {
            change.node: None
            for change in self._labels.changes
            if change.node not in desired.assignments
        }
        targets = replace(desired, assignments={**desired.assignments, **losing}).targets()
        if desired.versioned:
            config_map = self._fleet.observe().config_map
            files = config_map.data if config_map else {}
            return targets | {node: _unlabelled(targets[node], desired, files) for node in losing}
        unlabelled = [
            node
            for node, target in targets.items()
            if target.label is None and node in states and profile_label(states[node])
        ]
        if not unlabelled or notices_removal(self._observed.plugin()):
            return targets
        return targets | {
            node: replace(targets[node], label=targets[node].key) for node in unlabelled
        }

    def _admit(self, states: Mapping[str, NodeState]) -> set[str]:
        """Raise an error when a node cannot get its profile. Returns nodes that wait for MIG."""
        wanted = {node: target.profile for node, target in self._targets.items() if node in states}
        check_nodes(states, wanted)
        return set() if self._request.planning else waiting_for_mig(states, wanted)

    def _spec(self) -> FleetSpec:
        """The specification for the history. Nodes outside a limit keep that of before."""
        desired, request = self._request.desired, self._request
        good = last_good(self._revisions)
        merged = merge_assignments(good.spec if good else None, desired.assignments)
        inventory = desired.assignments.keys() | set(request.known_nodes)
        assignments = {
            node: profile
            for node, profile in merged.items()
            if node in inventory and (profile is None or profile in request.definitions)
        }
        mode = VERSIONED if desired.versioned else IN_PLACE
        return FleetSpec(mode, desired.default_profile, request.definitions, assignments)

    def _is_unfinished(self) -> bool:
        """Whether the newest revision has another specification, or its run did not end well."""
        self._revisions = self._observed.revisions
        newest = latest(self._revisions)
        if newest is None:
            return False  # the first change starts the history
        return newest.state is not RevisionState.GOOD or not same_spec(newest.spec, self._spec())

    def _previous(self, revision: Revision) -> Desired | None:
        """The last good revision before this one, for a rollback."""
        if revision.state is RevisionState.GOOD:
            return None
        return self._desired_of(last_good(self._history.load(), revision.number))

    def _profiles_before(self) -> dict[str, Profile]:
        """The profiles of the last good revision, by node."""
        found: dict[str, Profile] = {}
        if desired := self._desired_of(last_good(self._revisions)):
            for node in desired.assignments:
                with suppress(FleetError):  # a profile that was not there even then
                    found[node] = desired.target(node).profile
        return found

    def _desired_of(self, revision: Revision | None) -> Desired | None:
        if revision is None:
            return None
        try:
            profiles = checked_profiles(revision.spec.profiles)
        except SharingError:
            return None  # files as found on the cluster, which this collection would reject
        return replace(
            self._request.desired,
            profiles=profiles,
            default_profile=revision.spec.default_profile,
            assignments=revision.spec.assignments,
            versioned=revision.spec.mode == VERSIONED,
        )

    def _diff(self) -> dict[str, dict[str, str]]:
        before = {change.node: change.before for change in self._changes}
        after = {change.node: f"{change.after} ({change.step})" for change in self._changes}
        for node in self._left_cordoned:
            before[f"{node} (left cordoned by a killed run)"] = "cordoned"
            after[f"{node} (left cordoned by a killed run)"] = ""
        return {"before": before, "after": after}

    def _bypassed_quotas(self) -> list[str]:
        """ResourceQuotas on resources that get another name; listed only when one does."""
        states = self._fleet.observe().nodes
        renamed: dict[str, str] = {}
        for node in (node for batch in self._batches for node in batch if node in states):
            target = self._targets[node]
            devices = physical_devices(states[node], target.gpus)
            renamed |= renamed_resources(
                states[node], target.profile, devices, self._before.get(node)
            )
        return bypassed_quotas(self._cluster.items(QUOTAS), renamed) if renamed else []

    @property
    def counts(self) -> NodeCounts:
        """How many nodes the plan changes, and how many it does not."""
        plan = self._plan
        return NodeCounts(
            batches=[len(batch) for batch in self._batches],
            by_operator=len(self.restarted_by_operator),
            waited=len({*plan.nodes(Step.WAIT)} - self.restarted_by_operator),
            recorded=len(plan.nodes(Step.RECORD)),
            unchanged=len(plan.nodes(Step.NOTHING)),
            left_out=len({*plan.nodes(Step.SKIP), *self._waiting_for_mig}),
            unmanaged=len(self._labels.unmanaged),
        )

    def _node_changes(self) -> list[NodeChange]:
        """The nodes that change, and their GPU pods if that is asked for."""
        pods: Mapping[str, int] | None = None
        if self._request.explain:
            nodes = [node for batch in self._batches for node in batch]
            pods = Counter(pod.node for pod in gpu_pods_on(self._cluster, nodes)) if nodes else None
        return self._describe(self._plan.changing, pods)

    def _describe(
        self, nodes: Sequence[str], pods: Mapping[str, int] | None = None
    ) -> list[NodeChange]:
        states = self._fleet.observe().nodes
        number = {node: place for place, batch in enumerate(self._batches, 1) for node in batch}
        disrupted = Counter(pod.node for pod in pods_of(self._disruptions))
        changes = [
            node_change(
                self._targets[node],
                states[node],
                self._plan.steps[node],
                batch=number.get(node),
                pods=None if pods is None else pods.get(node, 0),
                disrupted=disrupted[node],
            )
            for node in nodes
        ]
        by_operator = self.restarted_by_operator
        return [
            replace(change, step=OPERATOR) if change.node in by_operator else change
            for change in changes
        ]


def _unlabelled(target: Target, desired: Desired, files: Mapping[str, str]) -> Target:
    """The target of a node that loses its label in versioned mode: the default's fixed key, with
    its current content, since new content gets there last.
    """
    key, profile = desired.default_profile, target.profile
    with suppress(SharingError):  # the content is missing, or not ours
        profile = checked_profiles({key: files.get(key)})[key]
    return replace(target, label=None, key=key, profile=profile)


def _disruption_row(disruption: Disruption) -> dict[str, object]:
    pod = disruption.pod
    return {
        "node": pod.node,
        "namespace": pod.namespace,
        "pod": pod.name,
        "owner": pod.owner,
        "hazard": disruption.hazard.value,
        "text": disruption.text,
    }
