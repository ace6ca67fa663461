# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the plan of a rollout as a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .._common.table import format_first_rows
from .._common.text import by_reason, some
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
}


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
    pods: int  # its GPU pods, where counted
    disrupted: int  # how many of them would be disrupted

    @property
    def before(self) -> str:
        return _text(self.label_before, self.now)

    @property
    def after(self) -> str:
        return _text(self.label_after, self.then)


def node_change(
    target: Target, state: NodeState, step: Step, *, batch: int | None, pods: int, disrupted: int
) -> NodeChange:
    devices = physical_devices(state, target.gpus)
    return NodeChange(
        node=target.node,
        group=target.group,
        profile=target.profile.name,
        label_before=profile_label(state),
        label_after=target.label,
        now=_slots(state.allocatable),
        then=_slots(expected_allocatable(target.profile, devices)),
        step=step.value,
        batch=batch,
        pods=pods,
        disrupted=disrupted,
    )


def plan_table(changes: Sequence[NodeChange], batches: Sequence[int]) -> list[str]:
    """Lines of a table, one for all nodes with the same change. batches are their sizes."""
    if not changes:
        return ["No node changes."]
    groups: dict[tuple[str, ...], list[NodeChange]] = defaultdict(list)
    for change in changes:
        key = change.group, change.profile, change.before, change.after, HOW[change.step]
        groups[key].append(change)
    rows = [
        {
            "group": group,
            "profile": profile,
            "nodes": len(same),
            "now": before,
            "then": after,
            "how": how,
            "GPU pods": sum(change.pods for change in same),
            "disrupted": sum(change.disrupted for change in same),
            "first": same[0].node,
        }
        for (group, profile, before, after, how), same in sorted(groups.items())
    ]
    lines = format_first_rows(COLUMNS, rows, MOST_LINES, "lines")
    count = "1 node changes" if len(changes) == 1 else f"{len(changes)} nodes change"
    sizes = f", in batches of {', '.join(map(str, batches))}" if batches else ""
    return [f"{count}{sizes}:", *lines]


def _text(label: str | None, slots: str) -> str:
    return f"{label or 'no label'}: {slots}" if slots else label or "no label"


def _slots(resources: Mapping[str, int]) -> str:
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
        return [*found, *unsettled[:MOST_NOTES], *self.quotas[:MOST_NOTES]]
