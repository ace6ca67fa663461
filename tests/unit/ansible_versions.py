# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other versions of ansible-core than the one of the tests, each in a virtual environment."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpufleet-sharing"


def programs(name: str, python: str = sys.executable) -> Path:
    """The programs of what tests/requirements/<name>.txt pins, for a Python. They are kept."""
    file = REQUIREMENTS / f"{name}.txt"
    key = hashlib.sha256(file.read_bytes() + python.encode()).hexdigest()[:8]
    folder = CACHE / "venvs" / f"{name}-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
            pip: list[str | Path] = [
                folder / "bin" / "python",
                "-m",
                "pip",
                "--disable-pip-version-check",
            ]
            subprocess.run([*pip, "install", "--quiet", "--no-compile", "-r", file], check=True)
            (folder / "complete").touch()
    return folder / "bin"


def old_python() -> str:
    """Python 3.9 where there is one, otherwise the one of the tests."""
    named = shutil.which("python3.9")
    there = [named] if named else []
    for path in (*there, *map(str, Path.home().glob(".pyenv/versions/3.9.*/bin/python"))):
        if subprocess.run([path, "--version"], check=False, capture_output=True).returncode == 0:
            return path
    return sys.executable
