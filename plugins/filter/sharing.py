# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters: from inventory variables to what the cluster should have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from ansible.errors import AnsibleFilterError

from ansible_collections.gpufleet.sharing.plugins.module_utils import (
    _advice,
    _capacity,
    _fleet,
    _plugin_file,
    _profiles,
    _rules,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._errors import (
    SharingError,
)
from ansible_collections.gpufleet.sharing.plugins.plugin_utils import _inventory

if TYPE_CHECKING:
    from ansible.vars.hostvars import HostVars

Fleet = Mapping[str, Sequence[Mapping[str, object]]]
P = ParamSpec("P")
R = TypeVar("R")


def _clear_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Turn the collection's errors into Ansible's, without their traceback."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except SharingError as error:
            raise AnsibleFilterError(str(error)) from None

    return wrapper


@_clear_errors
def to_plugin_config(
    definitions: object, plugin_version: str = "", mig_strategy: str | None = None
) -> dict[str, str]:
    """Profiles (name: settings) -> the plugin's configuration files (name: text)."""
    version = _plugin_file.read_version(plugin_version)
    if plugin_version and version is None:
        raise SharingError(
            f"plugin_version is {_rules.quoted(plugin_version)}; allowed: one such as v0.19.3."
        )
    plugin = _plugin_file.operator_plugin(mig_strategy, version)
    profiles = _profiles.parse_profiles(definitions, plugin)
    return {name: _profiles.to_plugin_config(profile) for name, profile in profiles.items()}


@_clear_errors
def expected_allocatable(definition: object, labels: object) -> dict[str, int]:
    """A profile's settings and a node's labels -> slots by resource name."""
    profile = _profiles.known_profiles({"profile": definition})["profile"]
    if not isinstance(labels, Mapping):
        raise SharingError(
            f"labels is {_rules.quoted(labels)}; allowed: the labels of a node, a mapping."
        )
    texts = {str(name): str(value) for name, value in labels.items()}
    devices = _capacity.physical_devices(_capacity.NodeState("node", texts), None)
    if not devices:
        raise SharingError(
            f"The labels do not tell how many GPUs the node has ({_capacity.COUNT_LABEL} is"
            f" {_rules.quoted(texts.get(_capacity.COUNT_LABEL))}): GPU feature discovery has not"
            " labelled it yet."
        )
    return _capacity.expected_allocatable(profile, devices)


@_clear_errors
def recommended_replicas(kind: object) -> int:
    """How a GPU is used -> slots on it."""
    return _advice.recommended_replicas(kind)


@_clear_errors
def memory_budget(memory: object, replicas: object) -> dict[str, object]:
    """A GPU's memory in MiB and its replicas -> what each slot may take, and how to say so."""
    return _advice.memory_budget(memory, replicas).as_dict()


@_clear_errors
def sharing_strategy(
    product: object,
    isolation: object = "none",
    workload: object = "bursty",
    compute_capability: object = None,
) -> dict[str, object]:
    """A GPU's name and what is needed -> the strategy that fits, with the reasons."""
    return _advice.sharing_strategy(product, isolation, workload, compute_capability)


@_clear_errors
def mig_configs(
    assignments: Mapping[str, str | None], definitions: object, default_profile: str
) -> dict[str, str]:
    """Assignments (node: profile) -> {node: MIG configuration}, where the profile names one."""
    profiles = _profiles.known_profiles(definitions) if definitions else {}
    named = {node: profiles.get(name or default_profile) for node, name in assignments.items()}
    return {
        node: profile.mig for node, profile in named.items() if profile is not None and profile.mig
    }


@_clear_errors
def fleet(
    groups: Mapping[str, Sequence[str]],
    hostvars: HostVars,
    selected: Collection[str] | None = None,
    limit: str = "",
) -> dict[str, object]:
    """Magic variables -> the fleet: {clusters, nodes: [{name, host, cluster, group, profile, gpus,
    selected}]}.
    """
    inventory = _inventory.read_inventory(groups, hostvars)
    selection = _fleet.Selection()
    if selected is not None:
        selection = _inventory.read_selection(selected, limit, inventory, hostvars)
    return _fleet.read_fleet(inventory, selection).as_dict()


@_clear_errors
def cluster_nodes(whole: Fleet, cluster: str) -> list[dict[str, object]]:
    """The fleet -> all nodes of one cluster, those outside the limit included."""
    return [
        {key: value for key, value in node.items() if key != "cluster"}
        for node in whole["nodes"]
        if node["cluster"] == cluster
    ]


@_clear_errors
def node_assignments(whole: Fleet, cluster: str) -> dict[str, object]:
    """The fleet -> {Kubernetes node name: profile or null} of one cluster's selected nodes."""
    nodes = cluster_nodes(whole, cluster)
    return {str(node["name"]): node["profile"] for node in nodes if node["selected"]}


@_clear_errors
def beyond_limit(
    nodes: Sequence[Mapping[str, object]],
    changed_keys: Collection[str],
    operator_changed: bool,
    default_profile: str,
) -> list[str]:
    """Why a change would reach nodes outside the limit all the same, in words; nothing if not."""
    return _fleet.beyond_limit(
        nodes, changed_keys, default_profile, operator_changed=operator_changed
    )


class FilterModule:
    """The collection's filters."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {
            "to_plugin_config": to_plugin_config,
            "expected_allocatable": expected_allocatable,
            "recommended_replicas": recommended_replicas,
            "memory_budget": memory_budget,
            "sharing_strategy": sharing_strategy,
            "mig_configs": mig_configs,
            "fleet": fleet,
            "node_assignments": node_assignments,
            "cluster_nodes": cluster_nodes,
            "beyond_limit": beyond_limit,
        }
