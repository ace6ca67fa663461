# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: the plan of a rollout for people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.names import PROFILE_LABEL
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.table import (
    format_first_rows,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import some
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.capacity import (
    expected_allocatable,
    physical_devices,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.desired import Target
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.plan import RolloutPlan

COLUMNS = ("group", "profile", "nodes", "now", "then", "how", "GPU pods", "of them hurt", "first")
MOST_LINES = 40
MOST_NOTES = 20  # of a kind
HOW = {
    "flip": "label moves",
    "restart": "plugin restarts",
    "wait": "is on its way",
    "record": "is noted only",
}


@dataclass(frozen=True)
class Load:
    """What a node carries: the batch it is changed in, its GPU pods, and those that are hurt."""

    batch: int | None
    pods: int
    hurt: int


@dataclass(frozen=True)
class Row:
    """What changes on one node. before and after are its label and slots."""

    node: str
    group: str
    profile: str
    label_before: str | None
    label_after: str | None
    now: str
    then: str
    step: str
    batch: int | None
    pods: int
    hurt: int

    @property
    def before(self) -> str:
        return _said(self.label_before, self.now)

    @property
    def after(self) -> str:
        return _said(self.label_after, self.then)


def make_row(target: Target, state: NodeState, plan: RolloutPlan, load: Load) -> Row:
    devices = physical_devices(state, target.gpus)
    return Row(
        node=target.node,
        group=target.group,
        profile=target.profile.name,
        label_before=state.labels.get(PROFILE_LABEL) or None,
        label_after=target.label,
        now=_slots(state.allocatable),
        then=_slots(expected_allocatable(target.profile, devices)),
        step=plan.steps[target.node].value,
        batch=load.batch,
        pods=load.pods,
        hurt=load.hurt,
    )


def plan_table(rows: Sequence[Row], batches: Sequence[int]) -> list[str]:
    """Lines for people: nodes that change alike are one line. batches are their sizes."""
    if not rows:
        return ["No node changes."]
    alike: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        alike[row.group, row.profile, row.before, row.after, HOW[row.step]].append(row)
    table = [
        {
            "group": group,
            "profile": profile,
            "nodes": len(same),
            "now": before,
            "then": after,
            "how": how,
            "GPU pods": sum(row.pods for row in same),
            "of them hurt": sum(row.hurt for row in same),
            "first": same[0].node,
        }
        for (group, profile, before, after, how), same in sorted(alike.items())
    ]
    lines = format_first_rows(COLUMNS, table, MOST_LINES, "lines")
    sizes = ", ".join(map(str, batches))
    told = "1 node changes" if len(rows) == 1 else f"{len(rows)} nodes change"
    return [f"{told}, in batches of {sizes}:" if batches else f"{told}:", *lines]


def _said(label: str | None, slots: str) -> str:
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
    unsettled: Mapping[str, str]  # reasons by node
    quotas: Sequence[str]

    def lines(self) -> list[str]:
        """A line for each kind, node or quota; none where all is well."""
        named = (
            ("In the inventory, but not in the cluster", self.missing),
            ("GPU nodes that the inventory does not know", self.unmanaged),
            ("Left as they are, because they are NotReady or missing", self.unavailable),
        )
        found = [f"{what}: {some(nodes)} ({len(nodes)})" for what, nodes in named if nodes]
        unsettled = [f"{node} did not settle: {why}" for node, why in self.unsettled.items()]
        return [*found, *unsettled[:MOST_NOTES], *self.quotas[:MOST_NOTES]]
