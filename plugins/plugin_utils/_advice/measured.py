# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: measured costs of sharing, on which advice is based.

docs/sharing-cost.md describes the measurements and their repetition. `make cost-plot` compares
these numbers with its results.
"""

from __future__ import annotations

MEASURED_ON = "an H100 80GB HBM3 with driver 580"
CONTEXT_MIB = 620  # for the CUDA context of a process, before it allocates memory
# What the driver reserves of the memory in nvidia.com/gpu.memory: of 81,559 MiB programs see
# 79.2 GiB.
DRIVER_MIB = 512
SATURATED_LOSS = 8  # % of throughput, where 2 to 8 pods that each fill the GPU share it
SHORT_STEPS_LOSS = 54  # % of throughput, with synchronous steps of 0.1 ms
WAIT_MS = 1.6  # added to a small kernel by each busy neighbour
SLICE_MS = 2  # of a time slice
