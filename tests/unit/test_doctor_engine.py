# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How findings are grouped and ordered, and which follow from which."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.engine import (
    Check,
    Match,
    Severity,
    diagnose,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.texts import MOST_NAMES
from ansible_collections.gpufleet.sharing.tests.unit.fake_snapshot import healthy


def check(
    code: str, *matches: Match, follows: tuple[str, ...] = (), severity: str = "error"
) -> Check:
    return Check(
        code=code,
        severity=Severity(severity),
        title=f"title {code}",
        cause="cause {x}",
        seen="{node} of {count} ({nodes}): {x}",
        why="why {x}",
        fix="fix {nodes:q}",
        find=lambda _snapshot: matches,
        follows=follows,
    )


def on(node: str, x: str) -> Match:
    return Match((node,), {"x": x})


def found(*checks: Check) -> list[tuple[str, str, tuple[str, ...], str]]:
    snapshot = healthy().snapshot()
    findings = diagnose(snapshot, checks)
    return [(each.code, each.cause, each.nodes, each.follows) for each in findings]


def test_one_entry_for_all_nodes_with_the_same_cause() -> None:
    matches = [on(f"n{number:03}", "a" if number % 2 else "b") for number in range(400)]
    (first, second) = diagnose(healthy().snapshot(), [check("A", *reversed(matches))])
    assert (first.cause, first.count, len(first.nodes)) == ("cause a", 200, 200)
    assert first.nodes == tuple(sorted(first.nodes))
    assert first.seen.startswith("n001 of 200 (n001 n003 ")
    assert len(first.seen.partition("(")[2].partition(")")[0].split()) == MOST_NAMES + 1
    assert first.fix.split() == ["fix", *first.nodes]
    assert second.cause == "cause b"


def test_matches_without_nodes_are_counted() -> None:
    (only,) = diagnose(
        healthy().snapshot(), [check("A", Match((), {"x": "a"}), Match((), {"x": "a"}))]
    )
    assert (only.nodes, only.count) == ((), 2)


def test_consequence_names_its_root_and_comes_after_it() -> None:
    """Also if its cause is a consequence itself, and is found later."""
    late = check("C", on("n1", "c"), on("n2", "c"), follows=("B", "A"))
    middle = check("B", on("n1", "b"), follows=("A",))
    root = check("A", on("n1", "a"))
    assert found(late, middle, root) == [
        ("A", "cause a", ("n1",), ""),
        ("C", "cause c", ("n1",), "A"),
        ("B", "cause b", ("n1",), "A"),
        ("C", "cause c", ("n2",), ""),
    ]


def test_a_finding_of_all_nodes_is_split_by_root() -> None:
    root = check("A", on("n1", "a"))
    after = check("B", Match(("n1", "n2"), {"x": "b"}), follows=("A",))
    assert found(root, after) == [
        ("A", "cause a", ("n1",), ""),
        ("B", "cause b", ("n1",), "A"),
        ("B", "cause b", ("n2",), ""),
    ]


def test_consequences_come_once_if_a_root_has_several_causes() -> None:
    root = check("A", on("n1", "a"), on("n2", "b"))
    after = check("B", Match(("n1", "n2"), {"x": "c"}), follows=("A",))
    assert [code for code, *_rest in found(root, after)] == ["A", "A", "B"]


def test_root_is_as_severe_as_what_follows_from_it_on_its_nodes() -> None:
    root = check("A", on("n1", "a"), on("n2", "b"), severity="warning")
    after = check("B", on("n1", "c"), follows=("A",))
    findings = diagnose(healthy().snapshot(), [root, after])
    assert {(each.code, each.cause): each.severity.value for each in findings} == {
        ("A", "cause a"): "error",
        ("A", "cause b"): "warning",
        ("B", "cause c"): "error",
    }


def test_match_has_a_severity_of_its_own() -> None:
    worse = replace(on("n1", "a"), severity=Severity.ERROR)
    root = check("A", worse, on("n2", "b"), severity="warning")
    after = check("B", on("n2", "c"), follows=("A",), severity="info")
    found = diagnose(healthy().snapshot(), [root, after])
    assert [(each.code, each.nodes, each.severity.value, each.follows) for each in found] == [
        ("A", ("n1",), "error", ""),
        ("A", ("n2",), "warning", ""),
        ("B", ("n2",), "info", "A"),
    ]


def test_worst_first() -> None:
    checks = [
        check("A", on("n", "a"), severity="info"),
        check("B", on("n", "a"), severity="warning"),
        check("C", on("n", "a")),
    ]
    assert [code for code, *_rest in found(*checks)] == ["C", "B", "A"]
