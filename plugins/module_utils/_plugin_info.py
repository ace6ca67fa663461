# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: asking a cluster which device plugin it has."""

from __future__ import annotations

from ansible_collections.gpufleet.sharing.plugins.module_utils import _kube
from ansible_collections.gpufleet.sharing.plugins.module_utils._operator import read_plugin
from ansible_collections.gpufleet.sharing.plugins.module_utils._plugin_file import Plugin, Version


def plugin_of(
    cluster: _kube.Cluster,
    namespace: str,
    mig_strategy: str | None = None,
    version_to_be: Version | None = None,
) -> Plugin:
    """The plugin as the DaemonSets of the operator's namespace have it; see read_plugin."""
    path = _kube.namespaced("daemonsets", namespace, "apis/apps/v1")
    return read_plugin(cluster.items(path), mig_strategy, version_to_be)
