# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""reuse sees the listed files of a checkout and no others."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from reuse_lint import lint

# In two parts: reuse would read this file's own text as a licence.
LICENSED = "# SPDX-FileCopyrightText" + ": 2026 us\n# SPDX-License-Identifier" + ": 0BSD\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """One licensed file, and an ignored one without a licence."""
    root = tmp_path / "checkout"
    (root / "LICENSES").mkdir(parents=True)
    (root / "LICENSES" / "0BSD.txt").write_text("Do as you like.\n")
    (root / ".gitignore").write_text(LICENSED + "*.log\n")
    (root / "code.py").write_text(LICENSED)
    (root / "other.log").write_text("of another step\n")
    subprocess.run(["git", "-C", str(root), "init", "-q"], check=True)
    return root


def test_ignored_files_need_no_licence(checkout: Path) -> None:
    assert lint(checkout) == 0


def test_listed_file_without_a_licence_fails(checkout: Path) -> None:
    (checkout / "more.py").write_text("x = 1\n")
    assert lint(checkout) == 1
