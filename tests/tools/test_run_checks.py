# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner behind `make test`: what it picks, in which order, what it counts, what it prints."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import run_checks
from checks import LOGS, SECONDS, SHORT_SECONDS, STEPS, Step, longest_first, short
from inputs import Tree
from passed import Record
from run_checks import (
    SLOTS,
    Counts,
    Usage,
    count_tests,
    environment,
    judge,
    next_step,
    select,
    why_skipped,
    with_before,
)

TOOLS = Path(__file__).resolve().parent

BUILD = Step("build", "build", ("true",))
LINT = Step("lint", "lint", ("true",))
TESTS = Step("tests", "tests", ("true",), after="build", junit=True)
ALL = (BUILD, LINT, TESTS)
REPORT = """<testsuites>
<testsuite tests="7" failures="1" errors="1" skipped="2"/><testsuite tests="3"/></testsuites>"""


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ([], ["build", "lint", "tests"]),
        (["lint"], ["lint"]),
        (["tests"], ["build", "tests"]),
    ],
)
def test_select(names: list[str], chosen: list[str]) -> None:
    assert [step.name for step in with_before(ALL, select(ALL, names))] == chosen


def test_select_unknown_name_is_refused() -> None:
    with pytest.raises(Usage, match=r"\blnit\b.*build, lint, quick, tests"):
        select(ALL, ["lnit"])


@pytest.mark.parametrize(
    ("waiting", "running", "done", "expected"),
    [
        (ALL, [], [], BUILD),
        ([TESTS, LINT], [BUILD], [], LINT),  # tests come after build; lint overtakes
        ([TESTS], [], ["build"], TESTS),
        ([TESTS, LINT], [LINT], ["build"], TESTS),
        ([LINT], [BUILD] * SLOTS, [], None),  # no slot
        ([], [], [], None),
    ],
)
def test_next_step(
    waiting: list[Step], running: list[Step], done: list[str], expected: Step | None
) -> None:
    assert next_step(waiting, running, done) == expected


