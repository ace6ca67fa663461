# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws docs/pictures/packages.svg from the imports of plugins/. A test compares them.

.venv/bin/python tests/tools/package_graph.py

An arrow means "imports". Arrows that follow from others are left out. A package stands one layer
above the highest one that it imports.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import escape

from collection_tree import ROOT

PICTURE = ROOT / "docs" / "pictures" / "packages.svg"
PLUGINS = ROOT / "plugins"
#: The test of the rule that arrows point down; it reads the imports.
READER = "ansible_collections.gpufleet.sharing.tests.unit.test_package_graph"

STEP_X, STEP_Y, WIDTH, HEIGHT, MARGIN = 150, 74, 120, 34, 24
SWEEPS = 8
COLORS = {"plugin types": "#dbeafe", "plugin_utils, controller only": "#fef3c7"}
SHARED = ("module_utils", "#dcfce7")

Graph = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Box:
    """A package or plugin type on the picture; a bend of an arrow has no name."""

    name: str
    kind: str = ""


def box_of(module: str) -> Box:
    """The box of a module such as module_utils._kube.lease."""
    top, *below = module.split(".")
    if top == "module_utils":
        return Box(below[0], SHARED[0])
    if top == "plugin_utils":
        name = below[0] if (PLUGINS / top / below[0]).is_dir() else "plugin_utils"
        return Box(name, "plugin_utils, controller only")
    return Box(top, "plugin types")


def read() -> tuple[dict[str, str], dict[str, frozenset[str]]]:
    """The kind of each box, and the boxes that it imports."""
    reader = import_module(READER)
    kinds: dict[str, str] = {}
    found: dict[str, set[str]] = {}
    files: Iterable[Path] = reader.FILES
    for file in files:
        box = box_of(reader.module_of(file))
        kinds[box.name] = box.kind
        others = {box_of(module).name for module in reader.imports(file)}
        found.setdefault(box.name, set()).update(others - {box.name})
    imported = set[str]().union(*found.values())
    shown = sorted(name for name, below in found.items() if below or name in imported)
    return kinds, {name: frozenset(found[name]) for name in shown}


def reachable(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    left = list(graph.get(start, ()))
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left += graph.get(name, ())
    return seen


def reduced(graph: Graph) -> dict[str, frozenset[str]]:
    """The graph without arrows that follow from others."""
    return {
        name: frozenset(
            one for one in below if not any(one in reachable(graph, other) for other in below)
        )
        for name, below in graph.items()
    }


def layers(graph: Graph) -> dict[str, int]:
    """The layer of each box, 0 at the bottom."""
    found: dict[str, int] = {}

    def layer(name: str) -> int:
        if name not in found:
            found[name] = max((layer(one) + 1 for one in graph.get(name, ())), default=0)
        return found[name]

    for name in graph:
        layer(name)
    return found


def placed(graph: Graph) -> tuple[dict[str, tuple[float, int]], list[list[str]]]:
    """Column and layer of each box and bend, and the chain of each arrow through its bends."""
    layer = layers(graph)
    chains = [
        [name, *(f"{name}>{one}@{y}" for y in range(layer[name] - 1, layer[one], -1)), one]
        for name, below in graph.items()
        for one in sorted(below)
    ]
    rows: list[list[str]] = [[] for _layer in range(max(layer.values()) + 1)]
    for name, y in layer.items():
        rows[y].append(name)
    for chain in chains:
        for bend in chain[1:-1]:
            rows[int(bend.partition("@")[2])].append(bend)
    pairs = [pair for chain in chains for pair in pairwise(chain)]
    near: dict[str, list[str]] = {}
    for upper, lower in pairs:
        near.setdefault(upper, []).append(lower)
        near.setdefault(lower, []).append(upper)
    x = columns(rows, near)
    return {name: (x[name], y) for y, row in enumerate(rows) for name in row}, chains


def columns(rows: list[list[str]], near: Mapping[str, list[str]]) -> dict[str, float]:
    """Columns near those of the neighbors, found by sweeps up and down."""
    x = {name: spot for row in rows for name, spot in spread(sorted(row))}
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 else rows[::-1]:
            middle = {
                name: sum(x[one] for one in near.get(name, [name])) / len(near.get(name, [name]))
                for name in row
            }
            x.update(spread(sorted(row, key=lambda name: (middle[name], name))))
    return x


def spread(row: list[str]) -> Iterable[tuple[str, float]]:
    """Columns of a row around 0."""
    return [(name, place - (len(row) - 1) / 2) for place, name in enumerate(row)]


def draw() -> str:
    """The picture as SVG."""
    kinds, graph = read()
    spots, chains = placed(reduced(graph))
    left = min(x for x, _y in spots.values())
    right = max(x for x, _y in spots.values())
    top = max(y for _x, y in spots.values())
    place = {
        name: (MARGIN + WIDTH / 2 + (x - left) * STEP_X, MARGIN + HEIGHT / 2 + (top - y) * STEP_Y)
        for name, (x, y) in spots.items()
    }
    width = (right - left) * STEP_X + WIDTH + 2 * MARGIN
    height = top * STEP_Y + HEIGHT + 2 * MARGIN + 24
    lines = [arrow([place[name] for name in chain]) for chain in chains]
    boxes = [box(name, kinds[name], *place[name]) for name in sorted(graph)]
    return "\n".join([head(width, height), *lines, *boxes, *legend(height - MARGIN), "</svg>", ""])


def head(width: float, height: float) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"'
        ' font-family="monospace" font-size="13">\n'
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8"'
        ' markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" fill="#475569"/></marker></defs>\n'
        f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>'
    )


def arrow(points: list[tuple[float, float]]) -> str:
    """A smooth line from box to box that leaves and arrives vertically."""
    half = HEIGHT / 2
    (x, y), *rest = points
    y += half
    path = f"M{x:g} {y:g}"
    for number, (to_x, to_y) in enumerate(rest, 1):
        end = to_y - (half if number == len(rest) else 0)
        middle = (y + end) / 2
        path += f"C{x:g} {middle:g} {to_x:g} {middle:g} {to_x:g} {end:g}"
        x, y = to_x, end
    return f'<path d="{path}" fill="none" stroke="#475569" marker-end="url(#head)"/>'


def box(name: str, kind: str, x: float, y: float) -> str:
    color = dict([SHARED, *COLORS.items()])[kind]
    return (
        f'<rect x="{x - WIDTH / 2:g}" y="{y - HEIGHT / 2:g}" width="{WIDTH}" height="{HEIGHT}"'
        f' rx="5" fill="{color}" stroke="#475569"/>\n'
        f'<text x="{x:g}" y="{y + 4:g}" text-anchor="middle">{escape(name)}</text>'
    )


def legend(y: float) -> Iterable[str]:
    x = float(MARGIN)
    for kind, color in [*COLORS.items(), SHARED]:
        yield f'<rect x="{x:g}" y="{y - 11:g}" width="14" height="14" fill="{color}"/>'
        yield f'<text x="{x + 20:g}" y="{y:g}">{escape(kind)}</text>'
        x += 52 + 8 * len(kind)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / ".build" / "collections"))
    PICTURE.write_text(draw(), encoding="utf-8")
