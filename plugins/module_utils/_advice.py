# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: advice on sharing: how many replicas, how much memory for each, and
which strategy.

The figures on memory and throughput were measured on an H100 80GB HBM3 with driver 580.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.gpufleet.sharing.plugins.module_utils._errors import SharingError
from ansible_collections.gpufleet.sharing.plugins.module_utils._rules import (
    either,
    quoted,
    to_whole_number,
)

CONTEXT_MIB = 620  # what a process's CUDA context costs before it allocates anything
# How the GPU is used -> slots on it, by the recipe "GPU Time-Slicing on Kubernetes".
REPLICAS = {"exclusive": 1, "light": 2, "standard": 4, "heavy": 8, "maximum": 10}
ISOLATION = ("none", "memory", "faults")
WORKLOADS = ("bursty", "short_steps", "saturating")
COMPARISON: tuple[Mapping[str, str], ...] = (
    {
        "strategy": "time_slicing",
        "shares": "time: one process runs at a time, each for a slice of about 2 ms",
        "memory": "not limited, not isolated",
        "faults": "not isolated",
        "slots": "2 or more, no upper bound",
        "gpus": "all",
        "change": "at once, running pods stay",
        "cost": "8 % of throughput when saturated, half of it with short waited-for steps",
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
        "gpus": "A100, A30, H100, H200, B200 and newer of their kind",
        "change": "the GPU has to be idle, some need a reboot",
        "cost": "sizes are fixed, and what is left over is lost",
    },
)
_MIG_CAPABLE = re.compile(
    r"(?<![A-Z0-9])(A100|A800|A30|H20|H100|H200|H800|GH200|B100|B200|B300|GB200|GB300)(?![0-9])"
    r"|RTX-PRO-[0-9]+.*BLACKWELL"
)
_BEFORE_VOLTA = re.compile(r"(?<![A-Z0-9])(K[0-9]+|M[0-9]+|P4|P6|P40|P100|GTX)(?![0-9])")


class AdviceError(SharingError):
    """A question that cannot be answered as it is asked."""


def recommended_replicas(kind: object) -> int:
    """Slots on a GPU for a kind of use. Raises AdviceError for any other kind."""
    if isinstance(kind, str) and kind in REPLICAS:
        return REPLICAS[kind]
    raise AdviceError(f"The kind of use is {quoted(kind)}; allowed: {either(REPLICAS)}.")


@dataclass(frozen=True)
class Budget:
    """How much of a GPU's memory each of its slots may take, in MiB and as a fraction of the whole.

    The CUDA contexts of all slots are taken off first.
    """

    memory: int
    replicas: int
    per_slot: int
    fraction: float

    @property
    def with_context(self) -> float:
        """The fraction of the whole that a slot takes with its context, for programs that count
        it in.
        """
        return _rounded((self.per_slot + CONTEXT_MIB) / self.memory)

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
            "vllm": {"args": [f"--gpu-memory-utilization={self.with_context:g}"]},
        }


def memory_budget(memory: object, replicas: object) -> Budget:
    """Divide a GPU's memory (MiB, as GPU feature discovery tells it in nvidia.com/gpu.memory).

    Raises AdviceError where it is not to be divided so.
    """
    total = to_whole_number(memory, lenient=True)
    slots = to_whole_number(replicas, lenient=True)
    if total is None or total < 1:
        raise AdviceError(
            f"The GPU's memory is {quoted(memory)}; allowed: a whole number of MiB, as the node"
            " label nvidia.com/gpu.memory has it."
        )
    if slots is None or slots < 1:
        raise AdviceError(f"replicas is {quoted(replicas)}; allowed: a whole number from 1 on.")
    left = total - slots * CONTEXT_MIB
    if left < slots:
        most = max(1, (total - 1) // (CONTEXT_MIB + 1))
        raise AdviceError(
            f"replicas is {slots}: the CUDA contexts of that many processes ({CONTEXT_MIB} MiB"
            f" each) fill the GPU's {total} MiB; at most {most} leave anything."
        )
    per_slot = left // slots
    return Budget(total, slots, per_slot, _rounded(per_slot / total))


def _rounded(fraction: float) -> float:
    """Three digits, rounded down: the sum must not go beyond the whole."""
    return int(fraction * 1000) / 1000


def sharing_strategy(product: object, isolation: object, workload: object) -> dict[str, object]:
    """Which strategy fits: {strategy, reasons, comparison}.

    product is a GPU's name, as in nvidia.com/gpu.product; isolation is what neighbours must be kept
    from (none, memory, faults); workload is bursty, short_steps or saturating. Raises AdviceError
    for anything else.
    """
    for name, value, allowed in (
        ("isolation", isolation, ISOLATION),
        ("workload", workload, WORKLOADS),
    ):
        if value not in allowed:
            raise AdviceError(f"{name} is {quoted(value)}; allowed: {either(allowed)}.")
    if not isinstance(product, str) or not product:
        raise AdviceError(
            f"The GPU's product is {quoted(product)}; allowed: its name, as the node label"
            " nvidia.com/gpu.product has it."
        )
    name = re.sub(r"[\s_]+", "-", product.upper())
    strategy, reasons = _choose(name, str(isolation), str(workload))
    return {"strategy": strategy, "reasons": reasons, "comparison": [dict(r) for r in COMPARISON]}


def _choose(product: str, isolation: str, workload: str) -> tuple[str, list[str]]:
    if isolation == "faults":
        if _MIG_CAPABLE.search(product):
            return "mig", ["Only MIG keeps a neighbour's faults and memory use away."]
        return "none", [
            "Only MIG keeps a neighbour's faults away, and this GPU knows no MIG.",
            "Give each tenant a GPU of its own (replicas 1).",
        ]
    if isolation == "memory":
        return _limit_memory(product)
    if workload == "saturating":
        return "none", [
            "One process alone fills the GPU: sharing adds no throughput and costs some 8 %.",
            "Share by time-slicing only to let several wait for one GPU fairly.",
        ]
    if workload == "short_steps" and not _BEFORE_VOLTA.search(product):
        return "mps", [
            "Short steps that are waited for lose half of their throughput to the switching of"
            " time-slicing; MPS runs them side by side.",
            "One client's fault ends all clients of the GPU.",
        ]
    return "time_slicing", [
        "The GPU is idle most of the time: bursts of several processes fit beside each other at"
        " nearly no cost.",
        "Memory is not limited: set a limit in each program (filter memory_budget).",
    ]


def _limit_memory(product: str) -> tuple[str, list[str]]:
    if not _BEFORE_VOLTA.search(product):
        return "mps", [
            "MPS limits each client to its share of the memory; time-slicing limits nothing.",
            "One client's fault ends all clients of the GPU: where that matters, ask for isolation"
            " of faults.",
        ]
    return "none", ["MPS limits memory from Volta on, and this GPU is older."]
