# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the doctor reads from a cluster, and what it does if it may not."""

from __future__ import annotations

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    ClusterError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.catalog import (
    find_all,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.collect import (
    collect,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.operands import (
    PLUGIN_APP,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import (
    mentions,
)
from ansible_collections.gpufleet.sharing.tests.unit.fake_snapshot import (
    CONFIG_MAP,
    LABEL,
    healthy,
    roots,
    waiting,
)


def test_checks_of_what_cannot_be_read_do_not_run() -> None:
    fleet = healthy()
    waiting(fleet.pod(PLUGIN_APP, "dev-1"), "CrashLoopBackOff", 3)
    fleet.drop(CONFIG_MAP)
    fleet.forbidden = {"/pods", "/device-plugin-config", "/configmaps"}
    told = fleet.find()
    assert {each.cause.split()[-1] for each in told} == {"pods", "ConfigMap"}
    assert mentions(told[0].seen, "ConfigMap", "injected 403")


def test_other_namespaces_are_left_out_if_forbidden() -> None:
    fleet = healthy()
    fleet.drop(CONFIG_MAP)
    fleet.forbidden = {"/api/v1/configmaps"}
    assert roots(fleet.find()) == {"GS012"}


@pytest.mark.parametrize("path", ["/nodes", "/pods", "/api/v1/configmaps"])
def test_a_server_that_fails_is_no_finding(path: str) -> None:
    fleet = healthy()
    fleet.drop(CONFIG_MAP)
    api = fleet.api()
    api.fault = lambda _method, asked: 500 if asked.endswith(path) else 0
    snapshot = fleet.snapshot()
    with pytest.raises(ClusterError):
        collect(api.cluster, snapshot.location, snapshot.desired, snapshot.inventory_nodes)


def test_snapshot_of_one_node() -> None:
    fleet = healthy()
    fleet.labels("dev-1")[LABEL] = "default"
    fleet.labels("train-1")[LABEL] = "default"
    snapshot = fleet.snapshot("dev-1")
    assert set(snapshot.traces) == {"dev-1"}
    assert [each.nodes for each in find_all(snapshot) if not each.follows] == [("dev-1",)]


def test_nodes_outside_the_limit_are_not_checked() -> None:
    fleet = healthy()
    fleet.labels("train-1")[LABEL] = "default"
    del fleet.assignments["train-1"]
    fleet.outside = {"train-1"}
    assert fleet.find() == []


def test_every_request_reads() -> None:
    fleet = healthy()
    api = fleet.api()
    snapshot = fleet.snapshot()
    find_all(collect(api.cluster, snapshot.location, snapshot.desired, snapshot.inventory_nodes))
    assert api.writes() == []
    assert len(api.requests) == 8
