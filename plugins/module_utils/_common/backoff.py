# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: pauses between two checks of a cluster."""

from __future__ import annotations

from collections.abc import Iterator

FIRST = 0.2
LONGEST = 1.0
GROWTH = 1.5


def pauses() -> Iterator[float]:
    """Seconds between one check and the next, without end: short at first, because most changes are
    quick, then one second, because a check may list thousands of nodes.
    """
    pause = FIRST
    while True:
        yield pause
        pause = min(LONGEST, pause * GROWTH)
