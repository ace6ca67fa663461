# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drift: each kind of difference is found once, in words, and a clean fleet has none."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import cast

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.drift import (
    Planned,
    drift_report,
    find_drift,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions, numbers

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
    release: str = "",
    nodes: Collection[str] = (),
    unavailable: Mapping[str, str] | None = None,
) -> Planned:
    """nodes are those of the inventory, each in the group of its name without the number."""
    rows = [{"node": node, "group": node.rstrip("0123456789")} for node in nodes]
    return Planned(
        {**CLEAN_PROFILES, **(profiles or {})},
        release,
        {**CLEAN_POINTER, **(pointer or {})},
        {**CLEAN_ROLLOUT, **(rollout or {})},
        {"differing": differing or {}, "unavailable": unavailable or {}, "nodes": rows},
    )


def table(found: Planned) -> list[list[str]]:
    """The cells of the rows that drift shows, without its verdict."""
    lines = cast("list[str]", drift_report(found)["table"])[2:-1]
    return [re.split(r" {2,}", line) for line in lines]


def verdict(found: Planned) -> str:
    report = drift_report(found)
    assert cast("list[str]", report["table"])[-1] == report["verdict"]
    return str(report["verdict"])


def test_a_clean_fleet_does_not_differ() -> None:
    assert find_drift(planned()) == []
    assert find_drift(Planned({}, "", {}, {}, {})) == []
    report = drift_report(planned(nodes=["a1", "a2", "a3"], unavailable={"a3": "NotReady"}))
    assert (report["findings"], report["count"]) == ([], 0)
    assert report["table"] == [report["verdict"]]
    assert numbers(report["verdict"]) == [1, 2]  # left out, and as they should be


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
            planned(release="chart v1 -> v2"),
            [("operator", "Helm release", ("v1 -> v2",))],
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
        "",
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
        "",
        CLEAN_POINTER,
        {**CLEAN_ROLLOUT, "unavailable": ["n1", "n2"], "maintenance": {"n1": upgrading}},
        {"differing": {}, "unavailable": {"n1": "nvidia.com/gpu is 0", "n2": "node is NotReady"}},
    )
    (difference,) = find_drift(found)
    assert (difference.kind, difference.where) == ("maintenance", "n1")
    assert drift_report(found)["count"] == 0
    assert mentions(drift_report(found)["table"], "n1", "pod-restart-required")
    assert mentions(difference.what, "pod-restart-required")


def test_causes_come_first() -> None:
    found = planned(
        {"differs": True, "written": ["dev"]},
        {"differs": True},
        {"changes": [{"node": "n1", "before": "a", "after": "b"}], "waited": ["n2"]},
        {"n3": "x"},
        release="values",
    )
    kinds = [difference.kind for difference in find_drift(found)]
    assert kinds == ["content", "pointer", "operator", "label", "plugin", "allocatable"]


def test_nodes_with_the_same_difference_are_one_row_for_each_group() -> None:
    nodes = [f"{group}{number}" for group in "ab" for number in range(1, 12)]
    differing = dict.fromkeys(nodes, "nvidia.com/gpu is 2, expected 8") | {"b3": "node is NotReady"}
    found = planned(differing=differing, nodes=nodes)
    assert len(find_drift(found)) == 22
    assert table(found) == [
        ["allocatable", "a1, a10, a11 and 8 more", "a", "11", "nvidia.com/gpu is 2, expected 8"],
        ["allocatable", "b1, b10, b11 and 7 more", "b", "10", "nvidia.com/gpu is 2, expected 8"],
        ["allocatable", "b3", "b", "1", "node is NotReady"],
    ]


def test_verdict_counts_each_node_once() -> None:
    """A label that was set by hand changes the slots, too."""
    changes = [{"node": "a1", "before": "x", "after": "y"}]
    found = planned(rollout={"changes": changes}, differing={"a1": "x"}, nodes=["a1", "a2"])
    assert len(table(found)) == 2
    assert numbers(verdict(found)) == [1, 2]


def test_verdict_names_what_differs_in_the_cluster() -> None:
    written = {"differs": True, "written": ["x", "y"], "rewritten": ["x"]}
    found = planned(written, {"differs": True}, nodes=["a1"])
    assert mentions(verdict(found), "ConfigMap", "device plugin config")
    assert "Helm" not in verdict(found)
    assert "node" not in verdict(found)
    assert mentions(verdict(planned(release="values")), "Helm release differs")
    assert [row[1] for row in table(found)] == ["key x", "key y", "ClusterPolicy"]


@pytest.mark.parametrize(("count", "left"), [(50, []), (52, [2])])
def test_drift_report_is_cut_for_people_only(count: int, left: list[int]) -> None:
    nodes = {f"n{number:02}": f"reason{number:02}" for number in range(count)}
    report = drift_report(planned(differing=nodes, nodes=nodes))
    assert len(cast("list[str]", report["findings"])) == count
    lines = cast("list[str]", report["table"])
    assert lines[51].startswith("allocatable  n49")
    assert [number for line in lines[52:-1] for number in numbers(line)] == left
