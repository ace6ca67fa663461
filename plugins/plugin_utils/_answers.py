# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: extra variables, which override every inventory: answers of surveys in AWX, and -e."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ansible.parsing.dataloader import DataLoader
from ansible.utils.vars import load_extra_vars

from ..module_utils._common.errors import FleetError, joined
from ..module_utils._common.inputs import is_blank
from ..module_utils._fleet.inventory import (
    CLUSTER_VARIABLE,
    GPUS_VARIABLE,
    NAME_VARIABLE,
    PROFILE_VARIABLE,
    VARIABLE_PREFIX,
)

if TYPE_CHECKING:
    from ..module_utils._fleet.limit import Selection

_ROLES = Path(__file__).resolve().parents[2] / "roles"


def blank_answers(extra: Mapping[str, object]) -> list[str]:
    """The variables of this collection that are set, and blank."""
    ours = (VARIABLE_PREFIX, *(f"{role.name}_" for role in _ROLES.iterdir()))
    return [name for name, value in extra.items() if name.startswith(ours) and is_blank(value)]


def drop_blank_answers() -> None:
    """Remove blank extra variables of this collection, so that those of the inventory count.

    This changes the mapping that Ansible has read them into, since nothing else can make Ansible
    use a value of lower precedence. It works in Ansible's main process, before a play; in others
    it would be without effect, so check_answers() refuses what is left.
    """
    extra = load_extra_vars(DataLoader())
    for name in blank_answers(extra):
        del extra[name]


def check_answers(
    extra: Mapping[str, object], selection: Selection, nodes: Collection[str]
) -> None:
    """Raise FleetError with all extra variables that would change more than is meant: those of
    nodes, which Ansible applies to each node, and blank ones.
    """
    if problems := [*_blank(extra), *_of_nodes(extra, selection, nodes)]:
        raise joined(FleetError, problems)


def _blank(extra: Mapping[str, object]) -> Iterator[str]:
    for name in blank_answers(extra):
        yield (
            f"{name} is blank as an extra variable, and overrides the inventory. Leave it out, or"
            " give it a value."
        )


def _of_nodes(
    extra: Mapping[str, object], selection: Selection, nodes: Collection[str]
) -> Iterator[str]:
    for name in (CLUSTER_VARIABLE, NAME_VARIABLE):
        if name in extra:
            yield (
                f"{name} is set as an extra variable (-e, or in AWX), so it would be the one of all"
                " nodes. Set it in the inventory. To select a cluster, use the limit."
            )
    if not set(selection.hosts or ()).isdisjoint(nodes):
        return
    for name in (PROFILE_VARIABLE, GPUS_VARIABLE):
        if name in extra:
            yield (
                f"{name} is set as an extra variable (-e, or in AWX), so it would be the one of all"
                f" {len(nodes)} nodes. Set it in the inventory, or select nodes with the limit, for"
                " example --limit '<cluster>,<group of nodes>'."
            )
