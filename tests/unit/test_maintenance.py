# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes on which another controller is at work are left alone, and are no reason to fail."""

from __future__ import annotations

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.maintenance import (
    maintenance,
    passes_by_itself,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

UPGRADE = "nvidia.com/gpu-driver-upgrade-state"
PLUGIN = "nvidia.com/gpu.deploy.device-plugin"
GFD = "nvidia.com/gpu.deploy.gpu-feature-discovery"
MIG_LABEL = "nvidia.com/mig.config"
MIG = "nvidia.com/mig.config.state"
FOR_MIG = {PLUGIN: "paused-for-mig-change"}


@pytest.mark.parametrize(
    ("labels", "facts", "passes"),
    [
        pytest.param({}, (), False, id="nothing"),
        pytest.param({PLUGIN: "true", GFD: "true"}, (), False, id="on"),
        pytest.param({PLUGIN: "false"}, (), False, id="off by hand"),
        pytest.param({UPGRADE: "upgrade-done"}, (), False, id="upgraded"),
        pytest.param({UPGRADE: "unknown"}, (), False, id="unknown"),
        pytest.param({UPGRADE: "upgrade-required"}, (), False, id="not begun"),
        pytest.param({UPGRADE: "drain-required"}, (UPGRADE, "drain-required"), True, id="upgrade"),
        pytest.param({UPGRADE: "upgrade-failed"}, (UPGRADE, "upgrade-failed"), False, id="failed"),
        pytest.param(
            {UPGRADE: "upgrade-done", GFD: "paused-for-driver-upgrade"},
            (GFD, "paused-for-driver-upgrade"),
            True,
            id="a driver pod starts",
        ),
        pytest.param(
            {PLUGIN: "paused-for-vm-device-config"}, (PLUGIN,), True, id="any other controller"
        ),
        pytest.param({MIG: "pending"}, (MIG, "pending"), True, id="MIG"),
        pytest.param({MIG: "rebooting", **FOR_MIG}, (MIG, "rebooting"), True, id="MIG, rebooting"),
        pytest.param({MIG: "success"}, (), False, id="MIG, done"),
    ],
)
def test_maintenance(labels: dict[str, str], facts: tuple[str, ...], passes: bool) -> None:
    node = NodeState("n", labels)
    assert mentions(maintenance(node), *facts)
    assert bool(maintenance(node)) is bool(facts)
    assert passes_by_itself(maintenance(node)) is passes


def test_maintenance_of_mig_that_is_ours() -> None:
    ours = NodeState("n", {MIG_LABEL: "all-1g.10gb", MIG: "pending", **FOR_MIG})
    assert maintenance(ours)
    assert not maintenance(ours, mig="all-1g.10gb")
    assert mentions(maintenance(ours, mig="all-disabled"), MIG, "pending")
    also = NodeState("n", {**ours.labels, UPGRADE: "pod-restart-required"})
    assert mentions(maintenance(also, mig="all-1g.10gb"), UPGRADE)
