# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the outcome of a rollout, and its texts for messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .._common.errors import SharingError
from .._common.table import format_first_rows
from .._nodes.pods import GpuPod
from .settle import NotSettled

MOST_LINES = 20
STOPPED = "No other node was changed. Fix the cause and run again."


class RolloutError(SharingError):
    """Some nodes did not settle; problems holds a line for each."""


@dataclass
class Outcome:
    """What has happened so far."""

    touched: list[str] = field(default_factory=list)
    failed: dict[str, NotSettled] = field(default_factory=dict)
    evicted: list[GpuPod] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # unavailable nodes, and why


def unsettled_table(unsettled: Mapping[str, NotSettled]) -> list[str]:
    """Lines of a table: node, stage and reason."""
    rows = [
        {"node": node, "stage": state.stage, "reason": state.reason}
        for node, state in sorted(unsettled.items())
    ]
    return format_first_rows(("node", "stage", "reason"), rows, MOST_LINES)


def unsettled_lines(unsettled: Mapping[str, NotSettled]) -> list[str]:
    return [f"{node}: {state.reason}" for node, state in sorted(unsettled.items())]


def format_duration(seconds: float) -> str:
    """Seconds in the unit that people would use: 99 s, 5 min, 1.7 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
