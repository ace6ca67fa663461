# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user gave is told in YAML's terms."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._given import given, shown

ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "null"),
        (True, "true (a truth value)"),
        (19, "19 (a number)"),
        (4.5, "4.5 (a number)"),
        ("4", "'4' (a text)"),
        ("", "'' (a text)"),
        (date(2026, 1, 2), "2026-01-02 (a date)"),
        ([], "[] (a list)"),
        ((1, None, "a"), "[1, null, 'a'] (a list)"),
        ({"a": {"b": [True]}}, "{'a': {'b': [true]}} (a mapping)"),
        ({1: 2}.keys(), "[1] (a list)"),
        pytest.param(10**5000, "more than 30 digits (a number)", id="digits"),
        (object(), "no value of YAML"),
        (b"x", "no value of YAML"),
        (ENDLESS, "[[[[...]]]] (a list)"),
        (list(range(99)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...] (a list)"),
    ],
)
def test_given(value: object, said: str) -> None:
    assert given(value) == said


def test_shown_is_cut() -> None:
    assert len(shown("x" * 10**6)) == len(shown(["y" * 50] * 9)) == 80
    assert shown({"a": {"b": {"c": {"d": 1}}}}) == "{'a': {'b': {'c': {...}}}}"
