# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make test` leaves out: every file is in a step, `make test-all` runs everything, and what
is left out has a reason.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import run_checks
from checks import FULL_ONLY, STEPS, Step, short
from collection_tree import ROOT
from inputs import Tree
from passed import Record

TESTS = sorted(Tree.of(ROOT).select(["tests/*test_*.py"]))
MARKED = """
import pytest

@pytest.mark.full({reason})
def test_whole(): ...

@pytest.mark.full("cases", keep=1)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_cases(number): ...

def test_plain(): ...
"""


def step(name: str) -> Step:
    return next(each for each in STEPS if each.name == name)


def covers(each: Step, file: str) -> bool:
    """Whether pytest collects the file in this step."""
    places = [word for word in each.command if file == word or file.startswith(f"{word}/")]
    return bool(places) and not any(
        word.startswith("--ignore=") and file.startswith(word.removeprefix("--ignore="))
        for word in each.command
    )


@pytest.mark.parametrize("file", TESTS)
def test_every_file_is_in_one_step(file: str) -> None:
    assert len([each.name for each in STEPS if each.junit and covers(each, file)]) == 1


@pytest.mark.parametrize("each", STEPS, ids=lambda each: each.name)
def test_all_steps_run_everything(each: Step) -> None:
    """In make test-all: neither an option nor a step is left out."""
    assert not {"--short", "--deselect", "-k", "-m", "--skip-test"} & set(each.command[3:])


def test_short_keeps_all_steps_but_those_with_a_reason() -> None:
    kept = {each.name: each for each in short(STEPS)}
    assert set(FULL_ONLY) <= {each.name for each in STEPS}
    assert {each.name for each in STEPS} - kept.keys() == set(FULL_ONLY)
    assert all(reason.strip() for reason in FULL_ONLY.values())
    assert all("--short" in each.command for each in kept.values() if each.junit)
    assert kept["sanity"].command[-6:] == ("--skip-test", "import", *kept["sanity"].command[-4:])


def test_step_that_is_named_runs() -> None:
    assert "molecule" in {each.name for each in short(STEPS, ["molecule"])}
    assert "molecule" not in {each.name for each in short(STEPS, ["integration"])}


def test_make_test_all_asks_for_everything() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert set(re.findall(r"^test-all: export (\w+)", text, re.MULTILINE)) == {
        *("DIFFERENTIAL_FILES", "FAULTS", "FRESH", "FULL", "KILLS", "REALNODE"),
    }


def left_out(node: ast.stmt) -> bool:
    """Whether a test, or with pytestmark the file, has the mark `full` for all of its cases."""
    marked = node.decorator_list if isinstance(node, ast.FunctionDef) else [node]
    marks = (call for each in marked for call in ast.walk(each) if isinstance(call, ast.Call))
    return any(ast.unparse(mark.func) == "pytest.mark.full" and not mark.keywords for mark in marks)


@pytest.mark.parametrize("file", TESTS)
def test_some_test_of_each_file_stays(file: str) -> None:
    """Or else the file, or its step, has the one reason."""
    (each,) = (found for found in STEPS if found.junit and covers(found, file))
    body = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
    tests = [
        node for node in body if isinstance(node, ast.FunctionDef) and node.name[:5] == "test_"
    ]
    marked = [test.name for test in tests if left_out(test)]
    if each.full or any(left_out(node) for node in body if isinstance(node, ast.Assign)):
        assert marked == []
    else:
        assert len(marked) < len(tests)


def run(folder: Path, text: str, *arguments: str) -> str:
    """What pytest says of a file, with the project's conftest.py."""
    file = folder / "test_marked.py"
    file.write_text(text, encoding="utf-8")
    (folder / "conftest.py").symlink_to(ROOT / "tests" / "conftest.py")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *arguments,
        str(file),
    ]
    environ = {name: value for name, value in os.environ.items() if name != run_checks.READS}
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_marked_tests_are_left_out_when_asked_for(tmp_path: Path) -> None:
    text = MARKED.format(reason='"slow"')
    log = tmp_path / "log"
    log.write_text(run(tmp_path, text, "--short"), encoding="utf-8")
    assert "2 passed, 3 deselected" in log.read_text(encoding="utf-8")
    assert run_checks.count_deselected(log) == 3


@pytest.mark.parametrize(
    ("reason", "options", "said"),
    [
        ('"slow"', (), "5 passed"),
        ("", (), "needs a reason"),
        ('""', ("--short",), "needs a reason"),
    ],
)
def test_mark_without_a_reason_is_an_error(
    tmp_path: Path, reason: str, options: tuple[str, ...], said: str
) -> None:
    assert said in run(tmp_path, MARKED.format(reason=reason), *options)


def test_what_is_left_out_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also of a step that has passed before."""
    code = (
        "print('1 passed, 7 deselected'); open('short.xml', 'w').write('<testsuite tests=\"1\"/>')"
    )
    monkeypatch.setattr(run_checks, "LOGS", tmp_path)
    monkeypatch.setattr(run_checks, "ROOT", tmp_path)
    one = Step("short", "short", (sys.executable, "-c", code), junit=True)
    root = tmp_path / "checkout"
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    record = Record(tmp_path / "passed", Tree.of(root), ())
    for _turn in range(2):
        (result,) = run_checks.run_steps([one], record)
        assert (result.counts.passed, result.left_out) == (1, 7)
        run_checks.summary([result], [one])
        assert "7 only in make test-all" in capfd.readouterr().out
    assert result.status == "cached"
