# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""MIG by profile: what changes, when a node is done, and the way back."""

from __future__ import annotations

import json

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils import _capacity, _mig
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

CONFIG, STATE = _mig.MIG_LABEL, _mig.STATE_LABEL
NOTE = _mig.PREVIOUS_ANNOTATION


def node(
    config: str | None = None,
    state: str | None = None,
    note: str | None = None,
    *,
    ready: bool = True,
) -> _capacity.NodeState:
    given = {CONFIG: config, STATE: state}
    present = {name: value for name, value in given.items() if value is not None}
    return _capacity.NodeState("n", present, {NOTE: note} if note else {}, ready=ready)


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
    changes, waiting = _mig.plan_mig(dict.fromkeys([*states, "missing"], "all-1g.5gb"), states)
    assert changes == [
        _mig.MigChange("new", None, "all-1g.5gb"),
        _mig.MigChange("other", "all-disabled", "all-1g.5gb"),
    ]
    assert waiting == ["busy", "killed"]


def test_plan_mig_sets_a_failed_configuration_anew() -> None:
    changes, waiting = _mig.plan_mig({"n": "a"}, {"n": node("a", "failed")})
    assert (changes, waiting) == ([_mig.MigChange("n", "a", "a")], [])


def test_plan_mig_asks_nothing_of_a_card_without_mig() -> None:
    old = _capacity.NodeState("n", {_mig.CAPABLE_LABEL: "false"})
    assert _mig.plan_mig({"n": "all-disabled"}, {"n": old}) == ([], [])
    assert _mig.incapable(old, "all-disabled") == ""


@pytest.mark.parametrize(
    ("state", "facts"),
    [
        (node("a", "success"), ()),
        (node("a", "pending"), (STATE, "pending")),
        (node("a"), (STATE,)),
        (node("b", "success"), (CONFIG, " b", " a")),
        (node(), (CONFIG, "none", " a")),
        (node("a", "success", ready=False), ()),
        (None, ("node",)),
    ],
)
def test_unfinished(state: _capacity.NodeState | None, facts: tuple[str, ...]) -> None:
    reason = _mig.unfinished(state, "a")
    assert bool(reason) is bool(facts)
    assert mentions(reason, *facts)


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
    assert _mig.is_busy(node("a", state)) is busy
    assert _mig.has_failed(node("a", state)) is failed
    assert not _mig.has_failed(None)


def test_change_removes_the_old_state_and_remembers_what_was_there() -> None:
    patch = _mig.MigChange("n", "old", "new").patch(node("old", "success"))
    assert patch["labels"] == {CONFIG: "new", STATE: None}
    assert json.loads(str(patch["annotations"][NOTE])) == {"before": "old", "ours": "new"}
    assert patch["annotations"][_capacity.CONFIG_HASH_ANNOTATION] is None


def test_second_change_keeps_the_first_memory() -> None:
    patch = _mig.MigChange("n", "mine", "new").patch(node("mine", "success", note("old", "mine")))
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
def test_undo_patch(state: _capacity.NodeState, patch: dict[str, object]) -> None:
    assert _mig.undo_patch(state) == patch


@pytest.mark.parametrize(("capable", "known"), [("false", True), ("true", False), (None, False)])
def test_incapable(capable: str | None, known: bool) -> None:
    labels = {_mig.CAPABLE_LABEL: capable} if capable else {}
    reason = _mig.incapable(_capacity.NodeState("n", labels), "all-1g.5gb")
    assert bool(reason) is known
