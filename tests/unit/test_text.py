# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts, lists and shortened values in messages."""

from __future__ import annotations

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import (
    LINE,
    either,
    plural,
    shorten,
    some,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import numbers


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 nodes"), (1, "1 node"), (2, "2 nodes"), (5000, "5,000 nodes")]
)
def test_plural(count: int, text: str) -> None:
    assert plural(count, "node") == text


def test_some() -> None:
    assert some(["a", "b"]) == "a, b"
    cut = some(["a", "b", "c"], 2)
    assert cut.startswith("a, b")
    assert numbers(cut) == [1]


@pytest.mark.parametrize(
    ("names", "text"), [(["a"], "a"), (["a", "b"], "a or b"), (["a", "b", "c"], "a, b or c")]
)
def test_either(names: list[str], text: str) -> None:
    assert either(names) == text


def test_shorten() -> None:
    assert shorten("x" * LINE) == "x" * LINE
    assert shorten("x" * 1000) == "x" * (LINE - 3) + "..."
