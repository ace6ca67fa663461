# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the table of the slots of nodes."""

from __future__ import annotations

from collections.abc import Sequence

from .._common.table import Row, fold, format_first_rows

COLUMNS = ("node", "group", "profile", "physical", "replicas", "expected", "actual", "problem")
MOST_NODES = 20  # that differ


def verdict_table(rows: Sequence[Row]) -> list[str]:
    """Lines for people: one for each node. For many nodes, one for the healthy nodes of each group
    and profile, and then the first nodes that differ.
    """

    def healthy(row: Row) -> bool:
        return not row["problem"]

    by, sums = ("group", "profile", "replicas", "problem"), ("physical", "expected", "actual")
    shown = fold(rows, healthy, by, sums)
    most = sum(map(healthy, shown)) + MOST_NODES
    return format_first_rows(COLUMNS, shown, most, "that differ; the result has all")
