# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the ClusterPolicy of the GPU Operator: its device plugin config, and its conditions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from .._common.documents import dig, list_at, mapping_at, name_of, text_at
from .._common.values import is_off
from .._nodes.operands import GFD_APP, PLUGIN_APP

PREVIOUS_ANNOTATION = "gpufleet.sharing/previous-config"

# Reasons of conditions: pods are not ready, which is reported in more detail elsewhere; and no node
# has a GPU, so that the operator neither creates nor changes DaemonSets.
_NOT_READY = "OperandNotReady"
_NO_GPUS = ("NoGPUNodes", "NFDLabelsMissing")

# App label of a DaemonSet -> section of the ClusterPolicy.
PARTS = {PLUGIN_APP: "devicePlugin", GFD_APP: "gfd"}
_NEEDED = {
    "devicePlugin": "no device plugin runs, and no node has GPUs to share",
    "gfd": "no node is labelled with its GPUs and its loaded profile",
}


@dataclass(frozen=True)
class DevicePluginConfig:
    """spec.devicePlugin.config of a ClusterPolicy: the ConfigMap, and the key for nodes without a
    label.
    """

    name: str = ""
    default: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.default or 'no default'})" if self.name else "none"


def read_plugin_config(policy: object) -> DevicePluginConfig:
    config = dig(policy, "spec", "devicePlugin", "config")
    return DevicePluginConfig(text_at(config, "name"), text_at(config, "default"))


def oldest_first(policies: Iterable[object]) -> list[object]:
    """ClusterPolicies by age, then name. The operator uses the first, and writes nothing into the
    others, not even a status.
    """
    return sorted(
        policies, key=lambda one: (text_at(one, "metadata", "creationTimestamp"), name_of(one))
    )


def reason_ignored(name: str, policies: Iterable[object]) -> str:
    """Why the operator ignores a ClusterPolicy; empty where it uses it."""
    active = next((name_of(one) for one in oldest_first(policies)), name)
    if active == name:
        return ""
    return (
        f"ClusterPolicy {name} has no effect: {active} is older, and the GPU Operator uses only the"
        f" oldest. Set O(cluster_policy): {active}, or delete {active}."
    )


def policy_using(policies: Iterable[object], config_map: str) -> str:
    """Which ClusterPolicy uses a ConfigMap, and what to do; empty where none does."""
    for policy in policies:
        if read_plugin_config(policy).name == config_map:
            name = name_of(policy)
            return (
                f"ClusterPolicy {name} uses ConfigMap {config_map}. Set O(cluster_policy): {name}."
            )
    return ""


def plugin_config_patch(
    policy: object, wanted: DevicePluginConfig, *, recorded: bool = True
) -> dict[str, object]:
    """The merge patch that sets the config, and records the previous one for restore_patch."""
    patch: dict[str, object] = {"spec": {"devicePlugin": {"config": vars(wanted)}}}
    if recorded and PREVIOUS_ANNOTATION not in mapping_at(policy, "metadata", "annotations"):
        previous = json.dumps(vars(read_plugin_config(policy)))
        patch["metadata"] = {"annotations": {PREVIOUS_ANNOTATION: previous}}
    return patch


def previous_plugin_config(policy: object) -> DevicePluginConfig:
    try:
        recorded = json.loads(mapping_at(policy, "metadata", "annotations")[PREVIOUS_ANNOTATION])
    except (KeyError, ValueError):
        return DevicePluginConfig()
    return DevicePluginConfig(text_at(recorded, "name"), text_at(recorded, "default"))


def restore_patch(policy: object, config_map: str) -> dict[str, object] | None:
    """The merge patch that restores the previous config; None where we never set one. A config that
    now uses another ConfigMap stays.
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
    """Why the stored ClusterPolicy lacks the config that was set."""
    stored = read_plugin_config(policy)
    return (
        f"ClusterPolicy {name_of(policy)}: devicePlugin.config has name '{stored.name}' and default"
        f" '{stored.default}', but '{wanted.name}' and '{wanted.default}' were set. Either its"
        " CustomResourceDefinition is older than the chart and dropped the fields (update the CRD),"
        " or somebody else sets the ClusterPolicy again, such as GitOps: set the two values there."
    )


def enabled_apps(policy: object) -> list[str]:
    """The apps whose DaemonSets should exist."""
    parts = PARTS.items()
    return [app for app, part in parts if dig(policy, "spec", part, "enabled") is not False]


def disabled_part(parts: object) -> str:
    """What is disabled in a ClusterPolicy's spec, or in a chart's values, that every profile needs,
    and what to do; empty where nothing is.
    """
    for part, why in _NEEDED.items():
        if is_off(dig(parts, part, "enabled")):
            return (
                f"{part}.enabled is false, so {why}. Set it to true, for Helm in O(values):"
                f" {{{part}: {{enabled: true}}}}."
            )
    return ""


def reports_no_gpus(policy: object) -> bool:
    """Whether the operator reports that no node has a GPU; then it does not change DaemonSets."""
    return any(_idle(condition) for condition in list_at(policy, "status", "conditions"))


def with_operator_message(problem: str, policy: object) -> str:
    """A problem, with the operator's own message where there is one."""
    for condition in list_at(policy, "status", "conditions"):
        failed = _holds(condition, "Error") and dig(condition, "reason") != _NOT_READY
        message = text_at(condition, "message").rstrip(".")
        if (failed or _idle(condition)) and message:
            return f"{problem}; the operator reports: {message}"
    return problem


def _idle(condition: object) -> bool:
    return _holds(condition, "Ready") and dig(condition, "reason") in _NO_GPUS


def _holds(condition: object, kind: str) -> bool:
    return dig(condition, "type") == kind and dig(condition, "status") == "True"
