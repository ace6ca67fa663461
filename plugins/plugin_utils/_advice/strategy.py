# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: which sharing strategy fits a GPU, its isolation and its workload."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import either
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.values import quote
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._advice.errors import AdviceError
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._advice.measured import (
    SATURATED_LOSS,
    SHORT_STEPS_LOSS,
    SLICE_MS,
)
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._advice.products import (
    Gpu,
    read_product,
)

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
        " waited-for steps, nearly nothing when bursty",
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
        "slots": "up to 7 devices of fixed sizes, which may be time-sliced again",
        "gpus": "A100, A30, H100, H200, B200 and newer of their kind; RTX PRO 6000, 5000 and 4500",
        "change": "the GPU has to be idle, some need a reboot",
        "cost": "sizes are fixed, and what is left over is lost",
    },
)


def sharing_strategy(
    product: object, isolation: object, workload: object, compute_capability: object = None
) -> dict[str, object]:
    """Which strategy fits: {strategy, reasons, comparison}.

    product is a GPU's name, as in nvidia.com/gpu.product; isolation is what neighbours must be kept
    from (none, memory, faults); workload is bursty, short_steps or saturating; compute_capability
    is major.minor, for products that are not known here. Raises AdviceError for anything else.
    """
    for name, value, allowed in (
        ("isolation", isolation, ISOLATION),
        ("workload", workload, WORKLOADS),
    ):
        if value not in allowed:
            raise AdviceError(f"{name} is {quote(value)}; allowed: {either(allowed)}.")
    if not isinstance(product, str) or not product.strip():
        raise AdviceError(
            f"The GPU's product is {quote(product)}; allowed: its name, as the node label"
            " nvidia.com/gpu.product has it."
        )
    gpu = read_product(product, _capability(compute_capability))
    if gpu.maker:
        raise AdviceError(
            f"The GPU's product is {quote(product)}, which is {gpu.maker}'s; allowed: a GPU of"
            " NVIDIA."
        )
    strategy, reasons = _choose(gpu, str(isolation), str(workload))
    return {"strategy": strategy, "reasons": reasons, "comparison": [dict(r) for r in COMPARISON]}


def _capability(value: object) -> tuple[int, int] | None:
    """A compute capability as people write it: '8.0', or the number that YAML makes of 8.0."""
    if value is None:
        return None
    written = str(value) if isinstance(value, str | float) else ""
    match = re.fullmatch(r"([0-9]{1,2})\.([0-9])", written)
    if match is None:
        raise AdviceError(
            f"compute_capability is {quote(value)}; allowed: major.minor such as '8.0', as the node"
            " labels nvidia.com/gpu.compute.major and nvidia.com/gpu.compute.minor have it."
        )
    return int(match[1]), int(match[2])


def _choose(gpu: Gpu, isolation: str, workload: str) -> tuple[str, list[str]]:
    if isolation == "faults":
        return _keep_faults_away(gpu)
    if isolation == "memory":
        return _limit_memory(gpu)
    if workload == "saturating":
        return "none", [
            "One process alone fills the GPU: sharing adds no throughput and costs some"
            f" {SATURATED_LOSS} %.",
            "Share by time-slicing only to let several wait for one GPU fairly.",
        ]
    if workload == "short_steps":
        return _run_short_steps(gpu)
    return "time_slicing", [
        "The GPU is idle most of the time: bursts of several processes fit beside each other at"
        " nearly no cost.",
        "Memory is not limited: set a limit in each program (filter memory_budget).",
    ]


def _keep_faults_away(gpu: Gpu) -> tuple[str, list[str]]:
    if gpu.mig_device:
        return "mig", [
            "This is a MIG device, which keeps faults and memory use of other devices away.",
            "Give each tenant a device of its own (replicas 1): those who share one have nothing"
            " between them.",
        ]
    if gpu.mig:
        return "mig", ["Only MIG keeps a neighbour's faults and memory use away."]
    if gpu.virtual:
        lacking = "a vGPU is cut by its hypervisor, not here"
    elif not gpu.architecture:
        lacking = (
            f"{quote(gpu.product)} is no product known here, so it counts as without MIG; the node"
            " label nvidia.com/mig.capable tells whether it has"
        )
    else:
        lacking = "this GPU knows no MIG"
    return "none", [
        f"Only MIG keeps a neighbour's faults away, and {lacking}.",
        "Give each tenant a GPU of its own (replicas 1).",
    ]


def _limit_memory(gpu: Gpu) -> tuple[str, list[str]]:
    if gpu.mig_device:
        return "mig", [
            "This is a MIG device, whose memory is its own; MPS takes no MIG devices.",
            "Give each tenant a device of its own (replicas 1): time-slicing limits nothing.",
        ]
    if gpu.takes_mps:
        return "mps", [
            "MPS limits each client to its share of the memory; time-slicing limits nothing.",
            "One client's fault ends all clients of the GPU: where that matters, ask for isolation"
            " of faults.",
        ]
    return "none", [
        f"MPS limits memory from Volta on, and {_without_mps(gpu)}.",
        "Give each tenant a GPU of its own (replicas 1).",
    ]


def _run_short_steps(gpu: Gpu) -> tuple[str, list[str]]:
    lost = (
        f"Short steps that are waited for lose {SHORT_STEPS_LOSS} % of their throughput to the"
        " switching of"
    )
    if gpu.mig_device:
        return "mig", [
            f"{lost} time-slicing; MIG devices run side by side, and MPS takes none of them.",
            "Give each process a device of its own (replicas 1), a smaller one if need be.",
        ]
    if gpu.takes_mps:
        return "mps", [
            f"{lost} time-slicing; MPS runs them side by side.",
            "One client's fault ends all clients of the GPU.",
        ]
    return "time_slicing", [
        f"{lost} time-slicing; MPS runs them side by side from Volta on, and {_without_mps(gpu)}.",
        "Memory is not limited: set a limit in each program (filter memory_budget).",
    ]


def _without_mps(gpu: Gpu) -> str:
    """Why a GPU counts as one without MPS."""
    if gpu.jetson:
        return "the device plugin has no MPS for Jetson modules"
    if gpu.capability is None:
        return (
            f"{quote(gpu.product)} is no product known here, so it counts as older; its compute"
            " capability (compute_capability) would tell"
        )
    major, minor = gpu.capability
    known = f"compute capability {major}.{minor}"
    return f"this GPU is older ({gpu.architecture or known})"
