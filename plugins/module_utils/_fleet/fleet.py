# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the fleet that an inventory describes.

Clusters are hosts of the group gpu_clusters. GPU nodes are hosts of the group gpu_nodes, to which
Ansible never connects.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from .._common.errors import FleetError, joined
from .._common.links import INVENTORY
from .._common.text import some
from .._common.values import describe, to_whole_number
from .inventory import (
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
    Unresolved,
)
from .limit import Selection, selected_hosts

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NODE_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*")  # a DNS subdomain, RFC 1123
_EMPTY_IN_AWX = (
    " In AWX: an inventory whose source was not synced is empty, hosts that are switched off are"
    " left out, and a smart inventory has no groups."
)
_MEANT_EMPTY = " If the cluster is to have no GPU nodes, set gpu_sharing_allow_empty to true."
_SIMILAR = 0.75  # similarity from which a name counts as a misspelling of another


@dataclass(frozen=True)
class Fleet:
    """The clusters and GPU nodes of an inventory."""

    clusters: tuple[str, ...]
    nodes: tuple[FleetNode, ...]

    def of(self, cluster: str) -> list[FleetNode]:
        return [node for node in self.nodes if node.cluster == cluster]


def read_fleet(inventory: Inventory, selection: Selection) -> Fleet:
    """The fleet with its selected nodes; see reason_empty for clusters without nodes. Raises
    FleetError with all other problems of the inventory.
    """
    problems = list(_unresolved(inventory)) or [
        *_cluster_problems(inventory),
        *_profile_conflicts(inventory),
    ]
    if problems:
        raise joined(FleetError, problems)
    nodes = _read_nodes(inventory)
    for host in inventory.nodes:
        problems += _variable_problems(host, inventory.variables.get(host, {}))
    problems += [*_impossible_names(inventory), *_duplicates(nodes), *_misplaced(inventory, nodes)]
    if problems:
        raise joined(FleetError, problems)
    chosen = selected_hosts(inventory, nodes, selection)
    marked = (replace(node, selected=node.host in chosen) for node in nodes)
    return Fleet(tuple(inventory.clusters), tuple(marked))


def _read_nodes(inventory: Inventory) -> list[FleetNode]:
    groups, nodes = _group_names(inventory), []
    for host in inventory.nodes:
        variables = inventory.variables.get(host, {})
        node = FleetNode(
            name=str(variables.get(NAME_VARIABLE) or host),
            host=host,
            cluster=str(variables.get(CLUSTER_VARIABLE) or inventory.clusters[0]),
            group=groups.get(host, NODES_GROUP),
            profile=_text(variables.get(PROFILE_VARIABLE)),
            gpus=_whole_number(variables.get(GPUS_VARIABLE)),
            selected=False,
        )
        nodes.append(node)
    return nodes


