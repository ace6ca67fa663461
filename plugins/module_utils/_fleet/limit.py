# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the nodes that --limit selects, and changes that would reach other nodes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from .._common.errors import FleetError
from .._common.text import some
from .inventory import IMPLICIT_CLUSTER, NODES_GROUP, FleetNode, Inventory
from .nodes import ClusterNodes


@dataclass(frozen=True)
class Selection:
    """The hosts that --limit selects, as resolved by Ansible.

    hosts is None without a limit. subtracted holds the hosts that match terms with ! or &.
    """

    hosts: Collection[str] | None = None
    limit: str = ""
    subtracted: Collection[str] = ()


def selected_hosts(
    inventory: Inventory, nodes: Sequence[FleetNode], selection: Selection
) -> set[str]:
    """The hosts of the nodes to change. Raises FleetError for a limit with no effect, or with one
    that its user cannot expect.
    """
    everything = {node.host for node in nodes}
    if selection.hosts is None:
        return everything
    hosts = set(selection.hosts)
    clusters = [cluster for cluster in inventory.clusters if cluster in hosts]
    chosen = everything & hosts
    if not clusters:
        raise FleetError(_no_cluster(inventory, nodes, chosen, selection))
    of_clusters = {node.host for node in nodes if node.cluster in clusters}
    if not chosen:
        _check_clusters_alone(inventory, clusters, everything, selection)
        return of_clusters
    if not chosen & of_clusters:
        raise FleetError(
            f"--limit {selection.limit}: the selected nodes ({some(sorted(chosen))}) do not belong"
            f" to the selected clusters ({some(clusters)}), so nothing would be done."
        )
    return chosen & of_clusters


def _check_clusters_alone(
    inventory: Inventory, clusters: Sequence[str], nodes: Collection[str], selection: Selection
) -> None:
    """Raise FleetError when a limit selects no node, so that it means all nodes of its clusters,
    although it has terms that suggest something else.
    """
    hosts, limit = set(selection.hosts or ()), selection.limit
    if subtracted := sorted(set(nodes) & set(selection.subtracted)):
        without = ",".join([*clusters, NODES_GROUP, "!" + subtracted[0]])
        raise FleetError(
            f"--limit {limit} excludes or intersects nodes ({some(subtracted)}) but selects none,"
            f" so it would change all nodes. Use --limit '{without}' to exclude nodes, or --limit"
            f" '{','.join([*clusters, subtracted[0]])}' to select them."
        )
    if others := sorted(hosts - set(inventory.clusters) - {IMPLICIT_CLUSTER}):
        raise FleetError(
            f"--limit {limit}: {some(others)}: in neither group gpu_clusters nor gpu_nodes, and the"
            " limit selects no node, so it would change all nodes. Select nodes, groups of"
            " gpu_nodes, or clusters alone."
        )


def _no_cluster(
    inventory: Inventory, nodes: Sequence[FleetNode], chosen: Collection[str], selection: Selection
) -> str:
    limit = selection.limit or "(the limit)"
    if not chosen:
        return (
            f"--limit {limit} selects {some(sorted(selection.hosts or ()))}, in neither group"
            " gpu_clusters nor gpu_nodes, so nothing would be done."
            f" Clusters are: {some(inventory.clusters)}."
        )
    owners = sorted({node.cluster for node in nodes if node.host in chosen})
    return (
        f"--limit {limit} selects GPU nodes ({some(sorted(chosen))}) but no cluster, so nothing"
        " would be done."
        f" Use --limit '{','.join([*owners, selection.limit or '<nodes>'])}'. In AWX, launch"
        " the job template with this in its field Limit; relaunching on failed hosts keeps the"
        " wrong one."
    )


def beyond_limit(
    nodes: ClusterNodes, changed_keys: Collection[str], default_profile: str, *, operator: bool
) -> list[str]:
    """Messages for changes that reach nodes outside the limit: of the content of keys, and, with
    operator, of the operator's release or device plugin config.
    """
    outside = nodes.outside
    reached = [
        node for node in outside if (nodes.profiles[node] or default_profile) in changed_keys
    ]
    return [
        f"This run would change {what}, which nodes outside --limit share: {some(names)}."
        " Run without the limit, or give the limited nodes a profile of their own."
        for what, names in (
            ("the GPU Operator's release or its device plugin config", outside if operator else []),
            (f"the content of {some(sorted(changed_keys))}", reached),
        )
        if names
    ]
