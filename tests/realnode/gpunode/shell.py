# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commands that the node is set up with."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from gpulab.errors import LabError


def call(*command: str | Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a command that has to succeed and return what it prints."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=300
    )
    if done.returncode:
        told = done.stderr.strip() or done.stdout.strip()
        raise LabError(f"{' '.join(map(str, command))} failed ({done.returncode}): {told}")
    return done.stdout


def mount(*arguments: str | Path) -> None:
    call("mount", *arguments)
