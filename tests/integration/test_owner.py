# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose operator it is: a release under a generated name, a wrapper chart, and a failed install."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.gpufleet.sharing.tests.integration.labtools import Lab, lease_holder
from ansible_collections.gpufleet.sharing.tests.integration.test_operator import (
    helm,
    policy,
)

GENERATED = "gpu-operator-1700000000"
PLACE = ("-n", "gpu-operator")
POINTER = {"name": "device-plugin-config", "default": "default"}
EXISTING = {"gpu_operator_manage": "existing"}


def releases(lab: Lab) -> dict[str, str]:
    """Revisions by release."""
    found = json.loads(helm(lab, "list", "-A", "-a", "-o", "json"))
    return {str(each["name"]): str(each["revision"]) for each in found}


def notes(lab: Lab) -> dict[str, Any]:
    """What is recorded of releases, by their names."""
    annotations = lab.json("namespace", "gpu-operator")["metadata"].get("annotations", {})
    prefix = "gpufleet.sharing/helm-"
    return {
        key.removeprefix(prefix): json.loads(value)
        for key, value in annotations.items()
        if key.startswith(prefix)
    }


def wrapper_chart(lab: Lab, folder: Path) -> Path:
    """A chart of the name of NVIDIA's, which has that one as a dependency."""
    inner = Path(lab.environ["GPULAB_CHART"])
    shutil.copytree(inner, folder / "charts" / inner.name)
    version = yaml.safe_load((inner / "Chart.yaml").read_text(encoding="utf-8"))["version"]
    needs = {"name": inner.name, "version": version, "repository": f"file://{inner}"}
    chart = {"apiVersion": "v2", "name": inner.name, "version": "1.0.0", "dependencies": [needs]}
    (folder / "Chart.yaml").write_text(yaml.safe_dump(chart), encoding="utf-8")
    return folder


def test_wrapper_chart_is_refused_before_any_write(
    lab: Lab, inventory: Path, tmp_path: Path
) -> None:
    chart = wrapper_chart(lab, tmp_path / "wrapper")
    values = ("--set", "gpu-operator.driver.enabled=false")
    helm(lab, "install", "gpu-operator", str(chart), *PLACE, "--create-namespace", *values)
    lab.forget_requests()
    for playbook in ("plan", "site"):
        run = lab.playbook(playbook, inventory)
        run.fails_with("gpu-operator", "wrapper", "gpu_operator_manage: existing")
    assert lab.writes() == []
    lab.playbook("plan", inventory, variables=EXISTING).succeeded()
    assert releases(lab) == {"gpu-operator": "1"}
    helm(lab, "uninstall", "gpu-operator", *PLACE, "--wait")


def test_failed_install_is_one_line_and_nothing_is_noted_as_ours(lab: Lab, inventory: Path) -> None:
    values = {"gpu_operator_values": {"validator": "no mapping"}}
    run = lab.playbook("site", inventory, variables=values)
    run.fails_with("Helm release", "gpu-operator", "gpu_operator_values", "-v")
    assert "\\n" not in str(run.failure["msg"])
    assert "\n" not in str(run.failure["msg"])
    assert releases(lab) == {}
    assert notes(lab) == {}
    helm(lab, "install", "gpu-operator", lab.environ["GPULAB_CHART"], *PLACE, "--wait")
    lab.playbook("uninstall", inventory).succeeded()
    assert releases(lab) == {"gpu-operator": "1"}  # somebody else's
    helm(lab, "uninstall", "gpu-operator", *PLACE, "--wait")


def test_quota_that_keeps_pods_away_is_named_and_what_has_failed_is_ours(
    lab: Lab, inventory: Path
) -> None:
    """Helm reports a time-out, and does not run again afterwards: its values do not differ."""
    lab.kubectl("create", "quota", "none", *PLACE, "--hard=pods=0")
    lab.wait_for(lambda: "hard" in lab.json("quota", "none", *PLACE)["status"])
    run = lab.playbook("site", inventory, variables={"gpu_operator_timeout": 10})
    run.fails_with("Helm release", "gpu_operator_timeout", "exceeded quota", "ReplicaSet")
    assert notes(lab)["gpu-operator"]["installed"] is False
    lab.kubectl("delete", "quota", "none", *PLACE)
    lab.playbook("site", inventory).succeeded()
    lab.playbook("uninstall", inventory).succeeded()
    assert releases(lab) == {}


def test_release_under_a_generated_name_is_the_one_that_is_managed(
    lab: Lab, inventory: Path
) -> None:
    chart = lab.environ["GPULAB_CHART"]
    helm(lab, "install", GENERATED, chart, *PLACE, "--create-namespace", "--wait")
    lab.forget_requests()
    lab.playbook("plan", inventory).succeeded().names(GENERATED, "gpu_operator_release_name")
    assert lab.writes() == []
    lab.playbook("site", inventory).succeeded().names(5, 10, 36)  # nodes, GPUs, slots
    assert releases(lab) == {GENERATED: "2"}
    assert notes(lab)[GENERATED]["installed"] is False
    assert policy(lab) == POINTER
    lab.forget_requests()
    lab.playbook("site", inventory).succeeded()
    assert lab.writes() == []


def test_another_release_than_the_one_that_was_named_is_refused(lab: Lab, inventory: Path) -> None:
    lab.forget_requests()
    named = {"gpu_operator_release_name": "mine"}
    run = lab.playbook("site", inventory, variables=named)
    run.fails_with(GENERATED, "mine", "gpu_operator_release_name")
    assert lab.writes() == []


def test_pointer_patched_by_hand_is_put_back(lab: Lab, inventory: Path) -> None:
    """A Helm upgrade with the same values does not see the patch."""
    patch = {"spec": {"devicePlugin": {"config": {"default": "dev"}}}}
    lab.kubectl("patch", "clusterpolicy", "cluster-policy", "--type=merge", "-p", json.dumps(patch))
    lab.forget_requests()
    checked = lab.playbook("site", inventory, "--check", "--diff").succeeded()
    assert sum(checked.changed.values()) >= 1
    assert "cluster_policy" in checked.ran("check")
    assert policy(lab)["default"] == "dev"
    assert lab.writes() == []
    found = lab.playbook("drift", inventory).failed()
    found.names("pointer", "ClusterPolicy")
    assert not found.naming("Helm release", "its chart or values differ")
    lab.playbook("site", inventory).succeeded()
    assert policy(lab) == POINTER
    assert releases(lab) == {GENERATED: "2"}
    assert lease_holder(lab) == ""
    lab.playbook("drift", inventory).succeeded()
    lab.forget_requests()
    lab.playbook("site", inventory).succeeded()
    assert lab.writes() == []


def test_uninstall_finds_the_release_that_it_had_managed(lab: Lab, inventory: Path) -> None:
    lab.playbook("uninstall", inventory).succeeded()
    assert releases(lab) == {GENERATED: "3"}  # with the device plugin config that it had: none
    assert policy(lab).get("name") in (None, "")
    assert notes(lab) == {}
