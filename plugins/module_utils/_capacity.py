# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: what a node should advertise with a profile, and what it does
advertise.

Units are slots: what one pod that asks for 1 gets. Always allocatable, never capacity, which keeps
old numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles import (
    GPU_RESOURCE,
    RESOURCE_PREFIX,
    SHARED_SUFFIX,
    Profile,
)

COUNT_LABEL = "nvidia.com/gpu.count"
REPLICAS_LABEL = "nvidia.com/gpu.replicas"
STRATEGY_LABEL = "nvidia.com/gpu.sharing-strategy"
PRESENT_LABEL = "nvidia.com/gpu.present"
PRODUCT_LABEL = "nvidia.com/gpu.product"
CONFIG_HASH_ANNOTATION = "gpufleet.sharing/config-hash"

_MIG_COUNT = re.compile(r"nvidia\.com/(mig-[a-z0-9.]+)\.count")


@dataclass(frozen=True)
class NodeState:
    """One node as the API server has it."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    allocatable: Mapping[str, int] = field(default_factory=dict)  # only nvidia.com/ resources
    ready: bool = True

    @property
    def has_gpus(self) -> bool:
        """Whether the operator, or a device plugin without it, has found GPUs here."""
        labelled = self.labels.get(PRESENT_LABEL) == "true" or COUNT_LABEL in self.labels
        return labelled or any(count > 0 for count in self.allocatable.values())

    @property
    def physical(self) -> int | None:
        """Physical GPUs as GPU feature discovery counted them."""
        count = self.labels.get(COUNT_LABEL, "")
        return int(count) if count.isdecimal() else None


@dataclass(frozen=True)
class Verdict:
    """One node's expected and actual slots. problem is empty when they agree."""

    node: str
    physical: int | None
    resource: str
    expected: int | None
    actual: int
    problem: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem


def read_quantity(text: object) -> int:
    """A count of devices as Kubernetes writes it ("8", also "8k"); 0 where it is no number."""
    match = re.fullmatch(r"([0-9]+)(k?)", str(text))
    return int(match[1]) * (1000 if match[2] else 1) if match else 0


def physical_devices(node: NodeState, stated: int | None) -> dict[str, int]:
    """Physical devices by resource name: GPUs (as stated, else as discovered) and the MIG devices
    of strategy mixed.
    """
    devices = {
        RESOURCE_PREFIX + match[1]: int(value)
        for label, value in node.labels.items()
        if (match := _MIG_COUNT.fullmatch(label)) and value.isdecimal()
    }
    gpus = stated if stated is not None else node.physical
    return devices if gpus is None else {GPU_RESOURCE: gpus} | devices


def expected_allocatable(profile: Profile, devices: Mapping[str, int]) -> dict[str, int]:
    """Slots by advertised resource name. A renamed resource leaves its old name with 0 slots."""
    slots: dict[str, int] = {}
    for resource, count in devices.items():
        slots |= {resource: 0, resource + SHARED_SUFFIX: 0}
        slots[profile.advertised(resource)] = count * profile.replicas_of(resource)
    return slots


def judge(node: NodeState, profile: Profile, stated: int | None) -> Verdict:
    """Compare a node's allocatable with its profile. stated is the inventory's number of physical
    GPUs, if it has one.
    """
    devices = physical_devices(node, stated)
    resource = profile.advertised(GPU_RESOURCE)
    actual = node.allocatable.get(resource, 0)
    if GPU_RESOURCE not in devices:
        problem = f"physical GPUs unknown: no label {COUNT_LABEL}"
        return Verdict(node.name, None, resource, None, actual, problem)
    expected = expected_allocatable(profile, devices)
    return Verdict(
        node=node.name,
        physical=devices[GPU_RESOURCE],
        resource=resource,
        expected=expected[resource],
        actual=actual,
        problem=_difference(node, expected, stated),
    )


def _difference(node: NodeState, expected: Mapping[str, int], stated: int | None) -> str:
    """The first thing that is wrong, in words; empty when nothing is."""
    if stated is not None and node.physical not in (None, stated):
        return (
            f"gpu_sharing_gpus is {stated}, but GPU feature discovery counts"
            f" {node.physical} physical GPUs"
        )
    for resource, slots in sorted(expected.items(), key=lambda entry: -entry[1]):
        actual = node.allocatable.get(resource, 0)
        if actual != slots:
            return f"{resource} is {actual}, expected {slots}"
    return "" if node.ready else "node is NotReady"


def labels_fit(node: NodeState, profile: Profile) -> bool:
    """Whether GPU feature discovery has seen the profile too: its labels lag behind allocatable."""
    replicas = node.labels.get(REPLICAS_LABEL)
    strategy = node.labels.get(STRATEGY_LABEL)
    return replicas == str(profile.replicas) and strategy in (None, profile.strategy)
