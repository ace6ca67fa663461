# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results for people."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.gpufleet.sharing.tests.benchmark.results import (
    COLUMNS,
    Cell,
    Results,
    Row,
)

NOTE = (
    "Seconds of the best round, from the first request to the last answer by the API server's"
    " clock, * of the\nwhole program; ~ worked out from some nodes. Below: requests (writes), bytes"
    " received, and the memory of\nthe largest process."
)


def render(results: Results) -> str:
    """One table: two lines for each contender, a column for each kind of work."""
    rows: list[tuple[str, ...]] = [("", *COLUMNS)]
    for row in results.rows:
        rows.append((row.name, *(timing(row, row.cells.get(column)) for column in COLUMNS)))
        rows.append(("", *(amounts(row.cells.get(column)) for column in COLUMNS)))
    return "\n".join([*columns(rows), NOTE])


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the cells of each column as wide as its widest."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = []
    for row in rows:
        first, *rest = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join([first, *rest]).rstrip())
    return lines


def timing(row: Row, cell: Cell | None) -> str:
    if cell is None:
        return ""
    return f"{'~' if cell.sampled else ''}{seconds(cell.seconds)}{'*' if row.wall else ''}"


def amounts(cell: Cell | None) -> str:
    """Such as: 208 (200) req, 3.1 MB, 61 MB."""
    if cell is None:
        return ""
    mark = "~" if cell.sampled else ""
    parts = [f"{mark}{cell.requests} ({mark}{cell.writes}) req"]
    if cell.received is not None:
        parts.append(f"{'~' if cell.received_sampled else ''}{cell.received / 1e6:.1f} MB")
    if cell.memory is not None:
        parts.append(f"peak {cell.memory / 1e6:.0f} MB")
    if cell.processor is not None:
        parts.append(f"{seconds(cell.processor)} of processor")
    return ", ".join(parts)


def seconds(value: float) -> str:
    """Some three digits."""
    digits = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f} s"


def render_neighbour(results: Results) -> str:
    """Latencies of the other client's requests."""
    lines = [
        f"{name}: median {each['median'] * 1000:.1f} ms, 99 % {each['p99'] * 1000:.1f} ms,"
        f" longest {each['longest'] * 1000:.1f} ms of {each['samples']}"
        for name, each in results.neighbour.items()
    ]
    return "\n".join(["GET requests of another client, 20 per second:", *lines])


def render_sweep(results: Results) -> str:
    return "\n".join(
        [
            "Raw ceiling, label all:",
            *(f"{seconds(value)}  {key}" for key, value in results.sweep.items()),
        ]
    )
