# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster without a GPU node, as a pool that an autoscaler has scaled to zero: an error, or, if
the inventory says so, nothing to wait for, until nodes come.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.tests.integration.labtools import Lab, write_inventory
from ansible_collections.gpufleet.sharing.tests.integration.modules import (
    Wanted,
    applied,
    differing,
)

NAMES = ("dev-gpu-01", "prod-gpu-01")
GROUPS: dict[str, Any] = {
    "dev_gpus": {"hosts": {NAMES[0]: {}}, "vars": {"gpu_sharing_profile": "dev"}},
    "prod_gpus": {"hosts": {NAMES[1]: {}}},
}
REPORT = {"gpu_sharing_unavailable_nodes": "report"}
WANTED = Wanted(GROUPS, options={"unavailable_nodes": "report"})
MISSING = (*NAMES, 2)
GIVEN_BY_THE_SERVER = ("resourceVersion", "uid", "creationTimestamp", "managedFields")


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zero") / "inventory"
    return write_inventory(folder, groups=GROUPS, variables=REPORT)


@pytest.fixture(scope="module", autouse=True)
def pool(lab: Lab) -> list[dict[str, Any]]:
    """Two GPU nodes as they join; at first the cluster has none."""
    nodes = [node for node in lab.json("nodes")["items"] if "gpu" in node["metadata"]["name"]]
    for node in nodes:
        for key in GIVEN_BY_THE_SERVER:
            node["metadata"].pop(key, None)
    scale_to_zero(lab)
    return [node for node in nodes if node["metadata"]["name"] in NAMES]


def scale_to_zero(lab: Lab) -> None:
    gone = [item["metadata"]["name"] for item in lab.json("nodes")["items"]]
    lab.kubectl("delete", "node", *(name for name in gone if "gpu" in name))


def daemonsets(lab: Lab) -> list[str]:
    items = lab.json("daemonsets", "-n", "gpu-operator")["items"]
    return [str(item["metadata"]["name"]) for item in items]


def test_is_an_error_unless_told_otherwise(lab: Lab, inventory: Path) -> None:
    lab.forget_requests()
    run = lab.playbook("site", inventory, variables={"gpu_sharing_unavailable_nodes": "fail"})
    run.fails_with(*MISSING)
    assert lab.writes() == []


@pytest.mark.full("an operator without nodes waits long")
def test_operator_without_gpu_nodes_is_not_waited_for(lab: Lab, inventory: Path) -> None:
    run = lab.playbook("site", inventory).succeeded()
    assert len(run.naming(*MISSING)) >= 2  # where it is reported, and where it is not verified
    run.names(0)  # nodes, GPUs and slots
    assert daemonsets(lab) == []
    assert lab.json("configmap", "device-plugin-config", "-n", "gpu-operator")["data"]


@pytest.mark.full("an operator without nodes waits long")
def test_second_run_verify_and_drift_have_nothing_to_say(lab: Lab, inventory: Path) -> None:
    assert differing(lab, WANTED) == []
    lab.playbook("verify", inventory).succeeded().names(*MISSING)
    lab.playbook("drift", inventory).succeeded()


@pytest.mark.full("an operator without nodes waits long")
def test_nodes_that_join_are_brought_to_their_profiles(
    lab: Lab, pool: list[dict[str, Any]]
) -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": pool})
    lab.attempt("create", "-f", "-", text=text).succeeded()
    applied(lab, WANTED).succeeded()
    assert lab.allocatable() == {"dev-gpu-01": "8", "prod-gpu-01": "8"}
    assert "nvidia-device-plugin-daemonset" in daemonsets(lab)


@pytest.mark.full("an operator without nodes waits long")
def test_pointer_that_the_operator_does_not_take_over_without_nodes(
    lab: Lab, inventory: Path
) -> None:
    """It leaves its DaemonSets as they are until there is a node for them."""
    scale_to_zero(lab)
    lab.wait_for(lambda: "NoGPUNodes" in lab.kubectl("get", "clusterpolicies", "-o", "yaml"))
    other = {"gpu_sharing_default_profile": "dev"}
    lab.playbook("site", inventory, variables=other).succeeded()
    config = lab.json("clusterpolicies")["items"][0]["spec"]["devicePlugin"]["config"]
    assert config["default"] == "dev"
