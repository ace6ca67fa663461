# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: ResourceQuotas that a change of profile bypasses, because it renames a resource."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .._common.documents import mapping_at, name_of, text_at
from .._profiles.model import SHARED_SUFFIX, Profile
from .capacity import expected_allocatable
from .disruption import known_slots
from .state import NodeState


def renamed_resources(
    node: NodeState, after: Profile, devices: Mapping[str, int], before: Profile | None = None
) -> dict[str, str]:
    """Resources that a node loses to another name: {old: new}. before is the profile that it is
    meant to have so far.
    """
    now, slots = known_slots(node, devices, before), expected_allocatable(after, devices)
    pairs = [(device, device + SHARED_SUFFIX) for device in devices]
    pairs += [(new, old) for old, new in pairs]
    return {old: new for old, new in pairs if now[old] and not slots[old] and slots[new]}


def bypassed_quotas(documents: Iterable[object], renamed: Mapping[str, str]) -> list[str]:
    """A message for each quota that limits a resource under its old name only."""
    found = set()
    for document in documents:
        limited = {key.removeprefix("requests.") for key in mapping_at(document, "spec", "hard")}
        namespace = text_at(document, "metadata", "namespace")
        for old, new in renamed.items():
            if old in limited and new not in limited:
                found.add(
                    f"ResourceQuota {name_of(document)} in namespace {namespace} limits {old}, but"
                    f" not its new name: add requests.{new}"
                )
    return sorted(found)
