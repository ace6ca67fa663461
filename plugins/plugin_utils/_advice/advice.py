# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: advice on sharing: how many replicas, how much memory for each, and
which strategy.

The figures on memory and throughput are those of _measured.py; docs/sharing-cost.md tells where
they come from, and under which conditions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import SharingError
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import either
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.values import (
    shown,
    to_whole_number,
)
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._advice.measured import (
    CONTEXT_MIB,
    DRIVER_MIB,
    SATURATED_LOSS,
    SHORT_STEPS_LOSS,
    SLICE_MS,
)
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._advice.products import (
    Gpu,
    read_product,
)

LEAST_MIB = 128  # with less a slot holds no more than the libraries' own workspaces
MOST_MEMORY_MIB = 1_000_000  # more than any GPU has: a number of bytes, most likely
# vLLM's own default for a whole GPU. What it takes beyond it (its context, CUDA graphs) has to fit
# into the rest, and at its start that much of the GPU has to be free.
VLLM_FRACTION = 0.9
# How the GPU is used -> slots on it, by the recipe "GPU Time-Slicing on Kubernetes". The loss does
# not grow with slots, but the waiting does: measured, see docs/sharing-cost.md.
REPLICAS = {"exclusive": 1, "light": 2, "standard": 4, "heavy": 8, "maximum": 10}
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


class AdviceError(SharingError):
    """A question that cannot be answered as it is asked."""


def recommended_replicas(kind: object) -> int:
    """Slots on a GPU for a kind of use. Raises AdviceError for any other kind."""
    if isinstance(kind, str) and kind in REPLICAS:
        return REPLICAS[kind]
    raise AdviceError(f"The kind of use is {shown(kind)}; allowed: {either(REPLICAS)}.")


@dataclass(frozen=True)
class Budget:
    """How much of a GPU's memory each of its slots may take, in MiB.

    What the driver keeps and the CUDA contexts of all slots are taken off first (DRIVER_MIB and
    CONTEXT_MIB, as measured).
    """

    memory: int
    replicas: int
    per_slot: int

    @property
    def fraction(self) -> float:
        """What a slot may take, as a fraction of the GPU's memory."""
        return _rounded(self.per_slot / self.memory)

    @property
    def vllm_fraction(self) -> float:
        """The same for vLLM: all slots together take no more than vLLM alone by default."""
        return min(self.fraction, _rounded(VLLM_FRACTION / self.replicas))

    def as_dict(self) -> dict[str, object]:
        """JSON types: numbers, and the environment, arguments or code for each framework."""
        share = f"{self.fraction:g}"
        return {
            "memory_mib": self.memory,
            "replicas": self.replicas,
            "per_slot_mib": self.per_slot,
            "fraction": self.fraction,
            "pytorch": {"env": {"PYTORCH_ALLOC_CONF": f"per_process_memory_fraction:{share}"}},
            "jax": {"env": {"XLA_PYTHON_CLIENT_MEM_FRACTION": share}},
            "tensorflow": {
                "code": "tf.config.set_logical_device_configuration("
                "tf.config.list_physical_devices('GPU')[0],"
                f" [tf.config.LogicalDeviceConfiguration(memory_limit={self.per_slot})])"
            },
            "vllm": {"args": [f"--gpu-memory-utilization={self.vllm_fraction:g}"]},
        }


def memory_budget(memory: object, replicas: object) -> Budget:
    """Divide a GPU's memory (MiB, as GPU feature discovery tells it in nvidia.com/gpu.memory).

    Raises AdviceError where it is not to be divided so.
    """
    total = to_whole_number(memory, lenient=True)
    slots = to_whole_number(replicas, lenient=True)
    least = DRIVER_MIB + CONTEXT_MIB + LEAST_MIB
    if total is None or not 1 <= total <= MOST_MEMORY_MIB:
        raise AdviceError(
            f"The GPU's memory is {shown(memory)}; allowed: a whole number of MiB from {least} to"
            f" {MOST_MEMORY_MIB}, as the node label nvidia.com/gpu.memory has it."
        )
    most = (total - DRIVER_MIB) // (CONTEXT_MIB + LEAST_MIB)
    if most < 1:
        raise AdviceError(
            f"The GPU's memory is {total} MiB, too little for a single slot: the driver keeps"
            f" {DRIVER_MIB} MiB, a CUDA context takes {CONTEXT_MIB} MiB, and {LEAST_MIB} MiB is the"
            f" least for a slot; allowed: {least} MiB or more."
        )
    if slots is None or not 1 <= slots <= most:
        raise AdviceError(
            f"replicas is {shown(replicas)}; allowed: a whole number from 1 to {most}. Of the GPU's"
            f" {total} MiB the driver keeps {DRIVER_MIB} MiB, each process's CUDA context takes"
            f" {CONTEXT_MIB} MiB, and {LEAST_MIB} MiB is the least for a slot."
        )
    return Budget(total, slots, (total - DRIVER_MIB) // slots - CONTEXT_MIB)


def _rounded(fraction: float) -> float:
    """Four digits, rounded down: the sum must not go beyond the whole."""
    return int(fraction * 10_000) / 10_000


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
            raise AdviceError(f"{name} is {shown(value)}; allowed: {either(allowed)}.")
    if not isinstance(product, str) or not product.strip():
        raise AdviceError(
            f"The GPU's product is {shown(product)}; allowed: its name, as the node label"
            " nvidia.com/gpu.product has it."
        )
    gpu = read_product(product, _capability(compute_capability))
    if gpu.maker:
        raise AdviceError(
            f"The GPU's product is {shown(product)}, which is {gpu.maker}'s; allowed: a GPU of"
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
            f"compute_capability is {shown(value)}; allowed: major.minor such as '8.0', as the node"
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
            f"{shown(gpu.product)} is no product known here, so it counts as without MIG; the node"
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
            f"{shown(gpu.product)} is no product known here, so it counts as older; its compute"
            " capability (compute_capability) would tell"
        )
    major, minor = gpu.capability
    known = f"compute capability {major}.{minor}"
    return f"this GPU is older ({gpu.architecture or known})"
