# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: what a rollout is asked for, out of the options of modules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._common.values import check_minimums
from .._fleet.nodes import ClusterNodes
from .._profiles.keys import VERSIONED, check_versioned_names
from .._profiles.model import Profile
from .desired import Desired
from .settings import DRAINS, ON_FAILURE, Settings
from .settle import WaitTimes

#: Options of a rollout, in every module that plans one.
OPTIONS: Mapping[str, Mapping[str, object]] = {
    "exclusive": {"type": "bool", "default": False},
    "unavailable_nodes": {"type": "str", "choices": ["fail", "report"], "default": "report"},
    "batches": {"type": "list", "elements": "str", "default": ["1", "25%"]},
    "pause": {"type": "int", "default": 0},
    "max_failures": {"type": "int", "default": 0},
    "on_failure": {"type": "str", "choices": list(ON_FAILURE), "default": "rollback"},
    "drain": {"type": "str", "choices": list(DRAINS), "default": "refuse"},
    "drain_timeout": {"type": "int", "default": 300},
    "timeout": {"type": "int", "default": 600},
    "stable_seconds": {"type": "int", "default": 20},
}
LEAST = {"timeout": 1, "drain_timeout": 1, "stable_seconds": 0, "pause": 0, "max_failures": 0}


def read_settings(given: Mapping[str, Any], namespace: str, config_map: str) -> Settings:
    """Raises FleetError where a number is too small."""
    check_minimums(given, LEAST)
    return Settings(
        namespace=namespace,
        config_map=config_map,
        batches=given["batches"],
        wait=WaitTimes(given["timeout"], given["stable_seconds"]),
        pause=given["pause"],
        max_failures=given["max_failures"],
        on_failure=given["on_failure"],
        drain=given["drain"],
        drain_timeout=given["drain_timeout"],
    )


def read_desired(
    nodes: ClusterNodes, profiles: Mapping[str, Profile], default_profile: str, mode: str
) -> Desired:
    """What the selected nodes should have. Raises ProfileError where a name is too long for the
    mode.
    """
    versioned = mode == VERSIONED
    if versioned:
        check_versioned_names(profiles)
    return Desired(
        profiles=profiles,
        default_profile=default_profile,
        assignments=nodes.assignments,
        versioned=versioned,
        gpus=nodes.gpus,
        groups=nodes.groups,
    )
