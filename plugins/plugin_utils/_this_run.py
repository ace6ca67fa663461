# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: what this run of ansible-playbook acts on: clusters, their nodes, and its tags.

The inventory is read once for each play, in Ansible's own process: reading thousands of nodes takes
seconds. The processes of tasks are copies of it, and find what was read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import ref

from ansible import context
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.block import Block
from ansible.playbook.task import Task
from ansible.utils.display import Display

from ..module_utils._common.errors import FleetError, SharingError
from ..module_utils._common.values import is_list
from ..module_utils._fleet.fleet import Fleet, misspelled_variables, read_fleet
from ..module_utils._fleet.inventory import CLUSTERS_GROUP, IMPLICIT_CLUSTER
from ..module_utils._fleet.nodes import NODE_OPTIONS
from ._inventory import read_inventory, read_selection
from ._sources import check_sources
from ._unread import unread_variables

if TYPE_CHECKING:
    from ansible.playbook.play import Play
    from ansible.vars.hostvars import HostVars

Groups = Mapping[str, Sequence[str]]
EVERYTHING = f"{IMPLICIT_CLUSTER}:all"  # a pattern: each host, and the implicit localhost


def cluster_hosts(groups: Groups) -> str:
    """The hosts of plays over clusters, as a pattern.

    Where a limit selects no cluster, it is the first host of the limit, which says so. Otherwise,
    no host would be left, and the run would succeed without having done anything.
    """
    clusters = groups.get(CLUSTERS_GROUP) or (IMPLICIT_CLUSTER,)
    pattern = CLUSTERS_GROUP if groups.get(CLUSTERS_GROUP) else IMPLICIT_CLUSTER
    limit = context.CLIARGS.get("subset")
    if not limit:
        return pattern
    manager = InventoryManager(DataLoader(), parse=False)
    for group, hosts in groups.items():
        manager.add_group(group)
        for host in hosts:
            manager.add_host(host, group)
    manager.subset(limit)
    selected = [host.name for host in manager.get_hosts(EVERYTHING)]
    return pattern if not selected or not set(selected).isdisjoint(clusters) else selected[0]


@dataclass(frozen=True)
class _Reading:
    """The fleet of a play, or what is wrong with the inventory or the limit."""

    fleet: Fleet | None = None
    error: str = ""


_last: list[tuple[ref[HostVars], _Reading]] = []  # Ansible makes new hostvars for each play


def acting_hosts(groups: Groups, hostvars: HostVars, hosts: Sequence[str], limit: str) -> list[str]:
    """Read the fleet of a play; return its hosts, or the first one alone where the inventory is
    wrong: its first task says what is, and the others would repeat it.
    """
    if _kept(hostvars) is None:
        try:
            reading = _Reading(_read(groups, hostvars, limit))
        except SharingError as error:
            reading = _Reading(error=str(error))
        except AnsibleError:  # the first task meets it again, and Ansible shows it there
            return list(hosts)
        _last[:] = [(ref(hostvars), reading)]
    found = _kept(hostvars)
    return list(hosts) if found and found.fleet else list(hosts[:1])


def fleet_of(groups: Groups, hostvars: HostVars, limit: str) -> Fleet:
    """The fleet of a play. Raises FleetError with what is wrong with the inventory or the limit."""
    found = _kept(hostvars)
    if found is None:
        return _read(groups, hostvars, limit)
    if found.fleet is None:
        raise FleetError(found.error)
    return found.fleet


def part_of(fleet: Fleet, cluster: str) -> dict[str, object]:
    """The part of one cluster: its nodes, and whether the limit leaves some of them out.

    The nodes are JSON, since Ansible would visit each of the thousands of values in a structure
    whenever it is used.
    """
    nodes = fleet.of(cluster)
    rows = [{name: getattr(node, name) for name in NODE_OPTIONS} for node in nodes]
    return {
        "nodes": json.dumps(rows, separators=(",", ":")),
        "limited": any(not node.selected for node in nodes),
    }


def _kept(hostvars: HostVars) -> _Reading | None:
    return next((reading for known, reading in _last if known() is hostvars), None)


def _read(groups: Groups, hostvars: HostVars, limit: str) -> Fleet:
    check_sources(hostvars._inventory)
    inventory = read_inventory(groups, hostvars)
    found = hostvars._inventory.get_hosts(EVERYTHING, ignore_restrictions=True)
    names = [host.name for host in found]
    selection = read_selection(names, limit, inventory, hostvars)
    playbooks = context.CLIARGS.get("args") or ()
    unread = unread_variables(hostvars._inventory, hostvars._loader, playbooks)
    for text in (*misspelled_variables(inventory), *unread):
        Display().warning(text)
    return read_fleet(inventory, selection)


def leaves_out_work(play: Play, variables: Mapping[str, object]) -> bool:
    """Whether --tags or --skip-tags skip the tasks of a play that have no tags of their own."""
    only, skip = variables.get("ansible_run_tags"), variables.get("ansible_skip_tags")
    return not Task(block=Block(play=play)).evaluate_tags(only, skip, dict(variables))


def given_tags(variables: Mapping[str, object]) -> str:
    """The options of the run that choose tags."""
    options = {"--tags": "ansible_run_tags", "--skip-tags": "ansible_skip_tags"}
    given = {option: variables.get(name) for option, name in options.items()}
    return " ".join(
        f"{option} {','.join(map(str, tags))}"
        for option, tags in given.items()
        if is_list(tags) and list(tags) not in ([], ["all"])
    )
