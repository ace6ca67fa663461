# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: which nodes can get a profile, and when."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from .._common.errors import FleetError, RefusedError, joined
from .._common.text import some
from .._profiles.model import Profile
from .._profiles.plugin import Plugin
from .capacity import mps_problem
from .mig import STATE_LABEL, is_busy, stays_without_mig, why_not_partitioned
from .state import NodeMetadata

_SIMILAR = 0.8  # similarity from which a name counts as another writing of one
_MOST_SIMILAR = 20
NOTICES_REMOVAL = (0, 18, 2)  # the first device plugin that notices a label's removal


def notices_removal(plugin: Plugin) -> bool:
    """Whether the plugin acts on the removal of a label; an unknown version counts as new."""
    return plugin.version is None or plugin.version >= NOTICES_REMOVAL


def check_present(missing: Sequence[str], others: Iterable[str], server: str) -> None:
    """Raise FleetError when nodes of the inventory are not in the cluster. others are nodes of the
    cluster that the inventory does not have.
    """
    if missing:
        raise FleetError(
            f"Nodes of the inventory ({len(missing)}) are not in the cluster {server}:"
            f" {some(missing)}.{did_you_mean(missing, others)} Set gpu_sharing_node_name to the"
            " name in the cluster, correct the inventory, or set O(unavailable_nodes) to report."
        )


def did_you_mean(missing: Sequence[str], others: Iterable[str]) -> str:
    """The most similar other names of the first missing ones, as a question; empty if there are
    none.
    """
    left = {_simple(name): name for name in sorted(others)}
    found = [
        f"{left.pop(simple)} for {name}"
        for name in missing[:_MOST_SIMILAR]
        for simple in get_close_matches(_simple(name), left, 1, _SIMILAR)
    ]
    return f" Did you mean {', '.join(found)}?" if found else ""


def _simple(name: str) -> str:
    """A name without what writings of the same name differ in: case, separators and domain."""
    short = name if name.replace(".", "").isdigit() else name.partition(".")[0]
    return re.sub(r"[-_ ]+", "-", short.lower())


def check_nodes(states: Mapping[str, NodeMetadata], wanted: Mapping[str, Profile]) -> None:
    """Raise FleetError when a node cannot be shared as its profile says."""
    problems = [
        f"{node}: profile '{profile.name}' cannot be used on it: {reason}."
        for node, profile in sorted(wanted.items())
        if (reason := mps_problem(states[node], profile))
    ]
    if problems:
        raise joined(FleetError, problems)


def check_not_busy(states: Mapping[str, NodeMetadata], changing: Sequence[str]) -> None:
    """Raise RefusedError when NVIDIA's MIG manager is partitioning a node whose label would change.
    A rollout leaves such nodes out instead.
    """
    if busy := [node for node in changing if is_busy(states[node])]:
        raise RefusedError(
            f"NVIDIA's MIG manager is partitioning the GPUs of {some(busy)} ({STATE_LABEL} is"
            " pending or rebooting), so their profiles cannot change now. Run again when it has"
            " finished."
        )


def waiting_for_mig(states: Mapping[str, NodeMetadata], wanted: Mapping[str, Profile]) -> set[str]:
    """Nodes that do not have their profile's MIG configuration yet, since they are NotReady. Their
    labels have to wait for a run that finds them ready.
    """
    return {
        node
        for node, profile in wanted.items()
        if profile.mig is not None
        and not stays_without_mig(states[node], profile.mig)
        and why_not_partitioned(states[node], profile.mig)
    }
