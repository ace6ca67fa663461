# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every check of `make test`, as data. run_checks.py runs them."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

from collection_tree import ROOT

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
    minutes: int = 10


def pytest(name: str, group: str, folder: str, *arguments: str) -> Step:
    """Return the step that runs pytest on the folder and counts its tests."""
    command = (PYTHON, "-m", "pytest", "-q", f"--junitxml={LOGS / name}.xml", *arguments, folder)
    return Step(name, group, command, needs=(folder,), junit=True)


def on_lab(step: Step, minutes: int) -> Step:
    """Return the step as one that boots labs, after their build."""
    return replace(step, after="lab-build", minutes=minutes)


def integration() -> tuple[Step, ...]:
    """Return a step for each file of the integration tests: they have labs of their own, so some
    files are run at a time; the longest files first, so that none of them is left at the end.
    """
    found = (ROOT / "tests" / "integration").glob("test_*.py")
    files = sorted(found, key=lambda file: (-file.stat().st_size, file))
    return tuple(
        on_lab(
            pytest(
                f"integration-{file.stem.removeprefix('test_')}",
                "integration",
                str(file.relative_to(ROOT)),
            ),
            minutes=20,
        )
        for file in files
    )


def tool(script: str) -> tuple[str, ...]:
    return (PYTHON, str(ROOT / "tests" / "tools" / script))


BENCHMARK = (PYTHON, str(ROOT / "tests" / "benchmark" / "bench.py"), "--smoke", "--nodes", "60")
COPY = f".build/tree/{NAMED}"
MYPY = ("mypy", "--config-file", str(ROOT / "pyproject.toml"))
# pyproject.toml turns pytest-ansible off; in its plain mode it leaves a tree of links in the root.
MOLECULE = ("-p", "pytest-ansible", "--ansible-unit-inject-only")

STEPS = (
    # The lab takes longest, once, and little memory: it is built while the lint steps run.
    Step("lab-build", "lab-build", (LAB, "build"), needs=("tests/lab/lab",), minutes=40),
    Step("ruff", "lint", ("ruff", "check", ".")),
    Step("ruff-format", "lint", ("ruff", "format", "--check", ".")),
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
        ),
        needs=("plugins", "tests/unit", "tests/integration"),
        cwd=".build/collections",
    ),
    Step("mypy-tools", "lint", (*MYPY, "."), cwd="tests/tools"),
    Step("mypy-lab", "lint", (*MYPY, "gpulab"), needs=("tests/lab/gpulab",), cwd="tests/lab"),
    Step("yamllint", "lint", ("yamllint", "--strict", ".")),
    Step("reuse", "lint", ("reuse", "--root", ".", "lint"), in_copy=True),
    Step("changelog", "lint", ("antsibull-changelog", "lint")),
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
    ),
    Step("ansible-lint", "lint", ("ansible-lint", "--offline"), in_copy=True),
    Step("importer", "lint", tool("importer.py"), in_copy=True),
    Step("go", "lab", (LAB, "go-check"), needs=("tests/lab/go",), after="lab-build"),
    pytest("tools", "unit", "tests/tools"),
    pytest("unit", "unit", "tests/unit", "--cov", "--cov-report=term"),
    # Skips, with a line, where there is no Chromium; -rP shows how fast it was
    pytest("browser", "browser", "tests/browser", "-rP"),
    pytest("benchmark-parts", "unit", "tests/benchmark"),
    Step("sanity", "sanity", tool("sanity.py"), in_copy=True, minutes=20),
    on_lab(pytest("differential", "differential", "tests/differential"), minutes=15),
    on_lab(pytest("lab", "lab", "tests/lab/tests"), minutes=15),
    on_lab(Step("benchmark", "benchmark", BENCHMARK, needs=("tests/benchmark",)), minutes=15),
    *integration(),
    on_lab(pytest("molecule", "molecule", "tests/molecule", *MOLECULE), minutes=20),
)
