# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the settings of a rollout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .settle import WaitTimes

REFUSE, EVICT, IGNORE = DRAINS = ("refuse", "evict", "ignore")
ROLLBACK, STOP = ON_FAILURE = ("rollback", "stop")


@dataclass(frozen=True)
class Settings:
    """How a rollout proceeds. Times are in seconds."""

    namespace: str
    config_map: str
    batches: Sequence[object]
    wait: WaitTimes
    pause: float = 0
    max_failures: int = 0
    on_failure: str = ROLLBACK
    drain: str = REFUSE
    drain_timeout: float = 300
