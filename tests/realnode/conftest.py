# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node of all tests in here."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest

from ansible_collections.gpufleet.sharing.tests.realnode.realtools import (
    LOST,
    Node,
    NotHere,
    booted,
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Of a kubelet that has lost the plugin, for good, nothing can be judged any more."""
    report = yield
    if not report.failed or os.environ.get("REALNODE") == "must":
        return report
    node = item.funcargs.get("node")
    if isinstance(node, Node) and node.has_lost_the_plugin():
        report.outcome, report.longrepr = "skipped", (str(item.path), 0, LOST)
    return report


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """Up before the first test; where that cannot be, the tests are skipped and say why."""
    try:
        with booted() as up:
            yield up
    except NotHere as why:
        pytest.skip(str(why))
