# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: reads Ansible's inventory on the controller.

Ansible merges group variables silently, unrelated groups in alphabetical order, so hostvars does
not show which group gave a node its profile. This reads the inventory behind hostvars, as
ansible-inventory does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from sys import intern
from typing import TYPE_CHECKING

from ansible.inventory.manager import split_host_pattern

from ..module_utils._common.errors import FleetError
from ..module_utils._fleet.fleet import Fleet
from ..module_utils._fleet.inventory import (
    NODE_VARIABLES,
    NODES_GROUP,
    PROFILE_VARIABLE,
    VARIABLE_PREFIX,
    GroupProfile,
    Inventory,
)
from ..module_utils._fleet.limit import Selection
from ._templates import (
    OwnVariables,
    TemplatedProfiles,
    group_profile,
    is_template,
    own_profile,
    raw_variables,
    resolved,
)

if TYPE_CHECKING:
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.vars.hostvars import HostVars


def read_inventory(groups: Mapping[str, Sequence[str]], hostvars: HostVars) -> Inventory:
    """The inventory of a running play, from the magic variables groups and hostvars. Each host is
    read once.
    """
    nodes = groups.get(NODES_GROUP, ())
    manager, loader = _manager(hostvars), _loader(hostvars)
    variables = {}
    named = {}
    templated = set()
    for host in nodes:
        of_host = hostvars.get(host)
        if not isinstance(of_host, Mapping):
            raise FleetError(
                f"hostvars has no variables for {host}, which is in the group {NODES_GROUP}. Pass"
                " groups and hostvars of the same play."
            )
        variables[host] = {
            name: resolved(of_host, name) for name in NODE_VARIABLES if name in of_host
        }
        if is_template(raw_variables(of_host).get(PROFILE_VARIABLE)):
            templated.add(host)
        named[host] = _ours(of_host)
    clusters = Inventory(groups, variables).clusters
    named |= {host: _ours(of_host) for host in clusters if (of_host := hostvars.get(host))}
    if manager is None or loader is None:
        return Inventory(groups, variables, named=named)
    own = OwnVariables(manager, loader)
    setters = [
        group_profile(manager.groups[name], of_group[PROFILE_VARIABLE])
        for name in groups
        if name in manager.groups and PROFILE_VARIABLE in (of_group := own.of(manager.groups[name]))
    ]
    for setter in setters:
        if is_template(setter.profile):
            templated.update(groups[setter.group])
    contested = _contested(groups, setters)
    by_hand = PROFILE_VARIABLE in hostvars._variable_manager.extra_vars  # -e overrides everything
    on_host = {
        host for host in contested if by_hand or PROFILE_VARIABLE in own.of(manager.hosts[host])
    }
    profiles = TemplatedProfiles(own, loader, hostvars)
    by_host = {host: profiles.of(manager.hosts[host]) for host in nodes if host in templated}
    return Inventory(groups, variables, setters, on_host, named, by_host)


def with_own_profiles(fleet: Fleet, hostvars: HostVars) -> Fleet:
    """With a profile as an extra variable: nodes outside the limit keep that of the inventory."""
    if PROFILE_VARIABLE not in hostvars._variable_manager.extra_vars:
        return fleet
    manager = hostvars._inventory
    own = OwnVariables(manager, hostvars._loader)
    nodes = (
        node
        if node.selected
        else replace(node, profile=own_profile(manager.hosts[node.host], own, hostvars))
        for node in fleet.nodes
    )
    return replace(fleet, nodes=tuple(nodes))


def _ours(of_host: Mapping[str, object]) -> list[str]:
    """Names of variables with our prefix."""
    return [intern(str(name)) for name in of_host if str(name).startswith(VARIABLE_PREFIX)]


def read_selection(
    hosts: Collection[str], limit: str, inventory: Inventory, hostvars: HostVars
) -> Selection:
    """The selection of a run. hosts is ansible_play_hosts_all of a play over all hosts, limit is
    ansible_limit.
    """
    manager = _manager(hostvars)
    everything = {*inventory.clusters, *inventory.nodes}
    if everything <= set(hosts) or not limit or manager is None:
        return Selection(None if everything <= set(hosts) else hosts, limit)
    subtracted: set[str] = set()
    for term in _terms(limit):
        if term[:1] in ("!", "&"):
            found = manager.get_hosts(term[1:], ignore_limits=True, ignore_restrictions=True)
            subtracted.update(host.name for host in found)
    return Selection(hosts, limit, subtracted)


def _terms(limit: str) -> list[str]:
    """The terms of a limit, including those in @files."""
    terms: list[str] = []
    for term in split_host_pattern(limit):
        if term.startswith("@"):
            terms.extend(_lines(term[1:]))
        else:
            terms.append(term)
    return terms


def _lines(name: str) -> list[str]:
    try:
        lines = Path(name).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise FleetError(f"--limit @{name}: this is not a text file that can be read.") from None
    return [line.strip() for line in lines]


def _contested(groups: Mapping[str, Sequence[str]], setters: Sequence[GroupProfile]) -> set[str]:
    """Hosts in more than one group that sets a profile."""
    seen: set[str] = set()
    twice: set[str] = set()
    for setter in setters:
        members = set(groups.get(setter.group, ()))
        twice |= seen & members
        seen |= members
    return twice


def _manager(hostvars: HostVars) -> InventoryManager | None:
    """The inventory behind hostvars; None for a plain mapping, as in tests and other uses of
    filters.
    """
    return getattr(hostvars, "_inventory", None)


def _loader(hostvars: HostVars) -> DataLoader | None:
    return getattr(hostvars, "_loader", None)
