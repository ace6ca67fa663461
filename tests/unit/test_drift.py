# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drift: each kind of difference is found once, in words, and a clean fleet has none."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils import _drift
from ansible_collections.gpufleet.sharing.plugins.module_utils._drift import Finding, Planned

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
    assert _drift.find_drift(planned()) == []
    assert _drift.find_drift(Planned({}, False, {}, {}, {})) == []
    assert _drift.drift_report([]) == {"findings": [], "table": ["Nothing differs."]}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(
            planned({"differs": True, "written": ["dev"], "rewritten": ["dev"]}),
            [Finding("content", "key dev", "its content is not that of the profile")],
            id="edited key",
        ),
        pytest.param(
            planned({"differs": True, "written": ["dev"]}),
            [Finding("content", "key dev", "it is missing")],
            id="missing key",
        ),
        pytest.param(
            planned({"differs": True}),
            [Finding("content", "ConfigMap", "its namespace or its notes differ")],
            id="notes",
        ),
        pytest.param(
            planned(pointer={"differs": True, "before": {"name": "", "default": ""}}),
            [
                Finding(
                    "pointer", "ClusterPolicy", "it points at nothing (no default), not at m (d)"
                )
            ],
            id="pointer lost",
        ),
        pytest.param(
            planned(pointer={"differs": True, "before": {"name": "m", "default": "x"}}),
            [Finding("pointer", "ClusterPolicy", "it points at m (x), not at m (d)")],
            id="another default",
        ),
        pytest.param(
            planned(operator=True),
            [Finding("operator", "Helm release", "its chart or values are not as asked for")],
            id="operator",
        ),
        pytest.param(
            planned(rollout={"changes": [{"node": "n1", "before": None, "after": "dev"}]}),
            [Finding("label", "n1", "its label is none, not dev")],
            id="label lost",
        ),
        pytest.param(
            planned(rollout={"changes": [{"node": "n1", "before": "dev", "after": None}]}),
            [Finding("label", "n1", "its label is dev, not none")],
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
                Finding("label", "n1", "its label is a, not b"),
                Finding("plugin", "n2", "its plugin runs on older content"),
            ],
            id="older content, told once of a node",
        ),
        pytest.param(
            planned(rollout={"unfinished": True}),
            [
                Finding(
                    "revision",
                    "history",
                    "the newest revision is not what the inventory says, or its run has not ended"
                    " well",
                )
            ],
            id="unfinished",
        ),
        pytest.param(
            planned(rollout={"recorded": ["n1"], "waited": ["n2"]}),
            [
                Finding("plugin", "n1", "what its plugin has loaded is not noted"),
                Finding("plugin", "n2", "its plugin has not got there yet"),
            ],
            id="not noted, not there yet",
        ),
        pytest.param(
            planned(rollout={"missing": ["n1"], "unavailable": ["n1", "n2"]}),
            [
                Finding("node", "n1", "it is not in the cluster"),
                Finding("node", "n2", "it is NotReady"),
            ],
            id="missing is no NotReady",
        ),
        pytest.param(
            planned(rollout={"uncordoned": ["n1"]}),
            [Finding("cordon", "n1", "a run that was killed has left it cordoned")],
            id="cordon",
        ),
        pytest.param(
            planned(differing={"n2": "nvidia.com/gpu is 2, expected 8", "n1": "node is NotReady"}),
            [
                Finding("allocatable", "n1", "node is NotReady"),
                Finding("allocatable", "n2", "nvidia.com/gpu is 2, expected 8"),
            ],
            id="allocatable",
        ),
    ],
)
def test_find_drift(found: Planned, expected: list[Finding]) -> None:
    assert _drift.find_drift(found) == expected


def test_nodes_that_need_not_be_there_are_no_drift() -> None:
    found = Planned(
        CLEAN_PROFILES,
        False,
        CLEAN_POINTER,
        {**CLEAN_ROLLOUT, "missing": ["n1"], "unavailable": ["n1", "n2"], "waited": ["n2"]},
        {"differing": {}, "unavailable": {"n1": "not in the cluster", "n2": "node is NotReady"}},
    )
    assert _drift.find_drift(found) == [Finding("plugin", "n2", "its plugin has not got there yet")]


def test_drift_tells_causes_first() -> None:
    found = planned(
        {"differs": True, "written": ["dev"]},
        {"differs": True},
        {"changes": [{"node": "n1", "before": "a", "after": "b"}], "waited": ["n2"]},
        {"n3": "x"},
        operator=True,
    )
    kinds = [finding.kind for finding in _drift.find_drift(found)]
    assert kinds == ["content", "pointer", "operator", "label", "plugin", "allocatable"]


@pytest.mark.parametrize(("count", "last"), [(50, "label  n49    x"), (52, "and 2 more")])
def test_drift_report_is_cut_for_people_only(count: int, last: str) -> None:
    findings = [Finding("label", f"n{number:02}", "x") for number in range(count)]
    report = _drift.drift_report(findings)
    assert report["findings"] == [
        {"kind": "label", "where": f"n{number:02}", "what": "x"} for number in range(count)
    ]
    table = report["table"]
    assert isinstance(table, list)
    assert table[:3] == ["kind   where  what", "-----  -----  ----", "label  n00    x"]
    assert table[-1] == last
