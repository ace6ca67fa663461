# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: what --limit selects, and which changes would reach beyond it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import FleetError
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import some
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.inventory import (
    IMPLICIT_CLUSTER,
    NODES_GROUP,
    FleetNode,
    Inventory,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.nodes import ClusterNodes


@dataclass(frozen=True)
class Selection:
    """The hosts that --limit left, in Ansible's own resolution.

    hosts is None without a limit. subtracted holds the hosts that terms with ! or & of the limit
    match.
    """

    hosts: Collection[str] | None = None
    limit: str = ""
    subtracted: Collection[str] = ()


def selected_hosts(
    inventory: Inventory, nodes: Sequence[FleetNode], selection: Selection
) -> set[str]:
    """The hosts of the nodes to act on. Raises FleetError where the limit would do something
    surprising, or nothing.
    """
    everything = {node.host for node in nodes}
    if selection.hosts is None:
        return everything
    hosts = set(selection.hosts)
    clusters = [cluster for cluster in inventory.clusters if cluster in hosts]
    chosen = everything & hosts
    if not clusters:
        raise FleetError(_no_cluster(inventory, nodes, chosen, selection))
    if chosen:
        reached = {node.host for node in nodes if node.host in chosen and node.cluster in clusters}
        if not reached:
            raise FleetError(
                f"--limit {selection.limit}: the selected nodes ({some(sorted(chosen))}) belong"
                " to none of the selected"
                f" clusters ({some(clusters)}), so nothing would be done."
            )
        return reached
    if lost := sorted(everything & set(selection.subtracted)):
        raise FleetError(
            f"--limit {selection.limit} takes away or intersects nodes ({some(lost)}) but names"
            " none to act on; it would"
            " act on all nodes. Use --limit"
            f" '{','.join([*clusters, NODES_GROUP, '!' + lost[0]])}' to leave nodes out, or"
            f" --limit '{','.join([*clusters, lost[0]])}' to name those to act on."
        )
    if others := sorted(hosts - set(inventory.clusters) - {IMPLICIT_CLUSTER}):
        raise FleetError(
            f"--limit {selection.limit}: {some(others)}: in neither group gpu_clusters nor"
            " gpu_nodes, and no node is"
            " selected beside it; it would act on all nodes. Name nodes or groups of gpu_nodes,"
            " or clusters alone."
        )
    return {node.host for node in nodes if node.cluster in clusters}


def _no_cluster(
    inventory: Inventory, nodes: Sequence[FleetNode], chosen: Collection[str], selection: Selection
) -> str:
    limit = selection.limit or "(the limit)"
    if not chosen:
        return (
            f"--limit {limit} selects {some(sorted(selection.hosts or ()))}, in neither group"
            " gpu_clusters nor gpu_nodes:"
            f" nothing would be done. Clusters are: {some(inventory.clusters)}."
        )
    owners = Counter(node.cluster for node in nodes if node.host in chosen)
    return (
        f"--limit {limit} selects GPU nodes ({some(sorted(chosen))}) but no cluster, so nothing"
        " would be done."
        f" Use --limit '{','.join([*sorted(owners), selection.limit or '<nodes>'])}'."
    )


def beyond_limit(
    nodes: ClusterNodes, changed_keys: Collection[str], default_profile: str, *, operator: bool
) -> list[str]:
    """Which changes of content, device plugin config or chart would reach nodes that the limit
    leaves out. operator: whether the release or the config would change.
    """
    outside = nodes.outside
    reached = [
        node for node in outside if (nodes.profiles[node] or default_profile) in changed_keys
    ]
    return [
        f"This run would change {what}, which nodes outside --limit share: {some(names)}."
        " Run without the limit, or give the limited nodes a profile of their own."
        for what, names in (
            ("the GPU Operator's release or device plugin config", outside if operator else []),
            (f"the content of {some(sorted(changed_keys))}", reached),
        )
        if names
    ]
