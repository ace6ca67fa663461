# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drift: each kind of difference is found once, in words, and a clean fleet has none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.drift import (
    Difference,
    Planned,
    drift_report,
    find_drift,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

Result = Mapping[str, object]
CLEAN_PROFILES: Result = {"differs": False, "written": [], "rewritten": []}
CLEAN_POINTER: Result = {
    "changed": False,
    "before": {"name": "m", "default": "d"},
    "after": {"name": "m", "default": "d"},
}
CLEAN_ROLLOUT: Result = {
    "changes": [],
    "restarted": [],
    "recorded": [],
    "waited": [],
    "missing": [],
    "unavailable": [],
    "uncordoned": [],
    "unfinished": False,
}


def planned(
    profiles: Result | None = None,
    pointer: Result | None = None,
    rollout: Result | None = None,
    differing: Mapping[str, str] | None = None,
    *,
    operator: bool = False,
) -> Planned:
    return Planned(
        {**CLEAN_PROFILES, **(profiles or {})},
        operator,
        {**CLEAN_POINTER, **(pointer or {})},
        {**CLEAN_ROLLOUT, **(rollout or {})},
        {"differing": differing or {}},
    )


def test_a_clean_fleet_does_not_differ() -> None:
    assert find_drift(planned()) == []
    assert find_drift(Planned({}, False, {}, {}, {})) == []
    report = drift_report([])
    assert report["findings"] == []
    assert len(cast("list[str]", report["table"])) == 1


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(
            planned({"differs": True, "written": ["dev"], "rewritten": ["dev"]}),
            [("content", "key dev", ())],
            id="edited key",
        ),
        pytest.param(
            planned({"differs": True, "written": ["dev"]}),
            [("content", "key dev", ())],
            id="missing key",
        ),
        pytest.param(
            planned({"differs": True}),
            [("content", "ConfigMap", ())],
            id="notes",
        ),
        pytest.param(
            planned(pointer={"differs": True, "before": {"name": "", "default": ""}}),
            [("pointer", "ClusterPolicy", ("m (d)",))],
            id="pointer lost",
        ),
        pytest.param(
            planned(pointer={"differs": True, "before": {"name": "m", "default": "x"}}),
            [("pointer", "ClusterPolicy", ("m (x)", "m (d)"))],
            id="another default",
        ),
        pytest.param(
            planned(operator=True),
            [("operator", "Helm release", ())],
            id="operator",
        ),
        pytest.param(
            planned(rollout={"changes": [{"node": "n1", "before": None, "after": "dev"}]}),
            [("label", "n1", ("none", "dev"))],
            id="label lost",
        ),
        pytest.param(
            planned(rollout={"changes": [{"node": "n1", "before": "dev", "after": None}]}),
            [("label", "n1", ("dev", "none"))],
            id="label by hand",
        ),
        pytest.param(
            planned(
                rollout={
                    "changes": [{"node": "n1", "before": "a", "after": "b"}],
                    "restarted": ["n1", "n2"],
                }
            ),
            [
                ("label", "n1", (" a", " b")),
                ("plugin", "n2", ()),
            ],
            id="older content, once for each node",
        ),
        pytest.param(
            planned(rollout={"unfinished": True}),
            [("revision", "history", ())],
            id="unfinished",
        ),
        pytest.param(
            planned(rollout={"recorded": ["n1"], "waited": ["n2"]}),
            [
                ("plugin", "n1", ()),
                ("plugin", "n2", ()),
            ],
            id="not recorded, not settled",
        ),
        pytest.param(
            planned(rollout={"missing": ["n1"], "unavailable": ["n1", "n2"]}),
            [
                ("node", "n1", ()),
                ("node", "n2", ("NotReady",)),
            ],
            id="missing, not NotReady",
        ),
        pytest.param(
            planned(rollout={"uncordoned": ["n1"]}),
            [("cordon", "n1", ("cordon",))],
            id="cordon",
        ),
        pytest.param(
            planned(differing={"n2": "nvidia.com/gpu is 2, expected 8", "n1": "node is NotReady"}),
            [
                ("allocatable", "n1", ("NotReady",)),
                ("allocatable", "n2", ("nvidia.com/gpu is 2, expected 8",)),
            ],
            id="allocatable",
        ),
    ],
)
def test_find_drift(found: Planned, expected: list[tuple[str, str, tuple[str, ...]]]) -> None:
    differences = find_drift(found)
    assert [(each.kind, each.where) for each in differences] == [
        (kind, where) for kind, where, _facts in expected
    ]
    for difference, (_kind, _where, facts) in zip(differences, expected, strict=True):
        assert difference.what
        assert mentions(difference.what, *facts)


def test_tolerated_nodes_are_no_drift() -> None:
    found = Planned(
        CLEAN_PROFILES,
        False,
        CLEAN_POINTER,
        {**CLEAN_ROLLOUT, "missing": ["n1"], "unavailable": ["n1", "n2"], "waited": ["n2"]},
        {"differing": {}, "unavailable": {"n1": "not in the cluster", "n2": "node is NotReady"}},
    )
    assert [(each.kind, each.where) for each in find_drift(found)] == [("plugin", "n2")]


def test_node_under_maintenance_is_named_although_its_slots_are_not_judged() -> None:
    """Of n1 the driver is being upgraded, so it has no slots; n2 may be NotReady."""
    upgrading = "nvidia.com/gpu-driver-upgrade-state is pod-restart-required"
    found = Planned(
        CLEAN_PROFILES,
        False,
        CLEAN_POINTER,
        {**CLEAN_ROLLOUT, "unavailable": ["n1", "n2"], "maintenance": {"n1": upgrading}},
        {"differing": {}, "unavailable": {"n1": "nvidia.com/gpu is 0", "n2": "node is NotReady"}},
    )
    (difference,) = find_drift(found)
    assert (difference.kind, difference.where) == ("maintenance", "n1")
    assert drift_report([difference])["count"] == 0
    assert mentions(difference.what, "pod-restart-required")


def test_causes_come_first() -> None:
    found = planned(
        {"differs": True, "written": ["dev"]},
        {"differs": True},
        {"changes": [{"node": "n1", "before": "a", "after": "b"}], "waited": ["n2"]},
        {"n3": "x"},
        operator=True,
    )
    kinds = [difference.kind for difference in find_drift(found)]
    assert kinds == ["content", "pointer", "operator", "label", "plugin", "allocatable"]


@pytest.mark.parametrize(("count", "last"), [(50, ["label", "n49", "x"]), (52, ["2"])])
def test_drift_report_is_cut_for_people_only(count: int, last: list[str]) -> None:
    differences = [Difference("label", f"n{number:02}", "x") for number in range(count)]
    report = drift_report(differences)
    assert report["findings"] == [
        {"kind": "label", "where": f"n{number:02}", "what": "x"} for number in range(count)
    ]
    table = report["table"]
    assert isinstance(table, list)
    assert table[0].split() == ["kind", "where", "what"]
    assert table[2].split() == ["label", "n00", "x"]
    assert set(last) <= set(table[-1].split())
