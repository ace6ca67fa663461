# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: asking a cluster which device plugin it has."""

from __future__ import annotations

from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import (
    Cluster,
    namespaced,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.plugin_file import (
    Plugin,
    Version,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._provider.cluster_policy import (
    read_plugin,
)


def plugin_of(
    cluster: Cluster,
    namespace: str,
    mig_strategy: str | None = None,
    version_to_be: Version | None = None,
) -> Plugin:
    """The plugin as the DaemonSets of the operator's namespace have it; see read_plugin."""
    path = namespaced("daemonsets", namespace, "apis/apps/v1")
    return read_plugin(cluster.items(path), mig_strategy, version_to_be)
