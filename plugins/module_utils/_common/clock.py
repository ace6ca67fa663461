# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: time as a value that tests replace."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """Reads the time and waits, both in seconds."""

    now: Callable[[], float]
    pause: Callable[[float], None]


def _boot_seconds() -> float:
    """Also counts while the machine is suspended: on Linux CLOCK_MONOTONIC does not."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


CLOCK = Clock(time.monotonic, time.sleep)
BOOT_CLOCK = Clock(_boot_seconds, time.sleep)
