# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of steps that have passed, in the user's cache, so that every checkout finds it.

A pass is a file STEP-KEY.json, where KEY is the hash of everything that the step depends on. It is
forgotten after two weeks.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from checks import Step
from inputs import ALWAYS, Tree, machine

LIFETIME = 14 * 24 * 3600.0  # seconds


@dataclass(frozen=True)
class Passed:
    """What a step counted when it passed, when that was, as seconds of the epoch, and how many of
    its tests were left to make test-all.
    """

    tests: int
    when: float
    left_out: int = 0

    @property
    def age(self) -> str:
        minutes = max(time.time() - self.when, 0) / 60
        if minutes < 120:
            return f"{minutes:.0f} min ago"
        hours = minutes / 60
        return f"{hours:.0f} h ago" if hours < 48 else f"{hours / 24:.0f} days ago"


def default_folder(environ: Mapping[str, str]) -> Path:
    """Beside the lab's programs."""
    base = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "gpufleet-sharing" / "passed"


@dataclass(frozen=True)
class Record:
    """The passes of steps. With reading off every step runs, and passes are kept."""

    folder: Path
    tree: Tree
    machine: tuple[str, ...]
    reading: bool = True

    @classmethod
    def of(cls, root: Path, environ: Mapping[str, str]) -> Record:
        reading = not environ.get("FRESH")
        return cls(default_folder(environ), Tree.of(root), machine(environ), reading)

    def files(self, step: Step) -> set[str]:
        """Return the files that the step depends on."""
        needed = self.tree.select(step.needs)
        imported = self.tree.imported(needed) if step.junit else set()
        return self.tree.select((*step.inputs, *ALWAYS)) | needed | imported

    def key(self, step: Step) -> str:
        """Return the hash of everything that the step depends on."""
        command = [word.replace(sys.executable, "python") for word in step.command]
        command = [word.replace(str(self.tree.root), ".") for word in command]
        parts = (step.name, command, step.cwd, self.machine, self.tree.digest(self.files(step)))
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def find(self, step: Step) -> Passed | None:
        """Return the pass of the step with these inputs."""
        if not (self.reading and step.recorded):
            return None
        try:
            text = self._file(step, self.key(step)).read_text(encoding="utf-8")
            found = Passed(**json.loads(text))
        except (OSError, ValueError, TypeError):  # none, or none that can be read
            return None
        return found if time.time() - found.when < LIFETIME else None

    def keep(
        self, step: Step, key: str, tests: int, read: Collection[str], left_out: int = 0
    ) -> str:
        """Keep the pass of a step that had this key when it started, and whose tests have read
        these files. Return the reason when it is not kept although it might be.
        """
        if not step.recorded:
            return ""
        if replace(self, tree=Tree.of(self.tree.root)).key(step) != key:
            return "not recorded: files changed while it ran"
        if strays := sorted((set(read) & set(self.tree.names)) - self.files(step)):
            return f"not recorded: reads {strays[0]}, which is not among its inputs"
        try:
            self._write(self._file(step, key), Passed(tests, time.time(), left_out))
        except OSError as error:
            return f"not recorded: {error}"
        return ""

    def _write(self, file: Path, found: Passed) -> None:
        """Write a pass, and remove those that are too old."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.folder.glob("*.json"):
            if time.time() - old.stat().st_mtime > LIFETIME:
                old.unlink(missing_ok=True)
        temporary = file.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(asdict(found)), encoding="utf-8")
        temporary.replace(file)

    def _file(self, step: Step, key: str) -> Path:
        return self.folder / f"{step.name}-{key[:24]}.json"
