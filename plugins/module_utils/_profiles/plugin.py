# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the device plugin that reads the files: version and environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

V0_20 = (0, 20, 0)
Version = tuple[int, int, int]


@dataclass(frozen=True)
class Plugin:
    """The plugin that will read the files.

    version is None where it is unknown: then no setting counts as too new. shadowed maps flags to
    the environment variables that override them. mig_strategy is the operator's: none, single or
    mixed; empty where the operator sets none, None where it is unknown.
    """

    version: Version | None = None
    shadowed: Mapping[str, str] = field(default_factory=dict)
    mig_strategy: str | None = None


# Flag -> variable that the operator, or its entry script, always sets.
OPERATOR_ENVIRONMENT = {
    "failOnInitError": "FAIL_ON_INIT_ERROR",
    "mpsRoot": "MPS_ROOT",
    "nvidiaDriverRoot": "NVIDIA_DRIVER_ROOT",
    "nvidiaDevRoot": "NVIDIA_DEV_ROOT",
    "plugin.passDeviceSpecs": "PASS_DEVICE_SPECS",
    "plugin.deviceListStrategy": "DEVICE_LIST_STRATEGY",
    "plugin.deviceIDStrategy": "DEVICE_ID_STRATEGY",
    "plugin.containerDriverRoot": "DRIVER_ROOT_CTR_PATH",
    "gfd.sleepInterval": "GFD_SLEEP_INTERVAL",
}

# Flag -> variable that the operator sets only with some chart values.
_SOMETIMES = {
    "migStrategy": "MIG_STRATEGY",
    "gdrcopyEnabled": "GDRCOPY_ENABLED",
    "gdsEnabled": "GDS_ENABLED",
    "mofedEnabled": "MOFED_ENABLED",
    "useNodeFeatureAPI": "USE_NODE_FEATURE_API",
    "deviceDiscoveryStrategy": "DEVICE_DISCOVERY_STRATEGY",
    "plugin.cdiAnnotationPrefix": "CDI_ANNOTATION_PREFIX",
    "plugin.nvidiaCTKPath": "NVIDIA_CDI_HOOK_PATH",
    "plugin.sharedDevicesAllocationPolicy": "SHARED_DEVICES_ALLOCATION_POLICY",
    "gfd.oneshot": "GFD_ONESHOT",
    "gfd.noTimestamp": "GFD_NO_TIMESTAMP",
    "gfd.outputFile": "GFD_OUTPUT_FILE",
    "gfd.machineTypeFile": "GFD_MACHINE_TYPE_FILE",
}
FLAG_VARIABLES = {**OPERATOR_ENVIRONMENT, **_SOMETIMES}


def operator_plugin(mig_strategy: str | None = None, version: Version | None = None) -> Plugin:
    """The plugin as the GPU Operator runs it. An unknown MIG strategy counts as set."""
    strategy = {} if mig_strategy == "" else {"migStrategy": _SOMETIMES["migStrategy"]}
    return Plugin(version, {**OPERATOR_ENVIRONMENT, **strategy}, mig_strategy)


# Accepts every setting that some plugin supports, for code that needs only the content.
ANY_PLUGIN = Plugin(shadowed={"mpsRoot": "MPS_ROOT"})


def format_version(version: Version | None) -> str:
    return "v" + ".".join(map(str, version or ()))


def read_version(text: str) -> Version | None:
    """A version such as v0.19.3, also as an image tag (v0.19.3-ubi9); None for any other text."""
    match = re.match(r"v?([0-9]+)\.([0-9]+)\.([0-9]+)", text)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None
