# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure what sharing a GPU costs, in pods on the node that `realnode env` names. See README.md.

It goes on in the node's network, with the Python that has Ansible.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
NAMED = ROOT / ".build" / "collections" / "ansible_collections" / "gpufleet" / "sharing"
ENTERED = "REALNODE_ENTERED"


def enter() -> None:
    """Start anew in the network of the node, unless that has been done."""
    process = os.environ.get("REALNODE_PID")
    if not process or os.environ.get(ENTERED) == process:
        return
    os.environ[ENTERED] = process
    command = ["nsenter", "--target", process, "--net", find_python(), *sys.argv]
    os.execvp(command[0], command)


def find_python() -> str:
    """The Python with the packages, else this one."""
    sys.path[:0] = [str(ROOT / "tests" / "realnode"), str(ROOT / "tests" / "lab")]
    from gpunode.paths import venvs  # type: ignore[import-not-found]

    found = (venv / "bin" / "python" for venv in venvs())
    return str(next((python for python in found if python.exists()), sys.executable))


def main() -> int:
    enter()
    if not NAMED.exists():  # as the Makefile makes it
        NAMED.parent.mkdir(parents=True, exist_ok=True)
        NAMED.symlink_to("../../../..")
    sys.path[:] = [str(ROOT / ".build" / "collections"), *sys.path[1:]]
    from ansible_collections.gpufleet.sharing.tests.realnode.cost.main import main as measure

    return measure(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
