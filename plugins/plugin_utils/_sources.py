# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: inventories that Ansible has not read. It only warns of them, and goes on with what is
left: with a part of the fleet, or without any node.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from ansible.inventory.manager import IGNORED
from ansible.utils.path import unfrackpath

from ..module_utils._common.errors import FleetError, joined

if TYPE_CHECKING:
    from ansible.inventory.manager import InventoryManager

_DEFAULT = "/etc/ansible/hosts"  # of Ansible, where neither -i nor a configuration gives another
_SETTING = "the option -i (or inventory in ansible.cfg)"


def check_sources(manager: InventoryManager) -> None:
    """Raise FleetError for inventories that Ansible has not read."""
    if problems := list(unread_sources(manager)):
        raise joined(FleetError, problems)


def unread_sources(manager: InventoryManager) -> Iterator[str]:
    """A message for each path that does not exist or has no inventory, and each file that Ansible
    could not parse.
    """
    read = manager._inventory.processed_sources
    for source in manager._sources or ():
        path = Path(unfrackpath(source, follow=False))
        if "," in source or str(path) in read:
            continue
        if path.exists():
            files = list(_files(path))
            yield from map(_unparsed, (file for file in files if str(file) not in read))
            if not files:
                yield f"The folder {path} has no inventory. Correct {_SETTING}."
        elif str(path) != _DEFAULT:
            yield f"There is no inventory {path}: {_similar(path)}Correct {_SETTING}."


def _files(path: Path) -> Iterator[Path]:
    """The files that Ansible reads as inventories: one, or those of a folder."""
    if not path.is_dir():
        yield path
        return
    for each in sorted(path.iterdir()):
        if not IGNORED.search(os.fsencode(each.name)):
            yield from _files(each)


def _unparsed(file: Path) -> str:
    return (
        f"Ansible cannot parse the inventory {file}; its warnings above show why. Correct the file,"
        " or remove it from the inventory: without its hosts, the fleet would be incomplete."
    )


def _similar(path: Path) -> str:
    """What the path may have been meant to be."""
    names = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
    found = get_close_matches(path.name, names, 1)
    return f"did you mean {path.parent / found[0]}? " if found else "no such file or folder. "
