# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record of the node: what runs, and what has to be put back when it ends."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from gpulab.process import Process

from .paths import state_dir


@dataclass
class Record:
    """`holder` holds the namespaces open, `first` is the first process in them."""

    gpus: int
    stand_in: bool
    bin_dir: str
    cgroup: str
    holder: Process | None = None
    first: Process | None = None
    made: list[str] = field(default_factory=list)  # folders, the outermost first
    sysctls: dict[str, str] = field(default_factory=dict)  # as they were before
    programs: list[str] = field(default_factory=list)  # in the image, besides the node's own
    running: bool = False
    started_at: str = ""
    dead: list[str] = field(default_factory=list)  # programs that should run and do not

    @property
    def alive(self) -> bool:
        return self.first is not None and self.first.alive

    @property
    def processes(self) -> list[Process]:
        return [process for process in (self.first, self.holder) if process is not None]

    def save(self) -> None:
        temporary = state_dir() / ".record.json"
        temporary.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        temporary.replace(state_dir() / "record.json")


def read() -> Record | None:
    """The node's record, or None; one that cannot be read counts as none."""
    try:
        raw = json.loads((state_dir() / "record.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    for name in ("holder", "first"):
        raw[name] = Process(**raw[name]) if raw[name] else None
    record = Record(**raw)
    record.dead = _dead()
    return record


def tell_dead(names: list[str]) -> None:
    """Called inside the node, whose process ids mean nothing outside."""
    (state_dir() / "dead.json").write_text(json.dumps(names), encoding="utf-8")


def _dead() -> list[str]:
    try:
        names = json.loads((state_dir() / "dead.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [str(name) for name in names]


def log_of(name: str) -> Path:
    return state_dir() / f"{name}.log"
