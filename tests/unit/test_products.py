# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a GPU's name says: its architecture, MIG, MPS, and whether it is NVIDIA's at all."""

from __future__ import annotations

import pytest

from ansible_collections.gpufleet.sharing.plugins.plugin_utils._advice.products import read_product


@pytest.mark.parametrize(
    "product",
    [
        "NVIDIA-A100-SXM4-80GB",
        "NVIDIA-A100-PCIE-40GB",
        "NVIDIA-A100-80GB-PCIe",
        "NVIDIA A30",
        "a100",
        "NVIDIA-A800-SXM4-80GB",
        "NVIDIA-H100-80GB-HBM3",
        "NVIDIA-H100-80GB-HBM3-SHARED",
        "NVIDIA-H100-NVL",
        "HGX H100",
        "NVIDIA-H20",
        "NVIDIA-H200",
        "NVIDIA-GH200-480GB",
        "NVIDIA-B200",
        "NVIDIA-B300-SXM6-AC",
        "NVIDIA-GB200",
        "NVIDIA_GB300",
        "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition",
        "NVIDIA-RTX-PRO-6000-Blackwell-Max-Q-Workstation-Edition",
        "NVIDIA RTX PRO 5000 Blackwell",
        "NVIDIA-RTX-PRO-4500-Blackwell",
    ],
)
def test_mig_capable(product: str) -> None:
    gpu = read_product(product)
    assert gpu.mig
    assert gpu.takes_mps
    assert not gpu.mig_device


@pytest.mark.parametrize(
    ("product", "architecture"),
    [
        ("Tesla-V100-PCIE-16GB", "Volta"),
        ("Tesla-V100S-PCIE-32GB", "Volta"),
        ("Quadro-GV100", "Volta"),
        ("NVIDIA-TITAN-V", "Volta"),
        ("Tesla-T4", "Turing"),
        ("NVIDIA-T400-4GB", "Turing"),
        ("NVIDIA T1000 8GB", "Turing"),
        ("Quadro-RTX-6000", "Turing"),
        ("NVIDIA-TITAN-RTX", "Turing"),
        ("NVIDIA-GeForce-GTX-1650", "Turing"),
        ("NVIDIA-GeForce-GTX-1660-SUPER", "Turing"),
        ("NVIDIA-GeForce-GTX-1660-Ti", "Turing"),
        ("NVIDIA-GeForce-RTX-2080-Ti", "Turing"),
        ("NVIDIA-GeForce-MX450", "Turing"),
        ("NVIDIA-A10", "Ampere"),
        ("NVIDIA-A10G", "Ampere"),
        ("NVIDIA-A16", "Ampere"),
        ("NVIDIA-A2", "Ampere"),
        ("NVIDIA-A40", "Ampere"),
        ("NVIDIA-RTX-A6000", "Ampere"),
        ("NVIDIA-RTX-A1000-Laptop-GPU", "Ampere"),
        ("NVIDIA-GeForce-RTX-3090", "Ampere"),
        ("NVIDIA-L4", "Ada"),
        ("NVIDIA-L40S-SHARED", "Ada"),
        ("NVIDIA-RTX-6000-Ada-Generation", "Ada"),
        ("NVIDIA-RTX-4000-SFF-Ada-Generation", "Ada"),
        ("NVIDIA-GeForce-RTX-4090-Laptop-GPU", "Ada"),
        ("NVIDIA-GeForce-RTX-5090", "Blackwell"),
        ("NVIDIA-RTX-PRO-4000-Blackwell", "Blackwell"),
        ("NVIDIA RTX PRO 2000 Blackwell", "Blackwell"),
        ("NVIDIA-RTX-PRO-5000-Blackwell-Generation-Laptop-GPU", "Blackwell"),
        ("NVIDIA-GB10", "Blackwell"),
        ("NVIDIA-A100-40C", "Ampere"),  # vGPUs
        ("GRID-A100D-3-40C", ""),
    ],
)
def test_volta_or_newer_without_mig(product: str, architecture: str) -> None:
    gpu = read_product(product)
    assert (gpu.architecture, gpu.mig) == (architecture, False)
    assert gpu.takes_mps == bool(architecture)


@pytest.mark.parametrize(
    "product",
    [
        "Quadro-P4000",
        "Quadro-P6000",
        "Quadro P5000",
        "Quadro-P2000",
        "Quadro-P1000",
        "Quadro-P400",
        "Quadro-GP100",
        "Tesla-P100-PCIE-16GB",
        "Tesla-P4",
        "Tesla-P40",
        "NVIDIA-TITAN-Xp",
        "NVIDIA-TITAN-X-Pascal",
        "GeForce-GTX-TITAN-X",
        "GeForce-GTX-TITAN-Black",
        "NVIDIA-GeForce-GTX-1080-Ti",
        "gtx1080ti",
        "NVIDIA-GeForce-GT-1030",
        "NVIDIA-GeForce-MX150",
        "NVIDIA-GeForce-MX330",
        "GeForce-930M",
        "GeForce-940MX",
        "GeForce-GTX-960M",
        "Tesla-M60",
        "Quadro-M6000-24GB",
        "Quadro-M2000M",
        "Quadro-K620",
        "Tesla-K80",
        "Tesla-K40m",
        "GRID-K520",
        "NVS-810",
        "P106-100",
    ],
)
def test_older_than_volta(product: str) -> None:
    gpu = read_product(product)
    assert gpu.architecture
    assert not gpu.takes_mps
    assert not gpu.mig


@pytest.mark.parametrize(
    "product",
    [
        "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb",
        "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb-SHARED",
        "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb.me",
        "NVIDIA-A100-SXM4-40GB-MIG-INVALID",
        "A30 MIG 1g.6gb",
        "NVIDIA-R100-MIG-1g.40gb",
    ],
)
def test_mig_devices_take_no_mps(product: str) -> None:
    gpu = read_product(product, (9, 0))
    assert gpu.mig_device
    assert not gpu.takes_mps


@pytest.mark.parametrize(
    "product",
    ["Orin", "NVIDIA-Jetson-AGX-Orin", "Jetson-Orin-Nano", "Jetson-T5000", "Thor", "Xavier"],
)
def test_jetson_modules_take_no_mps(product: str) -> None:
    gpu = read_product(product)
    assert gpu.jetson
    assert not gpu.takes_mps
    assert not gpu.mig


@pytest.mark.parametrize(
    ("product", "maker"),
    [
        ("MI300X", "AMD"),
        ("AMD-Instinct-MI300X-OAM", "AMD"),
        ("AMD Radeon RX 7900", "AMD"),
        ("Intel-Data-Center-GPU-Max-1550", "Intel"),
        ("HL-225", "Intel"),
        ("Ascend 910B", "Huawei"),
        ("NVIDIA-MX450", ""),
    ],
)
def test_other_makers(product: str, maker: str) -> None:
    assert read_product(product).maker == maker


@pytest.mark.parametrize("product", ["NVIDIA-R100", "A1OO", "A1000", "NVIDIA", "-", "A100SXM"])
def test_names_in_no_family(product: str) -> None:
    gpu = read_product(product)
    assert (gpu.architecture, gpu.capability, gpu.mig, gpu.takes_mps) == ("", None, False, False)
    assert read_product(product, (7, 0)).takes_mps
    assert not read_product(product, (6, 1)).takes_mps


def test_the_compute_capability_counts_more_than_the_name() -> None:
    assert not read_product("Tesla-T4", (6, 1)).takes_mps
    assert read_product("Quadro-P4000", (7, 5)).takes_mps
