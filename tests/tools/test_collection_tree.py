# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The copy of the working tree that sanity, docs and importer run on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from collection_tree import TreeError, copy_tree, link_dependency, listed_files


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository without any commit: a staged file, a new, an ignored, a lost one."""
    root = tmp_path / "checkout"
    (root / "plugins").mkdir(parents=True)
    for name in ("plugins/staged.py", "new.yml", "ignored.log", "gone.yml"):
        (root / name).write_text(name)
    (root / ".gitignore").write_text("*.log\n")
    for command in (["init", "-q"], ["add", "plugins/staged.py", "gone.yml"]):
        subprocess.run(["git", "-C", str(root), *command], check=True)
    (root / "gone.yml").unlink()
    return root


def test_copy_holds_what_git_would(checkout: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    (target / "stale").mkdir(parents=True)
    assert copy_tree(checkout, target) == 3
    names = sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())
    assert names == [".gitignore", "new.yml", "plugins/staged.py"]
    assert not (target / "stale").exists()


def test_listed_files_outside_git_says_so(tmp_path: Path) -> None:
    with pytest.raises(TreeError, match=str(tmp_path)):
        listed_files(tmp_path)


def test_link_dependency_is_repeatable(tmp_path: Path) -> None:
    link_dependency(tmp_path)
    link_dependency(tmp_path)
    core = tmp_path / "ansible_collections" / "kubernetes" / "core"
    assert (core / "plugins" / "modules" / "k8s.py").exists()
