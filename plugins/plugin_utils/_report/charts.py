# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: the geometry of the report's plots; the template draws them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from .model import Node, Revision, Sums

# How full a node is, and the words for it, the fullest first.
LEVELS = {
    "above": "above capacity",
    "full": "full",
    "most": "more than half",
    "some": "up to half",
    "unused": "unused",
    "none": "no slots, or not known",
}
COLUMNS = ((60, 40), (200, 60))  # up to so many nodes in the largest group: so many a line
MOST_COLUMNS = 120
MOST_STRIPS = 40
GAP = 0.14  # of a cell
MARGIN = 2.0  # per cent of the time line left free at both ends
APART = 1.2  # and between two dots, where there is room for that


@dataclass(frozen=True)
class Part:
    """A part of a bar, in per cent of its width."""

    kind: str
    start: float
    width: float


@dataclass(frozen=True)
class Strip:
    """The nodes of a group, a cell each, the fullest first."""

    cluster: str
    group: str
    columns: int
    lines: int
    paths: dict[str, str]  # level: path of its cells
    counts: dict[str, int]
    nodes: tuple[int, ...]  # indices of the nodes, in the order of the cells


@dataclass(frozen=True)
class Dot:
    """A revision on the time line, at per cent of its width."""

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
    """Slots of a group: used, above capacity, free, and missing where fewer are there than should
    be.
    """
    used = sums.used or 0
    whole = max(sums.expected, sums.actual, used)
    taken = min(used, sums.actual)
    lengths = {
        "used": taken,
        "above": used - taken,
        "free": sums.actual - taken if sums.used is not None else 0,
        "unknown": sums.actual if sums.used is None else 0,
        "missing": whole - max(sums.actual, used),
    }
    parts, start = [], 0
    for kind, length in lengths.items():
        if length > 0:
            parts.append(Part(kind, _round(100 * start / whole), _round(100 * length / whole)))
            start += length
    return parts


def level(node: Node) -> str:
    """How full a node is, a key of LEVELS."""
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
    """One for each group of each cluster, the first MOST_STRIPS of them."""
    alike: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, node in enumerate(nodes):
        alike[node.cluster, node.group].append(index)
    largest = max(map(len, alike.values()), default=0)
    columns = next((wide for most, wide in COLUMNS if largest <= most), MOST_COLUMNS)
    return [_strip(key, same, nodes, columns) for key, same in sorted(alike.items())[:MOST_STRIPS]]


def timeline(revisions: Sequence[Revision]) -> Timeline | None:
    """Revisions whose time can be read; None where there are none."""
    timed = [(moment, one) for one in revisions if (moment := _moment(one.when))]
    if not timed:
        return None
    start, end = (edge(moment for moment, _one in timed) for edge in (min, max))
    span = (end - start).total_seconds()
    places: dict[str, list[float]] = defaultdict(list)
    ordered: dict[str, list[Revision]] = defaultdict(list)
    for moment, one in sorted(timed, key=lambda pair: pair[0]):
        share = (moment - start).total_seconds() / span if span else 1.0
        places[one.cluster].append(MARGIN + share * (100 - 2 * MARGIN))
        ordered[one.cluster].append(one)
    lines = tuple(
        Line(cluster, tuple(map(Dot, apart(places[cluster]), ordered[cluster])))
        for cluster in ordered
    )
    return Timeline(f"{start:%Y-%m-%d}", f"{end:%Y-%m-%d}", lines)


def apart(places: Sequence[float]) -> list[float]:
    """Places in their order, moved so far that none hides another, where there is room."""
    gap = min(APART, (100 - 2 * MARGIN) / max(len(places), 1))
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap) if moved else place)
    end = 100 - MARGIN
    for at in range(len(moved) - 1, -1, -1):
        moved[at] = min(moved[at], end)
        end = moved[at] - gap
    return [_round(place) for place in moved]


def _strip(key: tuple[str, str], same: list[int], nodes: Sequence[Node], columns: int) -> Strip:
    order = list(LEVELS)
    levels = {index: level(nodes[index]) for index in same}
    ranked = sorted(same, key=lambda index: (order.index(levels[index]), -_share(nodes[index])))
    cells: dict[str, list[str]] = defaultdict(list)
    for at, index in enumerate(ranked):
        side = _round(1 - GAP)
        x, y = _round(at % columns + GAP / 2), _round(at // columns + GAP / 2)
        cells[levels[index]].append(f"M{x} {y}h{side}v{side}h-{side}z")
    return Strip(
        *key,
        columns=columns,
        lines=-(-len(same) // columns),
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
