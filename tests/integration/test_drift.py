# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What drift finds: each kind by itself, and nothing on a fleet that is as its inventory says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.tests.integration.fleettools import (
    CONFIG_MAP,
    LABEL,
    NAMESPACE,
    config_map,
    replicas,
)
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    PROFILES,
    Lab,
    Run,
    module_result,
    write_inventory,
)

STATS = {"ANSIBLE_SHOW_CUSTOM_STATS": "true"}
UNHEALTHY = "lab.gpufleet.sharing/unhealthy"


@pytest.fixture(scope="module")
def inventory(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_inventory(tmp_path_factory.mktemp("drift") / "inventory")
    lab.playbook("site", folder).succeeded()
    return folder


@dataclass(frozen=True)
class Drift:
    run: Run
    findings: list[dict[str, str]]  # as set_stats hands them on

    @property
    def places(self) -> set[tuple[str, str]]:
        return {(finding["kind"], finding["where"]) for finding in self.findings}


def drift(lab: Lab, inventory: Path, **variables: Any) -> Drift:
    """Run it; it never writes, and fails exactly where it finds something."""
    lab.forget_requests()
    run = lab.playbook("drift", inventory, variables=variables, environ=STATS)
    assert lab.writes(dry_run=True) == []
    said = run.output.partition("CUSTOM STATS: ")[2]
    stats, _end = json.JSONDecoder().raw_decode(said[said.index("{") :])
    findings = stats["gpu_sharing_drift"]["localhost"]
    assert (run.rc != 0) == bool(findings), run.output
    for finding in findings:
        assert finding.keys() == {"kind", "where", "what"}
        run.says(finding["what"])
    return Drift(run, findings)


@pytest.fixture
def mended(lab: Lab, inventory: Path) -> Iterator[None]:
    """Afterwards the fleet is as the inventory says again."""
    before = lab.allocatable()
    yield
    lab.wait_for(lambda: lab.allocatable() == before)


def patch_key(lab: Lab, key: str, text: str) -> None:
    patch = json.dumps({"data": {key: text}})
    lab.kubectl("patch", "configmap", CONFIG_MAP, "-n", NAMESPACE, "--type=merge", "-p", patch)


def test_nothing_on_a_fleet_that_is_as_it_should_be(lab: Lab, inventory: Path) -> None:
    found = drift(lab, inventory)
    assert found.findings == []
    found.run.says("Nothing differs.", "The cluster is as the inventory says")
    assert found.run.changed == {"localhost": 0}


def test_label_set_by_hand(lab: Lab, inventory: Path, mended: None) -> None:
    lab.kubectl("label", "node", "dev-gpu-02", f"{LABEL}=default", "--overwrite")
    lab.wait_for(lambda: lab.allocatable()["dev-gpu-02"] == "4")
    found = drift(lab, inventory)
    assert found.places == {("label", "dev-gpu-02"), ("allocatable", "dev-gpu-02")}
    found.run.says("its label is default, not dev", "nvidia.com/gpu is 4, expected 8")
    found.run.says("2 findings: the cluster is not as the inventory says")
    lab.kubectl("label", "node", "dev-gpu-02", f"{LABEL}=dev", "--overwrite")


def test_config_map_edited_by_hand(lab: Lab, inventory: Path, mended: None) -> None:
    before = config_map(lab)["dev"]
    patch_key(lab, "dev", before.replace("replicas: 8", "replicas: 5"))
    found = drift(lab, inventory)
    assert found.places == {("content", "key dev")}
    found.run.says("its content is not that of the profile")
    patch_key(lab, "dev", before)
    assert drift(lab, inventory).findings == []


def test_plugin_that_is_older_than_the_content(lab: Lab, inventory: Path, mended: None) -> None:
    """As after a run that was killed between writing and restarting."""
    six = replicas(dev=6)
    module_result(lab, "profiles", {"profiles": six["gpu_sharing_profiles"]})
    found = drift(lab, inventory, **six)
    assert {("plugin", "dev-gpu-01"), ("plugin", "dev-gpu-02")} <= found.places
    assert {kind for kind, _where in found.places} <= {"plugin", "allocatable", "revision"}
    found.run.says("its plugin runs on older content")
    module_result(lab, "profiles", {"profiles": PROFILES})
    assert drift(lab, inventory).findings == []


def test_allocatable_that_is_off(lab: Lab, inventory: Path, mended: None) -> None:
    lab.kubectl("annotate", "node", "prod-gpu-01", f"{UNHEALTHY}=1")
    lab.wait_for(lambda: lab.allocatable()["prod-gpu-01"] == "4")
    found = drift(lab, inventory)
    assert found.places == {("allocatable", "prod-gpu-01")}
    found.run.says("nvidia.com/gpu is 4, expected 8")
    lab.kubectl("annotate", "node", "prod-gpu-01", f"{UNHEALTHY}-")


def test_node_outside_the_limit_is_not_looked_at(lab: Lab, inventory: Path, mended: None) -> None:
    lab.kubectl("label", "node", "dev-gpu-02", f"{LABEL}=default", "--overwrite")
    lab.wait_for(lambda: lab.allocatable()["dev-gpu-02"] == "4")
    limited = lab.playbook("drift", inventory, "--limit", "localhost,prod_gpus")
    limited.succeeded().says("Nothing differs.")
    lab.kubectl("label", "node", "dev-gpu-02", f"{LABEL}=dev", "--overwrite")


def test_pointer_lost_at_a_helm_upgrade(lab: Lab, inventory: Path) -> None:
    helm(lab, "upgrade", "gpu-operator", lab.environ["GPULAB_CHART"], "--reset-values")
    lab.wait_for(lambda: lab.allocatable().get("dev-gpu-01") == "1", timeout=60)
    found = drift(lab, inventory)
    assert {("pointer", "ClusterPolicy"), ("operator", "Helm release")} <= found.places
    assert ("allocatable", "dev-gpu-01") in found.places
    found.run.says("it points at nothing (no default), not at device-plugin-config (default)")
    lab.playbook("site", inventory).succeeded()
    assert drift(lab, inventory).findings == []


def helm(lab: Lab, *arguments: str) -> None:
    command = ["helm", *arguments, "-n", NAMESPACE]
    subprocess.run(command, env=lab.environ, check=True, capture_output=True)
