# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the shared resources of a profile and what sharing requires of GPUs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from .._common.values import quote
from .fields import map_fields
from .model import GPU_RESOURCE, MIG_PROFILE, RESOURCE_PREFIX, Content, SharedResource
from .plugin import V0_20, Plugin, format_version
from .reader import ProfileReader, join_path
from .rules import Rule

MAX_RESOURCE_LENGTH = 63
MAX_MPS_CLIENTS = 48  # of any GPU; 16 below compute capability 7.5
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")

# Slices and attributes of NVML; go-nvlib writes them, and the plugin replaces + by a point.
# Compute instances (1c.3g.20gb) have no resource of their own.
_MIG_RESOURCE = re.compile(rf"nvidia\.com/mig-{MIG_PROFILE}")


def read_resources(
    reader: ProfileReader, where: str, entries: Sequence[object]
) -> tuple[SharedResource, ...]:
    """The entries of a list of resources, each {name, replicas}."""
    read = [_read_resource(reader, f"{where}[{at}]", entry) for at, entry in enumerate(entries)]
    found = [resource for resource in read if resource is not None]
    names = [resource.name for resource in found]
    for name in sorted({name for name in names if names.count(name) > 1}):
        text = f"contains {quote(name)} more than once; allowed: one entry for each resource"
        reader.problem(Rule.DUPLICATE_RESOURCE, where, text)
    return tuple(found)


def _read_resource(reader: ProfileReader, where: str, entry: object) -> SharedResource | None:
    settings = map_fields(reader, where, entry, ("name", "replicas"), ("rename", "devices"))
    if not settings and not isinstance(entry, Mapping):
        return None
    if "rename" in settings:
        text = "is ignored by the plugin; set renameByDefault (rename_by_default) to add .shared"
        reader.problem(Rule.RENAME, f"{where}.rename", text)
    if "devices" in settings and settings["devices"] != "all":
        text = (
            f"is {quote(settings['devices'])}; allowed: all. Sharing applies to all GPUs of a node"
        )
        reader.problem(Rule.DEVICES, f"{where}.devices", text)
    name = _read_resource_name(reader, where, settings)
    replicas = read_replicas(reader, where, settings, least=2)
    return SharedResource(name, replicas) if name and replicas else None


def _read_resource_name(reader: ProfileReader, where: str, settings: Mapping[str, object]) -> str:
    allowed = (
        "nvidia.com/gpu, or nvidia.com/mig-<slices>g.<memory>gb such as nvidia.com/mig-1g.5gb"
        " (slices 1, 2, 3, 4, 6, 7 or 8; optionally with .me, .me.all, .gfx or -me), in lower"
        " case"
    )
    if "name" not in settings:
        reader.problem(Rule.MISSING, f"{where}.name", f"is missing; allowed: {allowed}")
        return ""
    value = settings["name"]
    full = resource_name(value)
    if full is None:
        reader.reject(Rule.RESOURCE_NAME, f"{where}.name", value, allowed)
        return ""
    if full != GPU_RESOURCE and not _MIG_RESOURCE.fullmatch(full):
        reader.reject(Rule.UNKNOWN_RESOURCE, f"{where}.name", value, allowed)
        return ""
    return full


def resource_name(value: object) -> str | None:
    """The full name of a resource, None where the plugin rejects it; gpu means nvidia.com/gpu."""
    if not isinstance(value, str):
        return None
    full = str(value) if value.startswith(RESOURCE_PREFIX) else RESOURCE_PREFIX + str(value)
    bare = full.removeprefix(RESOURCE_PREFIX)
    short = len(full.encode()) <= MAX_RESOURCE_LENGTH
    return full if short and _DNS_SUBDOMAIN.fullmatch(bare) else None


def read_replicas(
    reader: ProfileReader, where: str, settings: Mapping[str, object], *, least: int
) -> int:
    """The replicas of an entry; 0 where they are below least or missing."""
    name = join_path(where, "replicas")
    note = " (1 means no sharing)" if least == 1 else ""
    allowed = f"a whole number, {least} or more{note}"
    if "replicas" not in settings:
        reader.problem(Rule.MISSING, name, f"is missing; allowed: {allowed}")
        return 0
    number = reader.whole_number(name, settings["replicas"], allowed)
    if number is not None and number < least:
        reader.reject(Rule.REPLICAS, name, settings["replicas"], allowed)
    return number if number is not None and number >= least else 0


def shared_content(
    resources: tuple[SharedResource, ...],
    *,
    mps: bool,
    rename_by_default: bool,
    fail_requests_greater_than_one: bool,
) -> Content:
    """The content that sharing sets; without resources it is empty, so that equal contents compare
    equal.
    """
    if not resources:
        return Content()
    return Content(resources, mps, rename_by_default, fail_requests_greater_than_one)


def check_devices(reader: ProfileReader, where: str, content: Content, plugin: Plugin) -> None:
    """MIG resources need the MIG strategy mixed, which MPS excludes."""
    own = None if "migStrategy" in plugin.shadowed else dict(content.flags).get("migStrategy")
    strategy = own or plugin.mig_strategy
    names = [resource.name for resource in content.resources if resource.name != GPU_RESOURCE]
    if names and strategy in ("", "none", "single"):
        text = f"shares {names[0]}, which only the MIG strategy mixed advertises; the operator's"
        reader.problem(Rule.MIG_STRATEGY, where, f"{text} mig.strategy is {quote(strategy)}")
    if content.mps and content.resources:
        _check_mps(reader, where, content, plugin, mixed=strategy == "mixed")


def _check_mps(
    reader: ProfileReader, where: str, content: Content, plugin: Plugin, *, mixed: bool
) -> None:
    """Check what MPS requires beyond time-slicing."""
    for resource in content.resources:
        if resource.name != GPU_RESOURCE:
            text = f"shares {resource.name} by MPS, which does not support MIG devices"
            reader.problem(Rule.MPS_WITH_MIG, where, f"{text}; allowed: {GPU_RESOURCE}")
        elif resource.replicas > MAX_MPS_CLIENTS:
            text = f"has {resource.replicas} replicas; allowed for MPS: 2 to {MAX_MPS_CLIENTS}"
            reader.problem(Rule.MPS_CLIENTS, where, f"{text} (16 below compute capability 7.5)")
    if mixed:
        text = "uses MPS, which the plugin rejects together with the MIG strategy mixed"
        reader.problem(Rule.MPS_WITH_MIXED, where, f"{text}; allowed: time-slicing")
    if "mpsRoot" not in plugin.shadowed and not dict(content.flags).get("mpsRoot"):
        text = "uses MPS without an MPS root; set flags.mpsRoot"
        reader.problem(Rule.FLAG_VALUE, where, text)
    older = plugin.version is not None and plugin.version < V0_20
    if not content.fail_requests_greater_than_one and older:
        text = "allows requests above 1, which MPS ignores before plugin v0.20.0; the cluster has"
        reader.problem(Rule.PLUGIN_VERSION, where, f"{text} {format_version(plugin.version)}")
