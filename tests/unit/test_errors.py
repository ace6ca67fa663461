# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of one problem and of many."""

from __future__ import annotations

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    ClusterError,
    ProfileError,
    joined,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions, numbers


def test_joined_one() -> None:
    error = joined(ClusterError, ["no"])
    assert isinstance(error, ClusterError)
    assert (str(error), error.problems, error.status) == ("no", ("no",), 0)


def test_joined_some() -> None:
    error = joined(ProfileError, ["no", "nor"])
    assert error.problems == ("no", "nor")
    head, *lines = str(error).splitlines()
    assert mentions(head, 2)
    assert lines == ["- no", "- nor"]


def test_joined_many_is_cut_and_tells_how_many() -> None:
    problems = [f"problem {n}" for n in range(1000)]
    error = joined(ProfileError, problems)
    lines = str(error).splitlines()
    assert (numbers(lines[0]), numbers(lines[-1]), len(lines)) == ([1000], [950], 52)
    assert len(error.problems) == 1000
