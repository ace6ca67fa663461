# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables for people."""

from __future__ import annotations

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.table import format_table


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
