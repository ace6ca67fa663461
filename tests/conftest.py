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
    if target := os.environ.get(READS):
        config.pluginmanager.register(Reads(Path(target)))


class Reads:
    """Collects what is opened, and writes it when the session ends: a process of xdist reports its
    end only after that, and may be ended then.
    """

    def __init__(self, target: Path) -> None:
        self._target, self._opened = target, set[str]()
        sys.addaudithook(self._note)

    def _note(self, event: str, details: tuple[object, ...]) -> None:
        if event == "open" and isinstance(details[0], str | os.PathLike):
            self._opened.add(os.fsdecode(details[0]))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        found = {name for path in tuple(self._opened) if (name := inside(path))}
        with self._target.open("a", encoding="utf-8") as file:  # processes of xdist share it
            file.write("".join(f"{name}\n" for name in sorted(found)))


def inside(path: str) -> str:
    """Return the path from the root, that of the source for compiled Python; else nothing."""
    full = str(Path(path).absolute()).rpartition(LINKED)
    name = full[2] if full[1] else full[2].removeprefix(f"{ROOT}/")
    folder, cached, compiled = name.rpartition("__pycache__/")
    name = f"{folder}{compiled.partition('.')[0]}.py" if cached else name
    return "" if name.startswith("/") else name
