# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters: from inventory variables to what the cluster should have."""

from __future__ import annotations

from ..module_utils._common.versions import check_versions

check_versions()

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

from ansible.errors import AnsibleFilterError
from ansible.utils.display import Display

from ..module_utils._access.manifests import ACCOUNTS, account_manifests
from ..module_utils._common.errors import SharingError
from ..module_utils._common.options import with_names
from ..module_utils._common.text import either
from ..module_utils._common.values import describe
from ..module_utils._kube.permissions import EXISTING, MANAGES, Scope
from ..module_utils._nodes import capacity as _capacity
from ..module_utils._nodes.capacity import mps_problem, physical_devices
from ..module_utils._nodes.state import COUNT_LABEL, NodeState
from ..module_utils._profiles import rendering
from ..module_utils._profiles.plugin import operator_plugin, read_version
from ..module_utils._profiles.validation import checked_profiles, parse_profiles
from ..plugin_utils import _arguments, _this_run
from ..plugin_utils._advice import memory_budget as _memory_budget
from ..plugin_utils._advice import replicas as _replicas
from ..plugin_utils._advice import strategy as _strategy

MIG_STRATEGIES = ("none", "single", "mixed")
PROFILES = "a mapping of profile names to settings, for example {default: {replicas: 4}}"
P = ParamSpec("P")
R = TypeVar("R")


def _clear_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Turn the collection's errors into Ansible's: named after the filter, without traceback."""
    name = function.__name__
    takes = signature(function)

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            takes.bind(*args, **kwargs)
        except TypeError as error:
            known = ", ".join(list(takes.parameters)[1:]) or "nothing but its input"
            raise AnsibleFilterError(f"{name}: {error}; it takes: {known}.") from None
        try:
            return function(*args, **kwargs)
        except SharingError as error:
            raise AnsibleFilterError(with_names(f"{name}: {error}")) from None

    return wrapper


@_clear_errors
def to_plugin_config(
    definitions: object, plugin_version: object = "", mig_strategy: object = None
) -> dict[str, str]:
    """Profiles (name: settings) -> the plugin's configuration files (name: text)."""
    _arguments.mapping("the input", definitions, PROFILES)
    allowed = "one such as 'v0.19.3', or '' where it is not known"
    written = _arguments.text("plugin_version", plugin_version, allowed)
    version = read_version(written)
    if written and version is None:
        raise _arguments.refused("plugin_version", plugin_version, allowed)
    strategy = _arguments.choice("mig_strategy", mig_strategy, MIG_STRATEGIES)
    plugin = operator_plugin(strategy or None, version)
    profiles = parse_profiles(definitions, plugin, Display().warning)
    return {name: rendering.to_plugin_config(profile) for name, profile in profiles.items()}


@_clear_errors
def expected_allocatable(definition: object, labels: object) -> dict[str, int]:
    """A profile's settings and a node's labels -> slots by resource name."""
    if not isinstance(definition, str):
        allowed = "a profile: a mapping such as {replicas: 4}, or the text of a file"
        _arguments.mapping("the input", definition, allowed)
    profile = checked_profiles({"profile": definition})["profile"]
    texts = _arguments.labels("labels", labels)
    node = NodeState("node", texts)
    if reason := mps_problem(node, profile):
        raise SharingError(f"a node with these labels cannot be shared so: {reason}.")
    devices = physical_devices(node, None)
    if not devices:
        raise SharingError(
            f"the labels do not show how many GPUs the node has ({COUNT_LABEL} is"
            f" {describe(texts.get(COUNT_LABEL))}): GPU feature discovery has not labelled"
            " it yet."
        )
    return _capacity.expected_allocatable(profile, devices)


@_clear_errors
def recommended_replicas(kind: object) -> int:
    """How a GPU is used -> slots on it."""
    return _replicas.recommended_replicas(kind)


@_clear_errors
def memory_budget(memory: object, replicas: object) -> dict[str, object]:
    """A GPU's memory in MiB and its replicas -> what each slot may take, and how to say so."""
    return _memory_budget.memory_budget(memory, replicas).as_dict()


@_clear_errors
def sharing_strategy(
    product: object,
    isolation: object = "none",
    workload: object = "bursty",
    compute_capability: object = None,
) -> dict[str, object]:
    """A GPU's name and what is needed -> the strategy that fits, with the reasons."""
    return _strategy.sharing_strategy(product, isolation, workload, compute_capability)


@_clear_errors
def as_in_revision(nodes: object, assignments: object, profiles: object) -> list[dict[str, object]]:
    """Nodes with the profiles of a revision. Those that came after it keep theirs where it is one
    of its profiles, or the default; others are not selected.
    """
    allowed = "{node: profile or null}, as the module history_info gives it"
    known = {
        name: _arguments.text_or_null(f"assignments.{name}", profile)
        for name, profile in _arguments.mapping("assignments", assignments, allowed).items()
    }
    defined = _arguments.mapping("profiles", profiles, PROFILES)
    found = []
    for at, node in enumerate(_arguments.nodes(nodes)):
        name, profile, selected = _arguments.assigned(f"nodes[{at}]", node)
        has_one = name in known or profile is None or profile in defined
        there = {"profile": known.get(name, profile), "selected": selected and has_one}
        found.append({str(key): value for key, value in node.items()} | there)
    return found


@_clear_errors
def cluster_hosts(groups: object) -> str:
    """The hosts of plays over clusters."""
    found = _arguments.mapping("the input", groups, "the magic variable groups")
    return _this_run.cluster_hosts(
        {
            _arguments.text("a group's name", name): _arguments.texts(
                str(name), hosts, "a list of hosts"
            )
            for name, hosts in found.items()
        }
    )


@_clear_errors
def access_manifests(
    accounts: object,
    manage: object,
    namespace: object,
    config_map: object,
    cluster_policy: object,
    probe_namespace: object,
) -> list[dict[str, object]]:
    """Accounts (reader, operator) -> the objects that give them what they need."""
    names = _arguments.texts("the input", accounts, f"a list of {' and '.join(ACCOUNTS)}")
    scope = Scope(
        purpose="",
        manage=_arguments.choice("manage", manage, MANAGES) or EXISTING,
        namespace=_arguments.text("namespace", namespace),
        config_map=_arguments.text("config_map", config_map),
        cluster_policy=_arguments.text("cluster_policy", cluster_policy),
        probe_namespace=_arguments.text("probe_namespace", probe_namespace),
    )
    for name in names:
        if name not in ACCOUNTS:
            raise _arguments.refused("an account", name, either(ACCOUNTS))
    return account_manifests(names, scope)


class FilterModule:
    """The collection's filters."""

    def filters(self) -> dict[str, Callable[..., object]]:
        return {
            "to_plugin_config": to_plugin_config,
            "expected_allocatable": expected_allocatable,
            "recommended_replicas": recommended_replicas,
            "memory_budget": memory_budget,
            "sharing_strategy": sharing_strategy,
            "as_in_revision": as_in_revision,
            "cluster_hosts": cluster_hosts,
            "access_manifests": access_manifests,
        }
