# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the nodes of one cluster, as every module takes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._common.errors import FleetError, joined

#: Suboptions of a node in every module that takes nodes; the fragment gpufleet.sharing.nodes
#: documents them.
NODE_OPTIONS: Mapping[str, Mapping[str, object]] = {
    "name": {"type": "str", "required": True},
    "profile": {"type": "str"},
    "group": {"type": "str", "default": ""},
    "gpus": {"type": "int"},
    "host": {"type": "str"},
    "selected": {"type": "bool", "default": True},
}
NODES_OPTION: Mapping[str, object] = {
    "type": "list",
    "elements": "dict",
    "required": True,
    "options": NODE_OPTIONS,
}


@dataclass(frozen=True)
class ClusterNodes:
    """The nodes of one cluster.

    assignments map the selected nodes to their profiles, None for the default one; gpus and groups
    are theirs, where stated; known are all nodes, selected or not.
    """

    assignments: Mapping[str, str | None]
    gpus: Mapping[str, int]
    groups: Mapping[str, str]
    known: tuple[str, ...]
    profiles: Mapping[str, str | None]  # of all nodes

    @property
    def limited(self) -> bool:
        """Whether nodes are left out."""
        return len(self.assignments) < len(self.known)

    @property
    def outside(self) -> list[str]:
        """The nodes that are left out."""
        return [node for node in self.known if node not in self.assignments]


def read_nodes(entries: Sequence[Mapping[str, Any]]) -> ClusterNodes:
    """Nodes as NODE_OPTIONS has them. Raises FleetError with everything that cannot be meant."""
    times = Counter(entry["name"] for entry in entries)
    problems = [
        f"O(nodes) lists {name} {count} times." for name, count in times.items() if count > 1
    ]
    problems += [
        f"O(gpus) of {entry['name']} is {entry['gpus']}; allowed: the node's number of physical"
        " GPUs, 1 or more."
        for entry in entries
        if entry["gpus"] is not None and entry["gpus"] < 1
    ]
    if problems:
        raise joined(FleetError, problems)
    selected = [entry for entry in entries if entry["selected"]]
    return ClusterNodes(
        assignments={entry["name"]: entry["profile"] or None for entry in selected},
        gpus={entry["name"]: entry["gpus"] for entry in selected if entry["gpus"] is not None},
        groups={entry["name"]: entry["group"] for entry in selected if entry["group"]},
        known=tuple(entry["name"] for entry in entries),
        profiles={entry["name"]: entry["profile"] or None for entry in entries},
    )
