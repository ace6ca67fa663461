# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: results of actions."""

from __future__ import annotations

import json
from collections.abc import MutableMapping, Sequence


def add_warnings(result: MutableMapping[str, object], texts: Sequence[str]) -> None:
    """Add warnings to those of a result."""
    if texts:
        known = result.get("warnings")
        result["warnings"] = [*(known if isinstance(known, list) else []), *texts]


def without_noise(stdout: str, noises: Sequence[str]) -> str:
    """The output of a module (JSON), without warnings and deprecations that contain one of noises.

    ansible-core 2.21 shows them before an action sees the result, so the output is filtered.
    """
    if not any(noise in stdout for noise in noises):
        return stdout
    try:
        result = json.loads(stdout)
    except ValueError:
        return stdout
    for kind in ("warnings", "deprecations"):
        entries = result.get(kind) if isinstance(result, dict) else None
        if isinstance(entries, list):
            result[kind] = [e for e in entries if not any(n in json.dumps(e) for n in noises)]
    return json.dumps(result)
