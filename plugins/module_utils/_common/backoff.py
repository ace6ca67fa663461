# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: how often a cluster is asked while something is waited for."""

from __future__ import annotations

from collections.abc import Iterator

FIRST = 0.2
LONGEST = 1.0
GROWTH = 1.5


def pauses() -> Iterator[float]:
    """Seconds between one look and the next, without end: short at first, since most changes are
    quick, then one second, since a look may list thousands of nodes.
    """
    pause = FIRST
    while True:
        yield pause
        pause = min(LONGEST, pause * GROWTH)
