# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: a summary of what each group of an inventory gets, without a cluster."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from .._common.errors import FleetError, joined
from .._common.table import format_table
from .._profiles.model import GPU_RESOURCE, Profile
from .assignments import undefined_profiles

COLUMNS = ("group", "profile", "nodes", "strategy", "slots per GPU", "resource", "GPUs", "slots")


def summarise(
    nodes: Sequence[Mapping[str, object]], profiles: Mapping[str, Profile], default_profile: str
) -> dict[str, object]:
    """Summarise nodes ({name, group, profile, gpus}): {groups, table, nodes}.

    GPUs and slots are sums; None unless the inventory states the GPUs of every node. Raises
    FleetError for undefined profiles.
    """
    assignments = {str(node["name"]): _text(node["profile"]) for node in nodes}
    if problems := list(undefined_profiles(assignments, list(profiles), default_profile)):
        raise joined(FleetError, problems)
    members: dict[tuple[str, str], list[Mapping[str, object]]] = defaultdict(list)
    for node in nodes:
        members[(str(node["group"]), _text(node["profile"]) or default_profile)].append(node)
    groups = [
        _row(group, profiles[name], found) for (group, name), found in sorted(members.items())
    ]
    return {"groups": groups, "table": format_table(COLUMNS, groups), "nodes": len(nodes)}


def _row(group: str, profile: Profile, nodes: Sequence[Mapping[str, object]]) -> dict[str, object]:
    shared = [(entry.name, entry.replicas) for entry in profile.content.resources]
    resources = shared or [(GPU_RESOURCE, 1)]
    gpus = _total([node["gpus"] for node in nodes])
    mig = f" on MIG {profile.mig}" if profile.mig else ""
    whole = [name for name, _replicas in resources] == [GPU_RESOURCE] and not mig
    return {
        "group": group,
        "profile": profile.name,
        "nodes": len(nodes),
        "strategy": profile.strategy + mig,
        "slots per GPU": profile.replicas if whole else None,
        "resource": ", ".join(
            profile.advertised(name) if whole else f"{profile.advertised(name)} x {replicas}"
            for name, replicas in resources
        ),
        "GPUs": gpus,
        "slots": gpus * profile.replicas if whole and gpus is not None else None,
    }


def _total(numbers: Sequence[object]) -> int | None:
    """The sum; None when a number is unknown."""
    known = [number for number in numbers if isinstance(number, int)]
    return sum(known) if len(known) == len(numbers) else None


def _text(value: object) -> str | None:
    return str(value) if value else None
