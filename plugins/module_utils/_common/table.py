# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: plain-text tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


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


def _cell(value: object) -> str:
    return "-" if value is None else str(value)
