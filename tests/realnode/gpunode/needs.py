# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the node needs of the machine, and what of it is missing here."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from . import build, driver

_TOOLS = ("unshare", "nsenter", "mount")
_TO_BUILD = ("gcc", "apt-get", "dpkg")
#: The namespaces of the node: mounts, network, and its own first process.
SPACES = ("--mount", "--net", "--pid", "--fork", "--mount-proc", "--propagation", "private")


def missing(stand_in: bool) -> list[str]:
    """What is missing, each in a few words; the first is what to begin with."""
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        return [f"Linux on x86-64 (this is {system} on {machine})"]
    found = [] if os.geteuid() == 0 else ["root"]
    found += [f"the program {name}" for name in _TOOLS if shutil.which(name) is None]
    if not found and not _may_unshare():
        found.append("permission to make namespaces (unshare)")
    if not stand_in and driver.find() is None:
        found.append("an NVIDIA GPU with its driver (or --stand-in)")
    return found + _missing_to_build()


def _may_unshare() -> bool:
    command = ["unshare", *SPACES, "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _missing_to_build() -> list[str]:
    if build.ready() is not None:
        return []
    tools = [name for name in _TO_BUILD if shutil.which(name) is None]
    if tools:
        return [f"the node's programs (realnode unpack), or {', '.join(tools)} to build them"]
    if not Path("/usr/lib/x86_64-linux-gnu/libc.a").exists():
        return ["the package libc6-dev, to build the node's programs"]
    return []
