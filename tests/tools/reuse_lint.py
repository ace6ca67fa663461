# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run `reuse lint` on a copy of its own: the files that git has or would add, and nothing else.

reuse asks git once which files are ignored and then walks the tree. What other steps write in the
meantime (compiled Python, the cache of mypy) would be reported as files without a licence.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from collection_tree import ROOT, copy_tree


def lint(root: Path) -> int:
    """Return the exit status of reuse for the listed files of root."""
    with tempfile.TemporaryDirectory(prefix="gpufleet-reuse-") as folder:
        number = copy_tree(root, Path(folder))
        print(f"{number} files", flush=True)
        command = ["reuse", "--root", folder, "lint"]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(lint(ROOT))
