# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of variables beside a playbook that imports one of the collection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader

from ansible_collections.gpufleet.sharing.plugins.plugin_utils._unread import unread_variables
from ansible_collections.gpufleet.sharing.tests.unit.ansible_runs import (
    group,
    run_playbook,
    write_hosts,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

PROFILE = "gpu_sharing_profile: dev\nother: 1\n"


def unread(folder: Path, file: str, text: str, inventory: str = "inv") -> list[str]:
    """What is said of a file, in a folder with proj/site.yml and an inventory."""
    hosts = write_hosts(folder / inventory, {"big": group("n1")})
    playbook = folder / "proj" / "site.yml"
    playbook.parent.mkdir(exist_ok=True)
    playbook.write_text("[]", encoding="utf-8")
    at = folder / file
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_text(text, encoding="utf-8")
    loader = DataLoader()
    loader.set_basedir("/nowhere")  # as the collection's folder is another one
    manager = InventoryManager(loader, [str(hosts)])
    return list(unread_variables(manager, loader, [str(playbook), "gpufleet.sharing.site"]))


@pytest.mark.parametrize(
    ("file", "text", "names"),
    [
        ("group_vars/big.yml", PROFILE, ["gpu_sharing_profile"]),
        ("group_vars/big", PROFILE, ["gpu_sharing_profile"]),
        ("group_vars/all/gpu.yaml", "gpu_operator_version: v1", ["gpu_operator_version"]),
        ("group_vars/gpu_nodes.json", '{"gpu_nodes_exclusive": true}', ["gpu_nodes_exclusive"]),
        ("host_vars/n1.yml", "gpu_sharing_gpus: 2", ["gpu_sharing_gpus"]),
        ("host_vars/localhost.yml", "gpu_sharing_host: x", ["gpu_sharing_host"]),
        ("group_vars/other.yml", PROFILE, []),  # not a group of the inventory
        ("group_vars/big.yml", "other: 1\ngpu_driver: 2", []),  # not ours
        ("group_vars/big.yml", "", []),
        ("group_vars/big.yml", "- gpu_sharing_profile", []),
        ("group_vars/big.yml", "gpu_sharing_profile: [", []),
        ("group_vars/big.yml", "$ANSIBLE_VAULT;1.1;AES256\n3030", []),
    ],
)
@pytest.mark.parametrize("where", ["proj", "cwd"])
def test_file_that_is_not_read(
    where: str,
    file: str,
    text: str,
    names: Sequence[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    found = unread(tmp_path, f"{where}/{file}", text)
    assert len(found) == bool(names)
    kind = file.partition("/")[0]
    assert not names or mentions(found[0], tmp_path / where / file, *names, tmp_path / "inv" / kind)


def test_file_that_is_read_as_well(tmp_path: Path) -> None:
    """The inventory is beside the playbook."""
    assert unread(tmp_path, "proj/group_vars/big.yml", PROFILE, inventory="proj") == []


def test_folder_that_is_a_link_to_one_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "proj").mkdir()
    (tmp_path / "proj" / "group_vars").symlink_to(tmp_path / "inv" / "group_vars")
    assert unread(tmp_path, "inv/group_vars/big.yml", PROFILE) == []


def test_wrapper_with_variables_beside_it_is_warned_of(tmp_path: Path) -> None:
    hosts = write_hosts(tmp_path / "inv", {"big": group("n1"), "small": group("n2")})
    wrapper = tmp_path / "proj" / "site.yml"
    (wrapper.parent / "group_vars").mkdir(parents=True)
    (wrapper.parent / "group_vars" / "big.yml").write_text(PROFILE, encoding="utf-8")
    imported = [{"import_playbook": "gpufleet.sharing.validate"}]
    wrapper.write_text(yaml.safe_dump(imported), encoding="utf-8")
    run = run_playbook(str(wrapper), hosts)
    assert run.code == 0, run.text
    assert mentions(run.text, "WARNING", "proj/group_vars/big.yml", "gpu_sharing_profile")
