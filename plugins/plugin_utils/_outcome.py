# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the list of failed clusters that a run shows at its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

MAX_LENGTH = 300  # characters of a message
RESULT = "_result"  # suffix of the variables that tasks of roles register


def failed_clusters(hosts: Iterable[str], variables: Mapping[str, object]) -> list[str]:
    """One line for each failed cluster: its name and the message of its failed task."""
    return [f"{host}: {_reason(variables.get(host))}" for host in sorted(hosts)]


def _reason(variables: object) -> str:
    names = variables if isinstance(variables, Mapping) else ()
    for name in [str(name) for name in names if str(name).endswith(RESULT)]:
        result = variables[name]  # type: ignore[index]
        if isinstance(result, Mapping) and result.get("failed") is True:
            message = str(result.get("msg") or "").strip().partition("\n")[0]
            if message:
                return message if len(message) <= MAX_LENGTH else f"{message[:MAX_LENGTH]}..."
    return "see its message above"
