# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: tables of the slots of nodes: one line each, or sums for many nodes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from .._common.table import format_first_rows, format_table

COLUMNS = ("node", "group", "profile", "physical", "replicas", "expected", "actual", "problem")
GROUP_COLUMNS = (
    "group",
    "profile",
    "nodes",
    "physical",
    "replicas",
    "expected",
    "actual",
    "differing",
)
MOST_NODES = 20
Row = Mapping[str, object]


def verdict_table(rows: Sequence[Row]) -> list[str]:
    """Lines for people: one for each node; for many nodes, one for each group and profile, and then
    the first nodes that differ.
    """
    if len(rows) <= MOST_NODES:
        return format_table(COLUMNS, rows)
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[str(row["group"]), str(row["profile"])].append(row)
    lines = format_table(GROUP_COLUMNS, [_group(same) for _key, same in sorted(groups.items())])
    differing = [row for row in rows if row["problem"]]
    if differing:
        rest = "that differ; the result has all"
        lines += ["", *format_first_rows(COLUMNS, differing, MOST_NODES, rest)]
    return lines


def total(rows: Sequence[Row], column: str) -> int:
    """The sum of the known values of a column."""
    return sum(int(str(row[column])) for row in rows if row[column] is not None)


def _group(rows: Sequence[Row]) -> dict[str, object]:
    first = rows[0]
    sums = {column: total(rows, column) for column in ("physical", "expected", "actual")}
    return {
        "group": first["group"],
        "profile": first["profile"],
        "nodes": len(rows),
        "replicas": first["replicas"],
        "differing": sum(bool(row["problem"]) for row in rows),
        **sums,
    }
