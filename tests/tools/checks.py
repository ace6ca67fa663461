# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every check, as data. run_checks.py runs them: `make test-all` all of them in full, `make test`
what short() keeps.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from collection_tree import ROOT

COLLECTION = ("galaxy.yml", "meta", "playbooks", "plugins", "roles")
LAB_FILES = (
    *("tests/lab/chart", "tests/lab/fleets", "tests/lab/go", "tests/lab/gpulab"),
    *("tests/lab/kwok.conf", "tests/lab/lab", "tests/lab/lab.py"),
)
NAMED = "ansible_collections/gpufleet/sharing"
PYTHON = sys.executable
LAB = str(ROOT / "tests" / "lab" / "lab")
LOGS = ROOT / ".build" / "logs"


@dataclass(frozen=True)
class Step:
    """One check: a command that succeeds or fails, or a pytest run whose tests are counted."""

    name: str
    group: str
    command: tuple[str, ...]
    needs: tuple[
        str, ...
    ] = ()  # paths from the root; one that is missing takes the step off the list
    after: str = ""  # a step that must have passed before
    cwd: str = "."
    junit: bool = False
    in_copy: bool = False  # wants the copy of the tree, see collection_tree.py
    minutes: int = 20  # a limit for what hangs, far beyond what a busy machine takes
    inputs: tuple[str, ...] = (".",)  # what its result depends on, see inputs.py
    recorded: bool = True  # is not run again while its inputs are the same
    quick: bool = False  # part of `make quick`
    short: tuple[str, ...] = ()  # more arguments where not everything is to run
    full: str = ""  # why only `make test-all` runs it


def pytest(name: str, group: str, *places: str, options: Sequence[str] = ()) -> Step:
    """Return the step that runs pytest on files and folders, and counts their tests."""
    command = (PYTHON, "-m", "pytest", "-q", f"--junitxml={LOGS / name}.xml", *options, *places)
    return Step(name, group, command, needs=places, junit=True, short=("--short",))


def on_lab(step: Step, minutes: int, *inputs: str) -> Step:
    """Return the step as one that boots labs, after their build; it depends on the lab, these
    inputs, and its own files with what they import.
    """
    return replace(step, after="lab-build", minutes=minutes, inputs=(*LAB_FILES, *inputs))


# How long steps take in full, in seconds of processor, as last measured on a busy machine. The
# longest starts first, so that nothing long is left at the end; a step that is not in here counts
# as a long one.
SECONDS: Mapping[str, int] = {
    "lab-build": 2000,  # first, as all labs wait for it
    "realnode": 560,
    "integration-operator": 490,
    "integration-owner": 350,
    "integration-faults": 280,
    "integration-gallery": 280,
    "integration-recipe": 280,
    "integration-rollback": 260,
    "lab": 250,
    "integration-clusters": 240,
    "sanity": 230,
    "integration-uninstall": 220,
    "integration-strategies": 220,
    "benchmark": 210,
    "integration-rollout": 210,
    "integration-connection": 190,
    "integration-permissions": 190,
    "integration-access": 160,
    "integration-runner": 250,
    "integration-secrets": 220,
    "integration-doctor": 160,
    "integration-probe": 150,
    "molecule": 140,
    "unit": 130,
    "integration-measured": 130,
    "integration-killed": 120,
    "integration-scaled_to_zero": 120,
    "integration-refusals": 110,
    "integration-recovery": 110,
    "integration-guard": 100,
    "integration-tools": 97,
    "integration-versioned": 96,
    "integration-report": 90,
    "integration-scheduled": 82,
    "integration-unmanaged": 80,
    "integration-output": 79,
    "ansible-lint": 72,
    "integration-module_examples": 67,
    "integration-drain": 53,
    "differential": 50,
    "integration-drift": 50,
    "unit-runs": 45,
    "integration-faults_tool": 33,
    "docs": 32,
    "integration-bulk": 28,
    "integration-lease": 25,
    "importer": 22,
    "tools": 17,
    "mypy": 15,
    "integration-history": 13,
    **dict.fromkeys(
        (
            "changelog",
            "reuse",
            "benchmark-parts",
            "cost-parts",
            "go",
            "prose",
            "yamllint",
            "browser",
        ),
        5,
    ),
    **dict.fromkeys(("mypy-lab", "mypy-realnode", "mypy-tools", "ruff", "ruff-format"), 1),
}
# The same in `make test`, where tests are left out
SHORT_SECONDS: Mapping[str, int] = {
    "integration-recipe": 146,
    "integration-clusters": 87,
    "integration-killed": 70,
    "lab": 70,
    "integration-gallery": 67,
    "integration-faults": 58,
    "integration-rollback": 58,
    "integration-permissions": 55,
    "integration-versioned": 46,
    "integration-guard": 39,
    "integration-probe": 38,
    "integration-access": 35,
    "integration-secrets": 35,
    "integration-drift": 34,
    "integration-report": 33,
    "integration-connection": 32,
    "integration-operator": 30,
    "integration-recovery": 29,
    "integration-refusals": 29,
    "integration-strategies": 26,
    "sanity": 24,
    "integration-drain": 22,
    "integration-bulk": 20,
    "integration-unmanaged": 19,
    "differential": 18,
    "integration-scheduled": 15,
    "integration-lease": 13,
    "integration-scaled_to_zero": 8,
}

