# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the node's own parts, which need neither root nor a GPU."""

from __future__ import annotations

import sys
from pathlib import Path

_REALNODE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_REALNODE), str(_REALNODE.parent / "lab")]
