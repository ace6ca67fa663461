# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring the node up and take it down again, from outside its namespaces."""

from __future__ import annotations

import datetime
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from gpulab.errors import LabError
from gpulab.process import Process, end, start, wait_for

from . import cuda, driver, image, keys, spaces
from .inside import FAILED, IMAGE, READY
from .needs import SPACES
from .paths import HERE, state_dir
from .record import Record, log_of, read
from .settings import Settings

_SECONDS = 300.0
_PATIENCE = 40.0  # of the node, to end its programs one by one


def up(
    bin_dir: Path, gpus: int, *, stand_in: bool, programs: Sequence[Path] = ()
) -> tuple[Record, bool]:
    """Boot the node, or find it running (then the second value is False). Its image gets more
    programs; with a real GPU, one that uses CUDA.
    """
    record = read()
    if record is not None and record.running and record.alive:
        if (record.gpus, record.stand_in) != (gpus, stand_in):
            raise LabError("a node with other GPUs is up; end it: realnode down")
        return record, False
    down()
    state_dir().mkdir(parents=True, mode=0o700)
    cgroup = f"realnode-{os.getpid()}"
    record = Record(gpus, stand_in, str(bin_dir), cgroup)
    record.save()
    try:
        _boot(record, bin_dir, programs)
    except BaseException:
        down()
        raise
    return record, True


def _boot(record: Record, bin_dir: Path, programs: Sequence[Path]) -> None:
    spaces.prepare(record)
    Settings(keys.create(state_dir(), bin_dir), record.cgroup).write()
    others = {} if record.stand_in else cuda.compile_look(state_dir())
    others |= {path.name: path for path in programs}
    record.programs = sorted(others)
    image.write(bin_dir, state_dir() / IMAGE, others)
    record.holder = start("holder", _holder(), log_of("node"), dict(os.environ))
    record.save()
    if not wait_for(lambda: _find_first(record), 30):
        raise LabError(_told("the namespaces could not be made"))
    record.save()
    ready, failed = state_dir() / READY, state_dir() / FAILED
    wait_for(lambda: ready.exists() or failed.exists() or not record.alive, _SECONDS, poll=0.1)
    if not ready.exists():
        why = failed.read_text(encoding="utf-8").strip() if failed.exists() else _told("it ended")
        raise LabError(f"the node did not come up: {why}")
    record.running = True
    record.started_at = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    record.save()


def _holder() -> list[str]:
    unshare = shutil.which("unshare") or "unshare"
    inside = [sys.executable, str(HERE / "realnode.py"), "_inside"]
    return [unshare, *SPACES, "--kill-child=SIGTERM", *inside]


def _find_first(record: Record) -> bool:
    """The first process of the namespaces is the child of the one that made them."""
    assert record.holder is not None
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == record.holder.pid:
            record.first = Process.of("first", int(stat.parent.name))
            return True
    return False


def _told(what: str) -> str:
    log = log_of("node")
    text = log.read_text(encoding="utf-8", errors="replace").strip() if log.exists() else ""
    return f"{what}: {text[-2000:]}" if text else what


def down() -> tuple[bool, list[str]]:
    """End the node and put everything back: whether there was one, and what is left of it."""
    record = read()
    left: list[str] = []
    if record is not None:
        for process in record.processes:
            end([process], _PATIENCE)
        left = spaces.undo(record)
    existed = state_dir().is_dir()
    shutil.rmtree(state_dir(), ignore_errors=True)
    return existed, left


def gpus_of(number: int | None, *, stand_in: bool) -> int:
    """How many GPUs the node has: as asked for, else two of the stand-in, or what is there."""
    if stand_in:
        return 2 if number is None else number
    return driver.physical_gpus()
