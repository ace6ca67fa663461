# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the catalog of findings: which file of checks/ defines which codes. Pure."""

from __future__ import annotations

from collections.abc import Collection

from .._common.errors import FleetError
from .._common.text import some
from .checks import content, nodes, operator, platforms, plugin, pods
from .engine import Check, Finding, diagnose
from .snapshot import Snapshot

_CHECKS = (
    *operator.CHECKS,  # GS001 to GS011, GS055
    *content.CHECKS,  # GS012 to GS018
    *nodes.CHECKS,  # GS019 to GS036, GS063
    *plugin.CHECKS,  # GS037 to GS044
    *pods.CHECKS,  # GS045 to GS054, GS056, GS064
    *platforms.CHECKS,  # GS057 to GS062
)
CHECKS: tuple[Check, ...] = tuple(sorted(_CHECKS, key=lambda check: check.code))


def find_all(snapshot: Snapshot) -> list[Finding]:
    return diagnose(snapshot, CHECKS)


def check_codes(codes: Collection[str]) -> None:
    """Raises FleetError for unknown codes."""
    if unknown := sorted(set(codes) - {check.code for check in CHECKS}):
        raise FleetError(
            f"accept lists unknown codes: {some(unknown)}. Codes are {CHECKS[0].code} to"
            f" {CHECKS[-1].code}; docs/findings.md describes each."
        )
