# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: nodes whose GPUs NVIDIA's DRA driver offers, besides the device plugin."""

from __future__ import annotations

from .._common.documents import text_at
from .._kube.client import Cluster

_GROUP = "/apis/resource.k8s.io"
_GPU_DRIVER = "gpu.nvidia.com"  # ComputeDomains have a driver of their own


def dra_nodes(cluster: Cluster) -> frozenset[str]:
    """Nodes with ResourceSlices of GPUs; none where the API server does not know that kind."""
    version = text_at(cluster.find(_GROUP), "preferredVersion", "groupVersion")
    if not version:
        return frozenset()
    path = f"/apis/{version}/resourceslices"
    slices = cluster.items(path, fields=f"spec.driver={_GPU_DRIVER}")
    return frozenset(filter(None, (text_at(item, "spec", "nodeName") for item in slices)))
