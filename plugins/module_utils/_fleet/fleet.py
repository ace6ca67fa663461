# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: the fleet as the inventory describes it, and the node labels that
follow from it.

Clusters are inventory hosts of the group gpu_clusters; GPU nodes are members of the group gpu_nodes
and never connected to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    FleetError,
    joined,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import some
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.values import (
    describe,
    to_whole_number,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.inventory import (
    CLUSTER_VARIABLE,
    CLUSTER_VARIABLES,
    CLUSTERS_GROUP,
    GPUS_VARIABLE,
    NAME_VARIABLE,
    NODE_VARIABLES,
    NODES_GROUP,
    PROFILE_VARIABLE,
    VARIABLE_PREFIX,
    FleetNode,
    GroupProfile,
    Inventory,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.limit import (
    Selection,
    selected_hosts,
)

_ALIKE = 0.85  # two names are taken for a name and its misspelling


@dataclass(frozen=True)
class Fleet:
    clusters: tuple[str, ...]
    nodes: tuple[FleetNode, ...]

    def of(self, cluster: str) -> list[FleetNode]:
        return [node for node in self.nodes if node.cluster == cluster]

    def as_dict(self) -> dict[str, object]:
        """JSON types, for Ansible variables: {clusters: [...], nodes: [{name, host, ...}]}."""
        return {"clusters": list(self.clusters), "nodes": [asdict(node) for node in self.nodes]}


def read_fleet(inventory: Inventory, selection: Selection) -> Fleet:
    """The fleet with its selected nodes. Raises FleetError with everything that cannot be what was
    meant.
    """
    problems = [*_cluster_problems(inventory), *_profile_conflicts(inventory)]
    if problems:
        raise joined(FleetError, problems)
    group_of = _group_names(inventory)
    problems = []
    nodes = []
    for host in inventory.nodes:
        variables = inventory.variables.get(host, {})
        problems.extend(_variable_problems(host, variables))
        gpus = _whole_number(variables.get(GPUS_VARIABLE))
        nodes.append(
            FleetNode(
                name=str(variables.get(NAME_VARIABLE) or host),
                host=host,
                cluster=str(variables.get(CLUSTER_VARIABLE) or inventory.clusters[0]),
                group=group_of.get(host, NODES_GROUP),
                profile=_text(variables.get(PROFILE_VARIABLE)),
                gpus=gpus,
                selected=False,
            )
        )
    problems.extend(_duplicates(nodes))
    problems.extend(_misplaced(inventory, nodes))
    if problems:
        raise joined(FleetError, problems)
    chosen = selected_hosts(inventory, nodes, selection)
    marked = (FleetNode(**{**asdict(node), "selected": node.host in chosen}) for node in nodes)
    return Fleet(tuple(inventory.clusters), tuple(marked))


def _cluster_problems(inventory: Inventory) -> Iterable[str]:
    named = defaultdict(list)
    unnamed = []
    for host in inventory.nodes:
        cluster = _text(inventory.variables.get(host, {}).get(CLUSTER_VARIABLE))
        if cluster is None:
            unnamed.append(host)
        else:
            named[cluster].append(host)
    if CLUSTERS_GROUP not in inventory.groups:
        for cluster, hosts in named.items():
            yield (
                f"{some(hosts)}: gpu_sharing_cluster is '{cluster}', but the inventory has no"
                " group gpu_clusters."
                f" Add the group with the host {cluster}, or remove gpu_sharing_cluster to use"
                " the ambient credentials."
            )
        return
    if not inventory.clusters:
        yield (
            "The group gpu_clusters is empty: add a host for each cluster, or remove the group"
            " to use the ambient credentials."
        )
        return
    for cluster, hosts in named.items():
        if cluster not in inventory.clusters:
            yield (
                f"{some(hosts)}: gpu_sharing_cluster is '{cluster}', which is not in the group"
                " gpu_clusters"
                f" ({some(inventory.clusters)})."
            )
    if unnamed and len(inventory.clusters) > 1:
        yield (
            f"{some(unnamed)}: no gpu_sharing_cluster, and there are several clusters"
            f" ({some(inventory.clusters)})."
            " Set gpu_sharing_cluster on the node or on one of its groups."
        )


def _profile_conflicts(inventory: Inventory) -> Iterable[str]:
    """Nodes whose profile Ansible would choose by the alphabetical order of unrelated groups."""
    setters: dict[str, list[GroupProfile]] = defaultdict(list)
    for setting in inventory.group_profiles:
        for host in inventory.groups.get(setting.group, ()):
            setters[host].append(setting)
    for host in inventory.nodes:
        settings = setters.get(host, [])
        if host in inventory.own_profile or len(settings) < 2:
            continue
        inherited = frozenset().union(*(setting.ancestors for setting in settings))
        own = [setting for setting in settings if setting.group not in inherited]
        first = max(setting.priority for setting in own)
        rivals = [setting for setting in own if setting.priority == first]
        if len({str(setting.profile) for setting in rivals}) > 1:
            named = " and ".join(f"{rival.group} ({rival.profile})" for rival in rivals)
            yield (
                f"{host}: belongs to groups with different profiles: {named}."
                " Take it out of one of them, or set gpu_sharing_profile on the host itself."
            )
        elif overruled := _overruled(inventory, host, settings, rivals[0]):
            yield overruled


def _overruled(
    inventory: Inventory, host: str, settings: Sequence[GroupProfile], meant: GroupProfile
) -> str:
    """Where Ansible takes the profile of another group than is meant, in words; else empty."""
    taken = inventory.variables.get(host, {}).get(PROFILE_VARIABLE)
    others = [setting.group for setting in settings if setting.profile == taken]
    if taken == meant.profile or not others:
        return ""
    return (
        f"{host}: gets the profile {taken} of group {some(others)} from Ansible, and not"
        f" {meant.profile} of {meant.group}: to Ansible, variables in group_vars stand above those"
        " in the inventory's files, and groups of a lower level above others, whatever their"
        f" ansible_group_priority. Set gpu_sharing_profile of {meant.group} in group_vars too, take"
        f" it out of {some(others)}, or set it on the host itself."
    )


def _variable_problems(host: str, variables: Mapping[str, object]) -> Iterable[str]:
    gpus = variables.get(GPUS_VARIABLE)
    if gpus is not None and not _whole_number(gpus):
        yield (
            f"{host}: gpu_sharing_gpus is {describe(gpus)}; allowed: the node's number of physical"
            " GPUs, 1 or more."
        )
    for name in (PROFILE_VARIABLE, CLUSTER_VARIABLE, NAME_VARIABLE):
        value = variables.get(name)
        if value is not None and not isinstance(value, str):
            yield (f"{host}: {name} is {describe(value)}; allowed: a text. Put it in quotes.")


def _duplicates(nodes: Iterable[FleetNode]) -> Iterable[str]:
    hosts = defaultdict(list)
    for node in nodes:
        hosts[(node.cluster, node.name)].append(node.host)
    for (cluster, name), same in hosts.items():
        if len(same) > 1:
            yield (
                f"Node {name} of cluster {cluster} is described by several inventory hosts:"
                f" {some(same)}."
            )


def _misplaced(inventory: Inventory, nodes: Iterable[FleetNode]) -> Iterable[str]:
    """Variables of clusters that only nodes have."""
    lost: dict[tuple[str, str], list[str]] = defaultdict(list)
    for node in nodes:
        there = inventory.named.get(node.cluster, ())
        for name in CLUSTER_VARIABLES.intersection(inventory.named.get(node.host, ())):
            if name not in there:
                lost[name, node.cluster].append(node.host)
    for (name, cluster), hosts in sorted(lost.items()):
        yield (
            f"{name} is set on nodes ({some(hosts)}), where it has no effect, and not on their"
            f" cluster. Set it in group_vars/all, or in host_vars/{cluster}."
        )


def misspelt(inventory: Inventory) -> Iterable[str]:
    """Variables that look like ours and are none of ours, in words."""
    known = CLUSTER_VARIABLES.union(NODE_VARIABLES)
    endings = sorted(name.removeprefix(VARIABLE_PREFIX) for name in known)
    found: dict[str, list[str]] = defaultdict(list)
    for host, names in inventory.named.items():
        for name in names:
            if name not in known:
                found[name].append(host)
    for name, hosts in sorted(found.items()):
        for alike in get_close_matches(name.removeprefix(VARIABLE_PREFIX), endings, 1, _ALIKE):
            yield (
                f"{name}, set on {some(hosts)}, is no variable of this collection and has no"
                f" effect. Is {VARIABLE_PREFIX}{alike} meant?"
            )


def _group_names(inventory: Inventory) -> dict[str, str]:
    """The smallest group of each GPU node, for people to read."""
    nodes = set(inventory.nodes)
    named = [name for name in inventory.groups if name not in ("all", "ungrouped", NODES_GROUP)]
    found: dict[str, str] = {}
    for name in sorted(named, key=lambda group: (-len(inventory.groups[group]), group)):
        found.update({host: name for host in inventory.groups[name] if host in nodes})
    return found


def _text(value: object) -> str | None:
    return str(value) if value not in (None, "") else None


def _whole_number(value: object) -> int | None:
    """A positive whole number, also as the text that surveys and -e give; None for everything
    else.
    """
    number = to_whole_number(value, lenient=True)
    return number if number is not None and number >= 1 else None
