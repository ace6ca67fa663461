# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: the GPU Operator's pointer to the profiles, and how far the operator
has got with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.documents import (
    dig,
    list_at,
    mapping_at,
    name_of,
    text_at,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.operands import (
    GFD_APP,
    PLUGIN_APP,
)

PREVIOUS_ANNOTATION = "gpufleet.sharing/previous-config"

# Reasons of its conditions: pods are not ready, which others tell better; and there is nothing for
# its DaemonSets to run on, so that it neither makes nor changes any.
_NOT_READY = "OperandNotReady"
_NO_GPUS = ("NoGPUNodes", "NFDLabelsMissing")

# App of a DaemonSet -> what the ClusterPolicy calls it.
PARTS = {PLUGIN_APP: "devicePlugin", GFD_APP: "gfd"}
_NEEDED = {
    "devicePlugin": "no device plugin runs, and no node has GPUs to share",
    "gfd": "nothing counts GPUs, and nothing tells which profile a node has loaded",
}


@dataclass(frozen=True)
class DevicePluginConfig:
    """spec.devicePlugin.config of a ClusterPolicy: the ConfigMap, and the key for nodes without a
    label.
    """

    name: str = ""
    default: str = ""


def read_plugin_config(policy: object) -> DevicePluginConfig:
    config = dig(policy, "spec", "devicePlugin", "config")
    return DevicePluginConfig(text_at(config, "name"), text_at(config, "default"))


def oldest_first(policies: Iterable[object]) -> list[object]:
    """ClusterPolicies, the one that the operator goes by first: the oldest, of equally old ones the
    first by name. It writes nothing into the others, no status either.
    """
    return sorted(
        policies, key=lambda one: (text_at(one, "metadata", "creationTimestamp"), name_of(one))
    )


def reason_ignored(name: str, policies: Iterable[object]) -> str:
    """Why the operator does not go by a ClusterPolicy, in words; empty where it does."""
    active = next((name_of(one) for one in oldest_first(policies)), name)
    if active == name:
        return ""
    return (
        f"ClusterPolicy {name} has no effect: there is an older one, {active}, and the GPU Operator"
        f" goes by the oldest alone. Set O(cluster_policy): {active}, or delete {active}."
    )


def policy_using(policies: Iterable[object], config_map: str) -> str:
    """Which ClusterPolicy points at a ConfigMap, and what to do where another one was meant."""
    for policy in policies:
        if read_plugin_config(policy).name == config_map:
            name = name_of(policy)
            return (
                f"ClusterPolicy {name} points at ConfigMap {config_map}."
                f" Set O(cluster_policy): {name}, as for site."
            )
    return ""


def plugin_config_patch(policy: object, wanted: DevicePluginConfig) -> dict[str, object]:
    """The merge patch that sets the pointer, and remembers the one before for undo."""
    patch: dict[str, object] = {"spec": {"devicePlugin": {"config": vars(wanted)}}}
    if PREVIOUS_ANNOTATION not in mapping_at(policy, "metadata", "annotations"):
        note = json.dumps(vars(read_plugin_config(policy)))
        patch["metadata"] = {"annotations": {PREVIOUS_ANNOTATION: note}}
    return patch


def previous_plugin_config(policy: object) -> DevicePluginConfig:
    try:
        noted = json.loads(mapping_at(policy, "metadata", "annotations")[PREVIOUS_ANNOTATION])
    except (KeyError, ValueError):
        return DevicePluginConfig()
    return DevicePluginConfig(text_at(noted, "name"), text_at(noted, "default"))


def restore_patch(policy: object, config_map: str) -> dict[str, object] | None:
    """The merge patch that puts the remembered pointer back; None where we never set one.

    A pointer that somebody has meanwhile set to another ConfigMap than ours stays.
    """
    if PREVIOUS_ANNOTATION not in mapping_at(policy, "metadata", "annotations"):
        return None
    forget: dict[str, object] = {"metadata": {"annotations": {PREVIOUS_ANNOTATION: None}}}
    if read_plugin_config(policy).name != config_map:
        return forget
    previous = previous_plugin_config(policy)
    config = {"name": previous.name or None, "default": previous.default or None}
    return forget | {"spec": {"devicePlugin": {"config": config if previous.name else None}}}


def not_stored_message(policy: object, wanted: DevicePluginConfig) -> str:
    """Why the stored ClusterPolicy does not say what was set."""
    stored = read_plugin_config(policy)
    return (
        f"ClusterPolicy {name_of(policy)}: devicePlugin.config is name '{stored.name}' and"
        f" default '{stored.default}', but"
        f" '{wanted.name}' and '{wanted.default}' were set. Either its CustomResourceDefinition"
        " is older than the chart and"
        " dropped the fields (update the CRDs), or somebody patched the ClusterPolicy, which a"
        " Helm upgrade does not undo."
    )


def enabled_apps(policy: object) -> list[str]:
    """The apps whose DaemonSets there should be."""
    parts = PARTS.items()
    return [app for app, part in parts if dig(policy, "spec", part, "enabled") is not False]


def disabled_part(parts: object) -> str:
    """What is off in a ClusterPolicy's spec, or in a chart's values, without which no node gets its
    profile, and what to do; empty where nothing is.
    """
    for part, why in _NEEDED.items():
        if str(dig(parts, part, "enabled")).lower() in ("false", "no", "off", "0"):
            return (
                f"{part}.enabled is false, so that {why}. Set it to true, for Helm by"
                f" O(values): {{{part}: {{enabled: true}}}}."
            )
    return ""


def reports_no_gpus(policy: object) -> bool:
    """Whether the operator says that no node has a GPU. It leaves its DaemonSets alone then."""
    return any(_idle(condition) for condition in list_at(policy, "status", "conditions"))


def with_operator_message(said: str, policy: object) -> str:
    """What is wrong, with what the operator says why, where it does."""
    for condition in list_at(policy, "status", "conditions"):
        refused = _holds(condition, "Error") and dig(condition, "reason") != _NOT_READY
        message = text_at(condition, "message").rstrip(".")
        if (refused or _idle(condition)) and message:
            return f"{said}; the operator says: {message}"
    return said


def _idle(condition: object) -> bool:
    return _holds(condition, "Ready") and dig(condition, "reason") in _NO_GPUS


def _holds(condition: object, kind: str) -> bool:
    return dig(condition, "type") == kind and dig(condition, "status") == "True"
