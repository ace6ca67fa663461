# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict, the counts and the table of findings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.engine import (
    Finding,
    Severity,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.summary import (
    counts,
    findings_table,
    split_accepted,
    verdict,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import (
    mentions,
    numbers,
)


def finding(severity: str, *nodes: str, follows: str = "") -> Finding:
    return Finding(
        code="GS999",
        severity=Severity(severity),
        title="Title",
        cause="cause",
        nodes=nodes,
        count=len(nodes),
        seen="seen",
        why="why",
        fix="fix",
        follows=follows,
    )


@pytest.mark.parametrize(
    ("severities", "facts"),
    [
        ([], [5]),
        (["info"], [1, 5]),
        (["error", "error"], [1, 2, 5]),  # of 1 node
        (["error", "warning", "info"], [1, 1, 1, 1, 5]),
    ],
)
def test_verdict_is_one_line(severities: list[str], facts: list[float]) -> None:
    line = verdict([finding(severity, "n") for severity in severities], 5)
    assert "\n" not in line
    assert numbers(line) == facts
    for severity in {*severities} - {"info"}:
        assert mentions(line, f"{severities.count(severity)} {severity}")


def test_consequences_are_not_counted() -> None:
    told = [finding("warning", "a"), finding("error", "a", follows="GS999")]
    assert mentions(verdict(told, 1), "1 warning")
    assert counts(told) == {"error": 0, "warning": 1, "info": 1}


def test_what_is_accepted_goes_with_what_follows_from_it() -> None:
    root = replace(finding("error", "n"), code="A")
    after = replace(finding("error", "n"), code="B", follows="A")
    other = replace(finding("warning", "n"), code="C")
    told, accepted = split_accepted([root, after, other], ["A"])
    assert (told, accepted) == ([other], [root, after])
    line = verdict(told, 1, accepted)
    assert mentions(line, "1 warning")
    assert line.endswith(" A")
    assert numbers(line) == [1, 1, 1]
    line = verdict([], 1, accepted)
    assert line.endswith(" A")
    assert numbers(line) == [1]


def test_table_shows_roots_in_full_and_consequences_in_a_line() -> None:
    told = [finding("error", *"abcdefg"), finding("error", "a", follows="GS999"), finding("info")]
    lines = findings_table(told)
    assert (len(lines), lines.index("")) == (10, 5)
    assert mentions(lines[0], "GS999", "error", "Title", "7")
    assert [line.split(": ")[1] for line in lines[1:4]] == ["seen", "why", "fix"]
    assert mentions(lines[4], "GS999", "Title", "cause", "(a)")
    assert mentions(lines[6], "GS999", "info", "Title")
    assert findings_table([]) == []
