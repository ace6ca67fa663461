# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: whether the GPU Operator's DaemonSets carry out its ClusterPolicy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .._common.documents import dig, list_at, mapping_at, name_of, text_at
from .._common.text import some
from .._nodes.operands import CONFIG_MANAGER, OPERAND_APPS, PLUGIN_APP, OperandPod
from .cluster_policy import PARTS, read_plugin_config

PLUGIN_CONTAINER = "nvidia-device-plugin"

# Labels of pods that the ClusterPolicy does not override.
_KEPT_LABELS = ("app", "app.kubernetes.io/part-of")
MIG_STRATEGY = "MIG_STRATEGY"
_BY_HAND = " (the operator does not revert manual changes; delete the DaemonSet)"
_OLD_MIG_STRATEGY = "GFD_MIG_STRATEGY"  # of GPU feature discovery, operator v22.9.0


def outdated_daemonset(daemonsets: Iterable[object], policy: object) -> str:
    """The first DaemonSet that does not carry out the ClusterPolicy yet, and why; empty when all
    do.
    """
    found = {app_of(item): item for item in daemonsets}
    for app in PARTS:
        if reason := reason_outdated(found.get(app), policy):
            return f"DaemonSet {app} {reason}"
    return ""


def reason_outdated(daemonset: object, policy: object) -> str:
    """Why one DaemonSet does not carry out the ClusterPolicy yet; empty where it does. daemonset is
    None where it does not exist. A config that is not set is not required.

    The wait includes all changes that restart every plugin: a new chart, whose version is a label,
    and a new image, MIG strategy or arguments.
    """
    if daemonset is None:
        return "does not exist yet"
    config = read_plugin_config(policy)
    used = config.name in _config_maps(daemonset) and config.default in _defaults(daemonset)
    if config.name and not used:
        return f"does not use ConfigMap {config.name} and default {config.default} yet"
    has = mapping_at(daemonset, "spec", "template", "metadata", "labels")
    for key, value in mapping_at(policy, "spec", "daemonsets", "labels").items():
        if key not in _KEPT_LABELS and has.get(key) != value:
            return f"does not have the label {key}={value} of the ClusterPolicy yet"
    return _other_container(daemonset, policy) or _not_rolled_out(daemonset)


def blocking_pods_message(stuck: Sequence[OperandPod]) -> str:
    """What to do about pods on nodes that are NotReady: they count as unavailable, and the chart
    allows one unavailable pod at a time.
    """
    names = [f"{pod.name} on {pod.node}" for pod in stuck]
    return (
        "the update is blocked by unavailable pods, whose nodes are NotReady or gone:"
        f" {some(names, 5)}. Repair these nodes or remove them from the cluster, delete the pods"
        f" with kubectl delete pod -n {stuck[0].namespace} --force NAME, or allow more unavailable"
        " pods (daemonsets.rollingUpdate.maxUnavailable of the ClusterPolicy, or O(values))"
    )


def config_map_reader(daemonsets: Iterable[object], config_map: str) -> str:
    """The first DaemonSet whose new pods would read a ConfigMap; empty when there is none. Older
    pods may continue to run: they already have their files.

    A DaemonSet without nodes is skipped: the operator does not update it, and before v23.9 it does
    not report that.
    """
    for item in daemonsets:
        reads = app_of(item) in OPERAND_APPS and config_map in _config_maps(item)
        if reads and dig(item, "status", "desiredNumberScheduled") != 0:
            return f"DaemonSet {name_of(item)} still reads ConfigMap {config_map}"
    return ""


def app_of(daemonset: object) -> str:
    return text_at(daemonset, "spec", "template", "metadata", "labels", "app")


def has_config_manager(daemonset: object) -> bool:
    containers = list_at(daemonset, "spec", "template", "spec", "containers")
    return any(text_at(container, "name") == CONFIG_MANAGER for container in containers)


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
    """Which setting of the ClusterPolicy the main container lacks. Source: TransformDevicePlugin
    and TransformGPUDiscoveryPlugin of the operator, v22.9 to v26.7. Of the variables only the MIG
    strategy is compared: older versions override many others.
    """
    app = app_of(daemonset)
    part = dig(policy, "spec", PARTS.get(app, ""))
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
    named = MIG_STRATEGY in variables_of(
        list_at(part, "env")
    )  # then the result depends on the version
    has = variables_of(list_at(container, "env"))
    if strategy and not named and strategy not in map(has.get, (MIG_STRATEGY, _OLD_MIG_STRATEGY)):
        return f"does not have the MIG strategy {strategy} of the ClusterPolicy yet{_BY_HAND}"
    return ""


def image_of(part: object) -> str:
    """The image of a section of a ClusterPolicy; empty where the operator chooses it."""
    repository, image, version = (text_at(part, key) for key in ("repository", "image", "version"))
    if not (repository and image and version):
        return "" if repository or version else image
    return f"{repository}/{image}{'@' if version.startswith('sha256:') else ':'}{version}"


def _same_image(has: str, wanted: str) -> bool:
    """Whether two images are the same: admission policies change the registry of images, and add
    digests, in DaemonSets too.
    """
    has, wanted = (image.rpartition("/")[2] for image in (has, wanted))
    return has == wanted or has.startswith(f"{wanted}@")


def _main_container(daemonset: object, app: str) -> object:
    """The container that is not config-manager."""
    containers = list_at(daemonset, "spec", "template", "spec", "containers")
    name = PLUGIN_CONTAINER if app == PLUGIN_APP else app
    return next((one for one in containers if text_at(one, "name") == name), None)


def variables_of(entries: Iterable[object]) -> dict[str, str]:
    """Environment variables by name. The last of two with the same name counts."""
    return {text_at(entry, "name"): text_at(entry, "value") for entry in entries}


def _not_rolled_out(daemonset: object) -> str:
    """Why the newest template is not on every node yet; empty where it is. Readiness is checked for
    each node elsewhere.
    """
    generation = text_at(daemonset, "metadata", "generation")
    if text_at(daemonset, "status", "observedGeneration") != generation:
        return "has changed, and its controller has not observed the change yet"
    wanted = text_at(daemonset, "status", "desiredNumberScheduled") or "0"
    updated = text_at(daemonset, "status", "updatedNumberScheduled") or "0"
    if wanted == updated:
        return ""
    reason = f"has reached {updated} of {wanted} nodes"
    if text_at(daemonset, "spec", "updateStrategy", "type") == "OnDelete":
        reason += "; with its update strategy OnDelete you have to delete the pods of the others"
    return reason
