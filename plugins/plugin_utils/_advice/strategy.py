# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: which sharing strategy fits a GPU, its isolation and its workload."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ...module_utils._common.text import either
from ...module_utils._common.values import quote
from .errors import AdviceError
from .measured import SATURATED_LOSS, SHORT_STEPS_LOSS, SLICE_MS
from .products import Gpu, read_product

ISOLATION = ("none", "memory", "faults")
WORKLOADS = ("bursty", "short_steps", "saturating")
COMPARISON: tuple[Mapping[str, str], ...] = (
    {
        "strategy": "time_slicing",
        "shares": f"time: one process runs at a time, each for a slice of about {SLICE_MS} ms",
        "memory": "not limited, not isolated",
        "faults": "not isolated",
        "slots": "2 or more, no upper bound",
        "gpus": "all",
        "change": "at once, running pods stay",
        "cost": f"{SATURATED_LOSS} % of throughput when saturated, {SHORT_STEPS_LOSS} % with short"
        " synchronous steps, almost none when bursty",
    },
    {
        "strategy": "mps",
        "shares": "space: kernels of several processes run side by side",
        "memory": "limited to total / replicas for each client",
        "faults": "not isolated: one client's fault ends all clients of the GPU",
        "slots": "2 to 48 (16 below compute capability 7.5)",
        "gpus": "whole GPUs, no MIG devices",
        "change": "the MPS daemon restarts, and clients with it",
        "cost": "one server for all clients; requests of one slot only",
    },
    {
        "strategy": "mig",
        "shares": "hardware: each device has its own compute units and memory",
        "memory": "isolated",
        "faults": "isolated",
        "slots": "up to 7 devices of fixed sizes, which can be time-sliced",
        "gpus": "A100, A30, H100, H200, B200 and their successors; RTX PRO 6000, 5000 and 4500",
        "change": "the GPU must be idle, some need a reboot",
        "cost": "sizes are fixed, and the remainder is lost",
    },
)


def sharing_strategy(
    product: object, isolation: object, workload: object, compute_capability: object = None
) -> dict[str, object]:
    """The strategy that fits: {strategy, reasons, comparison}.

    product is a GPU's name, as in nvidia.com/gpu.product; isolation is what to isolate
    neighbours from (none, memory, faults); workload is bursty, short_steps or saturating;
    compute_capability is major.minor, for unknown products. Raises AdviceError for other values.
    """
    for name, value, allowed in (
        ("isolation", isolation, ISOLATION),
        ("workload", workload, WORKLOADS),
    ):
        if value not in allowed:
            raise AdviceError(f"{name} is {quote(value)}; allowed: {either(allowed)}.")
    if not isinstance(product, str) or not product.strip():
        raise AdviceError(
            f"The GPU's product is {quote(product)}; allowed: its name, as in the node label"
            " nvidia.com/gpu.product."
        )
    gpu = read_product(product, _capability(compute_capability))
    if gpu.maker:
        raise AdviceError(
            f"The GPU's product is {quote(product)}, a GPU of {gpu.maker}; allowed: a GPU of"
            " NVIDIA."
        )
    strategy, reasons = _choose(gpu, str(isolation), str(workload))
    return {"strategy": strategy, "reasons": reasons, "comparison": [dict(r) for r in COMPARISON]}


def _capability(value: object) -> tuple[int, int] | None:
    """A compute capability: the string '8.0', or the number 8.0."""
    if value is None:
        return None
    written = str(value) if isinstance(value, str | float) else ""
    match = re.fullmatch(r"([0-9]{1,2})\.([0-9])", written)
    if match is None:
        raise AdviceError(
            f"compute_capability is {quote(value)}; allowed: major.minor such as '8.0', as in the"
            " node labels nvidia.com/gpu.compute.major and nvidia.com/gpu.compute.minor."
        )
    return int(match[1]), int(match[2])


def _choose(gpu: Gpu, isolation: str, workload: str) -> tuple[str, list[str]]:
    if isolation == "faults":
        return _isolate_faults(gpu)
    if isolation == "memory":
        return _limit_memory(gpu)
    if workload == "saturating":
        return "none", [
            "One process fills the GPU: sharing adds no throughput and costs about"
            f" {SATURATED_LOSS} %.",
            "Use time-slicing only where several processes need a fair share of one GPU.",
        ]
    if workload == "short_steps":
        return _run_short_steps(gpu)
    return "time_slicing", [
        "The GPU is idle most of the time, so bursts of several processes share it at almost no"
        " cost.",
        "Memory is not limited: set a limit in each program (filter memory_budget).",
    ]


def _isolate_faults(gpu: Gpu) -> tuple[str, list[str]]:
    if gpu.mig_device:
        return "mig", [
            "This is a MIG device, isolated from faults and memory use of other devices.",
            "Give each tenant its own device (replicas 1): within a device nothing is isolated.",
        ]
    if gpu.mig:
        return "mig", ["Only MIG isolates faults and memory use."]
    if gpu.virtual:
        lacking = "the hypervisor configures MIG for a vGPU"
    elif not gpu.architecture:
        lacking = (
            f"{quote(gpu.product)} is an unknown product and counts as without MIG; the node label"
            " nvidia.com/mig.capable shows whether it supports MIG"
        )
    else:
        lacking = "this GPU does not support MIG"
    return "none", [
        f"Only MIG isolates faults, and {lacking}.",
        "Give each tenant its own GPU (replicas 1).",
    ]


def _limit_memory(gpu: Gpu) -> tuple[str, list[str]]:
    if gpu.mig_device:
        return "mig", [
            "This is a MIG device with its own memory; MPS does not support MIG devices.",
            "Give each tenant its own device (replicas 1): time-slicing does not limit memory.",
        ]
    if gpu.takes_mps:
        return "mps", [
            "MPS limits each client to its share of the memory; time-slicing does not.",
            "A fault of one client ends all clients of the GPU. If that matters, choose the"
            " isolation faults.",
        ]
    return "none", [
        f"MPS limits memory on Volta and newer GPUs, and {_without_mps(gpu)}.",
        "Give each tenant its own GPU (replicas 1).",
    ]


def _run_short_steps(gpu: Gpu) -> tuple[str, list[str]]:
    lost = (
        f"Short synchronous steps lose {SHORT_STEPS_LOSS} % of their throughput to the switches of"
    )
    if gpu.mig_device:
        return "mig", [
            f"{lost} time-slicing; MIG devices run in parallel, and MPS does not support them.",
            "Give each process its own device (replicas 1), a smaller one if necessary.",
        ]
    if gpu.takes_mps:
        return "mps", [
            f"{lost} time-slicing; MPS runs them in parallel.",
            "A fault of one client ends all clients of the GPU.",
        ]
    return "time_slicing", [
        f"{lost} time-slicing; MPS needs Volta or newer, and {_without_mps(gpu)}.",
        "Memory is not limited: set a limit in each program (filter memory_budget).",
    ]


def _without_mps(gpu: Gpu) -> str:
    """Why a GPU counts as one without MPS."""
    if gpu.jetson:
        return "the device plugin does not support MPS on Jetson modules"
    if gpu.capability is None:
        return (
            f"{quote(gpu.product)} is an unknown product and counts as older; pass its compute"
            " capability (compute_capability)"
        )
    major, minor = gpu.capability
    known = f"compute capability {major}.{minor}"
    return f"this GPU is older ({gpu.architecture or known})"
