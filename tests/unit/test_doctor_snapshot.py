# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Traces of nodes, and how findings depend on the rollout mode."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.catalog import (
    find_all,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.operands import (
    PLUGIN_APP,
)
from ansible_collections.gpufleet.sharing.tests.unit.fake_snapshot import (
    NS,
    POLICY,
    healthy,
    pod,
    roots,
)


def test_versioned_labels_are_judged_by_their_keys() -> None:
    snapshot = healthy().snapshot()
    versioned = replace(snapshot, desired=replace(snapshot.desired, versioned=True))
    told = find_all(versioned)
    assert roots(told) == {"GS024"}
    (only,) = (each for each in told if not each.follows)
    assert only.count == 3


def test_row_of_a_trace() -> None:
    fleet = healthy()
    fleet.add_pod(pod("one", slots=3))
    trace = fleet.snapshot().traces["prod-1"]
    row = trace.row()
    assert row.pop("hash") == row.pop("loaded_hash") != ""
    assert row == {
        "label": "",
        "key": "default",
        "key_exists": True,
        "plugin_pod": "Ready",
        "config_manager": True,
        "capacity": 8,
        "gfd": "2 x 4",
    }
    assert (trace.used, trace.free, trace.product) == (3, 5, "NVIDIA-A10")


def test_row_of_a_node_that_does_not_exist() -> None:
    fleet = healthy()
    fleet.assignments["lost"] = None
    fleet.drop(POLICY)
    trace = fleet.snapshot().traces["lost"]
    row = trace.row()
    assert row["plugin_pod"] == row["gfd"] == row["hash"] == row["loaded_hash"] == ""
    assert (row["key_exists"], row["config_manager"], row["capacity"]) == (False, None, 0)
    assert (trace.used, trace.free, trace.product) == (0, 0, "")


def test_successor_replaces_a_terminating_pod() -> None:
    fleet = healthy()
    old = fleet.pod(PLUGIN_APP, "dev-1")
    new = {**old, "metadata": {**old["metadata"], "name": "new", "uid": "new"}}
    old["metadata"]["deletionTimestamp"] = "now"
    fleet.add_pod(new)
    trace = fleet.snapshot().traces["dev-1"]
    assert trace.plugin is not None
    assert trace.plugin.pod.name == "new"
    fleet.drop(f"/api/v1/namespaces/{NS}/pods/new")
    assert fleet.snapshot().traces["dev-1"].row()["plugin_pod"] == "Terminating"
