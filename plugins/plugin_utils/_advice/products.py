# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: GPU products: architecture, compute capability, MIG and MPS support.

Sources: NVIDIA's tables of compute capabilities (developer.nvidia.com/cuda-gpus and
cuda-legacy-gpus), and "Supported GPUs" in its MIG User Guide for driver 610. Names in the label
nvidia.com/gpu.product: k8s-device-plugin v0.19.3, internal/lm/resource.go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

VOLTA = (7, 0)


@dataclass(frozen=True)
class Family:
    """Products of one architecture, as a pattern for their names without NVIDIA's brands.

    capability is the lowest compute capability of the architecture. jetson marks modules, for
    which the device plugin does not support MPS.
    """

    architecture: str
    capability: tuple[int, int]
    products: str
    mig: bool = False
    jetson: bool = False


FAMILIES = (
    # Data centre
    Family("Blackwell", (10, 0), r"G?B[123]00", mig=True),
    Family("Hopper", (9, 0), r"H100L?|H200|H800|H20|GH200", mig=True),
    Family("Ada", (8, 9), r"L2|L4|L20|L40[SG]?"),
    Family("Ampere", (8, 0), r"A100X?|A800|A30X?", mig=True),
    Family("Ampere", (8, 0), r"A2|A10[GM]?|A16|A40"),
    Family("Turing", (7, 5), r"T4G?|T10|T40"),
    Family("Volta", (7, 0), r"V100S?"),
    Family("Pascal", (6, 0), r"P4|P6|P40|P100"),
    Family("Maxwell", (5, 0), r"M4|M6|M10|M40|M60"),
    Family("Kepler", (3, 0), r"K[0-9]{1,2}[A-Z]*"),
    # Workstation
    Family("Blackwell", (10, 0), r"RTX-PRO-(6000|5000|4500)(?!.*LAPTOP)", mig=True),
    Family("Blackwell", (10, 0), r"RTX-PRO-[0-9]+D?|GB10"),
    Family("Ada", (8, 9), r"RTX-?[0-9]+(-SFF)?-ADA"),
    Family("Ampere", (8, 0), r"RTX-?A[0-9]+"),
    Family("Turing", (7, 5), r"RTX-?[34568]000|T(400|500|550|600|1000|1200|2000)|TITAN-RTX"),
    Family("Volta", (7, 0), r"GV100|TITAN-V"),
    Family("Pascal", (6, 0), r"GP100|P[0-9]{3,4}|TITAN-XP?"),
    Family("Maxwell or older", (2, 0), r"[KM][0-9]{3,4}[DM]?|NVS-[0-9]+|TITAN"),
    # Consumer
    Family("Blackwell", (10, 0), r"RTX-?50[5-9]0(TI)?"),
    Family("Ada", (8, 9), r"RTX-?40[5-9]0(TI)?"),
    Family("Ampere", (8, 0), r"RTX-?30[5-9]0(TI)?|RTX-?2050|MX570"),
    Family("Turing", (7, 5), r"RTX-?20[6-8]0(TI)?|GTX-?16[0-9]{2}(TI)?|MX450|MX550"),
    Family("Pascal or older", (2, 0), r"(GTX|GTS|GT)-?([0-9]{3,4}M?X?(TI)?|TITAN)"),
    Family("Pascal or older", (2, 0), r"[3-9][0-9]{2}[AM]X?|MX[123][0-9]{2}"),
    # Modules
    Family("Blackwell", (10, 0), r"(AGX-)?THOR|T[45]000", jetson=True),
    Family("Ampere", (8, 0), r"(AGX-)?ORIN", jetson=True),
    Family("Volta", (7, 0), r"(AGX-)?XAVIER", jetson=True),
    Family("Pascal or older", (2, 0), r"TX[12]|NANO|TEGRA", jetson=True),
)
# Prefixes of names of other vendors' GPUs.
OTHER_MAKERS = (
    ("AMD", r"AMD|RADEON|INSTINCT|MI[0-9]{2,3}[AX]?|RX-?[0-9]{3,4}"),
    ("Intel", r"INTEL|GAUDI[0-9]?|ARC|HL-[0-9]+"),
    ("Huawei", r"HUAWEI|ASCEND"),
    ("Google", r"GOOGLE|TPU|CLOUD-TPU"),
)
_BRANDS = re.compile(r"^((NVIDIA|TESLA|QUADRO|GEFORCE|GRID|HGX|DGX|JETSON)-)+")
_MIG_DEVICE = re.compile(r"(.*-)?MIG(-.*)?")
_VIRTUAL = re.compile(r".*-[0-9]+[ABCQ](ME)?")


@dataclass(frozen=True)
class Gpu:
    """A GPU product. architecture is empty and capability None where the name is in no family."""

    product: str
    architecture: str = ""
    capability: tuple[int, int] | None = None
    mig: bool = False  # the GPU supports MIG
    mig_device: bool = False  # this is a MIG device
    virtual: bool = False  # a vGPU: the hypervisor configures MIG
    jetson: bool = False
    maker: str = ""  # empty for NVIDIA

    @property
    def takes_mps(self) -> bool:
        """Whether MPS supports it with a memory limit for each client: Volta and newer."""
        modern = self.capability is not None and self.capability >= VOLTA
        return modern and not self.mig_device and not self.jetson


def read_product(product: str, capability: tuple[int, int] | None = None) -> Gpu:
    """A GPU by its name, as GPU feature discovery or people write it, and its compute capability,
    where known.
    """
    name = re.sub(r"[^A-Z0-9.]+", "-", product.upper()).strip("-").removesuffix("-SHARED")
    for maker, names in OTHER_MAKERS:
        if _begins(name, names):
            return Gpu(product, maker=maker)
    is_device = _MIG_DEVICE.fullmatch(name) is not None
    virtual = not is_device and _VIRTUAL.fullmatch(name) is not None
    family = _family(_BRANDS.sub("", name, count=1), jetson="JETSON" in name)
    if family is None:
        return Gpu(product, "", capability, mig_device=is_device, virtual=virtual)
    return Gpu(
        product=product,
        architecture=family.architecture,
        capability=capability or family.capability,
        mig=family.mig and not virtual,
        mig_device=is_device,
        virtual=virtual,
        jetson=family.jetson,
    )


def _family(name: str, *, jetson: bool) -> Family | None:
    """The first family that has a product of this name."""
    families = [family for family in FAMILIES if family.jetson or not jetson]
    return next((family for family in families if _begins(name, family.products)), None)


def _begins(name: str, products: str) -> bool:
    """Whether a name is one of the products, with or without more words after it."""
    return re.fullmatch(rf"({products})(-.*)?", name) is not None
