# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copy the working tree to where ansible-test, the importer and antsibull-docs want it.

They need real directories …/ansible_collections/gpufleet/sharing, with kubernetes/core beside
them; through a link they see the link's target. The copy holds what git would: tracked files, and
new ones that .gitignore lets through.
"""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = ROOT / ".build" / "tree"
TREE = COLLECTIONS / "ansible_collections" / "gpufleet" / "sharing"


class TreeError(Exception):
    """The copy cannot be made; the message says why."""


def listed_files(root: Path) -> list[str]:
    """Return the paths below root that git has or would add, sorted, deleted ones left out."""
    command = ["git", "-C", str(root), "ls-files", "-z", "-co", "--exclude-standard"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise TreeError(f"git cannot list the files of {root}: {result.stderr.strip()}")
    names = set(result.stdout.split("\0")) - {""}
    return sorted(name for name in names if (root / name).is_file())


def copy_tree(root: Path, target: Path) -> int:
    """Make target a copy of root's listed files and return their number."""
    shutil.rmtree(target, ignore_errors=True)
    names = listed_files(root)
    for folder in {(target / name).parent for name in names}:
        folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copy2(root / name, target / name, follow_symlinks=False)
    return len(names)


def link_dependency(collections: Path) -> None:
    """Put kubernetes.core, which the package ansible brings, beside the copy."""
    spec = find_spec("ansible_collections")
    homes = [
        Path(home) / "kubernetes" / "core"
        for home in (spec and spec.submodule_search_locations) or ()
    ]
    home = next((home for home in homes if home.is_dir()), None)
    if home is None:
        raise TreeError("kubernetes.core is not installed beside this Python: make venv")
    link = collections / "ansible_collections" / "kubernetes" / "core"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(home)


def main() -> None:
    """Refresh .build/tree."""
    number = copy_tree(ROOT, TREE)
    link_dependency(COLLECTIONS)
    print(f"{number} files in {TREE}")


if __name__ == "__main__":
    main()
