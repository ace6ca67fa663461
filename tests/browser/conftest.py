# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One Chromium for all tests of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.gpufleet.sharing.tests.browser.chromium import (
    Page,
    chromium,
    find_chromium,
)

MISSING = "no Chromium in the PATH: apt-get install chromium, or set CHROMIUM to the program"
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a Chromium one test is left, skipped, which says so for all of them."""
    ours = [item for item in items if HERE in item.path.parents]
    if ours and find_chromium() is None:
        ours[0].add_marker(pytest.mark.skip(MISSING))
        items[:] = [item for item in items if item not in ours[1:]]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    program = find_chromium()
    assert program, MISSING
    with chromium(program, tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser: Page) -> Page:
    """A wide window, and no errors yet."""
    browser.errors.clear()
    browser.requests.clear()
    browser.look(width=1440)
    return browser
