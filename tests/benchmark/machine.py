# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where and with what something was measured."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.gpufleet.sharing.tests.integration.labtools import ROOT

BUSY = 0.2  # share of the processor that others may have of a machine that is at our disposal
LOOK = 2.0  # seconds for which that is looked at


def facts() -> dict[str, Any]:
    """Date, versions and machine, and how much of it others have at this moment."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "versions": {
            "collection": commit(),
            "ansible-core": version("ansible-core"),
            "kubernetes.core": _kubernetes_core(),
            "kubernetes (Python)": version("kubernetes"),
            "Python": platform.python_version(),
        },
        "machine": {
            "cpu": _processor(),
            "cores": os.cpu_count(),
            "memory": f"{_memory():.0f} GiB",
            "busy before": round(_busy(), 2),
        },
    }


def lines(found: dict[str, Any]) -> list[str]:
    """The facts for people."""
    named = [f"{name} {value}" for name, value in found["versions"].items()]
    machine = found["machine"]
    before = machine["busy before"]
    return [
        f"{found['date']}; {', '.join(named)}",
        f"{machine['cores']} cores of {machine['cpu']}, {machine['memory']}, {before:.0%} busy"
        " before",
        *(["It was busy with something else: seconds mean little."] if before > BUSY else []),
    ]


def commit() -> str:
    """That of the tree, as git names it; unknown where git does not tell."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, check=False, text=True, capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"


def _kubernetes_core() -> str:
    for home in __import__("ansible_collections").__path__:
        manifest = Path(home) / "kubernetes" / "core" / "MANIFEST.json"
        if manifest.exists():
            found = yaml.safe_load(manifest.read_text(encoding="utf-8"))
            return str(found["collection_info"]["version"])
    return "unknown"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.machine()


def _busy() -> float:
    """The share of the processor's time that is used, over some seconds; 0 where nobody tells."""

    def times() -> tuple[int, int]:
        first = Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0]
        fields = [int(word) for word in first.split()[1:9]]
        return sum(fields), fields[3] + fields[4]  # all of it; idle, and waiting for a disk

    try:
        before = times()
        time.sleep(LOOK)
        spent, idle = (after - then for after, then in zip(times(), before, strict=True))
    except OSError:
        return 0.0
    return 1 - idle / spent


def _memory() -> float:
    """GiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
