# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Script, crontab and units of docs/scheduled.md, installed in a folder instead of the machine."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "scheduled.md"
FOLDERS = {  # of the page, and what stands for them
    "/etc/gpu-sharing": "etc",
    "/usr/local/bin": "local",
    "/opt/gpu-sharing/bin": "bin",
    "/var/log/gpu-sharing": "log",
}
SCRIPT = "/usr/local/bin/gpu-sharing-run"


def blocks(language: str) -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def exit_codes() -> dict[str, list[str]]:
    """What each column of the table says about each playbook."""
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    return {name: columns for name, *columns in rows}


@dataclass(frozen=True)
class Job:
    """A line of the crontab."""

    schedule: tuple[str, ...]
    user: str
    command: str


@dataclass(frozen=True)
class Crontab:
    variables: Mapping[str, str]
    jobs: tuple[Job, ...]

    def of(self, playbook: str) -> Job:
        (job,) = (job for job in self.jobs if playbook in job.command.split())
        return job


def read_crontab(text: str) -> Crontab:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    variables = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))
    rows = [line.split(maxsplit=6) for line in lines if not re.match(r"[A-Z_]+=", line)]
    jobs = (Job(tuple(row[:5]), row[5], row[6]) for row in rows)
    return Crontab(variables, tuple(jobs))


def units() -> dict[str, str]:
    """The unit files by name."""
    found = (re.match(r"# \S+/(\S+)\n", block) for block in blocks("ini"))
    names = [match[1] for match in found if match]
    return dict(zip(names, blocks("ini"), strict=True))


def settings(unit: str) -> dict[str, list[str]]:
    """The values of each key of a unit file, as Section.Key."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in unit.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(f"{section}.{key}", []).append(value)
    configparser.ConfigParser(strict=False, interpolation=None).read_string(unit)
    return found


@dataclass
class Machine:
    """A folder with the folders of the page."""

    root: Path
    more: dict[str, str] = field(default_factory=dict)  # variables

    def __post_init__(self) -> None:
        for folder in FOLDERS.values():
            (self.root / folder).mkdir(parents=True)
        self.inventory.mkdir()
        (script,) = blocks("sh")
        self.add("local/gpu-sharing-run", self.here(script))

    @property
    def inventory(self) -> Path:
        return self.root / "etc" / "inventory"

    @property
    def crontab(self) -> Crontab:
        (text,) = blocks("crontab")
        return read_crontab(self.here(text))

    def here(self, text: str) -> str:
        """A text of the page with this machine's folders."""
        for folder, name in FOLDERS.items():
            text = text.replace(folder, str(self.root / name))
        return text

    def add(self, name: str, text: str) -> None:
        """A program."""
        (self.root / name).write_text(text, encoding="utf-8")
        (self.root / name).chmod(0o755)

    def add_ansible(self) -> None:
        """The real ansible-playbook, with this collection."""
        tool = Path(sys.executable).with_name("ansible-playbook")
        self.add("bin/ansible-playbook", f'#!/bin/sh\nexec {tool} "$@"\n')
        self.more["ANSIBLE_COLLECTIONS_PATH"] = str(ROOT / ".build" / "collections")

    def run(self, playbook: str = "drift") -> subprocess.CompletedProcess[str]:
        """The job drift of the crontab, or the same with another playbook, as cron runs it: with
        these variables and no others.
        """
        given = {"HOME": str(self.root), "LOGNAME": "gpu-sharing", **self.crontab.variables}
        command = self.crontab.of("drift").command.replace("drift", playbook)
        return subprocess.run(
            [given["SHELL"], "-c", command],
            env={**given, **self.more},
            cwd=self.root,
            check=False,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
