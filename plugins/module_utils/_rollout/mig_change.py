# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: changing the MIG configurations of nodes, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .._common.errors import FleetError, SharingError, joined
from .._kube.client import Cluster
from .._kube.objects import NODES
from .._nodes.disruption import Disruption, mig_disruptions
from .._nodes.maintenance import maintenance
from .._nodes.mig import (
    MIG_LABEL,
    MigChange,
    has_failed,
    plan_mig,
    why_not_capable,
    why_not_partitioned,
)
from .._nodes.state import NodeState, node_state
from .._profiles.model import Profile
from .batches import split_into_batches
from .drain import Drainer
from .gpu_pods import gpu_pods_on
from .guard import check_disruptions
from .live import LiveNodes
from .settings import IGNORE

HINT = (
    "The log of the pod nvidia-mig-manager on the node gives the cause; it cannot change GPUs that"
    " a pod uses. Sharing profiles of these nodes were not changed. Fix the cause and run again."
)


class MigError(SharingError):
    """Some nodes did not get their MIG configuration."""


def configurations(
    assignments: Mapping[str, str | None], profiles: Mapping[str, Profile], default_profile: str
) -> dict[str, str]:
    """{node: MIG configuration}, of the nodes whose profile has one."""
    named = {node: profiles.get(name or default_profile) for node, name in assignments.items()}
    return {
        node: profile.mig for node, profile in named.items() if profile is not None and profile.mig
    }


@dataclass(frozen=True)
class MigPlan:
    """The labels to change, in batches, the nodes that are being changed already, and those that
    are left alone, each with the reason.
    """

    changes: Mapping[str, MigChange] = field(default_factory=dict)
    batches: Sequence[Sequence[str]] = ()
    waiting: Sequence[str] = ()
    left_alone: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.changes or self.waiting)

    def result(self) -> dict[str, object]:
        """What the module mig_config returns."""
        changes = list(self.changes.values())
        return {
            "changed": bool(changes),
            "differs": bool(self),
            "changes": [vars(change) for change in changes],
            "waited": list(self.waiting),
            "maintenance": dict(self.left_alone),
            "diff": {
                "before": {change.node: change.before for change in changes},
                "after": {change.node: change.after for change in changes},
            },
        }


def plan_change(
    wanted: Mapping[str, str], nodes: Mapping[str, NodeState], batches: Sequence[object]
) -> MigPlan:
    """Compare MIG configurations by node with the labels of nodes. Raises where a node cannot have
    its configuration.
    """
    states = {name: state for name, state in nodes.items() if name in wanted}
    reasons = {name: maintenance(state, mig=wanted[name]) for name, state in states.items()}
    left_alone = {name: reason for name, reason in sorted(reasons.items()) if reason}
    states = {name: state for name, state in states.items() if name not in left_alone}
    reasons = {node: why_not_capable(state, wanted[node]) for node, state in states.items()}
    if problems := [f"{node}: {reason}." for node, reason in sorted(reasons.items()) if reason]:
        raise joined(FleetError, problems)
    changes, waiting = plan_mig(wanted, states)
    found = split_into_batches([change.node for change in changes], batches)
    return MigPlan({change.node: change for change in changes}, found, waiting, left_alone)


@dataclass(frozen=True)
class MigRun:
    """Carries changes out on one cluster. timeout and drain_timeout are in seconds; check is
    called before each write, and raises LeaseError where another run has taken over.
    """

    cluster: Cluster
    wanted: Mapping[str, str]
    timeout: float
    drain_timeout: float
    check: Callable[[], None] = lambda: None

    @property
    def _drainer(self) -> Drainer:
        return Drainer(self.cluster, self.drain_timeout, lambda _line: None, self.check)

    def states(self) -> dict[str, NodeState]:
        found = (node_state(item) for item in self.cluster.items(NODES))
        return {state.name: state for state in found if state.name in self.wanted}

    def disruptions(self, nodes: Sequence[str]) -> list[Disruption]:
        """The pods that use GPUs which are to change."""
        return mig_disruptions(gpu_pods_on(self.cluster, nodes))

    def free(self, nodes: Sequence[str], drain: str) -> bool:
        """Deal with the pods that use GPUs which are to change. Whether nodes were cordoned."""
        found = [] if drain == IGNORE else self.disruptions(nodes)
        if not found:
            return False
        check_disruptions(found, drain)
        self._drainer.drain(list(nodes), lambda pods: pods)
        return True

    def carry_out(self, plan: MigPlan, drain: str) -> None:
        """Wait for what others have begun; then free, change and wait, batch by batch."""
        if plan.waiting:
            self._wait(plan.waiting, "that were changing already")
        for number, batch in enumerate(plan.batches, start=1):
            cordoned = self.free(batch, drain)
            try:
                self._change([plan.changes[node] for node in batch])
                self._wait(batch, f"batch {number} of {len(plan.batches)}")
            finally:
                if cordoned:  # unless another run has taken over: then it uncordons them
                    self._drainer.uncordon(batch)

    def _change(self, changes: Sequence[MigChange]) -> None:
        states = self.states()
        patches = {c.node: c.patch(states[c.node]) for c in changes if c.node in states}
        again = [change.node for change in changes if change.before == change.after]
        self.check()
        gone = {node: {"labels": {MIG_LABEL: None}} for node in again}
        self.cluster.patch_nodes(gone)  # so that the MIG manager notices
        self.cluster.patch_nodes(patches)

    def _wait(self, nodes: Sequence[str], what: str) -> None:
        """Watch nodes until they have their configuration. Raises MigError with those that do not
        get it.
        """
        live = LiveNodes(self.cluster)
        live.start()
        deadline = live.now() + self.timeout
        try:
            while wrong := self._wrong(nodes, states := live.nodes()):
                hopeless = all(has_failed(states.get(node)) for node in wrong)
                if hopeless or live.now() >= deadline:
                    raise self._error(wrong, len(nodes), what)
                live.wait(deadline - live.now())
        finally:
            live.stop()

    def _wrong(self, nodes: Sequence[str], states: Mapping[str, NodeState]) -> dict[str, str]:
        """Nodes without their configuration, and why."""
        reasons = {node: why_not_partitioned(states.get(node), self.wanted[node]) for node in nodes}
        return {node: reason for node, reason in reasons.items() if reason}

    def _error(self, wrong: Mapping[str, str], total: int, what: str) -> MigError:
        lines = [f"- {node}: {reason}" for node, reason in sorted(wrong.items())[:20]]
        said = (
            f"{len(wrong)} of {total} nodes ({what}) did not get their MIG configuration (waited"
            f" up to {self.timeout:g} s):"
        )
        return MigError("\n".join([said, *lines, HINT]))
