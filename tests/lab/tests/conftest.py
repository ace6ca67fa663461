# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab of one's own for the tests that need one, and a small client for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

from labclient import PROFILES, Client, LabCommand, slices  # noqa: E402  (found through the line above)


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
    """A booted lab with the operator installed and profiles in place. Files of a pod that was
    annotated are new at once, since nothing tells when they are; by themselves they are so late
    that a slow machine is not taken by surprise.
    """
    name = lab_command.unique("labtest")
    lab_command.run("up", "--name", name, "--set", "refresh=0s", "--set", "file_propagation=30s")
    found = Client(lab_command.environment_of(name))
    found.install_operator()
    return found


@pytest.fixture(scope="session")
def cards(lab_command: LabCommand) -> Client:
    """A lab with every MIG layout and an old card, and profiles for MIG and MPS. Tests choose the
    MIG strategy first.
    """
    name = lab_command.unique("cards")
    fleet = Path(__file__).resolve().parents[1] / "fleets" / "mig.yml"
    lab_command.run("up", "--name", name, "--fleet", str(fleet), "--set", "mig_apply=2s")
    found = Client(lab_command.environment_of(name))
    mig = slices(3, "nvidia.com/mig-1g.10gb")
    found.install_operator(
        {
            **PROFILES,
            "mig": mig,
            "mig-renamed": mig.replace("resources:", "renameByDefault: true, resources:"),
            **{f"mps-{n}": slices(n, strategy="mps") for n in (4, 16, 17, 48, 49)},
        }
    )
    return found
