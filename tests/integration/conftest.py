# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the integration tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.gpufleet.sharing.tests.integration.gallery import Gallery, open_gallery
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    Lab,
    boot,
    shut_down,
    write_inventory,
)


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab of the test module's own: 2 nodes of 1 GPU, 2 of 2, 1 of 4."""
    booted = boot(f"{request.module.__name__.rpartition('.')[2].replace('_', '-')}-{os.getpid()}")
    yield booted
    shut_down(booted)


@pytest.fixture(scope="session")
def shared_gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    """A gallery for all files that need no lab of their own: each test leaves it healthy."""
    booted = boot(f"gallery-{os.getpid()}")
    yield open_gallery(booted, tmp_path_factory.mktemp("gallery"))
    shut_down(booted)


@pytest.fixture
def gallery(shared_gallery: Gallery) -> Iterator[Gallery]:
    yield from shared_gallery.scenario()


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    return write_inventory(tmp_path / "inventory")
