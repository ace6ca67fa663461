# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: how the slots of ten nodes are shown, or of thousands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.table import (
    format_first_rows,
    format_table,
)

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
    """Lines for people: a line each for few nodes; for many, one for those of a group that have the
    same profile, and then the first nodes that differ.
    """
    if len(rows) <= MOST_NODES:
        return format_table(COLUMNS, rows)
    alike: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        alike[str(row["group"]), str(row["profile"])].append(row)
    lines = format_table(GROUP_COLUMNS, [_group(same) for _key, same in sorted(alike.items())])
    differing = [row for row in rows if row["problem"]]
    if differing:
        rest = "that differ; all are in the result"
        lines += ["", *format_first_rows(COLUMNS, differing, MOST_NODES, rest)]
    return lines


def total(rows: Sequence[Row], column: str) -> int:
    """The sum of a column, where it is known."""
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
