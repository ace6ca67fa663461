# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the laboratory keeps things."""

from __future__ import annotations

import os
from pathlib import Path

LAB_DIR = Path(__file__).resolve().parents[1]
GO_DIR = LAB_DIR / "go"
CHART_DIR = LAB_DIR / "chart" / "gpu-operator"
DEFAULT_FLEET = LAB_DIR / "fleets" / "small.yml"


def _xdg(variable: str, fallback: str) -> Path:
    base = os.environ.get(variable) or str(Path.home() / fallback)
    return Path(base) / "gpufleet-sharing"


def cache_dir() -> Path:
    return _xdg("XDG_CACHE_HOME", ".cache")


def labs_dir() -> Path:
    return _xdg("XDG_STATE_HOME", ".local/state") / "labs"
