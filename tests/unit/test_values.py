# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values in terms of YAML: described, read, and rejected."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import FleetError
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.values import (
    check_minimums,
    describe,
    quote,
    read_strings,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions, numbers

ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "null"),
        (True, "true"),
        (19, "19"),
        (4.5, "4.5"),
        ("4", "'4'"),
        ("", "''"),
        (date(2026, 1, 2), "2026-01-02"),
        ([], "[]"),
        ((1, None, "a"), "[1, null, 'a']"),
        ({"a": {"b": [True]}}, "{'a': {'b': [true]}}"),
        ({1: 2}.keys(), "[1]"),
        pytest.param(10**5000, "30", id="digits"),
        (object(), "YAML"),
        (b"x", "YAML"),
        (ENDLESS, "[[[[...]]]]"),
        (list(range(99)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...]"),
    ],
)
def test_describe(value: object, said: str) -> None:
    """The value, and its kind in brackets."""
    text, _bracket, kind = describe(value).partition(" (")
    assert said == text or said in ("YAML", "30")
    assert mentions(text, said)
    assert bool(kind) is (said not in ("null", "YAML"))


def test_quote_is_cut() -> None:
    assert len(quote("x" * 10**6)) == len(quote(["y" * 50] * 9)) == 80
    assert quote({"a": {"b": {"c": {"d": 1}}}}) == "{'a': {'b': {'c': {...}}}}"


def test_read_strings() -> None:
    assert read_strings("x", {"a": "b", "c": None, "d": "", 5: "e"}, "y") == {
        "a": "b",
        "c": None,
        "d": None,
        "5": "e",
    }


@pytest.mark.parametrize("value", [4, 0, False, ["dev"], [], {"a": 1}])
def test_read_strings_refuses(value: object) -> None:
    with pytest.raises(FleetError) as caught:
        read_strings("the profile", {"n1": value, "n2": "dev"}, "a name, or null")
    assert mentions(caught.value, "the profile", "n1", describe(value), "a name, or null")


def test_check_minimums() -> None:
    check_minimums({"a": 1, "b": 0, "c": -1}, {"a": 1, "b": 0})
    with pytest.raises(FleetError) as caught:
        check_minimums({"a": 0, "b": -1, "c": 0}, {"a": 1, "b": 0, "c": 0})
    assert [problem.split()[0] for problem in caught.value.problems] == ["a", "b"]
    assert [numbers(problem) for problem in caught.value.problems] == [[0, 1], [-1, 0]]