# What `make test` leaves to `make test-all`, and why; tests of other steps have the mark `full`
FULL_ONLY: Mapping[str, str] = {
    "benchmark": "measures, on 200 nodes; benchmark-parts tests its parts",
    "importer": "what Galaxy does at an upload; docs, sanity and ansible-lint look at the same",
    "integration-doctor": "200 nodes; integration-gallery has the doctor, scheduled the playbook",
    "integration-faults_tool": "tests a tool of integration-faults",
    "integration-measured": "the waits of the roles' defaults; versioned measures too",
    "integration-module_examples": "two converged fleets; sanity reads EXAMPLES",
    "integration-output": "screens of runs that other steps make",
    "integration-owner": "seven installs; unit tests have the rules",
    "integration-rollout": "200 nodes; recipe, recovery and rollback roll out in batches",
    "integration-runner": "environments with several editions of ansible-runner and ansible-core",
    "integration-tools": "tests tools of integration-killed and others",
    "integration-uninstall": "integration-recipe uninstalls; unit tests have what is refused",
    "molecule": "runs the playbooks of integration-recipe",
    "realnode": "needs root, and more time than any other step; also make realnode",
}


def longest_first(*steps: Step, seconds: Mapping[str, int] = SECONDS) -> tuple[Step, ...]:
    return tuple(sorted(steps, key=lambda step: (-seconds.get(step.name, 1000), step.name)))


def short(steps: Iterable[Step], named: Container[str] = ()) -> tuple[Step, ...]:
    """Return the steps as `make test` runs them; those that are named run in any case."""
    kept = (step for step in steps if not step.full or step.name in named)
    less = (replace(step, command=(*step.command, *step.short)) for step in kept)
    return longest_first(*less, seconds={**SECONDS, **SHORT_SECONDS})


PAGES = ("docs/connection.md", "docs/scheduled.md")  # that integration tests read


def integration() -> Iterator[Step]:
    """A step for each file of the integration tests, as they have labs of their own, and one for
    the files of the gallery, which share a lab.
    """
    long = os.environ.get("FAULTS") or os.environ.get("KILLS")
    steps: dict[str, list[str]] = {}
    for file in sorted((ROOT / "tests" / "integration").glob("test_*.py")):
        name = re.sub("^gallery_.*", "gallery", file.stem.removeprefix("test_"))
        steps.setdefault(f"integration-{name}", []).append(str(file.relative_to(ROOT)))
    for name, files in steps.items():
        step = pytest(name, "integration", *files)
        yield on_lab(
            step, 90 if long else 40, *COLLECTION, "docs/connection.md", "docs/scheduled.md"
        )


def tool(script: str) -> tuple[str, ...]:
    return (PYTHON, str(ROOT / "tests" / "tools" / script))


BENCHMARK = (PYTHON, str(ROOT / "tests" / "benchmark" / "bench.py"), "--smoke", "--nodes", "200")
COPY = f".build/tree/{NAMED}"
MYPY = ("mypy", "--config-file", str(ROOT / "pyproject.toml"))
REALNODE = (
    "conftest",
    "realtools",
    "test_lost_plugin",
    "test_realnode",
)  # the rest is a package of its own
NO_COST = "--ignore=tests/realnode/cost"  # cost-parts has that
RUNS = tuple(  # unit tests that start Ansible: too slow for `make quick`
    f"tests/unit/test_{name}.py"
    for name in ("file_of_profile", "scheduled", "sources", "this_run", "unread")
)
NO_RUNS = tuple(f"--ignore={name}" for name in RUNS)
TEXTS = ("README.md", "changelogs", "docs", "examples", "extensions")  # that unit tests read
SLOW_SANITY = ("import", "pep8", "pylint")  # unit tests import everything; ruff has these rules
TWO = ("-n", "2", "--dist", "loadfile")  # processes; fixtures of a file are made once
# pyproject.toml turns pytest-ansible off; in its plain mode it leaves a tree of links in the root.
MOLECULE = ("-p", "pytest-ansible", "--ansible-unit-inject-only")

