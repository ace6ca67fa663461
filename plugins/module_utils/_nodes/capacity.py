# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the slots that a node should advertise with a profile, and those that it advertises.

A slot is what a pod with a request of 1 gets. Slots come from allocatable, never from capacity,
which keeps old numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .._profiles.model import (
    GPU_RESOURCE,
    MIG_PROFILE,
    NO_MIG,
    RESOURCE_PREFIX,
    SHARED_SUFFIX,
    Profile,
)
from .._profiles.resources import MAX_MPS_CLIENTS
from .state import COUNT_LABEL, NodeMetadata, NodeState

REPLICAS_LABEL = "nvidia.com/gpu.replicas"
PRODUCT_LABEL = "nvidia.com/gpu.product"
CAPABILITY_LABELS = ("nvidia.com/gpu.compute.major", "nvidia.com/gpu.compute.minor")
GFD_LABEL = "nvidia.com/gpu.deploy.gpu-feature-discovery"
MIG_STRATEGY_LABEL = "nvidia.com/mig.strategy"
_MIG_DEVICE = re.compile(rf"all-({MIG_PROFILE})")
_MIG_COUNT = re.compile(rf"nvidia\.com/(mig-{MIG_PROFILE})\.count")


@dataclass(frozen=True)
class Verdict:
    """One node's expected and actual slots. problem is empty when they agree. missing lists
    resources that the profile shares and the node does not have.
    """

    node: str
    physical: int | None
    resource: str
    expected: int | None
    actual: int
    problem: str = ""
    missing: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problem


def mig_resources(labels: Mapping[str, str]) -> dict[str, int]:
    """MIG devices by resource name, as GPU feature discovery counts them with strategy mixed."""
    return {
        RESOURCE_PREFIX + match[1]: int(value)
        for label, value in labels.items()
        if (match := _MIG_COUNT.fullmatch(label)) and value.isdecimal()
    }


def physical_devices(node: NodeState, stated: int | None) -> dict[str, int]:
    """Devices by resource name: GPUs (as stated, else as discovered), and MIG devices.

    With MIG strategy single, MIG devices take the place of the GPUs. With mixed, GPUs in MIG mode
    do not count as devices. When only some GPUs are in MIG mode, labels do not show how many, and
    nvidia.com/gpu is left out.
    """
    labels = node.labels
    if is_invalid(node):
        return {GPU_RESOURCE: 0}
    gpus = node.physical if stated is None or _is_partitioned(node) else stated
    if labels.get(MIG_STRATEGY_LABEL) != "mixed":
        return {} if gpus is None else {GPU_RESOURCE: gpus}
    devices = mig_resources(labels)
    if labels.get(REPLICAS_LABEL) == "0":
        return {GPU_RESOURCE: 0} | devices
    return devices if devices or gpus is None else {GPU_RESOURCE: gpus}


def _is_partitioned(node: NodeMetadata) -> bool:
    """Whether GPU feature discovery counts MIG devices as GPUs (MIG strategy single)."""
    return "-MIG-" in node.labels.get(PRODUCT_LABEL, "")


def is_invalid(node: NodeState) -> bool:
    """Whether the MIG layout is inconsistent, so that MIG strategy single advertises no GPUs."""
    return node.labels.get(PRODUCT_LABEL, "").endswith("-MIG-INVALID")


def mps_problem(node: NodeMetadata, profile: Profile) -> str:
    """Why MPS cannot share a node with a profile; empty when no reason is known.

    A profile that turns MIG off removes the MIG devices first.
    """
    if profile.strategy != "mps":
        return ""
    if profile.mig != NO_MIG and (_is_partitioned(node) or mig_resources(node.labels)):
        return "its GPUs are partitioned into MIG devices, which MPS does not support"
    if node.labels.get(GFD_LABEL) == "false":
        return f"MPS needs GPU feature discovery, which the label {GFD_LABEL} disables there"
    most = mps_clients(node.labels)
    if most is not None and profile.replicas > most:
        capability = ".".join(node.labels.get(label, "") for label in CAPABILITY_LABELS)
        return (
            f"it has {profile.replicas} replicas, and MPS supports at most {most} clients on a GPU"
            f" of compute capability {capability}"
        )
    return ""


def mps_clients(labels: Mapping[str, str]) -> int | None:
    """The most clients that MPS supports on a node's GPUs; None without labels of the compute
    capability.
    """
    numbers = [labels.get(label, "") for label in CAPABILITY_LABELS]
    if not all(number.isdecimal() for number in numbers):
        return None
    return MAX_MPS_CLIENTS if [int(number) for number in numbers] >= [7, 5] else 16


