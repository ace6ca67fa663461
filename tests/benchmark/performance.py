# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of docs/performance.md that is measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ansible_collections.gpufleet.sharing.tests.benchmark.ratios import Verdict, verdicts
from ansible_collections.gpufleet.sharing.tests.benchmark.results import (
    COLUMNS,
    Cell,
    Results,
    Row,
)
from ansible_collections.gpufleet.sharing.tests.benchmark.table import timing

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def between(text: str, part: str) -> str:
    """The text with another part between its markers. Raises ValueError where there are none."""
    head, begin, rest = text.partition(BEGIN)
    _old, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} followed by {END}")
    return f"{head}{BEGIN}\n\n{part.strip()}\n\n{END}{tail}"


def document(results: Sequence[Results], grown: Sequence[Verdict], figure: str) -> str:
    """Markdown: figure, one table for each size, what has to hold, and where it was measured."""
    parts = [f"![Seconds against nodes]({figure})"]
    for each in results:
        size = each.facts["object size"] / 1000
        parts += [f"### {each.nodes} GPU nodes of {size:.1f} KB", "\n".join(matrix(each))]
        if busy := each.neighbour.get("busy"):
            idle = each.neighbour["idle"]
            parts.append(
                "GET requests of another client, 20 per second: median"
                f" {idle['median'] * 1000:.1f} ms and 99th percentile {idle['p99'] * 1000:.1f} ms"
                f" when idle, {busy['median'] * 1000:.1f} ms and"
                f" {busy['p99'] * 1000:.1f} ms while all nodes are labeled."
            )
        parts.append("\n".join(f"- {verdict}" for verdict in verdicts(each)))
    if grown:
        parts += ["### Growth", "\n".join(f"- {verdict}" for verdict in grown)]
    parts += ["### Measured with", "\n".join(provenance(results[-1]))]
    return "\n\n".join(parts)


def matrix(results: Results) -> Iterator[str]:
    """A table: seconds, requests, megabytes received and megabytes of memory."""
    yield "| " + " | ".join(["", *COLUMNS]) + " |"
    yield "|" + "---|" * (len(COLUMNS) + 1)
    for row in results.rows:
        cells = (entry(row, row.cells.get(column)) for column in COLUMNS)
        yield "| " + " | ".join([row.name, *cells]) + " |"


def entry(row: Row, cell: Cell | None) -> str:
    if cell is None:
        return ""
    mark = "~" if cell.sampled else ""
    parts = [timing(row, cell).replace("*", "\\*"), f"{mark}{cell.requests} requests"]
    if cell.received is not None:
        parts.append(f"{'~' if cell.received_sampled else ''}{cell.received / 1e6:.1f} MB")
    if cell.memory is not None:
        parts.append(f"peak {cell.memory / 1e6:.0f} MB")
    return "<br>".join(parts)


def provenance(results: Results) -> Iterator[str]:
    facts = results.facts
    yield f"- {facts['date']}"
    yield "- " + ", ".join(f"{name} {value}" for name, value in facts["versions"].items())
    machine = facts["machine"]
    yield f"- {machine['cores']} cores of {machine['cpu']}, {machine['memory']}"
