# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the profile of each node, and the labels to change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from .._common.errors import FleetError
from .._common.text import some


def undefined_profiles(
    assignments: Mapping[str, str | None], known: Collection[str], default_profile: str | None
) -> Iterable[str]:
    """A message for each undefined profile that nodes use, or that is the default."""
    defined = f"which O(profiles) does not define. It defines: {some(sorted(known))}."
    if default_profile is not None and default_profile not in known:
        yield f"O(default_profile) is '{default_profile}', {defined}"
    users = defaultdict(list)
    for node, profile in assignments.items():
        if profile is not None and profile not in known:
            users[profile].append(node)
    for profile, nodes in users.items():
        yield f"O(profile) of {some(nodes)} is '{profile}', {defined}"


@dataclass(frozen=True)
class LabelChange:
    """The change of one node's label; None means no label."""

    node: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class LabelPlan:
    changes: tuple[LabelChange, ...]
    unmanaged: tuple[str, ...]  # GPU nodes that the inventory does not mention
    missing: tuple[str, ...]  # nodes of the inventory that the cluster does not have

    def __bool__(self) -> bool:
        return bool(self.changes)

    def diff(self) -> dict[str, dict[str, str | None]]:
        """The nodes that change, for --diff."""
        return {
            "before": {change.node: change.before for change in self.changes},
            "after": {change.node: change.after for change in self.changes},
        }


def plan_labels(
    desired: Mapping[str, str | None],
    observed: Mapping[str, str | None],
    *,
    known: Collection[str],
    exclusive: bool,
    instead: str | None = None,
) -> LabelPlan:
    """Compare assignments with labels.

    desired (the nodes to change) and observed (GPU nodes of the cluster, and nodes of desired)
    map node names to profile names; None means no label. known holds every node of the inventory,
    inside the limit or not. With exclusive, unknown GPU nodes lose their label, unless a limit
    leaves nodes out. A node that should lose its label gets the label instead, if given. Raises
    FleetError for exclusive without any node, as from an inventory that was not read.
    """
    if exclusive and not known:
        raise FleetError(
            "O(exclusive) is true, and there is no node in the inventory, so every GPU node of the"
            " cluster would lose its label. Set O(exclusive) to false."
        )
    unmanaged = sorted(observed.keys() - set(known) - desired.keys())
    limited = bool(set(known) - desired.keys())
    wanted = dict(desired) | (dict.fromkeys(unmanaged) if exclusive and not limited else {})
    changes = []
    for node, profile in sorted(wanted.items()):
        before = observed.get(node) or None
        after = profile or (instead if before else None)
        if node in observed and before != after:
            changes.append(LabelChange(node, before, after))
    return LabelPlan(
        tuple(changes), tuple(unmanaged), tuple(sorted(desired.keys() - observed.keys()))
    )
