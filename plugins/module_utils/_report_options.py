# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: the options of report, for its module and its action."""

from __future__ import annotations

CLUSTER = {
    "name": {"type": "str", "required": True},
    "reached": {"type": "bool", "default": False},
    "reason": {"type": "str"},
    "server": {"type": "str"},
    "version": {"type": "str"},
    "sharing": {"type": "dict"},
    "history": {"type": "dict"},
    "usage": {"type": "dict"},
    "prometheus": {"type": "dict"},
    "notes": {"type": "list", "elements": "str"},
}
OPTIONS = {
    "path": {"type": "path", "default": "gpu-sharing-report.html"},
    "clusters": {"type": "list", "elements": "dict", "required": True, "options": CLUSTER},
    "names": {"type": "list", "elements": "str", "default": []},
    "limit": {"type": "str"},
}
