# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: the GPU Operator's pointer to the profiles, and how far the operator
has got with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import some
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.operands import (
    CONFIG_MANAGER,
    GFD_APP,
    OPERAND_APPS,
    PLUGIN_APP,
    OperandPod,
    dig,
    list_at,
    mapping_at,
    name_of,
    text_at,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.plugin_file import (
    FLAG_VARIABLES,
    Plugin,
    Version,
    operator_plugin,
    read_version,
)

PLUGIN_CONTAINER = "nvidia-device-plugin"
PREVIOUS_ANNOTATION = "gpufleet.sharing/previous-config"
# Reasons of its conditions: pods are not ready, which others tell better; and there is nothing for
# its DaemonSets to run on, so that it neither makes nor changes any.
_NOT_READY = "OperandNotReady"
_NO_GPUS = ("NoGPUNodes", "NFDLabelsMissing")
# Labels of DaemonSets' pods that stay as they are, whatever the ClusterPolicy says.
_KEPT_LABELS = ("app", "app.kubernetes.io/part-of")
# App of a DaemonSet -> what the ClusterPolicy calls it.
_PARTS = {PLUGIN_APP: "devicePlugin", GFD_APP: "gfd"}
_NEEDED = {
    "devicePlugin": "no device plugin runs, and no node has GPUs to share",
    "gfd": "nothing counts GPUs, and nothing tells which profile a node has loaded",
}
_MIG_STRATEGY = "MIG_STRATEGY"
_BY_HAND = " (the operator does not put back what was changed by hand, until you delete it)"
_OLD_MIG_STRATEGY = "GFD_MIG_STRATEGY"  # of GPU feature discovery, operator v22.9.0
CHART_MIG_STRATEGY = "single"  # mig.strategy of the chart's own values


@dataclass(frozen=True)
class Pointer:
    """spec.devicePlugin.config of a ClusterPolicy: the ConfigMap, and the key for nodes without a
    label.
    """

    name: str = ""
    default: str = ""


def read_pointer(policy: object) -> Pointer:
    config = dig(policy, "spec", "devicePlugin", "config")
    return Pointer(text_at(config, "name"), text_at(config, "default"))


def by_age(policies: Iterable[object]) -> list[object]:
    """ClusterPolicies, the one that the operator goes by first: the oldest, of equally old ones the
    first by name. It writes nothing into the others, no status either.
    """
    return sorted(
        policies, key=lambda one: (text_at(one, "metadata", "creationTimestamp"), name_of(one))
    )


def ignored(name: str, policies: Iterable[object]) -> str:
    """Why the operator does not go by a ClusterPolicy, in words; empty where it does."""
    active = next((name_of(one) for one in by_age(policies)), name)
    if active == name:
        return ""
    return (
        f"ClusterPolicy {name} has no effect: there is an older one, {active}, and the GPU Operator"
        f" goes by the oldest alone. Set gpu_operator_cluster_policy: {active}, or delete {active}."
    )


def pointing(policies: Iterable[object], config_map: str) -> str:
    """Which ClusterPolicy points at a ConfigMap, and what to do where another one was meant."""
    for policy in policies:
        if read_pointer(policy).name == config_map:
            name = name_of(policy)
            return (
                f"ClusterPolicy {name} points at ConfigMap {config_map}."
                f" Set gpu_operator_cluster_policy: {name}, as for site."
            )
    return ""


def pointer_patch(policy: object, wanted: Pointer) -> dict[str, object]:
    """The merge patch that sets the pointer, and remembers the one before for undo."""
    patch: dict[str, object] = {"spec": {"devicePlugin": {"config": vars(wanted)}}}
    if PREVIOUS_ANNOTATION not in mapping_at(policy, "metadata", "annotations"):
        note = json.dumps(vars(read_pointer(policy)))
        patch["metadata"] = {"annotations": {PREVIOUS_ANNOTATION: note}}
    return patch


def previous_pointer(policy: object) -> Pointer:
    try:
        noted = json.loads(mapping_at(policy, "metadata", "annotations")[PREVIOUS_ANNOTATION])
    except (KeyError, ValueError):
        return Pointer()
    return Pointer(text_at(noted, "name"), text_at(noted, "default"))


def undo_patch(policy: object, config_map: str) -> dict[str, object] | None:
    """The merge patch that puts the remembered pointer back; None where we never set one.

    A pointer that somebody has meanwhile set to another ConfigMap than ours stays.
    """
    if PREVIOUS_ANNOTATION not in mapping_at(policy, "metadata", "annotations"):
        return None
    forget: dict[str, object] = {"metadata": {"annotations": {PREVIOUS_ANNOTATION: None}}}
    if read_pointer(policy).name != config_map:
        return forget
    previous = previous_pointer(policy)
    config = {"name": previous.name or None, "default": previous.default or None}
    return forget | {"spec": {"devicePlugin": {"config": config if previous.name else None}}}


def not_stored(policy: object, wanted: Pointer) -> str:
    """Why the stored ClusterPolicy does not say what was set."""
    stored = read_pointer(policy)
    return (
        f"ClusterPolicy {name_of(policy)}: devicePlugin.config is name '{stored.name}' and"
        f" default '{stored.default}', but"
        f" '{wanted.name}' and '{wanted.default}' were set. Either its CustomResourceDefinition"
        " is older than the chart and"
        " dropped the fields (update the CRDs), or somebody patched the ClusterPolicy, which a"
        " Helm upgrade does not undo."
    )


def enabled(policy: object) -> list[str]:
    """The apps whose DaemonSets there should be."""
    parts = _PARTS.items()
    return [app for app, part in parts if dig(policy, "spec", part, "enabled") is not False]


def switched_off(parts: object) -> str:
    """What is off in a ClusterPolicy's spec, or in a chart's values, without which no node gets its
    profile, and what to do; empty where nothing is.
    """
    for part, why in _NEEDED.items():
        if str(dig(parts, part, "enabled")).lower() in ("false", "no", "off", "0"):
            return (
                f"{part}.enabled is false, so that {why}. Set it to true, for Helm by"
                f" gpu_operator_values: {{{part}: {{enabled: true}}}}."
            )
    return ""


def lagging(daemonsets: Iterable[object], policy: object) -> str:
    """What the operator still has to do before the ClusterPolicy is in force, in words; empty when
    it is.
    """
    found = {app_of(item): item for item in daemonsets}
    for app in _PARTS:
        if said := not_taken_over(found.get(app), policy):
            return f"DaemonSet {app} {said}"
    return ""


def not_taken_over(daemonset: object, policy: object) -> str:
    """The same for one DaemonSet, None where there is none. A pointer that is not set is none to
    take over.

    More than the pointer restarts every plugin, and so it is waited for too: a new chart, which
    puts its version among the labels, and a new image, MIG strategy or arguments.
    """
    if daemonset is None:
        return "does not exist yet"
    pointer = read_pointer(policy)
    pointed = pointer.name in _config_maps(daemonset) and pointer.default in _defaults(daemonset)
    if pointer.name and not pointed:
        return f"is not pointed at ConfigMap {pointer.name} and default {pointer.default} yet"
    has = mapping_at(daemonset, "spec", "template", "metadata", "labels")
    for key, value in mapping_at(policy, "spec", "daemonsets", "labels").items():
        if key not in _KEPT_LABELS and has.get(key) != value:
            return f"does not have the label {key}={value} of the ClusterPolicy yet"
    return _other_container(daemonset, policy) or _not_rolled_out(daemonset)


def held_up(stuck: Sequence[OperandPod]) -> str:
    """What to do about pods on nodes that are NotReady: to a DaemonSet they are unavailable, and
    the chart lets one pod be so at a time.
    """
    names = [f"{pod.name} on {pod.node}" for pod in stuck]
    return (
        "what holds it up are pods that are unavailable, since their nodes are NotReady or gone:"
        f" {some(names, 5)}. Mend these nodes or take them out of the cluster, delete the pods by"
        f" kubectl delete pod -n {stuck[0].namespace} --force NAME, or let more pods be unavailable"
        " (daemonsets.rollingUpdate.maxUnavailable of the ClusterPolicy, for Helm in"
        " gpu_operator_values)"
    )


def still_reading(daemonsets: Iterable[object], config_map: str) -> str:
    """Which DaemonSet still makes pods that read a ConfigMap, in words; empty when none does. Pods
    of before may run on: they have their files, and whatever is made anew reads it no more.

    A DaemonSet that no node has stays as it is: the operator leaves it alone, and before v23.9 it
    does not say so.
    """
    for item in daemonsets:
        reads = app_of(item) in OPERAND_APPS and config_map in _config_maps(item)
        if reads and dig(item, "status", "desiredNumberScheduled") != 0:
            return f"DaemonSet {name_of(item)} still reads ConfigMap {config_map}"
    return ""


def sees_no_gpus(policy: object) -> bool:
    """Whether the operator says that no node has a GPU. It leaves its DaemonSets alone then."""
    return any(_idle(condition) for condition in list_at(policy, "status", "conditions"))


def with_words(said: str, policy: object) -> str:
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


def app_of(daemonset: object) -> str:
    return text_at(daemonset, "spec", "template", "metadata", "labels", "app")


def has_config_manager(daemonset: object) -> bool:
    containers = list_at(daemonset, "spec", "template", "spec", "containers")
    return any(text_at(container, "name") == CONFIG_MANAGER for container in containers)


def read_plugin(
    daemonsets: Iterable[object],
    mig_strategy: str | None = None,
    version_to_be: Version | None = None,
) -> Plugin:
    """The plugin and its surroundings as the operator's DaemonSets have them.

    mig_strategy and version_to_be are what the run is about to set, None for what is there. Of two
    versions the older one counts, since both will read the files. Without DaemonSets it is the
    plugin of an operator with the chart's default values.
    """
    variables: dict[str, str] = {}
    version = None
    for item in daemonsets:
        template = dig(item, "spec", "template")
        if text_at(template, "metadata", "labels", "app") not in (PLUGIN_APP, GFD_APP):
            continue
        for container in list_at(template, "spec", "containers"):
            if text_at(container, "name") == PLUGIN_CONTAINER:
                version = read_version(text_at(container, "image").rpartition(":")[2])
            if text_at(container, "name") != CONFIG_MANAGER:
                variables |= _variables(list_at(container, "env"))
    if not variables:
        default = CHART_MIG_STRATEGY if mig_strategy is None else mig_strategy
        return operator_plugin(default, version_to_be)
    told = variables.pop(_MIG_STRATEGY, "")  # operator_plugin adds it where there is a strategy
    strategy = told if mig_strategy is None else mig_strategy
    shadowed = {flag: name for flag, name in FLAG_VARIABLES.items() if name in variables}
    assumed = operator_plugin(strategy)  # some variables come from the plugin's entry script
    versions = [known for known in (version, version_to_be) if known is not None]
    oldest = min(versions, default=None)
    return Plugin(oldest, {**assumed.shadowed, **shadowed}, strategy)


def _config_maps(daemonset: object) -> set[str]:
    volumes = list_at(daemonset, "spec", "template", "spec", "volumes")
    return {text_at(volume, "configMap", "name") for volume in volumes}


def _defaults(daemonset: object) -> set[str]:
    """The values of DEFAULT_CONFIG in the DaemonSet's containers."""
    spec = dig(daemonset, "spec", "template", "spec")
    containers = [*list_at(spec, "initContainers"), *list_at(spec, "containers")]
    variables = [variable for container in containers for variable in list_at(container, "env")]
    return {
        text_at(entry, "value") for entry in variables if dig(entry, "name") == "DEFAULT_CONFIG"
    }


def _other_container(daemonset: object, policy: object) -> str:
    """What the main container does not have yet of what the ClusterPolicy says of it; source:
    TransformDevicePlugin and TransformGPUDiscoveryPlugin of the operator, v22.9 to v26.7. Of its
    variables the strategy alone is sure to come: older versions lay their own over many others.
    """
    app = app_of(daemonset)
    part = dig(policy, "spec", _PARTS.get(app, ""))
    container = _main_container(daemonset, app)
    if container is None:
        return ""
    image = image_of(part)
    if image and not _same_image(text_at(container, "image"), image):
        return f"does not have the image {image} of the ClusterPolicy yet{_BY_HAND}"
    arguments = list_at(part, "args")
    if arguments and list_at(container, "args") != arguments:
        return f"does not have the arguments of the ClusterPolicy yet{_BY_HAND}"
    strategy = text_at(policy, "spec", "mig", "strategy")
    named = _MIG_STRATEGY in _variables(list_at(part, "env"))  # which one wins, then depends
    has = _variables(list_at(container, "env"))
    if strategy and not named and strategy not in map(has.get, (_MIG_STRATEGY, _OLD_MIG_STRATEGY)):
        return f"does not have the MIG strategy {strategy} of the ClusterPolicy yet{_BY_HAND}"
    return ""


def image_of(part: object) -> str:
    """The image that a part of a ClusterPolicy names; empty where the operator decides."""
    repository, image, version = (text_at(part, key) for key in ("repository", "image", "version"))
    if not (repository and image and version):
        return "" if repository or version else image
    return f"{repository}/{image}{'@' if version.startswith('sha256:') else ':'}{version}"


def _same_image(has: str, wanted: str) -> bool:
    """Admission policies put another registry in front of images, and digests behind them, in
    DaemonSets too.
    """
    has, wanted = (image.rpartition("/")[2] for image in (has, wanted))
    return has == wanted or has.startswith(f"{wanted}@")


def _main_container(daemonset: object, app: str) -> object:
    """The one that is not config-manager."""
    containers = list_at(daemonset, "spec", "template", "spec", "containers")
    name = PLUGIN_CONTAINER if app == PLUGIN_APP else app
    return next((one for one in containers if text_at(one, "name") == name), None)


def _variables(entries: Iterable[object]) -> dict[str, str]:
    """Of two with the same name the last one counts."""
    return {text_at(entry, "name"): text_at(entry, "value") for entry in entries}


def _not_rolled_out(daemonset: object) -> str:
    """Whether its controller has seen the newest template and put it on every node. Readiness is
    judged node by node.
    """
    generation = text_at(daemonset, "metadata", "generation")
    if text_at(daemonset, "status", "observedGeneration") != generation:
        return "has changed and its controller has not seen it yet"
    wanted = text_at(daemonset, "status", "desiredNumberScheduled") or "0"
    updated = text_at(daemonset, "status", "updatedNumberScheduled") or "0"
    if wanted == updated:
        return ""
    said = f"has reached {updated} of {wanted} nodes"
    if text_at(daemonset, "spec", "updateStrategy", "type") == "OnDelete":
        said += (
            ", and its update strategy OnDelete leaves it to you to delete the pods of the others"
        )
    return said
