# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: plain-text tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from .text import plural

FOLD_ABOVE = 20  # nodes: a larger table has one row for the healthy nodes of each group
Row = Mapping[str, object]


def format_table(columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> list[str]:
    """Lines of a table with aligned columns: numbers to the right, a dash for unknown values."""
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    numeric = [
        all(isinstance(row.get(column), int) or row.get(column) is None for row in rows)
        for column in columns
    ]
    widths = [
        max(len(line[index]) for line in [list(columns), *cells]) for index in range(len(columns))
    ]

    def line(texts: Sequence[str]) -> str:
        aligned = (
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(texts, widths, numeric, strict=True)
        )
        return "  ".join(aligned).rstrip()

    return [line(columns), "  ".join("-" * width for width in widths), *map(line, cells)]


def format_first_rows(
    columns: Sequence[str], rows: Sequence[Mapping[str, object]], most: int, rest: str = ""
) -> list[str]:
    """The first rows of a table, and how many more there are; rest is the noun for them."""
    lines = format_table(columns, rows[:most])
    if len(rows) > most:
        lines.append(f"and {len(rows) - most} more {rest}".rstrip())
    return lines


def alike(rows: Iterable[Row], by: Sequence[str]) -> list[list[Row]]:
    """The rows with the same values of some columns, together, in the order of the first ones."""
    found: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row.get(column) for column in by), []).append(row)
    return list(found.values())


def fold(
    rows: Sequence[Row], healthy: Callable[[Row], bool], by: Sequence[str], sums: Sequence[str] = ()
) -> list[Row]:
    """The rows of a table of nodes. Above FOLD_ABOVE nodes, one row stands for the healthy ones
    that are alike: the column node has their number, sums are added up. The others follow.
    """
    if len(rows) <= FOLD_ABOVE:
        return list(rows)
    groups = alike(filter(healthy, rows), by)
    return [
        *(group[0] if len(group) == 1 else _folded(group, by, sums) for group in groups),
        *(row for row in rows if not healthy(row)),
    ]


def _folded(group: Sequence[Row], by: Sequence[str], sums: Sequence[str]) -> Row:
    same = {column: group[0].get(column) for column in by}
    return {"node": plural(len(group), "node"), **same} | {
        column: total(group, column) for column in sums
    }


def total(rows: Iterable[Row], column: str) -> int:
    """The sum of the known values of a column."""
    return sum(int(str(row[column])) for row in rows if row.get(column) is not None)


def _cell(value: object) -> str:
    return "-" if value is None else str(value)
