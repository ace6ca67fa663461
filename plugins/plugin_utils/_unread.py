# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: files of variables that look as if they were read, and are not.

Ansible reads group_vars and host_vars beside the inventory, and beside the playbook that holds the
play. That playbook is in this collection, so those beside a user's own playbook that imports it,
or in the current folder, have no effect.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ansible.errors import AnsibleError

from ..module_utils._common.text import some
from ..module_utils._fleet.inventory import VARIABLE_PREFIX

if TYPE_CHECKING:
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader

_ROLES = Path(__file__).resolve().parents[2] / "roles"


def unread_variables(
    manager: InventoryManager, loader: DataLoader, playbooks: Iterable[str]
) -> Iterator[str]:
    """A message for each file with variables of ours that Ansible does not read in this run.
    playbooks are those of the command line.
    """
    read = [Path(source) for source in manager._sources or () if Path(source).exists()]
    read = [source if source.is_dir() else source.parent for source in read]
    own = [Path(playbook).parent for playbook in playbooks if Path(playbook).is_file()]
    names = {"group_vars": manager.groups.keys(), "host_vars": manager.hosts.keys() | {"localhost"}}
    for kind, entities in names.items():
        known = {(folder / kind).resolve() for folder in (*read, Path(loader.get_basedir()))}
        better = f" Move them to {read[0] / kind}." if read else ""
        found = dict.fromkeys((folder / kind).resolve() for folder in (*own, Path.cwd()))
        for file in _files([folder for folder in found if folder not in known], entities, loader):
            if variables := _our_variables(file, loader):
                yield (
                    f"{file} is not read, so {some(variables)} in it has no effect: for playbooks"
                    f" of a collection, Ansible reads {kind} beside the inventory only.{better}"
                )


def _files(
    folders: Iterable[Path], entities: Collection[str], loader: DataLoader
) -> Iterator[Path]:
    """The files of variables in these folders, as Ansible would find them."""
    for folder in folders:
        entries = sorted(folder.iterdir()) if folder.is_dir() else ()
        for name in dict.fromkeys(
            entry.name if entry.name in entities else entry.stem for entry in entries
        ):
            if name in entities:
                yield from map(Path, loader.find_vars_files(str(folder), name))


def _our_variables(file: Path, loader: DataLoader) -> list[str]:
    """The variables of this collection in a file; none if the file cannot be read."""
    try:
        content = loader.load_from_file(str(file))
    except AnsibleError:
        return []
    ours = (VARIABLE_PREFIX, *(f"{role.name}_" for role in _ROLES.iterdir()))
    names = map(str, content) if isinstance(content, Mapping) else ()
    return sorted(name for name in names if name.startswith(ours))
