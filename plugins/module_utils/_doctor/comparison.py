# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: the slots that nodes have, beside those that they should have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.slots import (
    total,
    verdict_table,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.snapshot import verdict_of
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.capacity import (
    PRODUCT_LABEL,
    Verdict,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.desired import (
    Desired,
    Target,
)

Row = dict[str, object]


def compare(desired: Desired, states: Mapping[str, NodeState]) -> list[Row]:
    """A row for each node that should have something, by name."""
    rows = []
    for name in sorted(desired.assignments):
        target, found = desired.target(name), states.get(name)
        rows.append(compared(desired, target, found, verdict_of(target, found)))
    return rows


def compared(desired: Desired, target: Target, state: NodeState | None, verdict: Verdict) -> Row:
    return {
        "node": target.node,
        "group": desired.groups.get(target.node, ""),
        "profile": target.profile.name,
        "physical": verdict.physical,
        "replicas": target.profile.replicas,
        "resource": verdict.resource,
        "expected": verdict.expected,
        "actual": verdict.actual,
        "problem": verdict.problem,
        "product": state.labels.get(PRODUCT_LABEL, "") if state else "",
        "ready": state is not None and state.ready,
        "used": None,
        "free": None,
        "trace": None,
    }


def comparison(rows: Sequence[Row], *, all_needed: bool) -> dict[str, object]:
    """What the module sharing_info returns of the rows. all_needed: a node that is not in the
    cluster, or NotReady, counts as one that differs.
    """
    problems = {str(entry["node"]): entry["problem"] for entry in rows if entry["problem"]}
    let_pass = set() if all_needed else {entry["node"] for entry in rows if not entry["ready"]}
    judged = [entry for entry in rows if entry["node"] not in let_pass]
    return {
        "changed": False,
        "nodes": list(rows),
        "differing": {node: said for node, said in problems.items() if node not in let_pass},
        "unavailable": {node: said for node, said in problems.items() if node in let_pass},
        "totals": {column: total(judged, column) for column in ("physical", "expected", "actual")},
        "table": verdict_table(rows),
    }