def test_count_tests(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    assert count_tests(report) == Counts(passed=6, failed=2, skipped=2)
    report.write_text("<testsuites>")
    assert count_tests(report) == Counts()
    assert count_tests(tmp_path / "absent.xml") == Counts()


def test_why_skipped(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    case = '<testcase><skipped type="pytest.skip" message="{}">f.py:1</skipped></testcase>'
    cases = [case.format(reason) for reason in ("no gcc", "no root", "no gcc")]
    report.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    assert why_skipped(report) == ["no gcc", "no root"]
    assert why_skipped(tmp_path / "absent.xml") == []


def test_judge_pytest_that_collects_nothing_or_dies_is_a_failure(tmp_path: Path) -> None:
    assert judge(TESTS, 5, tmp_path / "absent.xml") == Counts(failed=1)
    assert judge(LINT, 0, tmp_path / "absent.xml") == Counts(passed=1)
    assert judge(LINT, 2, tmp_path / "absent.xml") == Counts(failed=1)


def test_environment_leaves_the_users_cluster_out() -> None:
    result = environment({"K8S_AUTH_HOST": "prod", "KUBECONFIG": "prod", "PATH": "/bin", "X": "1"})
    assert "K8S_AUTH_HOST" not in result
    assert "prod" not in result.values()
    assert result["PATH"].endswith(":/bin")
    assert result["X"] == "1"


def test_counts_print_skipped_only_when_there_are_any() -> None:
    assert str(Counts(3, 0)) == "3 passed, 0 failed"
    assert str(Counts(3, 1) + Counts(0, 0, 2)) == "3 passed, 1 failed, 2 skipped"


def test_names_of_steps_are_unique() -> None:
    assert len({step.name for step in STEPS}) == len(STEPS)


def test_longest_first_takes_a_step_without_a_time_for_a_long_one() -> None:
    names = sorted(SECONDS.keys() - {"lab-build"}, key=lambda name: SECONDS[name])
    brief, long = (Step(name, "", ()) for name in (names[0], names[-1]))
    new = Step("new", "", ())
    assert longest_first(brief, new, long) == (new, long, brief)


def test_short_begins_with_the_build_and_what_is_long_then() -> None:
    names = [step.name for step in short(STEPS)]
    assert names[0] == STEPS[0].name == "lab-build"
    assert names.index("integration-recipe") < names.index("integration-lease")


def test_times_are_of_steps_that_there_are() -> None:
    assert SECONDS.keys() <= {step.name for step in STEPS}
    assert SHORT_SECONDS.keys() <= {step.name for step in short(STEPS)}


def fresh(folder: Path) -> Record:
    """No passes yet, of a tree without files."""
    root = folder / "checkout"
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    return Record(folder / "passed", Tree.of(root), ())


def python(name: str, code: str, **options: object) -> Step:
    return Step(name, name, (sys.executable, "-c", code), **options)  # type: ignore[arg-type]


def test_run_steps_goes_on_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    steps = (
        python("bad", "import sys; print('the reason'); sys.exit(3)"),
        python("after-bad", "", after="bad"),
        python("slow", "import time; time.sleep(60)", minutes=0),
        python("good", ""),
    )
    monkeypatch.setattr(run_checks, "LOGS", tmp_path)
    monkeypatch.setattr(run_checks, "ROOT", tmp_path)
    results = run_checks.run_steps(steps, fresh(tmp_path))
    total = run_checks.summary(results, steps)
    assert {result.step.name: result.status for result in results} == {
        "bad": "FAILED",
        "after-bad": "skipped",
        "slow": "FAILED",
        "good": "ok",
    }
    assert total == Counts(1, 2, 1)
    printed = capfd.readouterr().out
    assert "| the reason" in printed
    assert "0 minutes" in printed


def test_steps_that_passed_before_are_counted_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What comes after one of them runs."""
    file = tmp_path / "runs"
    count = f"open({str(file)!r}, 'a').write('x')"
    steps = (
        python("good", count),
        python("bad", f"{count}; raise SystemExit(1)", after="good"),
        python("unrecorded", count, recorded=False),
    )
    monkeypatch.setattr(run_checks, "LOGS", tmp_path)
    monkeypatch.setattr(run_checks, "ROOT", tmp_path)
    record = fresh(tmp_path)
    for _turn in range(2):
        results = run_checks.run_steps(steps, record)
        assert run_checks.summary(results, steps) == Counts(2, 1)
    assert {result.step.name: result.status for result in results} == {
        "good": "cached",
        "bad": "FAILED",
        "unrecorded": "ok",
    }
    assert file.read_text() == "x" * 5
    assert "cached   good  1 passed 0 min ago" in capfd.readouterr().out


def test_skipped_tests_are_not_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their reason is the machine, such as a missing program."""
    monkeypatch.setattr(run_checks, "LOGS", tmp_path)
    monkeypatch.setattr(run_checks, "ROOT", tmp_path)
    report = str(tmp_path / "skips.xml")
    text = '<testsuite tests="2" skipped="1"/>'
    step = python("skips", f"open({report!r}, 'w').write({text!r})", junit=True)
    (result,) = run_checks.run_steps([step], record := fresh(tmp_path))
    assert result.counts == Counts(1, 0, 1)
    assert not record.find(step)


# A command that leaves a program running in a session of its own, as `lab up` does
BURN = "import time\nwhile time.process_time() < 0.5: pass"
LEAVE = f"""
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", {BURN!r}], stdout=2, start_new_session=True).pid)
"""
BOOT = f"""
import os, subprocess, sys, time
pid = subprocess.check_output([sys.executable, "-c", {LEAVE!r}], text=True).strip()
while os.path.exists("/proc/" + pid):  # until somebody has collected it
    time.sleep(0.1)
"""


def test_processor_time_includes_what_outlives_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_checks, "LOGS", tmp_path)
    monkeypatch.setattr(run_checks, "ROOT", tmp_path)
    (result,) = run_checks.run_steps([python("lab", BOOT)], fresh(tmp_path))
    assert result.processor > 0.5


def test_quick_is_part_of_everything() -> None:
    names = {step.name for step in select(STEPS, ["quick"])}
    assert {"ruff", "mypy", "unit", "tools"} <= names
    assert not any(step.after for step in STEPS if step.quick)


TERMINATED = """
import sys
import run_checks
run_checks.STEPS = (run_checks.Step("long", "long", (sys.executable, "-c", {!r}), recorded=False),)
sys.exit(run_checks.main([]))
"""
LONG = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"


def test_steps_end_with_the_run(tmp_path: Path) -> None:
    """What ends a run that takes too long, such as `timeout`, sends SIGTERM."""
    log = LOGS / "long.log"
    log.unlink(missing_ok=True)
    command = [sys.executable, "-c", TERMINATED.format(LONG)]
    with subprocess.Popen(
        command, cwd=TOOLS, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as run:
        deadline = time.monotonic() + 60
        while not (log.exists() and log.read_text()) and time.monotonic() < deadline:
            time.sleep(0.1)
        run.send_signal(signal.SIGTERM)
        assert run.wait(60) != 0
    assert not Path(f"/proc/{int(log.read_text().split()[0])}").exists()


def test_command_line_refuses_unknown_names() -> None:
    command = [sys.executable, str(TOOLS / "run_checks.py"), "nonsense"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "nonsense" in result.stderr
