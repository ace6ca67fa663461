# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record of a lab: one folder per lab, one JSON file in it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import SystemRandom
from typing import Any

from .errors import LabError
from .paths import cache_dir, labs_dir
from .process import Process

_PORTS = range(20000, 32000)  # below the ephemeral range, so that no client socket sits there
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,50}[a-z0-9])?")


@dataclass
class Lab:
    """A lab as recorded. `starter` is the process that boots it, while `running` is false."""

    name: str
    starter: Process
    ports: dict[str, int]
    fleet: dict[str, Any]
    running: bool = False
    processes: list[Process] = field(default_factory=list)
    bin_dir: str = ""
    started_at: str = ""

    @property
    def folder(self) -> Path:
        return labs_dir() / self.name

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.ports['apiserver']}"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit.log"

    @property
    def dead(self) -> list[str]:
        """Names of programs that should run and do not."""
        return [process.name for process in self.processes if not process.alive]

    @property
    def booting(self) -> bool:
        return not self.running and self.starter.alive

    def save(self) -> None:
        temporary = self.folder / ".lab.json"
        temporary.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        temporary.replace(self.folder / "lab.json")

    def log_of(self, program: str) -> Path:
        return self.folder / f"{program}.log"


def read_lab(name: str) -> Lab | None:
    """The lab of that name, or None; a folder without a readable record counts as none."""
    return read_record(labs_dir() / name)


def read_record(folder: Path) -> Lab | None:
    """The lab in a folder, or None where there is no readable record."""
    try:
        raw = json.loads((folder / "lab.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    raw["starter"] = Process(**raw["starter"])
    raw["processes"] = [Process(**process) for process in raw["processes"]]
    return Lab(**raw)


def lab_names() -> list[str]:
    """Every folder of a lab, sorted."""
    root = labs_dir()
    return sorted(p.name for p in root.iterdir() if p.is_dir()) if root.is_dir() else []


def lab_folders() -> list[Path]:
    """The folders of all labs: those below the state folder, and those of tests, which have state
    folders of their own and are found by their running etcd.
    """
    running = {folder for entry in Path("/proc").glob("[0-9]*") if (folder := _served(entry))}
    return sorted({*(labs_dir() / name for name in lab_names()), *running})


def _served(process: Path) -> Path | None:
    """The folder of the lab whose etcd this process is."""
    try:
        words = (process / "cmdline").read_text(encoding="utf-8").split("\0")
    except (OSError, ValueError):
        return None
    if not words[0].endswith("/etcd"):
        return None
    options = dict(word.split("=", 1) for word in words[1:] if "=" in word)
    folder = Path(options.get("--data-dir", "/")).parent
    return folder if (folder / "lab.json").exists() else None


def create_lab(name: str, fleet: dict[str, Any], wanted: list[str]) -> Lab:
    """A new folder with one free port per program of `wanted`. The folder must not exist."""
    if not _NAME.fullmatch(name):
        raise LabError(f"lab name {name!r}: use a-z, 0-9, '.' and '-', at most 52 characters")
    labs_dir().mkdir(parents=True, exist_ok=True)
    with locked_labs():
        try:
            (labs_dir() / name).mkdir(mode=0o700)
        except FileExistsError as err:
            raise LabError(f"lab {name} is being started by somebody else") from err
        lab = Lab(name, Process.of("lab", os.getpid()), _free_ports(wanted), fleet)
        lab.save()
    return lab


def remove_lab(name: str) -> bool:
    """Remove the folder of a lab whose processes have ended; False when there was none."""
    folder = labs_dir() / name
    existed = folder.is_dir()
    shutil.rmtree(folder, ignore_errors=True)
    return existed


@contextmanager
def locked_labs() -> Iterator[None]:
    handle = os.open(labs_dir(), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _free_ports(wanted: list[str]) -> dict[str, int]:
    taken = {port for name in lab_names() for port in _ports_of(name)}
    found: dict[str, int] = {}
    random = SystemRandom()
    claims = _open_claims()
    while len(found) < len(wanted):
        port = random.choice(_PORTS)
        if port in taken or port in found.values():
            continue
        if _claim(claims, port) and port_is_free(port):
            found[wanted[len(found)]] = port
    return found


def _open_claims() -> int:
    """A file whose bytes stand for ports; what is locked in it is so until this process ends."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    return os.open(cache_dir() / "ports", os.O_RDWR | os.O_CREAT, 0o600)


def _claim(claims: int, port: int) -> bool:
    """Of labs that boot at the same time, be it in different folders, one only gets a port."""
    try:
        fcntl.lockf(claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def _ports_of(name: str) -> list[int]:
    lab = read_lab(name)
    return list(lab.ports.values()) if lab else []


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
