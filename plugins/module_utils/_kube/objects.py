# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: paths of objects in the Kubernetes API, and writes that depend on a version."""

from __future__ import annotations

from collections.abc import Mapping

NAMESPACES = "/api/v1/namespaces"
NODES = "/api/v1/nodes"
CLUSTER_POLICIES = "/apis/nvidia.com/v1/clusterpolicies"


def version_of(document: object) -> str:
    """An object's resourceVersion; empty where it has none."""
    metadata = document.get("metadata") if isinstance(document, Mapping) else None
    return str(metadata.get("resourceVersion") or "") if isinstance(metadata, Mapping) else ""


def if_unchanged(patch: Mapping[str, object], document: object) -> dict[str, object]:
    """A merge patch that the API server rejects (409) where the object has changed since it was
    read.
    """
    version = version_of(document)
    metadata = {**dict(patch.get("metadata") or {}), "resourceVersion": version}  # type: ignore[call-overload]
    return {**patch, "metadata": metadata}


def object_path(collection: str, name: str) -> str:
    """The path of one object of a list."""
    return f"{collection}/{name}"


def namespaced(kind: str, namespace: str, group: str = "api/v1") -> str:
    """The path of a namespaced list, such as configmaps or pods."""
    return f"/{group}/namespaces/{namespace}/{kind}"
