# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What drift finds: each kind where it is, and nothing on a fleet that is as its inventory says.
Each test goes on where the one before has stopped.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.tests.integration.fleettools import (
    CONFIG_MAP,
    LABEL,
    NAMESPACE,
    config_map,
    profiles,
    replicas,
)
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    PROFILES,
    Lab,
    Run,
    write_inventory,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import call, converge

STATS = {"ANSIBLE_SHOW_CUSTOM_STATS": "true"}
UNHEALTHY = "lab.gpufleet.sharing/unhealthy"


@pytest.fixture(scope="module")
def inventory(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    converge(lab)
    return write_inventory(tmp_path_factory.mktemp("drift") / "inventory")


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
    findings = (run.stats("gpu_sharing_drift") or {"localhost": []})["localhost"]
    assert (run.rc != 0) == bool(findings), run.output
    for finding in findings:
        assert finding.keys() == {"kind", "where", "what"}
        run.names(finding["where"], finding["what"])
    return Drift(run, findings)


def patch_key(lab: Lab, key: str, text: str) -> None:
    patch = json.dumps({"data": {key: text}})
    lab.kubectl("patch", "configmap", CONFIG_MAP, "-n", NAMESPACE, "--type=merge", "-p", patch)


def test_each_kind_is_told_where_it_is(lab: Lab, inventory: Path) -> None:
    """A label set by hand, a key edited by hand, and a GPU that is unhealthy."""
    slots, text = lab.allocatable(), config_map(lab)["no-sharing"]
    lab.kubectl("label", "node", "dev-gpu-02", f"{LABEL}=default", "--overwrite")
    patch_key(lab, "no-sharing", config_map(lab)["default"])
    lab.kubectl("annotate", "node", "prod-gpu-01", f"{UNHEALTHY}=1")
    off = slots | {"dev-gpu-02": "4", "prod-gpu-01": "7"}
    lab.wait_for(lambda: lab.allocatable() == off)
    found = drift(lab, inventory)
    assert found.places == {
        ("label", "dev-gpu-02"),
        ("allocatable", "dev-gpu-02"),
        ("content", "key no-sharing"),
        ("allocatable", "prod-gpu-01"),
    }
    found.run.names("dev-gpu-02", "default", "dev").names("dev-gpu-02", "nvidia.com/gpu", 4, 8)
    found.run.fails_with(2, 5, "ConfigMap")  # of five nodes, two differ
    patch_key(lab, "no-sharing", text)
    lab.kubectl("annotate", "node", "prod-gpu-01", f"{UNHEALTHY}-")


def test_node_outside_the_limit_is_not_looked_at(lab: Lab, inventory: Path) -> None:
    """dev-gpu-02 has the label of the test before."""
    assert lab.labels()["dev-gpu-02"] == "default"
    lab.wait_for(lambda: lab.allocatable()["prod-gpu-01"] == "8")
    limited = lab.playbook("drift", inventory, "--limit", "localhost,prod_gpus")
    limited.succeeded()
    lab.kubectl("label", "node", "dev-gpu-02", f"{LABEL}=dev", "--overwrite")
    lab.wait_for(lambda: lab.allocatable()["dev-gpu-02"] == "8")


@pytest.mark.full("another kind of drift")
def test_plugin_that_is_older_than_the_content(lab: Lab, inventory: Path) -> None:
    """As after a run that was killed between writing and restarting."""
    call(lab, "profiles", {"profiles": profiles(dev=6)})
    found = drift(lab, inventory, **replicas(dev=6))
    assert {("plugin", "dev-gpu-01"), ("plugin", "dev-gpu-02")} <= found.places
    assert {kind for kind, _where in found.places} <= {"plugin", "allocatable", "revision"}
    assert found.run.naming("plugin", "dev-gpu-01", "dev-gpu-02", "dev_gpus", 2)  # one row
    call(lab, "profiles", {"profiles": PROFILES})


@pytest.mark.full("another kind of drift")
def test_pointer_lost_at_a_helm_upgrade_and_nothing_after_the_next_run(
    lab: Lab, inventory: Path
) -> None:
    helm(lab, "upgrade", "gpu-operator", lab.environ["GPULAB_CHART"], "--reset-values")
    lab.wait_for(lambda: lab.allocatable().get("dev-gpu-01") == "1")
    found = drift(lab, inventory)
    assert {("pointer", "ClusterPolicy"), ("operator", "Helm release")} <= found.places
    assert ("allocatable", "dev-gpu-01") in found.places
    found.run.names("ClusterPolicy", CONFIG_MAP, "default")
    converge(lab)
    found = drift(lab, inventory)
    assert found.findings == []
    assert found.run.changed == {"localhost": 0}


def helm(lab: Lab, *arguments: str) -> None:
    command = ["helm", *arguments, "-n", NAMESPACE]
    subprocess.run(command, env=lab.environ, check=True, capture_output=True)
