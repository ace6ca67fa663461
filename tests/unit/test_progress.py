# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines on progress: each at once, and never a reason for a rollout to end."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.progress import Progress


def test_progress_adds_lines_at_once(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    path.write_text("before\n")
    with Progress(str(path)) as said:
        said("batch 1 of 3:\n  1 node")
        assert path.read_text() == "before\nbatch 1 of 3: 1 node\n"
        said("done")
    said("too late")
    assert path.read_text() == "before\nbatch 1 of 3: 1 node\ndone\n"


def test_progress_without_a_path_goes_nowhere() -> None:
    with Progress(None) as said:
        said("batch 1 of 3")


@pytest.mark.parametrize("path", ["missing/progress", "."])
def test_progress_that_cannot_be_written_goes_nowhere(path: str, tmp_path: Path) -> None:
    """The module may run on another machine than the action plugin that made the file."""
    with Progress(str(tmp_path / path)) as said:
        said("batch 1 of 3")


def test_progress_on_a_full_disk_goes_nowhere() -> None:
    with Progress("/dev/full") as said:
        said("batch 1 of 3")
        said("batch 2 of 3")


def fail_after(line: str, path: Path) -> Progress:
    with Progress(str(path)) as said:
        said(line)
        raise ValueError(line)


def test_progress_keeps_its_lines_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    with pytest.raises(ValueError, match="batch 1"):
        fail_after("batch 1 of 3", path)
    assert path.read_text() == "batch 1 of 3\n"
