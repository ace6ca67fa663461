# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the plan of a rollout as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from .._common.table import alike, format_first_rows, total
from .._common.text import by_reason, plural, some
from .._nodes.capacity import expected_allocatable, physical_devices
from .._nodes.state import NodeState
from .desired import Target, profile_label
from .plan import Step

COLUMNS = ("group", "profile", "nodes", "now", "then", "how", "GPU pods", "disrupted", "first")
MOST_LINES = 40
MOST_NOTES = 20  # of a kind
HOW = {
    "flip": "label changes",
    "restart": "plugin restarts",
    "wait": "in progress",
    "record": "annotation only",
    "nothing": "nothing",
    "operator": "by the operator",
}
OPERATOR = "operator"  # the step of a node whose plugin the operator starts or restarts


@dataclass(frozen=True)
class NodeChange:
    """What changes on one node: its label and slots, now and then."""

    node: str
    group: str
    profile: str
    label_before: str | None
    label_after: str | None
    now: str
    then: str
    step: str
    batch: int | None  # the number of its batch
    pods: int | None  # its GPU pods; None where they are not counted
    disrupted: int  # how many of them would be disrupted

    @property
    def before(self) -> str:
        return _text(self.label_before, self.now)

    @property
    def after(self) -> str:
        return _text(self.label_after, self.then)


def node_change(
    target: Target,
    state: NodeState,
    step: Step,
    *,
    batch: int | None,
    pods: int | None,
    disrupted: int,
) -> NodeChange:
    devices = physical_devices(state, target.gpus)
    return NodeChange(
        node=target.node,
        group=target.group,
        profile=target.profile.name,
        label_before=profile_label(state),
        label_after=target.label,
        now=slots_text(state.allocatable),
        then=slots_text(expected_allocatable(target.profile, devices)),
        step=step.value,
        batch=batch,
        pods=pods,
        disrupted=disrupted,
    )


@dataclass(frozen=True)
class NodeCounts:
    """How many nodes a rollout changes, and how many it does not."""

    batches: Sequence[int] = ()
    by_operator: int = 0
    waited: int = 0
    recorded: int = 0
    unchanged: int = 0
    left_out: int = 0
    unmanaged: int = 0

    def as_dict(self) -> dict[str, object]:
        return {"changing": sum(self.batches), **asdict(self), "batches": list(self.batches)}

    def __str__(self) -> str:
        """7 nodes change in batches of 1, 2, 2, 2; 4 need nothing"""
        parts = [
            self._changing(),
            self._by_operator(),
            f"{_are(self.waited)} changing already" if self.waited else "",
            f"{_are(self.recorded)} only annotated" if self.recorded else "",
            f"{self.unchanged} need{_s(self.unchanged)} nothing" if self.unchanged else "",
            *self.others,
        ]
        return "; ".join(filter(None, parts))

    @property
    def others(self) -> list[str]:
        """The nodes that the rollout does not act on."""
        parts = [
            f"{_are(self.left_out)} left out" if self.left_out else "",
            f"{plural(self.unmanaged, 'GPU node')} outside the inventory" if self.unmanaged else "",
        ]
        return list(filter(None, parts))

    def _by_operator(self) -> str:
        verb = f"get{_s(self.by_operator)}"
        text = f"{self.by_operator} {verb} new plugin pods from the operator"
        return text if self.by_operator else ""

    def _changing(self) -> str:
        if not self.batches:
            return "no node changes"
        count = sum(self.batches)
        sizes = "one batch" if len(self.batches) == 1 else f"batches of {_list(self.batches)}"
        return f"{plural(count, 'node')} change{_s(count)} in {sizes}"


def _are(count: int) -> str:
    return f"{count} {'is' if count == 1 else 'are'}"


def _s(count: int) -> str:
    """The ending of a verb."""
    return "s" if count == 1 else ""


def _list(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def plan_table(
    changes: Sequence[NodeChange], counts: NodeCounts, unchanged: Sequence[NodeChange] = ()
) -> list[str]:
    """Lines of a table, one for all nodes of a group with the same change, or with none."""
    if not changes:
        return ["No node changes."]
    rows = [
        {
            "group": change.group,
            "profile": change.profile,
            "now": change.before,
            "then": change.after,
            "how": HOW[change.step],
            "GPU pods": change.pods,
            "disrupted": change.disrupted,
            "node": change.node,
        }
        for change in (*changes, *unchanged)
    ]
    by = COLUMNS[:2] + COLUMNS[3:6]
    groups = sorted(alike(rows, by), key=lambda same: [str(same[0][column]) for column in by])
    shown = [
        {
            **same[0],
            "nodes": len(same),
            "GPU pods": None if same[0]["GPU pods"] is None else total(same, "GPU pods"),
            "disrupted": total(same, "disrupted"),
            "first": same[0]["node"],
        }
        for same in groups
    ]
    counted = any(row["GPU pods"] is not None for row in shown)
    columns = [column for column in COLUMNS if counted or column != "GPU pods"]
    lines = format_first_rows(columns, shown, MOST_LINES, "lines")
    text = str(counts)
    return [f"{text[0].upper()}{text[1:]}:", *lines]


def _text(label: str | None, slots: str) -> str:
    return f"{label or 'no label'}: {slots}" if slots else label or "no label"


def slots_text(resources: Mapping[str, int]) -> str:
    """8 nvidia.com/gpu"""
    return ", ".join(f"{slots} {name}" for name, slots in sorted(resources.items()) if slots)


@dataclass(frozen=True)
class Notes:
    """What people have to know of nodes and quotas, besides what changes."""

    missing: Sequence[str]
    unmanaged: Sequence[str]
    unavailable: Sequence[str]
    maintenance: Mapping[str, str]  # those of the unavailable that others are working on, and why
    unsettled: Mapping[str, str]  # reasons by node
    quotas: Sequence[str]
    pending: Sequence[str] = ()  # pods that have no node after evictions

    def lines(self) -> list[str]:
        """A line for each kind, node or quota; none where all is well."""
        idle = [node for node in self.unavailable if node not in self.maintenance]
        named = (
            ("In the inventory, but not in the cluster", self.missing),
            ("GPU nodes that the inventory does not know", self.unmanaged),
            ("Left as they are, because they are NotReady or missing", idle),
        )
        found = [f"{what}: {some(nodes)} ({len(nodes)})" for what, nodes in named if nodes]
        for reason, nodes in by_reason(self.maintenance).items():
            found.append(f"Left alone, because {reason}: {some(nodes)} ({len(nodes)})")
        unsettled = [f"{node} did not settle: {why}" for node, why in self.unsettled.items()]
        kinds = (unsettled, self.quotas, self.pending)
        return [*found, *(line for kind in kinds for line in kind[:MOST_NOTES])]
