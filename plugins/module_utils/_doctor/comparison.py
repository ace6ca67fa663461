# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: compares the slots of nodes with those that their profiles promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .._common.table import total
from .._common.text import plural, some
from .._nodes.capacity import PRODUCT_LABEL, Verdict
from .._nodes.maintenance import maintenance, passes_by_itself
from .._nodes.state import NodeState
from .._rollout.desired import Desired, Target
from .slots import verdict_table
from .snapshot import verdict_of

Row = dict[str, object]


def compare(desired: Desired, states: Mapping[str, NodeState]) -> list[Row]:
    """A row for each node of the inventory, by name."""
    rows = []
    for name in sorted(desired.assignments):
        target, found = desired.target(name), states.get(name)
        rows.append(compared(desired, target, found, verdict_of(target, found)))
    return rows


def compared(desired: Desired, target: Target, state: NodeState | None, verdict: Verdict) -> Row:
    reason = maintenance(state) if state else ""
    problem = verdict.problem
    return {
        "node": target.node,
        "group": desired.groups.get(target.node, ""),
        "profile": target.profile.name,
        "physical": verdict.physical,
        "replicas": target.profile.replicas,
        "resource": verdict.resource,
        "expected": verdict.expected,
        "actual": verdict.actual,
        "problem": f"{reason}: {problem}" if reason and problem else problem,
        "product": state.labels.get(PRODUCT_LABEL, "") if state else "",
        "ready": state is not None and state.ready,
        "maintenance": reason,
        "missing": list(verdict.missing),
        "used": None,
        "free": None,
        "trace": None,
    }


def comparison(rows: Sequence[Row], *, all_needed: bool) -> dict[str, object]:
    """What the module sharing_info returns. all_needed: a node that is not in the cluster or is
    NotReady counts as differing. One that another controller is working on never does.
    """
    problems = {str(entry["node"]): entry["problem"] for entry in rows if entry["problem"]}
    unavailable = {
        entry["node"]
        for entry in rows
        if entry["problem"] and passes_by_itself(str(entry["maintenance"]))
    }
    if not all_needed:
        unavailable |= {entry["node"] for entry in rows if not entry["ready"]}
    needed = [entry for entry in rows if entry["node"] not in unavailable]
    left_out = {node: text for node, text in problems.items() if node in unavailable}
    differing = {node: text for node, text in problems.items() if node not in unavailable}
    totals = {column: total(needed, column) for column in ("physical", "expected", "actual")}
    verdict = _verdict(len(needed), len(differing), totals)
    return {
        "changed": False,
        "nodes": list(rows),
        "differing": differing,
        "unavailable": left_out,
        "totals": totals,
        "table": (table := verdict_table(rows)),
        "verdict": verdict,
        "summary": [*table, *_left_out(left_out), verdict],
    }


def _left_out(nodes: Mapping[str, object]) -> list[str]:
    """A line for the nodes that cannot be judged, if there are any."""
    if not nodes:
        return []
    return [
        "Not verified, because they are NotReady, not in the cluster, or another controller is"
        f" working on them: {some(list(nodes))} ({plural(len(nodes), 'node')})"
    ]


def _verdict(nodes: int, differing: int, totals: Mapping[str, int]) -> str:
    if differing:
        return (
            f"{differing} of {plural(nodes, 'node')} {'differs' if differing == 1 else 'differ'}."
        )
    return (
        f"{plural(nodes, 'node')}, {plural(totals['physical'], 'physical GPU')},"
        f" {plural(totals['actual'], 'slot')}, as the inventory says."
    )
