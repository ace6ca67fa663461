# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels of many nodes at once, on an API server that asks for rest; and what comes back of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import CONCURRENCY
from ansible_collections.gpufleet.sharing.tests.integration.answers import mentions
from ansible_collections.gpufleet.sharing.tests.integration.faults import Fault, FaultProxy, Rule
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    ROLLOUT,
    Lab,
    boot,
    connected,
    shut_down,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import call

REST = 1  # seconds
PROFILE_LABEL = "nvidia.com/device-plugin.config"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    found = boot(f"bulk-{os.getpid()}", ROLLOUT)
    found.kubectl("create", "namespace", "gpu-operator")  # the lease is there
    yield found
    shut_down(found)


def names(lab: Lab) -> list[str]:
    return sorted(
        node["metadata"]["name"]
        for node in lab.json("nodes")["items"]
        if "-gpu-" in node["metadata"]["name"]
    )


def nodes_of(assignments: dict[str, str]) -> list[dict[str, str]]:
    """Nodes, as modules take them."""
    return [{"name": name, "profile": profile} for name, profile in assignments.items()]


def is_patch(path: str) -> bool:
    return path.startswith("/api/v1/nodes/")


def test_all_nodes_are_labelled_though_the_server_asks_for_rest(lab: Lab, tmp_path: Path) -> None:
    """Two bursts of 429. Nobody asks again before the time that the server named, and after the
    first answer only those ask that were on their way.
    """
    wanted = dict.fromkeys(names(lab), "dev")
    busy = Fault(status=429, retry_after=REST)
    bursts = [
        Rule(busy, ["PATCH"], "/api/v1/nodes/", skip=skip, times=CONCURRENCY) for skip in (30, 120)
    ]
    with FaultProxy(lab, tmp_path / "proxy", *bursts) as proxy:
        result = call(proxy.lab, "node_profiles", {"nodes": nodes_of(wanted)})
        requests = [request for request in proxy.requests if is_patch(request.path)]
    assert result["changed"], result
    assert lab.labels() == wanted
    assert len([request for request in requests if request.fault]) >= CONCURRENCY
    first = next(request.at for request in requests if request.fault)
    meanwhile = [request for request in requests if first < request.at < first + 0.9 * REST]
    assert len(meanwhile) < CONCURRENCY
    by_path: dict[str, list[float]] = {}
    for request in requests:
        by_path.setdefault(request.path, []).append(request.at)
    gaps = [later - earlier for times in by_path.values() for earlier, later in pairwise(times)]
    assert min(gaps) >= 0.9 * REST


def test_second_run_writes_nothing(lab: Lab) -> None:
    lab.forget_requests()
    wanted = dict.fromkeys(names(lab), "dev")
    assert not call(lab, "node_profiles", {"nodes": nodes_of(wanted)})["changed"]
    assert lab.writes() == []


def test_check_mode_tells_and_writes_nothing(lab: Lab) -> None:
    lab.forget_requests()
    wanted = dict.fromkeys(names(lab), "default")
    result = call(lab, "node_profiles", {"nodes": nodes_of(wanted)}, check=True)
    assert result["changed"]
    assert {change["after"] for change in result["changes"]} == {"default"}
    assert lab.writes() == []


def test_node_that_cannot_be_written_is_named_and_the_others_are_done(
    lab: Lab, tmp_path: Path
) -> None:
    everything = names(lab)
    bad = everything[::50]
    rules = [Rule(Fault(status=422), ["PATCH"], rf"/nodes/{name}\?") for name in bad]
    with FaultProxy(lab, tmp_path / "proxy", *rules) as proxy:
        wanted = dict.fromkeys(everything, "default")
        result = call(proxy.lab, "node_profiles", {"nodes": nodes_of(wanted)})
    assert mentions(result["msg"], len(bad), len(everything))
    assert [line.partition(":")[0] for line in result["msg"].splitlines()[1:]] == [
        f"- {name}" for name in bad
    ]
    found = lab.labels()
    assert {name for name, profile in found.items() if profile == "dev"} == set(bad)


@pytest.mark.full("200 more patches")
def test_undo_takes_all_labels_away(lab: Lab) -> None:
    everything = dict.fromkeys(names(lab), "default")
    result = call(lab, "node_profiles", {"nodes": nodes_of(everything), "state": "absent"})
    assert result["changed"]
    assert lab.labels() == {}


@pytest.mark.full("unit tests have it")
def test_node_that_has_left_is_no_failure(lab: Lab) -> None:
    cluster = connected(lab)
    name = names(lab)[0]
    cluster.patch_nodes({name: {"labels": {PROFILE_LABEL: "dev"}}, "left-meanwhile": {}})
    assert lab.labels() == {name: "dev"}
