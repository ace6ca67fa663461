# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node of all tests in here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ansible_collections.gpufleet.sharing.tests.realnode.realtools import Node, NotHere, booted


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """Up before the first test; where that cannot be, the tests are skipped and say why."""
    try:
        with booted() as up:
            yield up
    except NotHere as why:
        pytest.skip(str(why))