ALL = (
    # Minutes, once; meanwhile the steps that need no lab run
    Step(
        "lab-build",
        "lab-build",
        (LAB, "build"),
        needs=("tests/lab/lab",),
        minutes=40,
        recorded=False,
    ),
    *longest_first(
        replace(
            pytest("unit", "unit", "tests/unit", options=(*TWO, *NO_RUNS)),
            inputs=(*COLLECTION, *TEXTS, "tests/demo"),
            quick=True,
        ),
        replace(
            pytest("unit-runs", "unit", *RUNS),
            inputs=(*COLLECTION, *TEXTS, "tests/demo", "tests/unit"),
        ),
        Step("ruff", "lint", ("ruff", "check", "."), quick=True),
        Step("ruff-format", "lint", ("ruff", "format", "--check", "."), quick=True),
        Step(
            "mypy",
            "lint",
            (
                *MYPY,
                f"{NAMED}/plugins",
                f"{NAMED}/tests/unit",
                f"{NAMED}/tests/integration",
                f"{NAMED}/tests/differential",
                f"{NAMED}/tests/browser",
                f"{NAMED}/tests/benchmark",
                f"{NAMED}/tests/realnode/cost",
                *(f"{NAMED}/tests/realnode/{name}.py" for name in REALNODE),
            ),
            needs=("plugins", "tests/unit", "tests/integration"),
            cwd=".build/collections",
            inputs=("*.py",),
            quick=True,
        ),
        Step("mypy-tools", "lint", (*MYPY, "."), cwd="tests/tools", inputs=("*.py",), quick=True),
        Step(
            "mypy-lab",
            "lint",
            (*MYPY, "gpulab"),
            needs=("tests/lab/gpulab",),
            cwd="tests/lab",
            inputs=("tests/lab",),
            quick=True,
        ),
        Step(
            "mypy-realnode",
            "lint",
            ("env", "MYPYPATH=../lab", *MYPY, "gpunode"),
            needs=("tests/realnode/gpunode",),
            cwd="tests/realnode",
            inputs=("tests/lab", "tests/realnode"),
            quick=True,
        ),
        Step("yamllint", "lint", ("yamllint", "--strict", "."), quick=True),
        Step("prose", "lint", tool("prose.py"), quick=True),
        Step("reuse", "lint", tool("reuse_lint.py"), quick=True),
        Step("changelog", "lint", ("antsibull-changelog", "lint"), quick=True),
        Step(
            "docs",
            "lint",
            # It takes what git lists; the copy is ignored by the git of the repository around it.
            (
                "env",
                f"GIT_CEILING_DIRECTORIES={ROOT}",
                "antsibull-docs",
                "lint-collection-docs",
                "--plugin-docs",
                ".",
            ),
            in_copy=True,
            inputs=(*COLLECTION, "docs"),
        ),
        Step(
            "ansible-lint",
            "lint",
            ("ansible-lint", "--offline"),
            in_copy=True,
            inputs=(*COLLECTION, "*.yml", "*.yaml", ".ansible-lint", ".gitignore", ".yamllint"),
        ),
        Step("importer", "lint", tool("importer.py"), in_copy=True),
        Step(
            "go",
            "lab",
            (LAB, "go-check"),
            needs=("tests/lab/go",),
            after="lab-build",
            inputs=LAB_FILES,
        ),
        replace(pytest("tools", "unit", "tests/tools"), quick=True),
        # Skips, with a line, where there is no Chromium; -rP shows how fast it was
        replace(pytest("browser", "browser", "tests/browser", options=["-rP"]), inputs=COLLECTION),
        replace(
            pytest("benchmark-parts", "unit", "tests/benchmark"),
            inputs=(*COLLECTION, *LAB_FILES),
            quick=True,
        ),
        replace(
            pytest("cost-parts", "unit", "tests/realnode/cost"),
            inputs=(*COLLECTION, "docs"),
            quick=True,
        ),
        Step(
            "sanity",
            "sanity",
            tool("sanity.py"),
            in_copy=True,
            minutes=30,
            short=tuple(word for name in SLOW_SANITY for word in ("--skip-test", name)),
        ),
        on_lab(pytest("differential", "differential", "tests/differential"), 30, "plugins"),
        on_lab(pytest("lab", "lab", "tests/lab/tests"), 30),
        # Its programs are built in it, once; it skips, with a line, where the node cannot be
        on_lab(
            pytest("realnode", "realnode", "tests/realnode", options=[NO_COST]), 60, *COLLECTION
        ),
        on_lab(
            Step("benchmark", "benchmark", BENCHMARK, needs=("tests/benchmark",)), 30, *COLLECTION
        ),
        *integration(),
        on_lab(
            pytest("molecule", "molecule", "tests/molecule", options=MOLECULE),
            40,
            *COLLECTION,
            "extensions",
        ),
    ),
)
STEPS = tuple(replace(step, full=FULL_ONLY.get(step.name, "")) for step in ALL)
