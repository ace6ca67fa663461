# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build .venv from the pinned requirements: `make_venv.py VENV`.

Runs under the user's Python, so it needs nothing but the standard library. The stamp is written
last: without it the next run starts over, with an older one it installs what has changed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements"
PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet")
OLDEST, NEWEST = (3, 11), (3, 13)


def phase(name: str, *command: str) -> None:
    """Run command and print one line with its duration; exit with its status if it fails."""
    start = time.monotonic()
    print(f"venv: {name} ... ", end="", flush=True)
    status = subprocess.run(command, check=False).returncode
    if status:
        sys.exit(f"venv: {name} failed: {' '.join(command)} returned {status}")
    print(f"{time.monotonic() - start:.0f} s", flush=True)


def check_python() -> None:
    """Exit with what to do when this Python is not a supported one, or cannot make environments."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        sys.exit(
            f"venv: {sys.executable} is Python {sys.version.split()[0]}; 3.11, 3.12 or 3.13 is "
            "needed: make venv PYTHON=/path/to/python3.12"
        )
    try:
        __import__("ensurepip")
    except ImportError:
        sys.exit(
            f"venv: {sys.executable} has no venv module: on Debian and Ubuntu, "
            "apt install python3-venv"
        )


def same_python(venv: Path) -> bool:
    config = venv / "pyvenv.cfg"
    return config.exists() and f"version = {sys.version.split()[0]}\n" in config.read_text()


def main(target: str) -> None:
    check_python()
    venv = Path(target)
    stamp = venv / ".stamp"
    finished_once = stamp.exists() and same_python(venv)
    stamp.unlink(missing_ok=True)
    python = str(venv / "bin" / "python")
    if not finished_once:
        phase(
            f"Python {sys.version.split()[0]}", sys.executable, "-m", "venv", "--clear", str(venv)
        )
    phase(
        "packages (one to three minutes the first time)",
        *(python, *PIP, "install", "--no-compile"),
        *("-r", str(REQUIREMENTS / "tools.txt"), "-c", str(REQUIREMENTS / "constraints.txt")),
    )
    stamp.touch()


if __name__ == "__main__":
    main(sys.argv[1])
