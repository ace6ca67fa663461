# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: what was measured on a GPU, and is reckoned with.

How it was measured, on what, and what came of it when it was measured again, is told in
docs/sharing-cost.md. `make cost-plot` compares these numbers with its results.
"""

from __future__ import annotations

MEASURED_ON = "an H100 80GB HBM3 with driver 580"
CONTEXT_MIB = 620  # what a process's CUDA context costs before it allocates anything
# What the driver keeps of the memory that nvidia.com/gpu.memory tells: of 81,559 MiB programs see
# 79.2 GiB.
DRIVER_MIB = 512
SATURATED_LOSS = 8  # % of throughput, where pods that fill the GPU share it, be they 2 or 8
SHORT_STEPS_LOSS = 54  # % of throughput, with steps of 0.1 ms that are waited for
WAIT_MS = 1.6  # what each busy neighbour adds to the time of a small kernel
SLICE_MS = 2  # of a turn
