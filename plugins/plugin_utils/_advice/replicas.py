# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: how many slots a GPU gets for each kind of use."""

from __future__ import annotations

from ...module_utils._common.text import either
from ...module_utils._common.values import quote
from .errors import AdviceError

# Kind of use -> slots, from the recipe "GPU Time-Slicing on Kubernetes". With more slots processes
# wait longer, but lose no more throughput; measured, see docs/sharing-cost.md.
REPLICAS = {"exclusive": 1, "light": 2, "standard": 4, "heavy": 8, "maximum": 10}


def recommended_replicas(kind: object) -> int:
    """Slots on a GPU for a kind of use. Raises AdviceError for an unknown kind."""
    if isinstance(kind, str) and kind in REPLICAS:
        return REPLICAS[kind]
    raise AdviceError(f"The kind of use is {quote(kind)}; allowed: {either(REPLICAS)}.")
