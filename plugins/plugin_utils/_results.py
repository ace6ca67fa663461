# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: results of actions."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence


def add_warnings(result: MutableMapping[str, object], texts: Sequence[str]) -> None:
    """Add warnings to those that a result has."""
    if texts:
        known = result.get("warnings")
        result["warnings"] = [*(known if isinstance(known, list) else []), *texts]
