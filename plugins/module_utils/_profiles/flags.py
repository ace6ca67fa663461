# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the flags of a configuration file: names, types and values."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

from .._common.values import INT64
from .model import Flag
from .reader import ProfileReader
from .rules import Rule

_DURATION_PART = re.compile(r"(?=\.?[0-9])([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")
_DURATION = re.compile(rf"[-+]?(0|({_DURATION_PART.pattern})+)")
_DURATIONS = "a duration such as 60s or 1m30s, or infinite"
_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}


def _read_bool(reader: ProfileReader, where: str, value: object) -> bool:
    return reader.boolean(where, value, default=False)


def _read_strategies(reader: ProfileReader, where: str, value: object) -> tuple[str, ...] | None:
    """A string or a list of strings."""
    entries = value if isinstance(value, list | tuple) else [value]
    listed = ["" if entry is None else entry for entry in entries]
    if not all(isinstance(entry, str) for entry in listed):
        reader.reject(Rule.TYPE, where, value, "a string or a list of strings")
        return None
    return tuple(str(entry) for entry in listed)


def _read_duration(reader: ProfileReader, where: str, value: object) -> Flag | None:
    """A Go duration: a string such as 1m30s, or nanoseconds."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        reader.reject(Rule.TYPE, where, value, _DURATIONS)
        return None
    if value == "infinite":
        return "infinite"
    total = nanoseconds(value)
    if total is None:
        reader.reject(Rule.FLAG_VALUE, where, value, _DURATIONS)
    elif not -INT64 <= total < INT64:
        reader.reject(Rule.OVERFLOW, where, value, "at most 64 bits of nanoseconds")
    elif total == INT64 - 1:
        return "infinite"  # the plugin treats both the same
    else:
        return str(value) if isinstance(value, str) else total
    return None


def nanoseconds(duration: object) -> int | None:
    """The length of a Go duration: a string such as 1m30s, or a number; None where Go rejects it.

    Source: time.ParseDuration, with its rounding. It misses one overflow, of twice 2**63.
    """
    if isinstance(duration, int | float):
        return int(float(duration))  # Go reads JSON numbers as float64
    text = str(duration)
    if not _DURATION.fullmatch(text):
        return None
    total = 0
    for whole, fraction, unit in _DURATION_PART.findall(text):
        number = int(whole.lstrip("0")[:20] or "0")  # twenty digits exceed 64 bits
        length = number * _NANOSECONDS[unit] + _part_of(_NANOSECONDS[unit], fraction)
        if length > INT64 or (total + length) % (2 * INT64) > INT64:
            return None
        total += length
    if text.startswith("-"):
        return -total
    return None if total == INT64 else total


def _part_of(unit: int, fraction: str) -> int:
    """Nanoseconds of the digits after the point; Go reads those that fit into 63 bits."""
    number, scale = 0, 1.0
    for digit in fraction:
        following = number * 10 + int(digit)
        if number > (INT64 - 1) // 10 or following > INT64:
            break
        number, scale = following, scale * 10
    return int(float(number) * (unit / scale))


FLAGS: Mapping[str, Callable[[ProfileReader, str, object], Flag | None]] = {
    "migStrategy": ProfileReader.text,
    "failOnInitError": _read_bool,
    "mpsRoot": ProfileReader.text,
    "nvidiaDriverRoot": ProfileReader.text,
    "nvidiaDevRoot": ProfileReader.text,
    "gdrcopyEnabled": _read_bool,
    "gdsEnabled": _read_bool,
    "mofedEnabled": _read_bool,
    "useNodeFeatureAPI": _read_bool,
    "deviceDiscoveryStrategy": ProfileReader.text,
    "plugin.passDeviceSpecs": _read_bool,
    "plugin.deviceListStrategy": _read_strategies,
    "plugin.deviceIDStrategy": ProfileReader.text,
    "plugin.cdiAnnotationPrefix": ProfileReader.text,
    "plugin.nvidiaCTKPath": ProfileReader.text,
    "plugin.containerDriverRoot": ProfileReader.text,
    "plugin.sharedDevicesAllocationPolicy": ProfileReader.text,
    "gfd.oneshot": _read_bool,
    "gfd.noTimestamp": _read_bool,
    "gfd.sleepInterval": _read_duration,
    "gfd.outputFile": ProfileReader.text,
    "gfd.machineTypeFile": ProfileReader.text,
}
FLAG_VALUES: Mapping[str, Collection[str]] = {
    "migStrategy": ("none", "single", "mixed"),
    "deviceDiscoveryStrategy": ("auto", "nvml", "tegra"),
    "plugin.deviceListStrategy": ("envvar", "volume-mounts", "cdi-annotations", "cdi-cri"),
    "plugin.deviceIDStrategy": ("uuid", "index"),
    "plugin.sharedDevicesAllocationPolicy": ("distributed", "packed"),
}
SET_INSTEAD = {
    "migStrategy": "set the chart's value mig.strategy (O(values))",
    "mpsRoot": "set the chart's value devicePlugin.mps.root (O(values))",
    "plugin.deviceListStrategy": "set it in the chart's value devicePlugin.env",
    "plugin.deviceIDStrategy": "set it in the chart's value devicePlugin.env",
    "plugin.passDeviceSpecs": "set it in the chart's value devicePlugin.env",
    "failOnInitError": "set it in the chart's value devicePlugin.env",
    "gfd.sleepInterval": "set it in the chart's value gfd.env",
}
