# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of passed steps: when a step need not run again."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from checks import Step
from inputs import Tree
from passed import LIFETIME, Record, default_folder

STEP = Step("unit", "unit", ("pytest", "tests/unit"), ("tests/unit",), inputs=("plugins",))
TEST = "tests/unit/test_x.py"


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """A checkout with one step that has passed 5 tests."""
    root = tmp_path / "checkout"
    for name in (TEST, "plugins/x.py", "docs/x.md", "pyproject.toml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    for command in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", "-C", str(root), *command], check=True)
    found = Record(tmp_path / "passed", Tree.of(root), ("Python 3",))
    assert not found.find(STEP)
    assert found.keep(STEP, found.key(STEP), 5, {"plugins/x.py", ".venv/lib/y.py"}) == ""
    return found


def again(record: Record) -> Record:
    """The record as a later run sees it."""
    return replace(record, tree=Tree.of(record.tree.root))


def test_pass_is_found_by_the_next_run(record: Record) -> None:
    found = again(record).find(STEP)
    assert found
    assert (found.tests, found.age) == (5, "0 min ago")


def test_pass_is_found_by_a_clone(record: Record, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["cp", "-r", str(record.tree.root), str(clone)], check=True)
    step = replace(STEP, command=(sys.executable, str(record.tree.root / "x")))
    record.keep(step, record.key(step), 1, ())
    moved = replace(STEP, command=(sys.executable, str(clone / "x")))
    assert replace(record, tree=Tree.of(clone)).find(moved)


@pytest.mark.parametrize(
    ("changed", "runs"),
    [
        ("plugins/x.py", True),
        ("plugins/new.py", True),
        (TEST, True),
        ("pyproject.toml", True),
        ("docs/x.md", False),
    ],
)
def test_step_runs_again_when_an_input_changed(record: Record, changed: str, runs: bool) -> None:
    (record.tree.root / changed).write_text("X = 1\n")
    assert (again(record).find(STEP) is None) == runs


@pytest.mark.parametrize(
    "other",
    [replace(STEP, name="other"), replace(STEP, command=("pytest", "-x")), replace(STEP, cwd="x")],
)
def test_pass_is_of_one_step(record: Record, other: Step) -> None:
    assert not record.find(other)


def test_pass_is_of_one_machine(record: Record) -> None:
    assert not replace(record, machine=("Python 3", "FAULTS=all")).find(STEP)


def test_fresh_ignores_the_record(record: Record) -> None:
    assert not replace(record, reading=False).find(STEP)
    assert not Record.of(record.tree.root, {"FRESH": "1"}).reading
    assert Record.of(record.tree.root, {}).reading


def test_step_that_is_not_recorded(record: Record) -> None:
    step = replace(STEP, recorded=False)
    record.keep(step, record.key(step), 1, ())
    assert not record.find(step)


def test_pass_is_not_kept_when_files_changed_meanwhile(record: Record) -> None:
    step = replace(STEP, name="long")
    key = record.key(step)
    (record.tree.root / "plugins" / "added.py").write_text("")
    assert "files changed" in record.keep(step, key, 1, ())
    assert not again(record).find(step)


def test_pass_is_not_kept_when_a_test_read_something_else(record: Record) -> None:
    step = replace(STEP, name="reader")
    assert "docs/x.md" in record.keep(step, record.key(step), 1, {"docs/x.md", "plugins/x.py"})
    assert not record.find(step)


def test_folder_that_cannot_be_written_is_no_failure(record: Record) -> None:
    (file,) = record.folder.glob("*.json")
    elsewhere = replace(record, folder=file / "below-a-file")
    assert elsewhere.keep(STEP, record.key(STEP), 5, ()).startswith("not recorded")
    assert not elsewhere.find(STEP)


def test_old_and_broken_passes_are_none(record: Record) -> None:
    (file,) = record.folder.glob("*.json")
    text = file.read_text()
    file.write_text("{}")
    assert not record.find(STEP)
    file.write_text(text.replace('"when": ', '"when": -'))
    assert not record.find(STEP)


def test_old_passes_are_removed(record: Record) -> None:
    (file,) = record.folder.glob("*.json")
    os.utime(file, (0, file.stat().st_mtime - LIFETIME - 60))
    step = replace(STEP, name="next")
    record.keep(step, record.key(step), 1, ())
    assert [each.name[:5] for each in record.folder.glob("*.json")] == ["next-"]


def test_folder_is_beside_the_programs_of_the_lab() -> None:
    assert default_folder({"XDG_CACHE_HOME": "/x"}) == Path("/x/gpufleet-sharing/passed")
    assert default_folder({}) == Path.home() / ".cache" / "gpufleet-sharing" / "passed"