def _unresolved(inventory: Inventory) -> Iterator[str]:
    """A message for each variable of nodes and each reason why it has no value."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for host in inventory.nodes:
        for name, value in inventory.variables.get(host, {}).items():
            if isinstance(value, Unresolved):
                found[name, value.reason].append(host)
    for (name, reason), hosts in found.items():
        yield (
            f"{name} of {some(hosts)} has no value: {reason}. Correct the template. An empty text,"
            " as with default(''), counts as not set."
        )


def reason_empty(inventory: Inventory, cluster: str) -> str:
    """Why a cluster has no GPU nodes, and what to do."""
    if inventory.nodes:
        return (
            f"No node of the group gpu_nodes ({len(inventory.nodes)} in all) belongs to cluster"
            f" {cluster}. Set gpu_sharing_cluster of its nodes to {cluster}, or leave it out with"
            f" --limit.{_EMPTY_IN_AWX}{_MEANT_EMPTY}"
        )
    ours = ("all", "ungrouped", CLUSTERS_GROUP, NODES_GROUP)
    others = [name for name in inventory.groups if name not in ours]
    if not others and not any(inventory.groups.values()):
        return (
            f"The inventory is empty. Give the file or folder of yours with -i: {INVENTORY}"
            f"{_EMPTY_IN_AWX}{_MEANT_EMPTY}"
        )
    what = "The group gpu_nodes of the inventory is empty"
    if NODES_GROUP not in inventory.groups:
        what = "The inventory has no group gpu_nodes"
    found = f" Groups found: {some(others)}." if others else ""
    return (
        f"{what}.{found} Put your GPU nodes, or their groups, into gpu_nodes: {INVENTORY}"
        f"{_EMPTY_IN_AWX}{_MEANT_EMPTY}"
    )


def _cluster_problems(inventory: Inventory) -> Iterator[str]:
    if CLUSTERS_GROUP in inventory.groups and not inventory.clusters:
        yield (
            "The group gpu_clusters is empty. Add a host for each cluster, or remove the group to"
            " use the ambient credentials."
        )
        return
    by_cluster = defaultdict(list)
    for host in inventory.nodes:
        cluster = _text(inventory.variables.get(host, {}).get(CLUSTER_VARIABLE))
        by_cluster[cluster or ""].append(host)
    unassigned = by_cluster.pop("", [])
    for cluster, hosts in by_cluster.items():
        if CLUSTERS_GROUP not in inventory.groups:
            yield (
                f"{some(hosts)}: gpu_sharing_cluster is '{cluster}', but the inventory has no group"
                f" gpu_clusters. Add the group with the host {cluster}, or remove"
                " gpu_sharing_cluster to use the ambient credentials."
            )
        elif cluster not in inventory.clusters:
            yield (
                f"{some(hosts)}: gpu_sharing_cluster is '{cluster}', which is not in the group"
                f" gpu_clusters ({some(inventory.clusters)})."
            )
    if unassigned and len(inventory.clusters) > 1:
        yield (
            f"{some(unassigned)}: gpu_sharing_cluster is missing, and there are several clusters"
            f" ({some(inventory.clusters)}). Set it on the node or on one of its groups."
        )


def _profile_conflicts(inventory: Inventory) -> Iterator[str]:
    """Nodes whose profile depends on the alphabetical order of unrelated groups."""
    setters: dict[str, list[GroupProfile]] = defaultdict(list)
    for setting in inventory.group_profiles:
        for host in inventory.groups.get(setting.group, ()):
            setters[host].append(setting)
    for host in inventory.nodes:
        by_value = inventory.host_profiles.get(host)
        if by_value is None and host in inventory.own_profile:
            continue
        settings = setters.get(host, []) if by_value is None else by_value
        if len(settings) < 2:
            continue
        inherited = frozenset().union(*(setting.ancestors for setting in settings))
        own = [setting for setting in settings if setting.group not in inherited]
        first = max(setting.priority for setting in own)
        rivals = [setting for setting in own if setting.priority == first]
        if len({str(setting.profile) for setting in rivals}) > 1:
            groups = " and ".join(f"{rival.group} ({rival.profile})" for rival in rivals)
            yield (
                f"{host}: belongs to groups with different profiles: {groups}."
                " Remove it from one of them, or set gpu_sharing_profile on the host itself."
            )
        elif overruled := _overruled(inventory, host, settings, rivals[0]):
            yield overruled


def _overruled(
    inventory: Inventory, host: str, settings: Sequence[GroupProfile], meant: GroupProfile
) -> str:
    """A message when Ansible uses the profile of another group than expected; else empty."""
    taken = inventory.variables.get(host, {}).get(PROFILE_VARIABLE)
    others = [setting.group for setting in settings if setting.profile == taken]
    if taken == meant.profile or not others:
        return ""
    return (
        f"{host}: gets the profile {taken} of group {some(others)} from Ansible, and not"
        f" {meant.profile} of {meant.group}. In Ansible, variables in group_vars override those in"
        " inventory files, and child groups override their parents regardless of"
        f" ansible_group_priority. Set gpu_sharing_profile of {meant.group} in group_vars too,"
        f" remove it from {some(others)}, or set it on the host itself."
    )


def _variable_problems(host: str, variables: Mapping[str, object]) -> Iterator[str]:
    gpus = variables.get(GPUS_VARIABLE)
    if gpus not in (None, "") and not _whole_number(gpus):
        yield (
            f"{host}: gpu_sharing_gpus is {describe(gpus)}; allowed: the node's number of physical"
            " GPUs, 1 or more."
        )
    for name in (PROFILE_VARIABLE, CLUSTER_VARIABLE, NAME_VARIABLE):
        value = variables.get(name)
        if value is not None and not isinstance(value, str):
            yield (f"{host}: {name} is {describe(value)}; allowed: a text. Put it in quotes.")


def _impossible_names(inventory: Inventory) -> Iterator[str]:
    """A message for all names that Kubernetes would not accept for a node."""
    found = []
    for host in inventory.nodes:
        name = inventory.variables.get(host, {}).get(NAME_VARIABLE) or host
        if isinstance(name, str) and not _NODE_NAME.fullmatch(name):
            found.append(f"'{name}'" if name == host else f"'{name}' (of {host})")
    if found:
        yield (
            f"Not a name that a node of Kubernetes can have: {some(found)}. Such a name has"
            " lower-case letters, digits, - and . only, and begins and ends with a letter or digit."
            " Set gpu_sharing_node_name to the name in the cluster, as 'kubectl get nodes' shows"
            " it, or correct the inventory."
        )


def _duplicates(nodes: Iterable[FleetNode]) -> Iterator[str]:
    hosts = defaultdict(list)
    for node in nodes:
        hosts[(node.cluster, node.name)].append(node.host)
    for (cluster, name), same in hosts.items():
        if len(same) > 1:
            yield (
                f"Node {name} of cluster {cluster} is described by several inventory hosts:"
                f" {some(same)}."
            )


def _misplaced(inventory: Inventory, nodes: Iterable[FleetNode]) -> Iterator[str]:
    """Variables of clusters that are set on nodes alone."""
    misplaced: dict[tuple[str, str], list[str]] = defaultdict(list)
    for node in nodes:
        on_cluster = inventory.named.get(node.cluster, ())
        for name in CLUSTER_VARIABLES.intersection(inventory.named.get(node.host, ())):
            if name not in on_cluster:
                misplaced[name, node.cluster].append(node.host)
    for (name, cluster), hosts in sorted(misplaced.items()):
        yield (
            f"{name} is set on nodes ({some(hosts)}), where it has no effect, and not on their"
            f" cluster. Set it in group_vars/all, or in host_vars/{cluster}."
        )


def misspelled_variables(inventory: Inventory) -> Iterator[str]:
    """A message for each variable whose name is similar to one of ours."""
    known = CLUSTER_VARIABLES.union(NODE_VARIABLES)
    endings = sorted(name.removeprefix(VARIABLE_PREFIX) for name in known)
    found: dict[str, list[str]] = defaultdict(list)
    for host, names in inventory.named.items():
        for name in names:
            if name not in known:
                found[name].append(host)
    for name, hosts in sorted(found.items()):
        for similar in get_close_matches(name.removeprefix(VARIABLE_PREFIX), endings, 1, _SIMILAR):
            yield (
                f"{name}, set on {some(hosts)}, is not a variable of this collection and has no"
                f" effect. Did you mean {VARIABLE_PREFIX}{similar}?"
            )


def _group_names(inventory: Inventory) -> dict[str, str]:
    """The smallest group of each GPU node."""
    nodes = set(inventory.nodes)
    named = [name for name in inventory.groups if name not in ("all", "ungrouped", NODES_GROUP)]
    found: dict[str, str] = {}
    for name in sorted(named, key=lambda group: (-len(inventory.groups[group]), group)):
        found.update({host: name for host in inventory.groups[name] if host in nodes})
    return found


def _text(value: object) -> str | None:
    return str(value) if value not in (None, "") else None


def _whole_number(value: object) -> int | None:
    """A positive whole number, also as text from surveys and -e; None for anything else."""
    number = to_whole_number(value, lenient=True)
    return number if number is not None and number >= 1 else None
