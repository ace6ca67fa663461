# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the checks of checks.py: `run_checks.py [GROUP OR STEP ...]`, all of them when none is named.

SLOTS steps run at a time. A failure does not stop the others, save those that come after the failed
step. Without FULL, steps and tests that only `make test-all` runs are left out (checks.py, and the
mark `full`); a step that is named runs. Each step's output is in .build/logs/STEP.log. A step that
has passed before with the same inputs is not run again unless FRESH is set (inputs.py, passed.py);
its passed tests are counted.
The last line is `N passed, N failed`, and `, N skipped` when there are any.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from checks import LOGS, STEPS, Step, short
from collection_tree import COLLECTIONS, ROOT, TREE, copy_tree, link_dependency
from passed import Record

SLOTS = 4  # of two cores: the tests on labs mostly wait
TAIL = 25
DESELECTED = re.compile(r"(\d+) deselected")  # in pytest's last line
QUICK = "quick"  # the name of all steps that are
READS = "GPUFLEET_READS"  # where tests/conftest.py writes what tests read
REAPER = (sys.executable, "-I", str(Path(__file__).with_name("reaper.py")))
FOREIGN = ("ANSIBLE_", "K8S_AUTH_", "KUBE", "HELM_", "MOLECULE_", "PYTHON", "GALAXY_IMPORTER_")


class Usage(Exception):
    """The command line names no step."""


@dataclass(frozen=True)
class Counts:
    """What a step adds to the last line."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.passed + other.passed,
            self.failed + other.failed,
            self.skipped + other.skipped,
        )

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


@dataclass(frozen=True)
class Result:
    """How a step ended."""

    step: Step
    status: Literal["ok", "cached", "FAILED", "skipped"]
    counts: Counts
    seconds: float = 0
    processor: float = 0  # seconds, of all processes
    note: str = ""
    left_out: int = 0  # tests that only make test-all runs


@dataclass
class Job:
    """A step that is running."""

    step: Step
    process: subprocess.Popen[bytes]
    start: float
    key: str = ""  # of its inputs when it started
    late: bool = False
    processor: float = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.start

    def interrupt(self) -> None:
        """End the step's processes as Ctrl-C would, so that pytest ends the labs it booted."""
        for sign, patience in ((signal.SIGINT, 60), (signal.SIGKILL, 10)):
            deadline = time.monotonic() + patience
            if not self.ended():
                os.killpg(self.process.pid, sign)
            while not self.ended() and time.monotonic() < deadline:
                time.sleep(0.1)

    def ended(self) -> bool:
        """Collect the process when it has ended, and what it and those below it have used."""
        if self.process.returncode is None:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                self.process.returncode = os.waitstatus_to_exitcode(status)
                self.processor = usage.ru_utime + usage.ru_stime
        return self.process.returncode is not None

    def finished(self) -> bool:
        """Tell whether the step has ended; one that has used up its minutes is ended."""
        if self.seconds > self.step.minutes * 60 and not self.ended():
            self.late = True
            self.interrupt()
        return self.ended()


