# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes of a lab: started detached, ended exactly, never mistaken for others."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

_POLL = 0.02


@dataclass(frozen=True)
class Process:
    """A process by id and start time (clock ticks since boot), so that a reused id is noticed."""

    name: str
    pid: int
    start: int

    @classmethod
    def of(cls, name: str, pid: int) -> Process:
        return cls(name, pid, _start_time(pid) or 0)

    @property
    def alive(self) -> bool:
        return self.start != 0 and _start_time(self.pid) == self.start

    def signal(self, number: int) -> None:
        if self.alive:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return


def _start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; None for a process that is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def start(name: str, command: list[str], log: Path, environment: dict[str, str]) -> Process:
    """Start a program of the lab in a session of its own, its output in `log`."""
    with log.open("ab") as sink:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=log.parent,
            start_new_session=True,
        )
    return Process.of(name, child.pid)


def end(processes: Iterable[Process], patience: float = 10.0) -> None:
    """Terminate, wait, and kill what has not gone within `patience` seconds."""
    living = [process for process in processes if process.alive]
    for process in living:
        process.signal(signal.SIGTERM)
    if not wait_for(lambda: not any(p.alive for p in living), patience):
        for process in living:
            process.signal(signal.SIGKILL)
        wait_for(lambda: not any(p.alive for p in living), patience)


def wait_for(condition: Callable[[], bool], seconds: float, poll: float = _POLL) -> bool:
    """Poll until the condition holds; False when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        _reap()
        time.sleep(poll)
    return True


def _reap() -> None:
    """Collect our own dead children, or they would stay as zombies while we wait."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return
