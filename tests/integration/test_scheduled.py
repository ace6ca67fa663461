# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The job of docs/scheduled.md on a lab: each playbook exits and prints as the page says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.gpufleet.sharing.tests.integration.answers import mentions
from ansible_collections.gpufleet.sharing.tests.integration.fleettools import LABEL
from ansible_collections.gpufleet.sharing.tests.integration.labtools import Lab, write_inventory
from ansible_collections.gpufleet.sharing.tests.integration.modules import converge
from ansible_collections.gpufleet.sharing.tests.unit.scheduled_page import Machine, exit_codes

SETTINGS = {
    "gpu_sharing_rollout_stable_seconds": 1,
    "gpu_sharing_rollout_timeout": 60,
    "gpu_operator_timeout": 180,
    "gpu_verify_probe": False,
}


@pytest.fixture(scope="module")
def machine(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """With the lab's cluster, chart and Helm; its other variables are those of the crontab."""
    converge(lab)
    made = Machine(tmp_path_factory.mktemp("scheduled") / "machine")
    made.add_ansible()
    shutil.copy(lab.environ["KUBECONFIG"], made.root / "etc" / "kubeconfig")
    helm = shutil.which("helm", path=lab.environ["PATH"])
    assert helm
    (made.root / "bin" / "helm").symlink_to(helm)
    chart = {"gpu_operator_chart_ref": lab.environ["GPULAB_CHART"]}
    write_inventory(made.inventory, variables={**SETTINGS, **chart})
    return made


@pytest.fixture
def drifted(lab: Lab) -> Iterator[str]:
    """A node whose label was set by hand."""
    lab.kubectl("label", "node", "dev-gpu-01", f"{LABEL}=default", "--overwrite")
    lab.wait_for(lambda: lab.allocatable()["dev-gpu-01"] == "4")
    yield "dev-gpu-01"
    converge(lab)


@pytest.mark.full("each other playbook", keep=1)
@pytest.mark.parametrize("playbook", exit_codes())
def test_nothing_is_printed_where_nothing_is_wrong(machine: Machine, playbook: str) -> None:
    done = machine.run(playbook)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.full("each other playbook")
@pytest.mark.parametrize("playbook", ["drift", "verify", "doctor"])
def test_what_differs_is_printed(machine: Machine, drifted: str, playbook: str) -> None:
    done = machine.run(playbook)
    assert done.returncode == 2
    assert mentions(done.stdout, drifted)


@pytest.mark.full("each other playbook")
def test_site_prints_what_it_has_changed(machine: Machine, lab: Lab, drifted: str) -> None:
    done = machine.run("site")
    assert done.returncode == 0
    assert "changed=1" in done.stdout
    assert lab.labels()[drifted] == "dev"


@pytest.mark.full("each other playbook")
def test_cluster_that_cannot_be_reached(machine: Machine, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    machine.more["KUBECONFIG"] = str(nowhere)
    done = machine.run()
    del machine.more["KUBECONFIG"]
    assert done.returncode == 2
    assert mentions(done.stdout, nowhere)
