# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA's own parser, as the lab's gpusim links it, and what it makes of many files."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "tests" / "lab" / "lab"


def program() -> str:
    """Where gpusim is; the lab has been built before."""
    done = subprocess.run([LAB, "build"], check=True, text=True, capture_output=True)
    return str(Path(done.stderr.strip().rpartition(" ")[2]) / "gpusim")


def ask(gpusim: str, texts: Sequence[str], *options: str) -> list[dict[str, Any]]:
    """What the plugin makes of each file."""
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    command = [gpusim, "parse", "--lines", *options]
    done = subprocess.run(command, input=lines, check=True, text=True, capture_output=True)
    return [json.loads(line) for line in done.stdout.splitlines()]
