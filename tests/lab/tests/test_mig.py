# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""MIG in the simulator: the rows "MIG single" and "MIG mixed" of FACTS 3."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from labclient import CONFIG_MAP, GFD, PROFILES, Client, LabCommand, slices, until

pytestmark = pytest.mark.lab
FLEET = Path(__file__).resolve().parents[1] / "fleets" / "mig.yml"
A100 = "NVIDIA-A100-SXM4-80GB"
MIG_SHARED = slices(3).replace("nvidia.com/gpu", "nvidia.com/mig-1g.10gb")
MIG_RENAMED = MIG_SHARED.replace("resources:", "renameByDefault: true, resources:")


@pytest.fixture(scope="module")
def client(lab_command: LabCommand) -> Client:
    """A lab with every layout, and the operator with MIG strategy single."""
    name = lab_command.unique("mig")
    lab_command.run("up", "--name", name, "--fleet", str(FLEET), "--set", "mig_apply=2s")
    found = Client(lab_command.environment_of(name))
    found.install_operator({**PROFILES, "mig": MIG_SHARED, "mig-renamed": MIG_RENAMED})
    return found


def strategy(client: Client, value: str) -> None:
    client.point_at(CONFIG_MAP, "default", f"mig.strategy={value}")


def labels(client: Client, node: str, want: Mapping[str, str | None]) -> None:
    """Wait for labels (without nvidia.com/); None: there is no such label."""

    def differing() -> dict[str, str | None]:
        have = client.node(node)["metadata"]["labels"]
        found = {key: have.get(f"nvidia.com/{key}") for key in want}
        return {key: value for key, value in found.items() if value != want[key]}

    until(lambda: not differing(), f"labels of {node}: {differing()} instead of {dict(want)}")


def test_single(client: Client) -> None:
    strategy(client, "single")
    client.settle("whole-01", 8)
    labels(client, "whole-01", {"gpu.count": "2", "mig.strategy": "single"})
    client.settle("alike-01", 56)
    labels(
        client,
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


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        ("balanced-01", "more than one MIG profile"),
        ("partly-01", "some GPUs are in MIG mode and some are not"),
        ("empty-01", "in MIG mode but has no MIG devices"),
    ],
)
def test_single_wants_all_gpus_cut_alike(client: Client, node: str, reason: str) -> None:
    strategy(client, "single")
    until(lambda: reason in client.loaded(node).get("error", ""), f"{node}: {reason}")
    client.settle(node, 0)
    labels(client, node, {"gpu.count": "0", "gpu.replicas": "0", "gpu.sharing-strategy": ""})
    assert str(client.node_label(node, "nvidia.com/gpu.product")).endswith("-MIG-INVALID")


def test_mixed(client: Client) -> None:
    strategy(client, "mixed")
    client.settle("alike-01", 14, "nvidia.com/mig-1g.10gb")
    client.settle("alike-01", 0)
    labels(
        client,
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
        client.settle("balanced-01", devices, f"nvidia.com/mig-{profile}")
    client.settle("partly-01", 4)
    client.settle("partly-01", 2, "nvidia.com/mig-3g.20gb")
    labels(client, "partly-01", {"gpu.count": "2", "gpu.replicas": "4", "mig-3g.20gb.count": "2"})
    client.settle("empty-01", 0)
    labels(client, "empty-01", {"gpu.count": "1", "gpu.replicas": "0"})


def test_mixed_shared(client: Client) -> None:
    strategy(client, "mixed")
    client.label("alike-01", "mig")
    client.settle("alike-01", 42, "nvidia.com/mig-1g.10gb")
    labels(
        client,
        "alike-01",
        {
            "mig-1g.10gb.replicas": "3",
            "mig-1g.10gb.product": f"{A100}-MIG-1g.10gb-SHARED",
            "mig-1g.10gb.sharing-strategy": "time-slicing",
        },
    )
    client.label("alike-01", "mig-renamed")
    client.settle("alike-01", 42, "nvidia.com/mig-1g.10gb.shared")
    client.settle("alike-01", 0, "nvidia.com/mig-1g.10gb")
    labels(client, "alike-01", {"mig-1g.10gb.product": f"{A100}-MIG-1g.10gb"})
    client.label("alike-01", None)


def test_strategy_none_does_not_notice_mig(client: Client) -> None:
    strategy(client, "none")
    client.settle("alike-01", 8)
    client.settle("alike-01", 0, "nvidia.com/mig-1g.10gb")
    labels(
        client,
        "alike-01",
        {"gpu.count": "2", "gpu.replicas": "0", "mig.strategy": None, "mig-1g.10gb.count": None},
    )


def test_layout_can_be_changed_by_hand(client: Client) -> None:
    strategy(client, "single")
    client.annotate("whole-01", "lab.gpufleet.sharing/mig", '{"3g.40gb":2}')
    client.settle("whole-01", 16)
    client.annotate("whole-01", "lab.gpufleet.sharing/mig", '{"3g.40gb":3}')
    until(lambda: "does not fit" in client.loaded("whole-01").get("error", ""), "a wrong layout")
    client.annotate("whole-01", "lab.gpufleet.sharing/mig", None)
    client.settle("whole-01", 8)


def test_mig_manager_stops_its_clients_and_changes_the_layout(client: Client) -> None:
    strategy(client, "single")
    labels(client, "whole-01", {"mig.config": "all-disabled", "mig.config.state": "success"})
    client.label("whole-01", "all-3g.40gb", "nvidia.com/mig.config")
    labels(
        client,
        "whole-01",
        {
            "mig.config.state": "pending",
            "gpu.deploy.device-plugin": "paused-for-mig-change",
            "gpu.deploy.gpu-feature-discovery": "paused-for-mig-change",
        },
    )
    until(lambda: not (client.pod("whole-01") or client.pod("whole-01", GFD)), "no pods")
    labels(client, "whole-01", {"mig.config.state": "pending", "gpu.count": "2"})  # GFD's stay
    labels(client, "whole-01", {"mig.config.state": "success", "gpu.deploy.device-plugin": "true"})
    client.settle("whole-01", 16)
    labels(client, "whole-01", {"gpu.count": "4", "gpu.product": f"{A100}-MIG-3g.40gb-SHARED"})
    client.label("whole-01", "all-disabled", "nvidia.com/mig.config")
    client.settle("whole-01", 8)
    labels(client, "whole-01", {"mig.config.state": "success", "gpu.product": f"{A100}-SHARED"})


def test_mig_manager_fails(client: Client) -> None:
    strategy(client, "single")
    client.label("whole-01", "all-1g.11gb", "nvidia.com/mig.config")
    labels(client, "whole-01", {"mig.config.state": "failed"})
    client.settle("whole-01", 8)
    client.label("whole-01", "all-1g.5gb", "nvidia.com/mig.config")
    labels(client, "whole-01", {"mig.config.state": "pending"})
    labels(client, "whole-01", {"mig.config.state": "failed", "gpu.deploy.device-plugin": "true"})
    until(lambda: "no MIG devices" in client.loaded("whole-01").get("error", ""), "MIG, but empty")
    client.label("whole-01", "all-disabled", "nvidia.com/mig.config")
    client.settle("whole-01", 8)
