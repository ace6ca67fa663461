# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""MIG by profile: what changes, when a node is done, and the way back."""

from __future__ import annotations

import json

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.names import (
    CONFIG_HASH_ANNOTATION,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.mig import (
    CAPABLE_LABEL,
    MIG_LABEL,
    PREVIOUS_ANNOTATION,
    STATE_LABEL,
    MigChange,
    has_failed,
    is_busy,
    plan_mig,
    undo_patch,
    why_not_capable,
    why_not_partitioned,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

CONFIG, STATE = MIG_LABEL, STATE_LABEL
NOTE = PREVIOUS_ANNOTATION


def node(
    config: str | None = None,
    state: str | None = None,
    note: str | None = None,
    *,
    ready: bool = True,
) -> NodeState:
    given = {CONFIG: config, STATE: state}
    present = {name: value for name, value in given.items() if value is not None}
    return NodeState("n", present, {NOTE: note} if note else {}, ready=ready)


def note(before: str | None, ours: str) -> str:
    return json.dumps({"before": before, "ours": ours})


def test_plan_mig() -> None:
    states = {
        "new": node(),
        "other": node("all-disabled", "success"),
        "done": node("all-1g.5gb", "success"),
        "busy": node("all-1g.5gb", "pending"),
        "killed": node("all-1g.5gb"),
        "away": node("all-disabled", "success", ready=False),
    }
    changes, waiting = plan_mig(dict.fromkeys([*states, "missing"], "all-1g.5gb"), states)
    assert changes == [
        MigChange("new", None, "all-1g.5gb"),
        MigChange("other", "all-disabled", "all-1g.5gb"),
    ]
    assert waiting == ["busy", "killed"]


def test_plan_mig_sets_a_failed_configuration_anew() -> None:
    changes, waiting = plan_mig({"n": "a"}, {"n": node("a", "failed")})
    assert (changes, waiting) == ([MigChange("n", "a", "a")], [])


def test_plan_mig_asks_nothing_of_a_card_without_mig() -> None:
    old = NodeState("n", {CAPABLE_LABEL: "false"})
    assert plan_mig({"n": "all-disabled"}, {"n": old}) == ([], [])
    assert why_not_capable(old, "all-disabled") == ""


@pytest.mark.parametrize(
    ("state", "facts"),
    [
        (node("a", "success"), None),
        (node("a", "pending"), (STATE, "pending")),
        (node("a"), (STATE,)),
        (node("b", "success"), (CONFIG, " b", " a")),
        (node(), (CONFIG, "none", " a")),
        (node("a", "success", ready=False), None),
        (None, ()),  # it has left the cluster
    ],
)
def test_why_not_partitioned(state: NodeState | None, facts: tuple[str, ...] | None) -> None:
    reason = why_not_partitioned(state, "a")
    assert bool(reason) is (facts is not None)
    assert mentions(reason, *(facts or ()))


@pytest.mark.parametrize(
    ("state", "busy", "failed"),
    [
        ("pending", True, False),
        ("rebooting", True, False),
        ("failed", False, True),
        ("success", False, False),
        (None, False, False),
    ],
)
def test_is_busy_and_has_failed(state: str | None, busy: bool, failed: bool) -> None:
    assert is_busy(node("a", state)) is busy
    assert has_failed(node("a", state)) is failed
    assert not has_failed(None)


def test_change_removes_the_old_state_and_remembers_what_was_there() -> None:
    patch = MigChange("n", "old", "new").patch(node("old", "success"))
    assert patch["labels"] == {CONFIG: "new", STATE: None}
    assert json.loads(str(patch["annotations"][NOTE])) == {"before": "old", "ours": "new"}
    assert patch["annotations"][CONFIG_HASH_ANNOTATION] is None


def test_second_change_keeps_the_first_memory() -> None:
    patch = MigChange("n", "mine", "new").patch(node("mine", "success", note("old", "mine")))
    assert json.loads(str(patch["annotations"][NOTE])) == {"before": "old", "ours": "new"}


@pytest.mark.parametrize(
    ("state", "patch"),
    [
        (node("a"), {}),
        (node("a", note="no json"), {}),
        (node("a", note="[]"), {}),
        (node("a", note=note("b", "a")), {"annotations": {NOTE: None}, "labels": {CONFIG: "b"}}),
        (node("a", note=note(None, "a")), {"annotations": {NOTE: None}, "labels": {CONFIG: None}}),
        (node("c", note=note("b", "a")), {"annotations": {NOTE: None}}),
    ],
)
def test_undo_patch(state: NodeState, patch: dict[str, object]) -> None:
    assert undo_patch(state) == patch


@pytest.mark.parametrize(("capable", "known"), [("false", True), ("true", False), (None, False)])
def test_incapable(capable: str | None, known: bool) -> None:
    labels = {CAPABLE_LABEL: capable} if capable else {}
    reason = why_not_capable(NodeState("n", labels), "all-1g.5gb")
    assert bool(reason) is known
