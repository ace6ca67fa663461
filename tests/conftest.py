# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Note which files of the repository tests read, for run_checks.py: it compares them with the
declared inputs of the step.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = str(Path(__file__).resolve().parents[1])
LINKED = "/ansible_collections/gpufleet/sharing/"  # .build/collections leads to the root
READS = "GPUFLEET_READS"


def pytest_configure(config: pytest.Config) -> None:
    """Collect what is opened, and write it when the run ends."""
    target = os.environ.get(READS)
    if not target:
        return
    opened: set[str] = set()

    def note(event: str, details: tuple[object, ...]) -> None:
        if event == "open" and isinstance(details[0], str | os.PathLike):
            opened.add(os.fsdecode(details[0]))

    def write() -> None:
        found = {name for path in tuple(opened) if (name := inside(path))}
        with Path(target).open("a", encoding="utf-8") as file:  # processes of xdist share it
            file.write("".join(f"{name}\n" for name in sorted(found)))

    sys.addaudithook(note)
    config.add_cleanup(write)


def inside(path: str) -> str:
    """Return the path from the root, that of the source for compiled Python; else nothing."""
    full = str(Path(path).absolute()).rpartition(LINKED)
    name = full[2] if full[1] else full[2].removeprefix(f"{ROOT}/")
    folder, cached, compiled = name.rpartition("__pycache__/")
    name = f"{folder}{compiled.partition('.')[0]}.py" if cached else name
    return "" if name.startswith("/") else name