def expected_allocatable(profile: Profile, devices: Mapping[str, int]) -> dict[str, int]:
    """Slots by advertised resource name. The old name of a renamed resource has 0 slots."""
    slots: dict[str, int] = {}
    for resource, count in devices.items():
        slots |= {resource: 0, resource + SHARED_SUFFIX: 0}
        slots[profile.advertised(resource)] = count * profile.replicas_of(resource)
    return slots


def judge(node: NodeState, profile: Profile, stated: int | None) -> Verdict:
    """Compare a node's allocatable with its profile. stated is the number of physical GPUs in the
    inventory, if any. With several resources (MIG strategy mixed), the numbers are sums.
    """
    devices = physical_devices(node, stated)
    counted = [resource for resource, count in devices.items() if count] or [GPU_RESOURCE]
    names = [profile.advertised(resource) for resource in counted]
    actual = sum(node.allocatable.get(name, 0) for name in names)
    if not devices:
        problem = f"physical GPUs unknown: the label {COUNT_LABEL} is missing"
        return Verdict(node.name, None, names[0], None, actual, problem)
    expected = expected_allocatable(profile, devices)
    missing = missing_resources(profile, devices)
    return Verdict(
        node=node.name,
        physical=sum(devices.values()),
        resource=", ".join(names),
        expected=sum(expected.get(name, 0) for name in names),
        actual=actual,
        problem=_difference(node, expected, stated) or _nothing_shared(profile, missing, devices),
        missing=missing,
    )


def missing_resources(profile: Profile, devices: Mapping[str, int]) -> tuple[str, ...]:
    """Resources that a profile shares and a node does not have. Where only some GPUs are in MIG
    mode, it is unknown whether the node has nvidia.com/gpu.
    """
    unknown = {GPU_RESOURCE} - devices.keys()
    shared = (resource.name for resource in profile.content.resources)
    return tuple(name for name in shared if name not in unknown and not devices.get(name))


def _nothing_shared(profile: Profile, missing: tuple[str, ...], devices: Mapping[str, int]) -> str:
    """Why a profile shares nothing on a node. A profile may name the resources of several kinds of
    nodes, as NVIDIA's examples do, so one that is there is enough.
    """
    if not missing or len(missing) < len(profile.content.resources):
        return ""
    has = ", ".join(name for name, count in devices.items() if count) or "none"
    return f"it does not have what the profile shares: {', '.join(missing)}; it has {has}"


def is_miscounted(node: NodeState, stated: int | None) -> bool:
    """Whether GPU feature discovery counts other physical GPUs than stated."""
    return stated is not None and not _is_partitioned(node) and node.physical not in (None, stated)


def _difference(node: NodeState, expected: Mapping[str, int], stated: int | None) -> str:
    """The first difference, in words; empty when there is none."""
    if is_invalid(node):
        return "inconsistent MIG layout: MIG strategy single needs the same on all GPUs of the node"
    if is_miscounted(node, stated):
        return f"gpus is {stated}, but GPU feature discovery counts {node.physical} physical GPUs"
    for resource, slots in sorted(expected.items(), key=lambda entry: -entry[1]):
        actual = node.allocatable.get(resource, 0)
        if actual != slots:
            return f"{resource} is {actual}, expected {slots}"
    return "" if node.ready else "node is NotReady"


def labels_fit(node: NodeState, profile: Profile) -> bool:
    """Whether the labels of GPU feature discovery show the profile; they lag behind allocatable."""
    # With 0 replicas all GPUs are in MIG mode, and the label says nothing about sharing
    relevant = node.labels.get(REPLICAS_LABEL) != "0" or _is_partitioned(node)
    resources = [*mig_resources(node.labels), *([GPU_RESOURCE] if relevant else [])]
    fit = all(_label_fits(node.labels, profile, resource) for resource in resources)
    return fit and _mig_fits(node, profile.mig)


def _mig_fits(node: NodeState, mig: str | None) -> bool:
    """Whether the labels show the MIG devices that the name of a configuration implies."""
    if mig is None or MIG_STRATEGY_LABEL not in node.labels:
        return True
    if mig == NO_MIG:
        return not _is_partitioned(node) and not mig_resources(node.labels)
    name = _MIG_DEVICE.fullmatch(mig.replace("+", "."))
    if name is None:
        return True
    alike = f"-MIG-{name[1]}" in node.labels.get(PRODUCT_LABEL, "")
    return alike or f"nvidia.com/mig-{name[1]}.count" in node.labels


def _label_fits(labels: Mapping[str, str], profile: Profile, resource: str) -> bool:
    replicas = profile.replicas_of(resource)
    strategy = profile.strategy if replicas > 1 else "none"
    shown = labels.get(f"{resource}.replicas"), labels.get(f"{resource}.sharing-strategy", strategy)
    return shown == (str(replicas), strategy)
