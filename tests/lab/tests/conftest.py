# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab of one's own for the tests that need one, and a small client for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

from labclient import Client, LabCommand  # noqa: E402  (found through the line above)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "lab: needs a booted laboratory cluster")


@pytest.fixture(scope="session")
def lab_command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCommand]:
    """The lab program with a state folder of its own; every lab in it is ended at the end."""
    command = LabCommand(tmp_path_factory.mktemp("labs"))
    yield command
    command.run("down", "--all")


@pytest.fixture(scope="session")
def client(lab_command: LabCommand) -> Client:
    """A booted lab with the operator installed and profiles in place."""
    name = lab_command.unique("labtest")
    lab_command.run("up", "--name", name)
    found = Client(lab_command.environment_of(name))
    found.install_operator()
    return found
