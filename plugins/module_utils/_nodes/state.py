# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the state of a node as the API server reports it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_UP, Decimal

from .._common.documents import dig, entries_with_prefix, has_condition, name_of
from .._common.errors import SharingError
from .._common.names import OUR_PREFIX
from .._profiles.model import RESOURCE_PREFIX, is_gpu_resource
from .platform import DAS_PREFIX, PLATFORM_LABELS

COUNT_LABEL = "nvidia.com/gpu.count"
PRESENT_LABEL = "nvidia.com/gpu.present"
_LABELS = (RESOURCE_PREFIX, *PLATFORM_LABELS)


@dataclass(frozen=True)
class NodeMetadata:
    """The labels and annotations of one node: all that a metadata-only list has."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_gpus(self) -> bool:
        """Whether the operator, or GPU feature discovery, has found GPUs."""
        return self.labels.get(PRESENT_LABEL) == "true" or COUNT_LABEL in self.labels


@dataclass(frozen=True)
class NodeState(NodeMetadata):
    """The state of one node."""

    allocatable: Mapping[str, int] = field(default_factory=dict)  # as node_resources gives it
    ready: bool = True

    @property
    def has_gpus(self) -> bool:
        """Whether the operator, or a device plugin without it, has found GPUs."""
        return super().has_gpus or bool(self.gpu_slots)

    @property
    def gpu_slots(self) -> dict[str, int]:
        """The slots of GPUs and MIG devices by resource, without those of which there are none."""
        slots = self.allocatable.items()
        return {name: count for name, count in slots if count > 0 and is_gpu_resource(name)}

    @property
    def physical(self) -> int | None:
        """Physical GPUs as GPU feature discovery counted them."""
        count = self.labels.get(COUNT_LABEL, "")
        return int(count) if count.isdecimal() else None


def node_metadata(document: object) -> NodeMetadata:
    """The node's nvidia.com/ labels, those of its platform, and our annotations."""
    return NodeMetadata(
        name=name_of(document),
        labels=entries_with_prefix(document, _LABELS, "metadata", "labels"),
        annotations=entries_with_prefix(document, OUR_PREFIX, "metadata", "annotations"),
    )


def node_state(document: object) -> NodeState:
    """The node's metadata, its resources of GPUs, and its readiness.

    The rest of the object is much larger, so it is not kept. Raises SharingError for an object
    without status, as in a metadata-only list: what it has is unknown, not zero.
    """
    found = node_metadata(document)
    if not isinstance(dig(document, "status"), Mapping):
        raise SharingError(f"The API server's answer about node {found.name} has no status.")
    return NodeState(
        **vars(found),
        allocatable=node_resources(document, "allocatable"),
        ready=has_condition(document, "Ready"),
    )


def node_resources(document: object, which: str) -> dict[str, int]:
    """The nvidia.com/ resources of a node's allocatable or capacity, and those of other software
    that shares GPUs.
    """
    found = entries_with_prefix(document, (RESOURCE_PREFIX, DAS_PREFIX), "status", which)
    return {name: read_quantity(quantity) for name, quantity in found.items()}


_SUFFIXES = {
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate(("n", "u", "m", ""), -3)},
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", 1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)},
}
_QUANTITY = re.compile(
    r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:[eE]([+-]?[0-9]{1,3})|([a-zA-Z]{0,2}))"
)


def read_quantity(text: object) -> int:
    """A quantity of Kubernetes ("8", "8k", "1Ki", "1e3"), rounded up as Kubernetes does. Raises
    SharingError for anything else: unknown is not zero.

    Source: k8s.io/apimachinery pkg/api/resource/quantity.go.
    """
    match = _QUANTITY.fullmatch(str(text))
    if match is None or (match[3] or "") not in _SUFFIXES:
        raise SharingError(f"The API server's answer has a quantity that is none: '{text}'.")
    factor = Decimal(10) ** int(match[2]) if match[2] else _SUFFIXES[match[3]]
    return int((Decimal(match[1]) * factor).to_integral_value(ROUND_UP))
