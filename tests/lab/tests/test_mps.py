# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""MPS in the simulator: what must be there before the plugin serves, and its limits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from labclient import GFD, MPS_DAEMON, Client, until

pytestmark = [pytest.mark.lab, pytest.mark.full("MPS of the simulator; test_strategies uses it")]
NODE = "whole-01"  # two A100
OLD = "old-01"  # one V100
NO_DAEMON = "the MPS control daemon does not serve nvidia.com/gpu"


@pytest.fixture(autouse=True)
def single(cards: Client) -> Iterator[None]:
    """MIG strategy single before, no profile labels after."""
    cards.strategy("single")
    cards.touched.clear()
    yield
    for node in cards.touched:
        cards.label(node, None)


def crash_loops(cards: Client, node: str, app: str) -> None:
    until(lambda: "CrashLoopBackOff" in cards.waiting(node, app), f"{app} on {node} crash-loops")


def test_plugin_serves_nothing_until_the_daemon_runs(cards: Client) -> None:
    cards.settle(NODE, 8)
    with cards.notes(NODE) as notes:
        cards.label(NODE, "mps-16")
        cards.settle(NODE, 32)
    assert any(NO_DAEMON in note.get("error", "") for note in notes)  # the plugin has waited
    cards.labelled(
        NODE,
        {
            "mps.capable": "true",
            "gpu.sharing-strategy": "mps",
            "gpu.replicas": "16",
            "gpu.product": "NVIDIA-A100-SXM4-80GB-SHARED",
        },
    )
    assert cards.ready(NODE, MPS_DAEMON)
    cards.label(NODE, None)
    cards.settle(NODE, 8)
    cards.labelled(NODE, {"mps.capable": "false"})
    until(lambda: cards.pod(NODE, MPS_DAEMON) is None, "no MPS daemon")


def test_without_gfd_there_is_no_daemon(cards: Client) -> None:
    cards.label(NODE, "false", "nvidia.com/gpu.deploy.gpu-feature-discovery")
    until(lambda: cards.pod(NODE, GFD) is None, "no GFD")
    cards.label(NODE, "mps-4")
    cards.stuck(NODE, NO_DAEMON)
    assert cards.ready(NODE)
    assert cards.pod(NODE, MPS_DAEMON) is None
    cards.label(NODE, "true", "nvidia.com/gpu.deploy.gpu-feature-discovery")
    cards.settle(NODE, 8)
    assert cards.ready(NODE, MPS_DAEMON)


@pytest.mark.parametrize(
    ("node", "good", "slots", "bad"),
    [(NODE, "mps-48", 96, "mps-49"), (OLD, "mps-16", 16, "mps-17")],
)
def test_clients_are_limited(cards: Client, node: str, good: str, slots: int, bad: str) -> None:
    cards.label(node, good)
    cards.settle(node, slots)
    cards.label(node, bad)
    cards.stuck(node, NO_DAEMON)
    crash_loops(cards, node, MPS_DAEMON)
    assert cards.ready(node)
    cards.labelled(node, {"mps.capable": "true", "gpu.replicas": bad.removeprefix("mps-")})


def test_mig_devices_are_refused(cards: Client) -> None:
    cards.label("alike-01", "mps-4")
    cards.stuck("alike-01", "MPS does not share MIG devices")
    crash_loops(cards, "alike-01", GFD)
    assert cards.pod("alike-01", MPS_DAEMON) is None
