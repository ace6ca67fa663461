# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: a profile: its name, its content and its MIG configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

MAX_NAME_LENGTH = 63
STRATEGIES = {"time_slicing": "time-slicing", "mps": "mps", "none": "none"}
NO_MIG = "all-disabled"  # the configuration of NVIDIA's MIG manager that turns MIG off


GPU_RESOURCE = "nvidia.com/gpu"
SHARED_SUFFIX = ".shared"
RESOURCE_PREFIX = "nvidia.com/"
# The name of a MIG profile in the name of a resource; configurations have + for its second dot.
# Source: NVIDIA/go-nvlib pkg/nvlib/device (MIG attributes), k8s-device-plugin.
MIG_PROFILE = r"[1-46-8]g\.[1-9][0-9]*gb(?:\.me\.all|\.me|\.gfx|-me)?"
Flag: TypeAlias = "str | bool | int | tuple[str, ...]"


def is_gpu_resource(name: str) -> bool:
    """Whether a resource is slots of GPUs or MIG devices, shared or not. Others of nvidia.com/ are
    not, such as nvidia.com/hostdev of the network operator or GPUs that are passed to VMs.
    """
    whole = (GPU_RESOURCE, GPU_RESOURCE + SHARED_SUFFIX)
    return name in whole or name.startswith(RESOURCE_PREFIX + "mig-")


@dataclass(frozen=True)
class SharedResource:
    """An extended resource and the number of slots per device (2 or more)."""

    name: str
    replicas: int


@dataclass(frozen=True)
class Imex:
    """IMEX channels to inject: none, or channel 0."""

    channels: tuple[int, ...] = ()
    required: bool = False


@dataclass(frozen=True)
class Content:
    """The content of a configuration file. Without resources nothing is shared.

    flags holds dotted names below flags, such as plugin.deviceListStrategy, and their values.
    """

    resources: tuple[SharedResource, ...] = ()
    mps: bool = False
    rename_by_default: bool = False
    fail_requests_greater_than_one: bool = True
    flags: tuple[tuple[str, Flag], ...] = ()
    imex: Imex = Imex()


@dataclass(frozen=True)
class Profile:
    """How the GPUs of a node are shared: a name, the content of a file, and a MIG configuration."""

    name: str
    content: Content = field(default_factory=Content)
    mig: str | None = None  # a configuration of NVIDIA's MIG manager; None leaves MIG alone

    def replicas_of(self, resource: str) -> int:
        """Slots per device of a resource; 1 where the profile does not share it."""
        shared = self.content.resources
        return next((entry.replicas for entry in shared if entry.name == resource), 1)

    @property
    def replicas(self) -> int:
        """Slots per physical GPU."""
        return self.replicas_of(GPU_RESOURCE)

    @property
    def strategy(self) -> str:
        """The sharing strategy, as in the label nvidia.com/gpu.sharing-strategy."""
        if not self.content.resources:
            return "none"
        return "mps" if self.content.mps else "time-slicing"

    def advertised(self, resource: str) -> str:
        """The name under which the plugin advertises a resource with this profile."""
        renamed = self.content.rename_by_default and self.replicas_of(resource) > 1
        return resource + SHARED_SUFFIX if renamed else resource
