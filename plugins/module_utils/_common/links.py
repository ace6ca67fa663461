# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the pages of the documentation that messages refer to."""

from __future__ import annotations

_DOCS = "https://github.com/gpufleet/gpufleet.sharing/blob/main/docs/"
INVENTORY = _DOCS + "inventory.md"
MANIFESTS = _DOCS + "connection.md#manifests"
AIR_GAPPED = _DOCS + "operator.md#air-gapped"
