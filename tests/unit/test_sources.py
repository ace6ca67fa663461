# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventories that Ansible only warns of: a wrong path, a file that it cannot parse, no nodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ansible import constants
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader

from ansible_collections.gpufleet.sharing.plugins.plugin_utils._sources import unread_sources
from ansible_collections.gpufleet.sharing.tests.unit.ansible_runs import (
    group,
    run_playbook,
    write_hosts,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

DEFAULT = "/etc/ansible/hosts"  # what Ansible reads where nothing is given


def unread(*sources: object) -> list[str]:
    """What is said of the sources of an inventory."""
    return list(unread_sources(InventoryManager(DataLoader(), [str(path) for path in sources])))


def file(folder: Path) -> Path:
    return write_hosts(folder / "inventory", {"dev_gpus": group("n1")})


def folder(path: Path) -> Path:
    return file(path).parent


def link(path: Path) -> Path:
    found = path / "link"
    found.symlink_to(folder(path))
    return found


@pytest.mark.parametrize("given", [file, folder, link])
def test_source_that_is_read(given: Callable[[Path], Path], tmp_path: Path) -> None:
    assert unread(given(tmp_path)) == []


def test_hosts_on_the_command_line_are_no_path() -> None:
    assert unread("n1,n2", "localhost,") == []


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("inventroy", "inventory"), ("inventory/host.yml", "inventory/hosts.yml"), ("production", "")],
)
def test_path_that_does_not_exist(wrong: str, meant: str, tmp_path: Path) -> None:
    file(tmp_path)
    (said,) = unread(folder(tmp_path), tmp_path / wrong)
    assert mentions(said, f"{tmp_path / wrong}:", "-i")
    assert (f"{tmp_path / meant}?" in said) is bool(meant)


@pytest.mark.parametrize("given", ["inventory", "inventory/sub/eu.yml"])
def test_file_that_cannot_be_parsed(given: str, tmp_path: Path) -> None:
    """Also where it is one of several in a folder, since then a part of the fleet is missing."""
    broken = folder(tmp_path) / "sub" / "eu.yml"
    for path in (broken, tmp_path / "inventory/group_vars/all.yml", tmp_path / "inventory/a.md"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("all: {children: [", encoding="utf-8")
    (said,) = unread(tmp_path / given)
    assert mentions(said, str(broken))


def test_folder_without_an_inventory(tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    (said,) = unread(tmp_path)
    assert mentions(said, str(tmp_path), "-i")


def test_default_that_nobody_has_given_need_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path(DEFAULT).exists():
        assert unread(DEFAULT) == []
    monkeypatch.setattr(constants, "DEFAULT_HOST_LIST", ["/nowhere/hosts"])
    assert len(unread("/nowhere/hosts")) == 1  # from ansible.cfg


def test_wrong_path_ends_the_run_in_the_first_play(tmp_path: Path) -> None:
    file(tmp_path)
    wrong = tmp_path / "inventroy"
    run = run_playbook("gpufleet.sharing.doctor", wrong)
    assert run.code != 0
    assert mentions(run.text, f"{wrong}:", f"{tmp_path / 'inventory'}?")
    assert run.text.count("PLAY [") == 1


def test_inventory_without_gpu_nodes_ends_the_run_in_the_first_play(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.ini"
    hosts.write_text("[dev_gpus]\nn1\n[gpus:children]\ndev_gpus\n", encoding="utf-8")
    run = run_playbook("gpufleet.sharing.site", hosts)
    assert run.code != 0
    assert mentions(run.text, "gpu_nodes", "dev_gpus, gpus")
    assert run.text.count("PLAY [") == 1
