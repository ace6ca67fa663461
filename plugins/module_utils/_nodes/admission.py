# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: which nodes a profile may be brought to, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    FleetError,
    RefusedError,
    joined,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import some
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.capacity import mps_problem
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.mig import (
    STATE_LABEL,
    is_busy,
    needless,
    unfinished,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.model import Profile
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.plugin import Plugin

NOTICES_REMOVAL = (0, 18, 2)  # the first device plugin that notices a label's removal


def notices_removal(plugin: Plugin) -> bool:
    """Whether the plugin acts on a label that is removed; one of unknown version counts as new."""
    return plugin.version is None or plugin.version >= NOTICES_REMOVAL


def check_there(missing: Sequence[str], server: str) -> None:
    """Raise where the cluster does not have nodes of the inventory."""
    if missing:
        raise FleetError(
            f"Nodes of the inventory ({len(missing)}) are not in the cluster {server}:"
            f" {some(missing)}."
            " Correct the inventory, or set O(unavailable_nodes) to report."
        )


def check_nodes(
    states: Mapping[str, NodeState],
    meant: Mapping[str, Profile],
    changing: Sequence[str],
    *,
    planning: bool,
) -> None:
    """Raise where GPUs cannot be shared as a profile says, or where NVIDIA's MIG manager is at work
    on a node whose label would change.

    planning: what a run would do before this, it has not done; so it may be at work for us.
    """
    problems = [
        f"{node}: profile '{profile.name}' cannot be used there: {reason}."
        for node, profile in sorted(meant.items())
        if (reason := mps_problem(states[node], profile))
    ]
    if problems:
        raise joined(FleetError, problems)
    busy = [node for node in changing if is_busy(states[node])]
    if planning:
        ours = {node for node in busy if node in meant and meant[node].mig is not None}
        busy = [node for node in busy if node not in ours]
    if busy:
        raise RefusedError(
            f"NVIDIA's MIG manager is at work on {some(busy)} ({STATE_LABEL} is pending or"
            " rebooting), so the profile of these nodes must not change now. Run again when it has"
            " finished."
        )


def uncut(states: Mapping[str, NodeState], meant: Mapping[str, Profile]) -> set[str]:
    """Nodes that their profile's MIG configuration has not reached, since they are NotReady: their
    label waits for the run that finds them ready.
    """
    return {
        node
        for node, profile in meant.items()
        if profile.mig is not None
        and not needless(states[node], profile.mig)
        and unfinished(states[node], profile.mig)
    }
