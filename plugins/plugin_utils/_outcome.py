# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: which of several clusters a run has not done, told at its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

LONGEST = 300
RESULT = "_result"  # how roles call what their tasks register


def failed_clusters(hosts: Iterable[str], variables: Mapping[str, object]) -> list[str]:
    """A line for each cluster that failed: its name, and what its failed task said."""
    return [f"{host}: {_reason(variables.get(host))}" for host in sorted(hosts)]


def _reason(variables: object) -> str:
    names = variables if isinstance(variables, Mapping) else ()
    for name in [str(name) for name in names if str(name).endswith(RESULT)]:
        result = variables[name]  # type: ignore[index]
        if isinstance(result, Mapping) and result.get("failed") is True:
            first = str(result.get("msg") or "").strip().partition("\n")[0]
            if first:
                return first if len(first) <= LONGEST else f"{first[:LONGEST]}..."
    return "see its message above"
