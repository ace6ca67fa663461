# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: the profile that each node should use, and the labels to change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import some


def undefined_profiles(
    assignments: Mapping[str, str | None], known: Collection[str], default_profile: str | None
) -> Iterable[str]:
    """What is wrong where nodes, or the default, name profiles that are not defined."""
    defined = f"which O(profiles) does not define; defined are: {some(sorted(known))}."
    if default_profile is not None and default_profile not in known:
        yield f"O(default_profile) is '{default_profile}', {defined}"
    named = defaultdict(list)
    for node, profile in assignments.items():
        if profile is not None and profile not in known:
            named[profile].append(node)
    for profile, nodes in named.items():
        yield f"O(profile) of {some(nodes)} is '{profile}', {defined}"


@dataclass(frozen=True)
class LabelChange:
    """One node's label, None meaning no label."""

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
        """What --diff shows: only the nodes that change."""
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

    desired (nodes to act on) and observed (GPU nodes of the cluster, and any node of desired that
    it has) map node names to profile names, None meaning no label. known holds every node of the
    inventory, inside the limit or not. With exclusive, GPU nodes that are not known lose their
    label, unless a limit leaves nodes out: those that are not known are outside of any limit. A
    node that has a label and should have none gets the label instead, if there is one.
    """
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
