# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of Ansible that are killed at a chosen moment, with everything that they have started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.gpufleet.sharing.tests.integration.labtools import Lab, is_write

MARK = "LABTOOLS_RUN"  # in the environment of a run, which everything below it inherits
POLL = 0.02
SETTLED = 1.0


@dataclass(frozen=True)
class Killed:
    """How a run was ended. in_time is False when it ended by itself before its moment came."""

    in_time: bool
    output: str
    written: list[str]  # as Lab.writes tells them, from the start of the run
    processes: list[str]  # names of those that were killed
    left: list[int]  # ids of those that were spared


@dataclass
class Running:
    """A run while it runs."""

    lab: Lab
    mark: str
    started: float

    def processes(self) -> dict[int, str]:
        """The command lines of all that belongs to the run, whatever its session, by id."""
        found = {}
        wanted = f"{MARK}={self.mark}\0".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (folder / "environ").read_bytes():
                    words = (folder / "cmdline").read_bytes().split(b"\0")
                    found[int(folder.name)] = " ".join(word.decode() for word in words).strip()
            except OSError:  # it has ended, or belongs to somebody else
                continue
        return found


Moment = Callable[[Running], Callable[[], bool]]


def after(seconds: float) -> Moment:
    """So long after the start."""
    return lambda run: lambda: time.monotonic() - run.started >= seconds


def at_write(number: int, user: str = "lab-admin") -> Moment:
    """As soon as the server has answered the nth write request of a user."""

    def watch(run: Running) -> Callable[[], bool]:
        log = Path(run.lab.environ["GPULAB_AUDIT_LOG"]).open("rb")  # noqa: SIM115  (ends with us)
        log.seek(0, os.SEEK_END)
        rest, count = b"", 0

        def due() -> bool:
            nonlocal rest, count
            *lines, rest = (rest + log.read()).split(b"\n")
            count += sum(is_write(json.loads(line), user) for line in lines)
            return count >= number

        return due

    return watch


def in_helm(seconds: float = 0, verb: str = "upgrade") -> Moment:
    """So long after Helm was seen at work, whether or not it is by then."""

    def watch(run: Running) -> Callable[[], bool]:
        seen = 0.0

        def due() -> bool:
            nonlocal seen
            if not seen and any(_is_helm(line, verb) for line in run.processes().values()):
                seen = time.monotonic()
            return bool(seen) and time.monotonic() - seen >= seconds

        return due

    return watch


def _is_helm(line: str, verb: str = "") -> bool:
    program, *words = line.split(" ")
    return program.rpartition("/")[2] == "helm" and (not verb or verb in words)


def kill(
    lab: Lab,
    command: Sequence[str],
    moment: Moment,
    *,
    spare_helm: bool = False,
    environ: Mapping[str, str | None] | None = None,
    user: str = "lab-admin",
) -> Killed:
    """Run a command (Lab.command makes one) and SIGKILL all of it at a moment.

    Forgets the requests before (Lab.forget_requests). spare_helm: as if only Ansible had been
    killed, Helm goes on. user: whose writes are told.
    """
    lab.forget_requests()
    run = Running(lab, uuid.uuid4().hex, time.monotonic())
    due = moment(run)
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command,
            env=lab.ansible_environ({**(environ or {}), MARK: run.mark}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        while not due() and process.poll() is None:
            time.sleep(POLL)
        in_time = process.poll() is None
        killed = _kill_all(run, spare_helm)
        left = sorted(run.processes())
        process.wait()
        written = _written(lab, user)
        output.seek(0)
        return Killed(in_time, output.read(), written, killed, left)


def _kill_all(run: Running, spare_helm: bool) -> list[str]:
    """Parents first, and again until nothing is left that was started meanwhile. One that is dying
    may still have its environment and its command line no more: the first one counts.
    """
    killed: dict[int, str] = {}
    while True:
        found = run.processes()
        victims = {p: line for p, line in found.items() if not (spare_helm and _is_helm(line))}
        if not victims:
            return list(killed.values())
        for pid in sorted(victims):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        killed = victims | killed


def _written(lab: Lab, user: str) -> list[str]:
    """The writes, once those that were under way have been answered."""
    written = lab.writes(user)
    while True:
        time.sleep(SETTLED)
        if (now := lab.writes(user)) == written:
            return written
        written = now
