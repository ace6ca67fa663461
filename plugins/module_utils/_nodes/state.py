# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the state of a node as the API server reports it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from .._common.documents import entries_with_prefix, has_condition, name_of
from .._common.names import OUR_PREFIX
from .._profiles.model import RESOURCE_PREFIX

COUNT_LABEL = "nvidia.com/gpu.count"
PRESENT_LABEL = "nvidia.com/gpu.present"


@dataclass(frozen=True)
class NodeState:
    """The state of one node."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    allocatable: Mapping[str, int] = field(default_factory=dict)  # only nvidia.com/ resources
    ready: bool = True

    @property
    def has_gpus(self) -> bool:
        """Whether the operator, or a device plugin without it, has found GPUs."""
        labelled = self.labels.get(PRESENT_LABEL) == "true" or COUNT_LABEL in self.labels
        return labelled or any(count > 0 for count in self.allocatable.values())

    @property
    def physical(self) -> int | None:
        """Physical GPUs as GPU feature discovery counted them."""
        count = self.labels.get(COUNT_LABEL, "")
        return int(count) if count.isdecimal() else None


def node_state(document: object) -> NodeState:
    """The node's nvidia.com/ labels and resources, our annotations, and its readiness.

    The rest of the object is much larger, so it is not kept.
    """
    allocatable = entries_with_prefix(document, RESOURCE_PREFIX, "status", "allocatable")
    return NodeState(
        name=name_of(document),
        labels=entries_with_prefix(document, RESOURCE_PREFIX, "metadata", "labels"),
        annotations=entries_with_prefix(document, OUR_PREFIX, "metadata", "annotations"),
        allocatable={name: read_quantity(quantity) for name, quantity in allocatable.items()},
        ready=has_condition(document, "Ready"),
    )


def read_quantity(text: object) -> int:
    """A number of devices as Kubernetes writes it ("8", also "8k"); 0 for anything else."""
    match = re.fullmatch(r"([0-9]+)(k?)", str(text))
    return int(match[1]) * (1000 if match[2] else 1) if match else 0
