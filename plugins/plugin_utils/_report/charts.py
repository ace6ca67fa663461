# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the geometry of the report's charts, which the template draws."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from .model import Node, Revision, Sums

# Levels of use of a node and their descriptions, the fullest first.
LEVELS = {
    "above": "above capacity",
    "full": "full",
    "most": "more than half",
    "some": "up to half",
    "unused": "unused",
    "none": "no slots, or not known",
}
COLUMNS = ((60, 40), (200, 60))  # (nodes in the largest group at most, cells per line)
MAX_COLUMNS = 120
MAX_STRIPS = 40
GAP = 0.14  # between two cells, as a fraction of a cell
MARGIN = 2.0  # percent of the timeline that stays free at both ends
MIN_DISTANCE = 1.2  # percent between two dots, if there is room


@dataclass(frozen=True)
class Part:
    """A part of a bar, in percent of its width."""

    kind: str
    start: float
    width: float


@dataclass(frozen=True)
class Strip:
    """The nodes of a group, one cell each, the fullest first."""

    cluster: str
    group: str
    columns: int
    lines: int
    paths: dict[str, str]  # level: path of its cells
    counts: dict[str, int]
    nodes: tuple[int, ...]  # indices of the nodes, in the order of the cells


@dataclass(frozen=True)
class Dot:
    """A revision on the timeline; at is its position in percent of the width."""

    at: float
    revision: Revision


@dataclass(frozen=True)
class Line:
    """The revisions of a cluster."""

    cluster: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class Timeline:
    """Revisions of all clusters on one scale."""

    start: str
    end: str
    lines: tuple[Line, ...]


def stacked_bar(sums: Sums) -> list[Part]:
    """The slots of a group: used, above capacity, free, and missing if fewer than expected."""
    used = sums.used or 0
    total = max(sums.expected, sums.actual, used)
    within = min(used, sums.actual)
    lengths = {
        "used": within,
        "above": used - within,
        "free": sums.actual - within if sums.used is not None else 0,
        "unknown": sums.actual if sums.used is None else 0,
        "missing": total - max(sums.actual, used),
    }
    parts, start = [], 0
    for kind, length in lengths.items():
        if length > 0:
            parts.append(Part(kind, _round(100 * start / total), _round(100 * length / total)))
            start += length
    return parts


def level(node: Node) -> str:
    """The level of use of a node, a key of LEVELS."""
    if node.used is None:
        return "none"
    if node.used > node.actual:
        return "above"
    if not node.actual:
        return "none"
    if not node.used:
        return "unused"
    if node.used == node.actual:
        return "full"
    return "most" if 2 * node.used > node.actual else "some"


def strips(nodes: Sequence[Node]) -> list[Strip]:
    """One strip for each group of each cluster, at most MAX_STRIPS."""
    members: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, node in enumerate(nodes):
        members[node.cluster, node.group].append(index)
    largest = max(map(len, members.values()), default=0)
    columns = next((columns for most, columns in COLUMNS if largest <= most), MAX_COLUMNS)
    shown = sorted(members.items())[:MAX_STRIPS]
    return [_strip(key, indices, nodes, columns) for key, indices in shown]


def timeline(revisions: Sequence[Revision]) -> Timeline | None:
    """The revisions with a readable time; None if there are none."""
    timed = [(moment, revision) for revision in revisions if (moment := _moment(revision.when))]
    if not timed:
        return None
    start, end = (edge(moment for moment, _one in timed) for edge in (min, max))
    span = (end - start).total_seconds()
    positions: dict[str, list[float]] = defaultdict(list)
    ordered: dict[str, list[Revision]] = defaultdict(list)
    for moment, revision in sorted(timed, key=lambda pair: pair[0]):
        share = (moment - start).total_seconds() / span if span else 1.0
        positions[revision.cluster].append(MARGIN + share * (100 - 2 * MARGIN))
        ordered[revision.cluster].append(revision)
    lines = tuple(
        Line(cluster, tuple(map(Dot, spread_dots(positions[cluster]), ordered[cluster])))
        for cluster in ordered
    )
    return Timeline(f"{start:%Y-%m-%d}", f"{end:%Y-%m-%d}", lines)


def spread_dots(positions: Sequence[float]) -> list[float]:
    """Positions in the same order, moved so that no dot hides another, if there is room."""
    gap = min(MIN_DISTANCE, (100 - 2 * MARGIN) / max(len(positions), 1))
    moved: list[float] = []
    for position in positions:
        moved.append(max(position, moved[-1] + gap) if moved else position)
    end = 100 - MARGIN
    for at in range(len(moved) - 1, -1, -1):
        moved[at] = min(moved[at], end)
        end = moved[at] - gap
    return [_round(position) for position in moved]


def _strip(key: tuple[str, str], indices: list[int], nodes: Sequence[Node], columns: int) -> Strip:
    order = list(LEVELS)
    levels = {index: level(nodes[index]) for index in indices}
    ranked = sorted(indices, key=lambda index: (order.index(levels[index]), -_share(nodes[index])))
    cells: dict[str, list[str]] = defaultdict(list)
    for at, index in enumerate(ranked):
        side = _round(1 - GAP)
        x, y = _round(at % columns + GAP / 2), _round(at // columns + GAP / 2)
        cells[levels[index]].append(f"M{x} {y}h{side}v{side}h-{side}z")
    return Strip(
        *key,
        columns=columns,
        lines=-(-len(indices) // columns),
        paths={name: "".join(cells[name]) for name in LEVELS if name in cells},
        counts={name: len(cells[name]) for name in LEVELS if name in cells},
        nodes=tuple(ranked),
    )


def _share(node: Node) -> float:
    return (node.used or 0) / node.actual if node.actual else 0.0


def _round(value: float) -> float:
    return round(value, 2)


def _moment(when: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(when)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
