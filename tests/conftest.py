# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checks ask of all tests: --short leaves out those that only `make test-all` runs, and
GPUFLEET_READS notes which files of the repository tests read (run_checks.py compares them with the
declared inputs of the step).
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = str(Path(__file__).resolve().parents[1])
LINKED = "/ansible_collections/gpufleet/sharing/"  # .build/collections leads to the root
READS = "GPUFLEET_READS"
FULL = "full"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--short", action="store_true", help="without tests marked full")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{FULL}(reason, keep=0): runs only in make test-all; of the cases of a test, the first "
        "`keep` run in make test too",
    )
    if target := os.environ.get(READS):
        config.pluginmanager.register(Reads(Path(target)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Every mark gives its reason; with --short its tests are deselected."""
    left_out = list(only_full(items))
    if config.getoption("--short") and left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def only_full(items: Iterable[pytest.Item]) -> Iterator[pytest.Item]:
    """Yield the tests that only make test-all runs."""
    seen = Counter[str]()
    for item in items:
        if mark := item.get_closest_marker(FULL):
            if not (len(mark.args) == 1 and str(mark.args[0]).strip()):
                raise pytest.UsageError(f"{item.nodeid}: the mark {FULL} needs a reason")
            test = item.nodeid.partition("[")[0]
            seen[test] += 1
            if seen[test] > mark.kwargs.get("keep", 0):
                yield item


class Reads:
    """Collects what is opened, and writes it when the session ends: a process of xdist reports its
    end only after that, and may be ended then.
    """

    def __init__(self, target: Path) -> None:
        self._target, self._opened = target, set[str]()
        sys.addaudithook(self._note)

    def _note(self, event: str, details: tuple[object, ...]) -> None:
        if event == "open" and isinstance(details[0], str | os.PathLike):
            self._opened.add(os.fsdecode(details[0]))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        found = {name for path in tuple(self._opened) if (name := inside(path))}
        with self._target.open("a", encoding="utf-8") as file:  # processes of xdist share it
            file.write("".join(f"{name}\n" for name in sorted(found)))


def inside(path: str) -> str:
    """Return the path from the root, that of the source for compiled Python; else nothing."""
    full = str(Path(path).absolute()).rpartition(LINKED)
    name = full[2] if full[1] else full[2].removeprefix(f"{ROOT}/")
    folder, cached, compiled = name.rpartition("__pycache__/")
    name = f"{folder}{compiled.partition('.')[0]}.py" if cached else name
    return "" if name.startswith("/") else name
