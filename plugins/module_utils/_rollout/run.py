# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: one run of the rollout: look, plan, refuse, carry out, and tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    ClusterError,
    FleetError,
    LeaseError,
    SharingError,
    joined,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.names import PROFILE_LABEL
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import some
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.assignments import (
    LabelPlan,
    plan_labels,
    undefined_profiles,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube import lease as _lease
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import Cluster
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.lease import release_kept_lease
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.admission import (
    check_nodes,
    check_there,
    notices_removal,
    uncut,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.capacity import (
    physical_devices,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.disruption import (
    Hurt,
    hurt_table,
    pods_of,
    quota_findings,
    renamed_now,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.keys import (
    IN_PLACE,
    VERSIONED,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    checked_profiles,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout import history as _history
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.batches import cut
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.desired import (
    Desired,
    Target,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.drain import (
    Drainer,
    leftover,
    lost,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.execute import (
    EVICT,
    IGNORE,
    REFUSE,
    Outcome,
    Rolling,
    Settings,
    work_of,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.guard import Guard, refusal
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.history import (
    History,
    Revision,
    State,
    last_good,
    latest,
    merge_assignments,
    same_desired,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.live import LiveFleet
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.observed import Observed
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.plan import (
    Step,
    needs_pods,
    plan_rollout,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.view import (
    Load,
    Notes,
    Row,
    make_row,
    plan_table,
)

QUOTAS = "/api/v1/resourcequotas"


@dataclass(frozen=True)
class Request:
    """What one run is asked for. definitions are the profiles as the inventory has them; planning:
    nothing is written, and what a run would do before this has not been done.
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

    @property
    def explains(self) -> bool:
        """Whether what would be refused is only told."""
        return self.explain and self.planning


class Run:
    """Looks and plans at once, and raises where something is refused; then carries out, if asked
    to.
    """

    def __init__(
        self,
        cluster: Cluster,
        request: Request,
        said: Callable[[str], None],
        shared: Observed | None = None,
    ) -> None:
        """shared is a look at the cluster that other plans use too; such a run only plans."""
        self._cluster, self._request, self._said = cluster, request, said
        self._shared = shared
        desired = request.desired
        if wrong := list(
            undefined_profiles(desired.assignments, list(desired.profiles), desired.default_profile)
        ):
            raise joined(FleetError, wrong)
        self._done = Outcome()
        self._revision: int | None = None
        self._look()

    def _look(self) -> None:
        """See how everything is, and plan."""
        cluster, request, settings = self._cluster, self._request, self._request.settings
        place = settings.namespace, settings.config_map
        self._seen = self._shared or Observed(cluster, *place)
        self._live = None if self._shared else LiveFleet(cluster, *place)
        observed = self._fleet.observe()
        self._labels = self._plan_labels(observed.nodes)
        self._targets = self._make_targets(observed.nodes)
        held = self._admit(observed.nodes)
        waiting = {node: target for node, target in self._targets.items() if node not in held}
        if needs_pods(waiting.values(), observed):
            self._fleet.look_at_pods()
            observed = self._fleet.observe()
        self._plan = plan_rollout(waiting.values(), observed)
        self._held = sorted(held)
        self._batches = cut(work_of(self._plan, self._targets), settings.batches)
        self._leftover = leftover(observed.nodes.values())
        self._history = History(cluster, settings.namespace, settings.config_map)
        self._unfinished = self._is_unfinished()
        self._hurts = Guard(cluster, self._targets).hurts(self._work, observed)
        if self._hurts and settings.drain == REFUSE and not request.explains:
            raise refusal(self._hurts)
        self._rows, self._quotas = self._make_rows(), self._find_quotas()

    @property
    def differs(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._plan or self._leftover or self._unfinished)

    @property
    def warnings(self) -> list[str]:
        """What people have to know besides."""
        found = []
        if self._hurts and self._request.settings.drain == IGNORE:
            table = "\n".join(hurt_table(self._hurts))
            found.append(f"O(drain) is ignore, so these pods are left running:\n{table}")
        gone = lost(pods_of(self._hurts))
        if gone and self._request.settings.drain == EVICT:
            names = some([f"{pod.namespace}/{pod.name}" for pod in gone])
            found.append(f"No controller makes these pods again after their eviction: {names}.")
        return found

    def carry_out(self) -> None:
        """Write what differs. Raises RolloutError and others of the tree."""
        namespace, run = self._request.settings.namespace, self._request.run
        if not self.differs:
            release_kept_lease(self._cluster, namespace, run)
            return
        with _lease.hold_lease(self._cluster, namespace, run, log=self._said) as lease:
            if lease.waited:
                self._look()  # another run has changed what was seen before
            if self._leftover:
                Drainer(self._cluster, 0, self._said).uncordon(self._leftover)
            revision = self._history.open(self._asked(), run)
            self._revision = revision.number
            state = State.FAILED
            try:
                self._roll(revision, lease.check)
                if not self._done.failed:
                    state = State.GOOD
            except SharingError:
                with suppress(ClusterError, LeaseError):  # what went wrong first is to be told
                    self._end(revision, state, lease.check)
                raise
            self._end(revision, state, lease.check)
            self._history.prune()

    @property
    def _fleet(self) -> LiveFleet | Observed:
        return self._live or self._seen

    def _roll(self, revision: Revision, check: Callable[[], None]) -> None:
        """Bring the revision about."""
        if self._live is None:
            raise ValueError("A run on a shared look only plans.")
        rolling = Rolling(
            cluster=self._cluster,
            live=self._live,
            targets=self._targets,
            settings=self._request.settings,
            check=check,
            said=self._said,
            previous=self._previous(revision),
            done=self._done,
        )
        self._live.start()
        try:
            rolling.carry_out(self._plan)
        finally:
            self._live.stop()

    def _end(self, revision: Revision, state: State, check: Callable[[], None]) -> None:
        """Write down how it ended, unless another run has taken over, which then does it."""
        check()
        self._history.close(revision, state)

    def result(self) -> dict[str, object]:
        """What the module returns."""
        plan, rows = self._plan, self._rows
        changes = list(plan.labels.values())
        notes = Notes(
            missing=self._labels.missing,
            unmanaged=self._labels.unmanaged,
            unavailable=sorted([*plan.nodes(Step.SKIP), *self._held, *self._done.skipped]),
            unsettled={node: lack.reason for node, lack in self._done.failed.items()},
            quotas=self._quotas,
        )
        found: dict[str, object] = {
            "changed": self.differs,
            "differs": self.differs,
            "diff": self._diff(rows),
            "changes": [vars(change) for change in changes],
            "restarted": plan.nodes(Step.RESTART),
            "recorded": plan.nodes(Step.RECORD),
            "waited": plan.nodes(Step.WAIT),
            "batches": self._batches,
            "hurt": [_hurt_row(hurt) for hurt in self._hurts],
            "hurt_table": hurt_table(self._hurts) if self._hurts else [],
            "evicted": [f"{pod.namespace}/{pod.name}" for pod in self._done.evicted],
            "uncordoned": self._leftover,
            "unfinished": self._unfinished,
            "nodes": [vars(row) for row in rows],
            "table": plan_table(rows, [len(batch) for batch in self._batches]),
            **{name: _plain(value) for name, value in vars(notes).items()},
            "notes": notes.lines(),
        }
        return found | ({} if self._revision is None else {"revision": self._revision})

    @property
    def _work(self) -> list[str]:
        return [node for batch in self._batches for node in batch]

    def _plan_labels(self, states: Mapping[str, NodeState]) -> LabelPlan:
        """Which nodes the inventory does not know, and which the cluster does not have."""
        desired = self._request.desired
        gpu_nodes = {
            name: state.labels.get(PROFILE_LABEL)
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
            check_there(plan.missing, self._cluster.server)
        return plan

    def _make_targets(self, states: Mapping[str, NodeState]) -> dict[str, Target]:
        """What each node should have; unmanaged ones that lose their label included."""
        desired = self._request.desired
        losing = {
            change.node: None
            for change in self._labels.changes
            if change.node not in desired.assignments
        }
        wider = replace(desired, assignments={**desired.assignments, **losing})
        targets = wider.targets()
        if desired.versioned:
            config_map = self._fleet.observe().config_map
            files = config_map.data if config_map else {}
            return targets | {node: _unlabelled(targets[node], desired, files) for node in losing}
        bare = [
            node
            for node, target in targets.items()
            if target.label is None and node in states and states[node].labels.get(PROFILE_LABEL)
        ]
        if not bare or notices_removal(self._seen.plugin()):
            return targets
        return targets | {node: replace(targets[node], label=targets[node].key) for node in bare}

    def _admit(self, states: Mapping[str, NodeState]) -> set[str]:
        """Raise where a profile cannot be used on its node, or MIG is at work; returns nodes that
        have to wait for MIG.
        """
        meant = {node: target.profile for node, target in self._targets.items() if node in states}
        changing = [
            node
            for node in meant
            if (states[node].labels.get(PROFILE_LABEL) or None) != self._targets[node].label
        ]
        check_nodes(states, meant, changing, planning=self._request.planning)
        return set() if self._request.planning else uncut(states, meant)

    def _asked(self) -> _history.Desired:
        """What is asked for, for the history. Nodes outside a limit stay as they were asked for."""
        desired = self._request.desired
        good = last_good(self._history_loaded)
        before = good.desired if good else None
        known = set(self._request.known_nodes)
        merged = merge_assignments(before, desired.assignments)
        kept = {
            node: name
            for node, name in merged.items()
            if (node in desired.assignments or node in known)
            and (name is None or name in self._request.definitions)
        }
        return _history.Desired(
            VERSIONED if desired.versioned else IN_PLACE,
            desired.default_profile,
            self._request.definitions,
            kept,
        )

    def _is_unfinished(self) -> bool:
        """Whether the newest revision is not what is asked for, or its run has not ended well."""
        self._history_loaded = self._seen.revisions
        newest = latest(self._history_loaded)
        if newest is None:
            return False  # the first change begins it
        return newest.state is not State.GOOD or not same_desired(newest.desired, self._asked())

    def _previous(self, revision: Revision) -> Desired | None:
        """The last good revision before the one that is being brought about."""
        if revision.state is State.GOOD:
            return None
        good = last_good(self._history.load(), revision.number)
        if good is None:
            return None
        try:
            profiles = checked_profiles(good.desired.profiles)
        except SharingError:
            return None  # files as they were found, which this collection would refuse
        return replace(
            self._request.desired,
            profiles=profiles,
            default_profile=good.desired.default_profile,
            assignments=good.desired.assignments,
            versioned=good.desired.mode == VERSIONED,
        )

    def _diff(self, rows: Sequence[Row]) -> dict[str, dict[str, str]]:
        before = {row.node: row.before for row in rows}
        after = {row.node: f"{row.after} ({row.step})" for row in rows}
        for node in self._leftover:
            before[f"{node} (cordoned by a run that was killed)"] = "cordoned"
            after[f"{node} (cordoned by a run that was killed)"] = ""
        return {"before": before, "after": after}

    def _find_quotas(self) -> list[str]:
        """ResourceQuotas on names that go with the change; asked for only where one goes."""
        states = self._fleet.observe().nodes
        renamed: dict[str, str] = {}
        for node in self._work:
            target = self._targets[node]
            devices = physical_devices(states[node], target.gpus) if node in states else {}
            renamed |= renamed_now(states[node], target.profile, devices) if devices else {}
        if not renamed:
            return []
        found = quota_findings(self._cluster.items(QUOTAS), renamed)
        return [finding.text for finding in found]

    def _make_rows(self) -> list[Row]:
        """A row for each node that changes."""
        observed = self._fleet.observe()
        number = {node: place for place, batch in enumerate(self._batches, 1) for node in batch}
        pods: Counter[str] = Counter()
        if self._request.explain and self._work:
            looked = Drainer(self._cluster, 0, self._said).look(self._work)
            pods.update(pod.node for pod in looked)
        hurt = Counter(pod.node for pod in pods_of(self._hurts))
        return [
            make_row(
                self._targets[node],
                observed.nodes[node],
                self._plan,
                Load(number.get(node), pods[node], hurt[node]),
            )
            for node in self._plan.changing
        ]


def _unlabelled(target: Target, desired: Desired, files: Mapping[str, str]) -> Target:
    """A node without a label gets the fixed key of the default, with the content that is there: new
    content gets there last of all.
    """
    key, profile = desired.default_profile, target.profile
    with suppress(SharingError):  # what it says is not known
        profile = checked_profiles({key: files.get(key)})[key]
    return replace(target, label=None, key=key, profile=profile)


def _plain(value: Sequence[str] | Mapping[str, str]) -> list[str] | dict[str, str]:
    return dict(value) if isinstance(value, Mapping) else list(value)


def _hurt_row(hurt: Hurt) -> dict[str, object]:
    pod = hurt.pod
    return {
        "node": pod.node,
        "namespace": pod.namespace,
        "pod": pod.name,
        "owner": pod.owner,
        "hazard": hurt.hazard.value,
        "text": hurt.text,
    }
