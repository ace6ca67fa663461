# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables for people."""

from __future__ import annotations

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.table import (
    FOLD_ABOVE,
    alike,
    fold,
    format_table,
)


def test_numbers_stand_right_and_what_is_not_known_is_a_dash() -> None:
    rows: list[dict[str, object]] = [
        {"node": "a-long-name", "gpus": 8, "problem": ""},
        {"node": "b", "gpus": None, "problem": "not in the cluster"},
        {"node": "c", "gpus": 16, "not_shown": 1},
    ]
    assert format_table(("node", "gpus", "problem"), rows) == [
        "node         gpus  problem",
        "-----------  ----  ------------------",
        "a-long-name     8",
        "b               -  not in the cluster",
        "c              16  -",
    ]


def test_texts_stand_left() -> None:
    assert format_table(("n",), [{"n": "long"}, {"n": 1}]) == ["n", "----", "long", "1"]


def test_no_rows() -> None:
    assert format_table(("node", "gpus"), []) == ["node  gpus", "----  ----"]


def nodes(count: int, bad: int = 0) -> list[dict[str, object]]:
    """Nodes of two groups in turn, the first ones bad."""
    return [
        {"node": f"n{number}", "group": "ab"[number % 2], "slots": 4, "bad": number < bad}
        for number in range(count)
    ]


def folded(rows: list[dict[str, object]]) -> list[tuple[object, ...]]:
    found = fold(rows, lambda row: not row["bad"], ("group",), ("slots",))
    return [tuple(row.get(column) for column in ("node", "group", "slots")) for row in found]


def test_few_nodes_are_not_folded() -> None:
    assert len(folded(nodes(FOLD_ABOVE))) == FOLD_ABOVE


def test_many_healthy_nodes_are_one_row_for_each_group() -> None:
    assert folded(nodes(FOLD_ABOVE + 3, bad=2)) == [
        ("11 nodes", "a", 44),
        ("10 nodes", "b", 40),
        ("n0", "a", 4),
        ("n1", "b", 4),
    ]


def test_single_healthy_node_of_a_group_keeps_its_name() -> None:
    rows = [*nodes(FOLD_ABOVE), {"node": "alone", "group": "c", "slots": 2, "bad": False}]
    assert ("alone", "c", 2) in folded(rows)


def test_alike_keeps_the_order() -> None:
    rows = [{"a": 2, "b": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 3}]
    assert alike(rows, ["a"]) == [[rows[0], rows[2]], [rows[1]]]
