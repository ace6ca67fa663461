# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: how much of a GPU's memory each slot may use.

The figures are those of measured.py; docs/sharing-cost.md says how they were measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.values import (
    quote,
    to_whole_number,
)
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._advice.errors import AdviceError
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._advice.measured import (
    CONTEXT_MIB,
    DRIVER_MIB,
)

LEAST_MIB = 128  # with less a slot holds no more than the libraries' own workspaces
MOST_MEMORY_MIB = 1_000_000  # more than any GPU has: a number of bytes, most likely
# vLLM's own default for a whole GPU. What it takes beyond it (its context, CUDA graphs) has to fit
# into the rest, and at its start that much of the GPU has to be free.
VLLM_FRACTION = 0.9


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
            f"The GPU's memory is {quote(memory)}; allowed: a whole number of MiB from {least} to"
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
            f"replicas is {quote(replicas)}; allowed: a whole number from 1 to {most}. Of the GPU's"
            f" {total} MiB the driver keeps {DRIVER_MIB} MiB, each process's CUDA context takes"
            f" {CONTEXT_MIB} MiB, and {LEAST_MIB} MiB is the least for a slot."
        )
    return Budget(total, slots, (total - DRIVER_MIB) // slots - CONTEXT_MIB)


def _rounded(fraction: float) -> float:
    """Four digits, rounded down: the sum must not go beyond the whole."""
    return int(fraction * 10_000) / 10_000
