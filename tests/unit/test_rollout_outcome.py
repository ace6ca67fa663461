# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts on the outcome of a rollout."""

from __future__ import annotations

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.outcome import (
    format_duration,
    unsettled_table,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.settle import NotSettled
from ansible_collections.gpufleet.sharing.tests.unit.facts import numbers


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (99.4, "99 s"), (100, "2 min"), (5999, "100 min"), (6000, "1.7 h")],
)
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_unsettled_table_is_cut() -> None:
    unsettled = {f"n{number:02}": NotSettled("pods", "why") for number in range(22)}
    lines = unsettled_table(unsettled)
    assert lines[0].split() == ["node", "stage", "reason"]
    assert lines[-2].split() == ["n19", "pods", "why"]
    assert numbers(lines[-1]) == [2]
    assert len(unsettled_table({"n": NotSettled("node", "why")})) == 3
