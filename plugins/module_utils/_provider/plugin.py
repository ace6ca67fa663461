# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the device plugin of a cluster: version, environment and MIG strategy."""

from __future__ import annotations

from collections.abc import Iterable

from .._common.documents import dig, list_at, text_at
from .._kube.client import Cluster
from .._kube.objects import namespaced
from .._nodes.operands import CONFIG_MANAGER, GFD_APP, PLUGIN_APP
from .._profiles.plugin import FLAG_VARIABLES, Plugin, Version, operator_plugin, read_version
from .daemonsets import MIG_STRATEGY, PLUGIN_CONTAINER, variables_of

CHART_MIG_STRATEGY = "single"  # mig.strategy of the chart's own values


def read_plugin(
    daemonsets: Iterable[object],
    mig_strategy: str | None = None,
    version_to_be: Version | None = None,
) -> Plugin:
    """The plugin and its environment in the operator's DaemonSets.

    mig_strategy and version_to_be are what the run will set, None where it sets nothing. The older
    of two versions counts, because both will read the files. Without DaemonSets it is the plugin of
    an operator with the chart's default values.
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
                variables |= variables_of(list_at(container, "env"))
    if not variables:
        default = CHART_MIG_STRATEGY if mig_strategy is None else mig_strategy
        return operator_plugin(default, version_to_be)
    current = variables.pop(MIG_STRATEGY, "")  # operator_plugin adds it where it is set
    strategy = current if mig_strategy is None else mig_strategy
    shadowed = {flag: name for flag, name in FLAG_VARIABLES.items() if name in variables}
    assumed = operator_plugin(strategy)  # the plugin's entry script sets some variables
    versions = [known for known in (version, version_to_be) if known is not None]
    oldest = min(versions, default=None)
    return Plugin(oldest, {**assumed.shadowed, **shadowed}, strategy)


def read_cluster_plugin(
    cluster: Cluster,
    namespace: str,
    mig_strategy: str | None = None,
    version_to_be: Version | None = None,
) -> Plugin:
    """The plugin of the DaemonSets in the operator's namespace; see read_plugin."""
    path = namespaced("daemonsets", namespace, "apis/apps/v1")
    return read_plugin(cluster.items(path), mig_strategy, version_to_be)
