# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: what each node should have, and what is observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .._common.errors import FleetError, joined
from .._common.names import PROFILE_LABEL
from .._fleet.assignments import undefined_profiles
from .._nodes.operands import OperandPod
from .._nodes.state import NodeState
from .._profiles.config_map import ConfigMap
from .._profiles.hashing import config_hash
from .._profiles.keys import config_key
from .._profiles.model import Profile
from .._profiles.rendering import to_plugin_config


@dataclass(frozen=True)
class Target:
    """What one node should have: its profile; the label, None for no label and so the default; the
    ConfigMap's key with the profile; its GPUs, if stated; the group over which batches are spread.
    """

    node: str
    profile: Profile
    gpus: int | None = None
    label: str | None = None
    key: str = ""
    group: str = ""

    @property
    def hash(self) -> str:
        return config_hash(to_plugin_config(self.profile))


@dataclass(frozen=True)
class Desired:
    """What a fleet should have: its profiles, and by node the profile (None for the default), the
    GPUs where stated, and the group.
    """

    profiles: Mapping[str, Profile]
    default_profile: str
    assignments: Mapping[str, str | None]
    versioned: bool = False
    gpus: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)

    def target(self, node: str) -> Target:
        """Raises FleetError when the node's profile is not defined."""
        assigned = self.assignments.get(node)
        profile = self.profiles.get(assigned or self.default_profile)
        if profile is None:
            raise joined(
                FleetError, list(undefined_profiles(self.assignments, list(self.profiles), None))
            )
        key = config_key(profile, versioned=self.versioned)
        return Target(
            node=node,
            profile=profile,
            gpus=self.gpus.get(node),
            label=key if assigned or self.versioned else None,
            key=key,
            group=self.groups.get(node, profile.name),
        )

    @property
    def files(self) -> dict[str, str]:
        """The ConfigMap's keys with their content, including the default's fixed key."""
        files = {
            config_key(profile, versioned=self.versioned): to_plugin_config(profile)
            for profile in self.profiles.values()
        }
        if default := self.profiles.get(self.default_profile):
            files[default.name] = to_plugin_config(default)
        return files

    def targets(self) -> dict[str, Target]:
        return {node: self.target(node) for node in self.assignments}


@dataclass(frozen=True)
class Observation:
    """A cluster at one moment."""

    nodes: Mapping[str, NodeState]
    pods: Mapping[str, Sequence[OperandPod]]  # by node
    config_map: ConfigMap | None


def profile_label(node: NodeState) -> str | None:
    return node.labels.get(PROFILE_LABEL) or None
