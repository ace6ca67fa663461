# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: how much of a GPU's memory each slot may use.

The figures are those of measured.py; docs/sharing-cost.md says how they were measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...module_utils._common.values import quote, to_whole_number
from .errors import AdviceError
from .measured import CONTEXT_MIB, DRIVER_MIB

MIN_SLOT_MIB = 128  # below, the workspaces of libraries fill a slot
MAX_MEMORY_MIB = 1_000_000  # more than any GPU has: probably a number of bytes
# vLLM's default for a whole GPU. Its other memory (context, CUDA graphs) must fit into the rest,
# and at its start that fraction of the GPU must be free.
VLLM_FRACTION = 0.9


@dataclass(frozen=True)
class Budget:
    """How much of a GPU's memory each slot may use, in MiB.

    The driver's memory and the CUDA contexts of all slots are subtracted first (DRIVER_MIB and
    CONTEXT_MIB, as measured).
    """

    memory: int
    replicas: int
    per_slot: int

    @property
    def fraction(self) -> float:
        """The share of a slot, as a fraction of the GPU's memory."""
        return _rounded(self.per_slot / self.memory)

    @property
    def vllm_fraction(self) -> float:
        """The same for vLLM: all slots together use at most vLLM's default for a GPU."""
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
    """Divide a GPU's memory (MiB, as in the label nvidia.com/gpu.memory) among slots. Raises
    AdviceError for invalid input.
    """
    total = to_whole_number(memory, lenient=True)
    slots = to_whole_number(replicas, lenient=True)
    least = DRIVER_MIB + CONTEXT_MIB + MIN_SLOT_MIB
    if total is None or not 1 <= total <= MAX_MEMORY_MIB:
        raise AdviceError(
            f"The GPU's memory is {quote(memory)}; allowed: a whole number of MiB from {least} to"
            f" {MAX_MEMORY_MIB}, as in the node label nvidia.com/gpu.memory."
        )
    most = (total - DRIVER_MIB) // (CONTEXT_MIB + MIN_SLOT_MIB)
    if most < 1:
        raise AdviceError(
            f"The GPU's memory is {total} MiB, too little for one slot: the driver reserves"
            f" {DRIVER_MIB} MiB, a CUDA context uses {CONTEXT_MIB} MiB, and a slot needs at least"
            f" {MIN_SLOT_MIB} MiB; allowed: {least} MiB or more."
        )
    if slots is None or not 1 <= slots <= most:
        raise AdviceError(
            f"replicas is {quote(replicas)}; allowed: a whole number from 1 to {most}. Of the GPU's"
            f" {total} MiB the driver reserves {DRIVER_MIB} MiB, each process's CUDA context uses"
            f" {CONTEXT_MIB} MiB, and {MIN_SLOT_MIB} MiB is the minimum for a slot."
        )
    return Budget(total, slots, (total - DRIVER_MIB) // slots - CONTEXT_MIB)


def _rounded(fraction: float) -> float:
    """Four digits, rounded down, so that the sum does not exceed the whole."""
    return int(fraction * 10_000) / 10_000
