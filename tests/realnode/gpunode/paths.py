# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the real node keeps things. Needs nothing but the standard library."""

from __future__ import annotations

from pathlib import Path

from gpulab.paths import cache_dir, labs_dir

HERE = Path(__file__).resolve().parents[1]
ROOT = HERE.parents[1]
GO_DIR = HERE / "go"
PIECES = ROOT / ".build" / "realnode" / "pieces"


def state_dir() -> Path:
    """Of the one node that a user has: its record, keys, settings and logs."""
    return labs_dir().with_name("realnode")


def unpacked_dir() -> Path:
    """What `realnode unpack` has put in place: programs in bin, Python's packages in python."""
    return cache_dir() / "realnode-unpacked"


def venvs() -> tuple[Path, Path]:
    """Where the Python with the packages is: that of make venv, else the one unpacked."""
    return ROOT / ".venv", unpacked_dir() / "python"
