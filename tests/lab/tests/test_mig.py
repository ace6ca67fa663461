# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""MIG in the simulator: the rows "MIG single" and "MIG mixed" of FACTS 3."""

from __future__ import annotations

import pytest
from labclient import GFD, Client, until

pytestmark = pytest.mark.lab
A100 = "NVIDIA-A100-SXM4-80GB"


def test_single(cards: Client) -> None:
    cards.strategy("single")
    cards.settle("whole-01", 8)
    cards.labelled("whole-01", {"gpu.count": "2", "mig.strategy": "single"})
    cards.settle("alike-01", 56)
    cards.labelled(
        "alike-01",
        {
            "gpu.count": "14",
            "gpu.replicas": "4",
            "gpu.product": f"{A100}-MIG-1g.10gb-SHARED",
            "gpu.sharing-strategy": "time-slicing",
            "gpu.memory": "9728",
            "gpu.slices.gi": "1",
            "mig.capable": "true",
            "mig.config": "all-1g.10gb",
            "mig.config.state": "success",
        },
    )


@pytest.mark.full("another layout of MIG")
@pytest.mark.parametrize(
    ("node", "reason"),
    [
        ("balanced-01", "more than one MIG profile"),
        ("partly-01", "some GPUs are in MIG mode and some are not"),
        ("empty-01", "in MIG mode but has no MIG devices"),
    ],
)
def test_single_wants_all_gpus_cut_alike(cards: Client, node: str, reason: str) -> None:
    cards.strategy("single")
    cards.stuck(node, reason)
    cards.labelled(node, {"gpu.count": "0", "gpu.replicas": "0", "gpu.sharing-strategy": ""})
    assert str(cards.node_label(node, "nvidia.com/gpu.product")).endswith("-MIG-INVALID")


@pytest.mark.full("another layout of MIG")
def test_mixed(cards: Client) -> None:
    cards.strategy("mixed")
    cards.settle("alike-01", 14, "nvidia.com/mig-1g.10gb")
    cards.settle("alike-01", 0)
    cards.labelled(
        "alike-01",
        {
            "gpu.count": "2",
            "gpu.replicas": "0",
            "gpu.product": A100,
            "gpu.slices.gi": None,
            "mig.strategy": "mixed",
            "mig-1g.10gb.count": "14",
            "mig-1g.10gb.replicas": "1",
            "mig-1g.10gb.product": f"{A100}-MIG-1g.10gb",
            "mig-1g.10gb.sharing-strategy": "none",
            "mig-1g.10gb.memory": "9728",
        },
    )
    for profile, devices in (("1g.10gb", 2), ("2g.20gb", 1), ("3g.40gb", 1)):
        cards.settle("balanced-01", devices, f"nvidia.com/mig-{profile}")
    cards.settle("partly-01", 4)
    cards.settle("partly-01", 2, "nvidia.com/mig-3g.20gb")
    cards.labelled("partly-01", {"gpu.count": "2", "gpu.replicas": "4", "mig-3g.20gb.count": "2"})
    cards.settle("empty-01", 0)
    cards.labelled("empty-01", {"gpu.count": "1", "gpu.replicas": "0"})


@pytest.mark.full("another layout of MIG")
def test_mixed_shared(cards: Client) -> None:
    cards.strategy("mixed")
    cards.label("alike-01", "mig")
    cards.settle("alike-01", 42, "nvidia.com/mig-1g.10gb")
    cards.labelled(
        "alike-01",
        {
            "mig-1g.10gb.replicas": "3",
            "mig-1g.10gb.product": f"{A100}-MIG-1g.10gb-SHARED",
            "mig-1g.10gb.sharing-strategy": "time-slicing",
        },
    )
    cards.label("alike-01", "mig-renamed")
    cards.settle("alike-01", 42, "nvidia.com/mig-1g.10gb.shared")
    cards.settle("alike-01", 0, "nvidia.com/mig-1g.10gb")
    cards.labelled("alike-01", {"mig-1g.10gb.product": f"{A100}-MIG-1g.10gb"})
    cards.label("alike-01", None)


@pytest.mark.full("another layout of MIG")
def test_strategy_none_does_not_notice_mig(cards: Client) -> None:
    cards.strategy("none")
    cards.settle("alike-01", 8)
    cards.settle("alike-01", 0, "nvidia.com/mig-1g.10gb")
    cards.labelled(
        "alike-01",
        {"gpu.count": "2", "gpu.replicas": "0", "mig.strategy": None, "mig-1g.10gb.count": None},
    )


@pytest.mark.full("another layout of MIG")
def test_layout_can_be_changed_by_hand(cards: Client) -> None:
    cards.strategy("single")
    cards.annotate("whole-01", "lab.gpufleet.sharing/mig", '{"3g.40gb":2}')
    cards.settle("whole-01", 16)
    cards.annotate("whole-01", "lab.gpufleet.sharing/mig", '{"3g.40gb":3}')
    until(lambda: "does not fit" in cards.loaded("whole-01").get("error", ""), "a wrong layout")
    cards.annotate("whole-01", "lab.gpufleet.sharing/mig", None)
    cards.settle("whole-01", 8)


@pytest.mark.full("another layout of MIG")
def test_mig_manager_stops_its_clients_and_changes_the_layout(cards: Client) -> None:
    cards.strategy("single")
    cards.labelled("whole-01", {"mig.config": "all-disabled", "mig.config.state": "success"})
    cards.settle("whole-01", 8)
    held = cards.hold("whole-01")  # mig-manager waits for it
    cards.label("whole-01", "all-3g.40gb", "nvidia.com/mig.config")
    cards.labelled(
        "whole-01",
        {
            "mig.config.state": "pending",
            "gpu.deploy.device-plugin": "paused-for-mig-change",
            "gpu.deploy.gpu-feature-discovery": "paused-for-mig-change",
        },
    )
    until(lambda: not (cards.pod("whole-01") or cards.pod("whole-01", GFD)), "no pods")
    cards.labelled("whole-01", {"mig.config.state": "pending", "gpu.count": "2"})  # GFD's stay
    cards.let_go(held)
    cards.labelled("whole-01", {"mig.config.state": "success", "gpu.deploy.device-plugin": "true"})
    cards.settle("whole-01", 16)
    cards.labelled("whole-01", {"gpu.count": "4", "gpu.product": f"{A100}-MIG-3g.40gb-SHARED"})
    cards.label("whole-01", "all-disabled", "nvidia.com/mig.config")
    cards.settle("whole-01", 8)
    cards.labelled("whole-01", {"mig.config.state": "success", "gpu.product": f"{A100}-SHARED"})


@pytest.mark.full("another layout of MIG")
def test_mig_manager_fails(cards: Client) -> None:
    cards.strategy("single")
    cards.label("whole-01", "all-1g.11gb", "nvidia.com/mig.config")
    cards.labelled("whole-01", {"mig.config.state": "failed"})
    cards.settle("whole-01", 8)
    held = cards.hold("whole-01")
    cards.label("whole-01", "all-1g.5gb", "nvidia.com/mig.config")
    cards.labelled("whole-01", {"mig.config.state": "pending"})
    cards.let_go(held)
    cards.labelled("whole-01", {"mig.config.state": "failed", "gpu.deploy.device-plugin": "true"})
    until(lambda: "no MIG devices" in cards.loaded("whole-01").get("error", ""), "MIG, but empty")
    cards.label("whole-01", "all-disabled", "nvidia.com/mig.config")
    cards.settle("whole-01", 8)
