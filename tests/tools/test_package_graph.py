# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/pictures/packages.svg shows the imports that there are."""

from __future__ import annotations

import package_graph

GRAPH = {
    "a": frozenset({"b", "c", "d"}),
    "b": frozenset({"c"}),
    "c": frozenset({"d"}),
    "d": frozenset[str](),
}


def test_picture_is_up_to_date() -> None:
    """Otherwise: .venv/bin/python tests/tools/package_graph.py"""
    assert package_graph.PICTURE.read_text(encoding="utf-8") == package_graph.draw()


def test_reduced_graph_reaches_the_same() -> None:
    _kinds, graph = package_graph.read()
    small = package_graph.reduced(graph)
    reach = package_graph.reachable
    assert {name: reach(small, name) for name in graph} == {n: reach(graph, n) for n in graph}
    assert sum(map(len, small.values())) < sum(map(len, graph.values()))


def test_arrows_that_follow_from_others_are_left_out() -> None:
    assert package_graph.reduced(GRAPH) == {
        "a": {"b"},
        "b": {"c"},
        "c": {"d"},
        "d": frozenset(),
    }


def test_boxes_stand_above_what_they_import() -> None:
    assert package_graph.layers(GRAPH) == {"a": 3, "b": 2, "c": 1, "d": 0}
    spots, chains = package_graph.placed(GRAPH)
    assert ["a", "a>d@2", "a>d@1", "d"] in chains
    assert len(set(spots.values())) == len(spots)
