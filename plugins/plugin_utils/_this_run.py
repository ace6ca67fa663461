# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: what this run of ansible-playbook acts on: clusters, their nodes, and its tags.

The inventory is read once for each play and not for each cluster, since reading thousands of nodes
takes seconds.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible import constants, context
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.block import Block
from ansible.playbook.task import Task

from ..module_utils._common.errors import FleetError, SharingError
from ..module_utils._common.values import is_list
from ..module_utils._fleet.fleet import Fleet, misspelled_variables, read_fleet, reason_empty
from ..module_utils._fleet.inventory import CLUSTERS_GROUP, IMPLICIT_CLUSTER
from ..module_utils._fleet.nodes import NODE_OPTIONS
from ._answers import check_answers, drop_blank_answers
from ._display import show
from ._inventory import read_inventory, read_selection, with_own_profiles
from ._servers import check_connections
from ._sources import check_sources
from ._unread import unread_variables

if TYPE_CHECKING:
    from ansible.playbook.play import Play

Groups = Mapping[str, Sequence[str]]
EVERYTHING = f"{IMPLICIT_CLUSTER}:all"  # a pattern: each host, and the implicit localhost


def cluster_hosts(groups: Groups) -> str:
    """The hosts of plays over clusters, as a pattern.

    Where a limit selects no cluster, it is the first host of the limit, which says so. Otherwise,
    no host would be left, and the run would succeed without having done anything.

    It is the first thing that a play does, so blank extra variables are removed here.
    """
    clusters = groups.get(CLUSTERS_GROUP) or (IMPLICIT_CLUSTER,)
    pattern = CLUSTERS_GROUP if groups.get(CLUSTERS_GROUP) else IMPLICIT_CLUSTER
    limit = context.CLIARGS.get("subset")
    drop_blank_answers()
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


Part = dict[str, object]
Reader = Callable[[], Mapping[str, Part]]


def read_parts(variables: Mapping[str, Any]) -> dict[str, Part]:
    """The part of each cluster, from the variables of a task. Raises FleetError with what is wrong
    with the inventory or the limit.
    """
    hostvars, limit = variables["hostvars"], str(variables.get("ansible_limit") or "")
    manager = hostvars._inventory
    check_sources(manager)
    inventory = read_inventory(variables["groups"], hostvars)
    hosts = [host.name for host in manager.get_hosts(EVERYTHING, ignore_restrictions=True)]
    selection = read_selection(hosts, limit, inventory, hostvars)
    check_answers(hostvars._variable_manager.extra_vars, selection, inventory.nodes)
    unread = unread_variables(manager, hostvars._loader, context.CLIARGS.get("args") or ())
    for text in (*misspelled_variables(inventory), *unread):
        show(text, "warning")
    selected = set(inventory.clusters if selection.hosts is None else selection.hosts)
    check_connections([name for name in inventory.clusters if name in selected], hostvars)
    fleet = with_own_profiles(read_fleet(inventory, selection), hostvars)
    parts = {cluster: part_of(fleet, cluster) for cluster in fleet.clusters}
    for cluster in fleet.clusters:
        if not fleet.of(cluster):
            parts[cluster]["empty"] = reason_empty(inventory, cluster)
    return parts


def part_of(fleet: Fleet, cluster: str) -> Part:
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


def read_once(play: str, host: str, read: Reader) -> Mapping[str, Part]:
    """What read returns, which is called once for all hosts of a play: their tasks run in
    processes of their own, and all but the first wait. Raises FleetError if it did; on the other
    hosts with the name of the first, which has the message.
    """
    folder = Path(constants.DEFAULT_LOCAL_TMP)
    file = folder / f"gpufleet-{play}.json"
    with (folder / f"gpufleet-{play}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            try:
                kept: dict[str, Any] = {"parts": read()}
            except SharingError as error:
                kept = {"error": str(error), "host": host}
            new = file.with_suffix(".new")
            new.write_text(json.dumps(kept), encoding="utf-8")
            new.rename(file)
    kept = json.loads(file.read_text(encoding="utf-8"))
    if kept.get("host") == host:
        raise FleetError(kept["error"])
    if "error" in kept:
        raise FleetError(f"The inventory or the limit is wrong: see the message of {kept['host']}.")
    parts: Mapping[str, Part] = kept["parts"]
    return parts


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
