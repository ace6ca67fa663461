# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the tests of the node: test_realnode.py, which boots it and takes it down."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .paths import HERE, ROOT

_LINK = ROOT / ".build/collections/ansible_collections/gpufleet/sharing"


def run(*, gpu: bool, stable: int) -> int:
    """Return pytest's exit status."""
    if not _LINK.exists():  # as make venv has it
        _LINK.parent.mkdir(parents=True, exist_ok=True)
        _LINK.symlink_to("../../../..")
    tools = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build" / "collections"),
        "REALNODE_GPU": "1" if gpu else "",
        "REALNODE_STABLE": str(stable),
        "REALNODE": "must",
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--maxfail=3",
        "-rs",
        str(HERE / "test_realnode.py"),
    ]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
