# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs run for their cost: seconds, largest memory, output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LAUNCH = Path(__file__).with_name("launch.py")
TAIL = 4000


class Failed(Exception):
    """A program that ended badly; with the end of what it said."""


@dataclass(frozen=True)
class Finished:
    """How a program, or some in a row, ended. Seconds are those of the whole program, and processor
    those of processor time of all its processes; memory is in bytes, of the largest process.
    """

    seconds: float
    memory: int
    output: str
    processor: float = 0.0

    def __add__(self, other: Finished) -> Finished:
        return Finished(
            self.seconds + other.seconds,
            max(self.memory, other.memory),
            self.output + other.output,
            self.processor + other.processor,
        )


class Runner:
    """Runs programs in an environment, their output kept in a folder."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder, self._environ = folder, environ
        folder.mkdir(parents=True, exist_ok=True)

    def run(
        self, command: Sequence[str | Path], *, fails: bool = False, **environ: str
    ) -> Finished:
        """Run a command to its end. Raises Failed when it fails, unless that is expected."""
        note, said = self.folder / "launched.json", self.folder / "output.txt"
        note.unlink(missing_ok=True)
        with said.open("wb") as sink:
            done = subprocess.run(
                [sys.executable, "-I", "-S", LAUNCH, note, *command],
                env={**self._environ, **environ},
                cwd=self.folder,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        if done.returncode and not fails:
            raise Failed(f"{command[0]} ended with {done.returncode}:\n{_tail(said)}")
        taken = json.loads(note.read_text(encoding="utf-8"))
        return Finished(taken["seconds"], taken["memory"], _head(said), taken["processor"])

    def write(self, name: str, content: object) -> Path:
        """Write a file of JSON for a program to read."""
        path = self.folder / name
        path.write_text(json.dumps(content), encoding="utf-8")
        return path


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL), os.SEEK_SET)
        return file.read().decode(errors="replace")


def _head(path: Path, most: int = 50_000_000) -> str:
    with path.open("rb") as file:
        return file.read(most).decode(errors="replace")
