# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the inventory as read from Ansible, and the variables that it can have."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

CLUSTERS_GROUP = "gpu_clusters"
NODES_GROUP = "gpu_nodes"
IMPLICIT_CLUSTER = "localhost"
PROFILE_VARIABLE = "gpu_sharing_profile"
CLUSTER_VARIABLE = "gpu_sharing_cluster"
NAME_VARIABLE = "gpu_sharing_node_name"
GPUS_VARIABLE = "gpu_sharing_gpus"
NODE_VARIABLES = (PROFILE_VARIABLE, CLUSTER_VARIABLE, NAME_VARIABLE, GPUS_VARIABLE)
VARIABLE_PREFIX = "gpu_sharing_"

#: Variables of clusters. They have no effect on nodes.
CLUSTER_VARIABLES = frozenset(
    VARIABLE_PREFIX + name
    for name in (
        "allow_empty",
        "api_key",
        "ca_cert",
        "client_cert",
        "client_key",
        "context",
        "default_profile",
        "doctor_accept",
        "doctor_fail_on",
        "doctor_node",
        "drain",
        "drain_timeout",
        "exclusive",
        "host",
        "impersonate_groups",
        "impersonate_user",
        "kubeconfig",
        "mig_timeout",
        "profiles",
        "prometheus_ca_cert",
        "prometheus_token",
        "prometheus_url",
        "prometheus_validate_certs",
        "proxy",
        "report",
        "report_usage",
        "rollback_to",
        "rollout_batches",
        "rollout_max_failures",
        "rollout_mode",
        "rollout_on_failure",
        "rollout_pause",
        "rollout_stable_seconds",
        "rollout_timeout",
        "unavailable_nodes",
        "validate_certs",
    )
)


@dataclass(frozen=True)
class GroupProfile:
    """The profile that one inventory group gives its members."""

    group: str
    profile: object
    ancestors: frozenset[str] = frozenset()
    priority: int = 1


@dataclass(frozen=True)
class Unresolved:
    """In place of a variable's value that Ansible cannot resolve."""

    reason: str


@dataclass(frozen=True)
class FleetNode:
    """One GPU node of the inventory."""

    name: str  # its name in Kubernetes
    host: str  # its name in the inventory
    cluster: str
    group: str
    profile: str | None  # None: no label, the default profile
    gpus: int | None  # physical GPUs, where the inventory states them
    selected: bool  # by the limit


@dataclass(frozen=True)
class Inventory:
    """The parts of Ansible's inventory that matter here.

    groups maps group names to host names; variables maps hosts of GPU nodes to NODE_VARIABLES;
    group_profiles lists the groups that set a profile themselves; own_profile holds the hosts that
    set one in their own variables, which override those of groups; host_profiles holds the groups
    of each host whose profile is a template, with what it would get from each; named maps hosts
    to the names of all their variables with our prefix.
    """

    groups: Mapping[str, Sequence[str]]
    variables: Mapping[str, Mapping[str, object]]
    group_profiles: Sequence[GroupProfile] = ()
    own_profile: Collection[str] = ()
    named: Mapping[str, Collection[str]] = field(default_factory=dict)
    host_profiles: Mapping[str, Sequence[GroupProfile]] = field(default_factory=dict)

    @property
    def clusters(self) -> list[str]:
        return list(self.groups.get(CLUSTERS_GROUP, [IMPLICIT_CLUSTER]))

    @property
    def nodes(self) -> list[str]:
        return list(self.groups.get(NODES_GROUP, []))
