# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""GPU nodes that the inventory does not know: reported, and unlabelled only where that is asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    GROUPS,
    Lab,
    remains,
    write_inventory,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import (
    Wanted,
    call,
    converge,
    differing,
    planned,
)

LABEL = "nvidia.com/device-plugin.config"
EXCLUSIVE = {"gpu_nodes_exclusive": True}
MANAGED = {"dev-gpu-01": "dev", "dev-gpu-02": "dev", "train-gpu-01": "no-sharing"}
KNOWN: dict[str, Any] = GROUPS | {"prod_gpus": {"hosts": {"prod-gpu-01": {}}}}
ONLY = Wanted(KNOWN, options={"exclusive": True})
REPORT = ("prod-gpu-02", 1)


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe's, without prod-gpu-02."""
    return write_inventory(tmp_path_factory.mktemp("unmanaged") / "inventory", groups=KNOWN)


@pytest.fixture(scope="module", autouse=True)
def labelled_by_somebody(lab: Lab) -> None:
    converge(lab, Wanted(KNOWN))
    lab.kubectl("label", "node", "prod-gpu-02", f"{LABEL}=dev")
    lab.wait_for(lambda: lab.allocatable().get("prod-gpu-02") == "16")


def test_is_reported_and_left_alone(lab: Lab) -> None:
    lab.forget_requests()
    answer = call(lab, "rollout", Wanted(KNOWN).of_rollout())
    assert answer["unmanaged"] == ["prod-gpu-02"]
    assert not answer["changed"]
    assert lab.writes() == []
    assert lab.labels() == MANAGED | {"prod-gpu-02": "dev"}


def test_check_mode_shows_that_it_would_lose_its_label(lab: Lab) -> None:
    lab.forget_requests()
    run = planned(lab, ONLY).succeeded()
    run.names("before", "prod-gpu-02", "dev", 16, "nvidia.com/gpu")
    run.names("after", "prod-gpu-02", 8, "nvidia.com/gpu")
    assert lab.writes() == []
    assert lab.labels() == MANAGED | {"prod-gpu-02": "dev"}


def test_limit_hides_no_node_from_the_inventory_and_keeps_the_unknown_ones(lab: Lab) -> None:
    """prod-gpu-01 is known and outside the limit; prod-gpu-02 is not known, so outside of any."""
    lab.kubectl("label", "node", "prod-gpu-01", f"{LABEL}=dev")
    lab.forget_requests()
    answer = call(lab, "rollout", replace(ONLY, limit=["dev-gpu-01", "dev-gpu-02"]).of_rollout())
    assert answer["unmanaged"] == ["prod-gpu-02"]
    assert not answer["changed"]
    assert lab.writes() == []
    assert lab.labels() == MANAGED | {"prod-gpu-01": "dev", "prod-gpu-02": "dev"}


@pytest.mark.full("a whole run")
def test_exclusive_takes_its_label_away_and_no_other_node_s(lab: Lab, inventory: Path) -> None:
    lab.kubectl("label", "node", "prod-gpu-01", f"{LABEL}-", "other.example.com/label=theirs")
    lab.kubectl("label", "node", "prod-gpu-02", "other.example.com/label=theirs")
    lab.wait_for(lambda: lab.allocatable().get("prod-gpu-01") == "8")
    lab.forget_requests()
    lab.playbook("site", inventory, variables=EXCLUSIVE).succeeded().names(*REPORT)
    patched = [request for request in lab.writes() if "/api/v1/nodes/" in request]
    label_and_note = 2 * ["patch /api/v1/nodes/prod-gpu-02?fieldManager=gpufleet.sharing"]
    assert patched == label_and_note
    assert lab.labels() == MANAGED
    theirs = lab.labels("other.example.com/label")
    assert theirs == {"prod-gpu-01": "theirs", "prod-gpu-02": "theirs"}
    lab.wait_for(lambda: lab.allocatable().get("prod-gpu-02") == "8")  # the default profile
    assert differing(lab, ONLY) == []


@pytest.mark.full("a whole run")
def test_uninstall_leaves_its_label_alone_and_nothing_of_ours(lab: Lab, inventory: Path) -> None:
    lab.kubectl("label", "node", "prod-gpu-02", f"{LABEL}=dev")
    lab.playbook("uninstall", inventory, variables=EXCLUSIVE).succeeded()
    assert lab.labels() == {"prod-gpu-02": "dev"}
    assert remains(lab) == ["configmaps/device-plugin-config"]  # its label names a key of it
