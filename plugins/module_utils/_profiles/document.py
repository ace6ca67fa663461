# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the configuration file of a profile as plain values, in one order."""

from __future__ import annotations

from collections.abc import Sequence

from .model import Content, Flag


def to_document(content: Content) -> dict[str, object]:
    """The content of a profile as the plugin's keys; equal contents give equal documents."""
    document: dict[str, object] = {"version": "v1"}
    if content.flags:
        document["flags"] = _nested(content.flags)
    if content.resources:
        strategy: dict[str, object] = {
            "renameByDefault": content.rename_by_default,
            "failRequestsGreaterThanOne": content.fail_requests_greater_than_one,
            "resources": [{"name": r.name, "replicas": r.replicas} for r in content.resources],
        }
        document["sharing"] = {"mps" if content.mps else "timeSlicing": strategy}
    if content.imex.channels or content.imex.required:
        imex: dict[str, object] = {"channelIDs": list(content.imex.channels)}
        document["imex"] = imex | ({"required": True} if content.imex.required else {})
    return document


def _nested(flags: Sequence[tuple[str, Flag]]) -> dict[str, object]:
    """{"plugin.x": 1} -> {"plugin": {"x": 1}}"""
    found: dict[str, object] = {}
    parts: dict[str, dict[str, object]] = {}
    for name, flag in flags:
        part, dot, inner = name.rpartition(".")
        value = list(flag) if isinstance(flag, tuple) else flag
        if dot:
            parts.setdefault(part, {})[inner] = value
        else:
            found[name] = value
    return {**found, **parts}