def select(steps: Sequence[Step], names: Collection[str]) -> list[Step]:
    """Return the steps of these names and groups, all for no names."""
    known = {step.name for step in steps} | {step.group for step in steps} | {QUICK}
    if unknown := sorted(set(names) - known):
        raise Usage(f"no such check: {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
    return [s for s in steps if not names or {s.name, s.group, *(QUICK,) * s.quick} & set(names)]


def with_before(steps: Sequence[Step], chosen: Sequence[Step]) -> list[Step]:
    """Return chosen and what they come after, in the order of steps."""
    before = {step.after for step in chosen}
    return [step for step in steps if step in chosen or step.name in before]


def next_step(
    waiting: Sequence[Step], running: Collection[Step], done: Collection[str]
) -> Step | None:
    """Return the first step that may start now: what it comes after is done, and there is room."""
    if len(running) >= SLOTS:
        return None
    return next((step for step in waiting if not step.after or step.after in done), None)


def count_tests(report: Path) -> Counts:
    """Add up the test suites of a junit XML file; no readable file, no counts."""
    try:
        suites = ElementTree.parse(report).getroot().iter("testsuite")
    except (OSError, ElementTree.ParseError):
        return Counts()
    total = Counts()
    for suite in suites:
        tests, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        total += Counts(max(tests - failed - skipped, 0), failed, skipped)
    return total


def why_skipped(report: Path) -> list[str]:
    """The reasons of the tests that were skipped, each once."""
    try:
        skips = ElementTree.parse(report).getroot().iter("skipped")
    except (OSError, ElementTree.ParseError):
        return []
    return sorted({skipped.get("message", "") for skipped in skips})


def count_deselected(log: Path) -> int:
    """Return how many tests pytest has left out."""
    found = DESELECTED.findall(log.read_text(encoding="utf-8", errors="replace"))
    return int(found[-1]) if found else 0


def judge(step: Step, status: int, report: Path) -> Counts:
    """Return what the step counts for; a pytest that fails without a failed test is a failure."""
    if not step.junit:
        return Counts(passed=int(status == 0), failed=int(status != 0))
    counts = count_tests(report)
    return counts if status == 0 or counts.failed else counts + Counts(failed=1)


def environment(base: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of all steps: this venv, our collections, nobody's cluster."""
    own = {name: value for name, value in base.items() if not name.startswith(FOREIGN)}
    return own | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{base.get('PATH', os.defpath)}",
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build" / "collections"),
        "ANSIBLE_NOCOLOR": "1",
        "COVERAGE_FILE": str(ROOT / ".build" / "coverage"),
        "KUBECONFIG": str(ROOT / ".build" / "no-kubeconfig"),
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
    }


def start(step: Step, key: str) -> Job:
    """Start the step, its output going to its log."""
    folder = TREE if step.in_copy else ROOT / step.cwd
    for ending in ("xml", "reads"):
        (LOGS / f"{step.name}.{ending}").unlink(missing_ok=True)
    with (LOGS / f"{step.name}.log").open("wb") as log:
        process = subprocess.Popen(
            (*REAPER, *step.command),
            cwd=folder,
            env=environment(os.environ) | {READS: str(LOGS / f"{step.name}.reads")},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    print(f"  run      {step.name}", flush=True)
    return Job(step, process, time.monotonic(), key)


def conclude(job: Job, record: Record) -> Result:
    """Return the result of a job that has ended; print it, and the end of the log if it failed."""
    name = job.step.name
    status = 1 if job.late else job.process.returncode
    counts = judge(job.step, status, LOGS / f"{name}.xml")
    note = f"stopped after {job.step.minutes} minutes" if job.late else ""
    if not counts.failed:
        print(f"  ok       {name}  {job.seconds:.0f} s", flush=True)
        for reason in why_skipped(LOGS / f"{name}.xml") if job.step.junit else []:
            print(f"           | skipped: {reason}", flush=True)
        left_out = count_deselected(LOGS / f"{name}.log") if job.step.junit else 0
        kept = (job.step, job.key, counts.passed, reads(name), left_out)
        note = "" if counts.skipped else record.keep(*kept)
        return Result(job.step, "ok", counts, job.seconds, job.processor, note, left_out)
    log = LOGS / f"{name}.log"
    print(f"  FAILED   {name}  {job.seconds:.0f} s  {note} {log.relative_to(ROOT)}", flush=True)
    for line in log.read_text(errors="replace").splitlines()[-TAIL:]:
        print(f"           | {line}", flush=True)
    return Result(job.step, "FAILED", counts, job.seconds, job.processor, note)


def reads(step: str) -> set[str]:
    """Return the files that tests of a step have read, as tests/conftest.py wrote them."""
    file = LOGS / f"{step}.reads"
    return set(file.read_text(encoding="utf-8").splitlines()) if file.exists() else set()


def skip(step: Step) -> Result:
    print(f"  skipped  {step.name}: {step.after} failed", flush=True)
    return Result(step, "skipped", Counts(skipped=1), note=f"{step.after} failed")


def cached(steps: Sequence[Step], record: Record) -> list[Result]:
    """Return the results of steps that need not run, and print them."""
    results = []
    for step in steps:
        if found := record.find(step):
            print(f"  cached   {step.name}  {found.tests} passed {found.age}")
            counts = Counts(found.tests)
            results.append(Result(step, "cached", counts, note=found.age, left_out=found.left_out))
    return results


def run_steps(steps: Sequence[Step], record: Record) -> list[Result]:
    """Run the steps, SLOTS at a time, and return their results in the order in which they ended."""
    results = cached(steps, record)
    done = [result.step for result in results]
    waiting, jobs = [step for step in steps if step not in done], list[Job]()
    try:
        while waiting or jobs:
            good = {result.step.name for result in results if not result.counts.failed}
            good -= {result.step.name for result in results if result.status == "skipped"}
            bad = {result.step.name for result in results} - good
            results += [skip(step) for step in waiting if step.after in bad]
            waiting = [step for step in waiting if step.after not in bad]
            while step := next_step(waiting, [job.step for job in jobs], good):
                waiting.remove(step)
                jobs.append(start(step, record.key(step)))
            time.sleep(0.1)
            ended = [job for job in jobs if job.finished()]
            jobs = [job for job in jobs if job not in ended]
            results += [conclude(job, record) for job in ended]
    finally:
        for job in jobs:
            job.interrupt()
    return results


def present(steps: Sequence[Step]) -> list[Step]:
    """Return the steps whose paths exist, and print which are left out."""
    kept = []
    for step in steps:
        if missing := [path for path in step.needs if not (ROOT / path).exists()]:
            print(f"  not present: {step.name} ({', '.join(missing)})", flush=True)
        else:
            kept.append(step)
    return kept


def summary(results: Sequence[Result], steps: Sequence[Step]) -> Counts:
    """Print a table in the order of steps, and return the sum."""
    order = {step.name: number for number, step in enumerate(steps)}
    print(f"\n{'step':30}{'':9}{'time':>6}    {'processor':>9}")
    for result in sorted(results, key=lambda result: order[result.step.name]):
        took = f"{result.seconds:6.0f} s  {result.processor:9.0f} s"
        line = f"{result.step.name:30}{result.status:9}{took}  {result.counts}"
        left_out = f"  {result.left_out} only in make test-all" * bool(result.left_out)
        print(f"{line}{left_out}  {result.note}".rstrip())
    used = sum(result.processor for result in results)
    print(f"{'all':30}{'':9}{'':6}    {used:9.0f} s")
    return sum((result.counts for result in results), Counts())


def main(names: Sequence[str]) -> int:
    """Return 0 when nothing failed, else 1."""
    known = STEPS if os.environ.get("FULL") else short(STEPS, names)
    try:
        chosen = present(select(known, names))
    except Usage as error:
        print(f"run_checks.py: {error}", file=sys.stderr)
        return 2
    steps = with_before(known, chosen)
    LOGS.mkdir(parents=True, exist_ok=True)
    # A shell that starts us in the background has SIGINT ignored, and steps would inherit that.
    # SIGTERM ends the steps and their labs as Ctrl-C does.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    if any(step.in_copy for step in steps):
        copy_tree(ROOT, TREE)
        link_dependency(COLLECTIONS)
    results = run_steps(steps, Record.of(ROOT, os.environ))
    counts = summary(results, steps)
    left_out = sum(result.left_out for result in results)
    absent = [] if names else [step.name for step in STEPS if step.full and step not in known]
    if left_out or absent:
        print(f"only in make test-all: tests {left_out}; steps {', '.join(absent) or 'none'}")
    print(counts, flush=True)
    return int(counts.failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
