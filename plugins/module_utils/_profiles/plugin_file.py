# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: the device plugin's whole configuration file: read strictly, written
canonically.

Source: NVIDIA/k8s-device-plugin api/config/v1 (v0.19.3; what v0.20.0 adds is gated by version), and
what the GPU Operator v26.7.0 sets in the environment of the plugin and of GPU feature discovery.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import either
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.values import (
    shown,
    to_whole_number,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.fields import (
    TOP_KEYS,
    exact_fields,
    folded_fields,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.flags import (
    FLAG_VALUES,
    FLAGS,
    SET_INSTEAD,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.model import (
    GPU_RESOURCE,
    RESOURCE_PREFIX,
    Content,
    Flag,
    Imex,
    SharedResource,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.plugin import (
    V0_20,
    Plugin,
    dotted,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rules import (
    Reader,
    Rule,
    path,
)

MAX_RESOURCE_LENGTH = 63
MOST_MPS_CLIENTS = 48  # of any GPU; 16 below compute capability 7.5
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")

# Slices and attributes that NVML knows; go-nvlib writes them, and the plugin puts . for +. It
# leaves out compute instances (1c.3g.20gb): none has a resource of its own.
_MIG_RESOURCE = re.compile(r"nvidia\.com/mig-[1-46-8]g\.[1-9][0-9]*gb(\.me|\.me\.all|\.gfx|-me)?")


def read_content(document: object, reader: Reader, plugin: Plugin) -> Content:
    """A parsed file -> what it says. What is wrong is added to the reader's problems."""
    top = folded_fields(reader, "", document, TOP_KEYS)
    if top.get("version") not in (None, "", "v1"):
        reader.refuse(Rule.VERSION, "version", top["version"], "v1, or leave it out")
    _refuse_patterns(reader, top.get("resources"))
    flags = _Flags(reader, plugin).read(top.get("flags"))
    imex = _read_imex(reader, top.get("imex"))
    sharing = folded_fields(reader, "sharing", top.get("sharing"), ("timeSlicing", "mps"))
    # null is refused for timeSlicing and means nothing for mps: one is a value, one a pointer in Go
    given = [name for name in sharing if name == "timeSlicing" or sharing[name] is not None]
    if len(given) > 1:
        said = "has both timeSlicing and mps, and MPS would win; allowed: one of them"
        reader.problem(Rule.TWO_STRATEGIES, "sharing", said)
    contents = [_read_strategy(reader, name, sharing[name]) for name in given]
    content = replace(contents[-1] if contents else Content(), flags=flags, imex=imex)
    check_devices(reader, "sharing", content, plugin)
    return content


def _read_strategy(reader: Reader, name: str, value: object) -> Content:
    where = f"sharing.{name}"
    mps = name == "mps"
    known = ("renameByDefault", "failRequestsGreaterThanOne", "resources")
    settings = exact_fields(reader, where, value, known)
    entries = settings.get("resources")
    if not isinstance(entries, list | tuple) or not entries:
        allowed = "a list with at least one {name, replicas}; to share nothing, leave sharing out"
        rule = Rule.NO_RESOURCES if not entries else Rule.TYPE
        reader.refuse(rule, f"{where}.resources", entries, allowed)
        entries = []
    # The plugin's own default is false for time-slicing, and true for MPS.
    fails = reader.boolean(
        f"{where}.failRequestsGreaterThanOne",
        settings.get("failRequestsGreaterThanOne"),
        default=mps,
    )
    renames = settings.get("renameByDefault")
    return shared_content(
        resources=read_resources(reader, f"{where}.resources", entries),
        mps=mps,
        rename_by_default=reader.boolean(f"{where}.renameByDefault", renames, default=False),
        fail_requests_greater_than_one=fails,
    )


def read_resources(
    reader: Reader, where: str, entries: Sequence[object]
) -> tuple[SharedResource, ...]:
    """The entries of a list of resources, each {name, replicas}."""
    read = [_read_resource(reader, f"{where}[{at}]", entry) for at, entry in enumerate(entries)]
    found = [resource for resource in read if resource is not None]
    names = [resource.name for resource in found]
    for name in sorted({name for name in names if names.count(name) > 1}):
        said = f"names {shown(name)} more than once; allowed: one entry for each resource"
        reader.problem(Rule.DUPLICATE_RESOURCE, where, said)
    return tuple(found)


def _read_resource(reader: Reader, where: str, entry: object) -> SharedResource | None:
    settings = exact_fields(reader, where, entry, ("name", "replicas"), ("rename", "devices"))
    if not settings and not isinstance(entry, Mapping):
        return None
    if "rename" in settings:
        said = (
            "is ignored by the plugin; use renameByDefault (rename_by_default), which adds .shared"
        )
        reader.problem(Rule.RENAME, f"{where}.rename", said)
    if "devices" in settings and settings["devices"] != "all":
        said = f"is {shown(settings['devices'])}; allowed: all. Sharing covers all GPUs of a node"
        reader.problem(Rule.DEVICES, f"{where}.devices", said)
    name = _read_resource_name(reader, where, settings)
    replicas = read_replicas(reader, where, settings, least=2)
    return SharedResource(name, replicas) if name and replicas else None


def _read_resource_name(reader: Reader, where: str, settings: Mapping[str, object]) -> str:
    allowed = (
        "nvidia.com/gpu, or nvidia.com/mig-<slices>g.<memory>gb such as nvidia.com/mig-1g.5gb"
        " (slices 1, 2, 3, 4, 6, 7 or 8; behind it at most .me, .me.all, .gfx or -me), in lower"
        " case"
    )
    if "name" not in settings:
        reader.problem(Rule.MISSING, f"{where}.name", f"is missing; allowed: {allowed}")
        return ""
    value = settings["name"]
    full = resource_name(value)
    if full is None:
        reader.refuse(Rule.RESOURCE_NAME, f"{where}.name", value, allowed)
        return ""
    if full != GPU_RESOURCE and not _MIG_RESOURCE.fullmatch(full):
        reader.refuse(Rule.UNKNOWN_RESOURCE, f"{where}.name", value, allowed)
        return ""
    return full


def resource_name(value: object) -> str | None:
    """The full name of a resource, None where the plugin refuses it; gpu means nvidia.com/gpu."""
    if not isinstance(value, str):
        return None
    full = str(value) if value.startswith(RESOURCE_PREFIX) else RESOURCE_PREFIX + str(value)
    bare = full.removeprefix(RESOURCE_PREFIX)
    short = len(full.encode()) <= MAX_RESOURCE_LENGTH
    return full if short and _DNS_SUBDOMAIN.fullmatch(bare) else None


def read_replicas(reader: Reader, where: str, settings: Mapping[str, object], *, least: int) -> int:
    """The replicas of an entry, from least on; 0 where they are wrong."""
    name = path(where, "replicas")
    none = " (1 means no sharing)" if least == 1 else ""
    allowed = f"a whole number from {least} on{none}"
    if "replicas" not in settings:
        reader.problem(Rule.MISSING, name, f"is missing; allowed: {allowed}")
        return 0
    number = reader.whole_number(name, settings["replicas"], allowed)
    if number is not None and number < least:
        reader.refuse(Rule.REPLICAS, name, settings["replicas"], allowed)
    return number if number is not None and number >= least else 0


def shared_content(
    resources: tuple[SharedResource, ...],
    *,
    mps: bool,
    rename_by_default: bool,
    fail_requests_greater_than_one: bool,
) -> Content:
    """What sharing says; where nothing is shared it says nothing, so that equal is equal."""
    if not resources:
        return Content()
    return Content(resources, mps, rename_by_default, fail_requests_greater_than_one)


def check_devices(reader: Reader, where: str, content: Content, plugin: Plugin) -> None:
    """What sharing asks of the devices: MIG resources need MIG strategy mixed, MPS refuses it."""
    said = None if "migStrategy" in plugin.shadowed else dict(content.flags).get("migStrategy")
    strategy = said or plugin.mig_strategy
    names = [resource.name for resource in content.resources if resource.name != GPU_RESOURCE]
    if names and strategy in ("", "none", "single"):
        said = f"shares {names[0]}, which only MIG strategy mixed advertises; the operator's"
        reader.problem(Rule.MIG_STRATEGY, where, f"{said} mig.strategy is {shown(strategy)}")
    if content.mps and content.resources:
        _check_mps(reader, where, content, plugin, mixed=strategy == "mixed")


def _check_mps(
    reader: Reader, where: str, content: Content, plugin: Plugin, *, mixed: bool
) -> None:
    """What MPS asks for beyond time-slicing."""
    for resource in content.resources:
        if resource.name != GPU_RESOURCE:
            said = f"shares {resource.name} by MPS, which takes no MIG devices"
            reader.problem(Rule.MPS_WITH_MIG, where, f"{said}; allowed: {GPU_RESOURCE}")
        elif resource.replicas > MOST_MPS_CLIENTS:
            said = f"has {resource.replicas} replicas; allowed for MPS: 2 to {MOST_MPS_CLIENTS}"
            reader.problem(Rule.MPS_CLIENTS, where, f"{said} (16 below compute capability 7.5)")
    if mixed:
        said = "uses MPS, which the plugin refuses beside the MIG strategy mixed"
        reader.problem(Rule.MPS_WITH_MIXED, where, f"{said}; allowed: time-slicing")
    if "mpsRoot" not in plugin.shadowed and not dict(content.flags).get("mpsRoot"):
        said = "uses MPS without an MPS root, which the operator sets; set flags.mpsRoot"
        reader.problem(Rule.FLAG_VALUE, where, said)
    older = plugin.version is not None and plugin.version < V0_20
    if not content.fail_requests_greater_than_one and older:
        said = (
            "lets requests above 1 pass, which MPS ignores before plugin v0.20.0; the cluster has"
        )
        reader.problem(Rule.PLUGIN_VERSION, where, f"{said} {dotted(plugin.version)}")


def _refuse_patterns(reader: Reader, value: object) -> None:
    settings = folded_fields(reader, "resources", value, ("gpus", "mig"))
    for name, entries in settings.items():
        if entries is not None and not isinstance(entries, list | tuple):
            reader.refuse(Rule.TYPE, f"resources.{name}", entries, "leave it out")
        elif entries:
            said = "is ignored by the plugin; leave it out. What is shared goes below sharing"
            reader.problem(Rule.RESOURCE_PATTERNS, f"resources.{name}", said)


def _read_imex(reader: Reader, value: object) -> Imex:
    settings = folded_fields(reader, "imex", value, ("channelIDs", "required"))
    required = reader.boolean("imex.required", settings.get("required"), default=False)
    ids = settings.get("channelIDs")
    if ids is None:
        return Imex((), required)
    allowed = "[] or [0]"
    if not isinstance(ids, list | tuple):
        reader.refuse(Rule.TYPE, "imex.channelIDs", ids, allowed)
        return Imex((), required)
    numbers = [0 if i is None else to_whole_number(i, lenient=reader.lenient) for i in ids]
    if None in numbers:
        reader.refuse(Rule.TYPE, "imex.channelIDs", ids, allowed)
    elif numbers not in ([], [0]):
        reader.refuse(Rule.IMEX_CHANNELS, "imex.channelIDs", ids, allowed)
    else:
        return Imex(tuple(number for number in numbers if number is not None), required)
    return Imex((), required)


class _Flags:
    """Reads the part flags: names and types by table; values as the plugin's start checks them."""

    def __init__(self, reader: Reader, plugin: Plugin) -> None:
        self.reader = reader
        self.plugin = plugin

    def read(self, value: object) -> tuple[tuple[str, Flag], ...]:
        top = [name for name in FLAGS if "." not in name]
        settings = folded_fields(self.reader, "flags", value, (*top, "plugin", "gfd"))
        given: dict[str, object] = {name: settings.get(name) for name in top}
        for part in ("plugin", "gfd"):
            names = [name.partition(".")[2] for name in FLAGS if name.startswith(f"{part}.")]
            inner = folded_fields(self.reader, f"flags.{part}", settings.get(part), names)
            given |= {f"{part}.{name}": inner.get(name) for name in names}
        read = {name: self.flag(name, given[name]) for name in FLAGS if given[name] is not None}
        return tuple((name, flag) for name, flag in read.items() if flag is not None)

    def flag(self, name: str, value: object) -> Flag | None:
        where = f"flags.{name}"
        if variable := self.plugin.shadowed.get(name):
            said = (
                f"(value {shown(value)}) is ignored: the operator sets {variable} in the plugin's"
                f" environment, which wins; {SET_INSTEAD.get(name, 'leave it out')}"
            )
            self.reader.problem(Rule.SHADOWED_FLAG, where, said)
        if self.is_too_new(name, where):
            return None  # whatever its value, the plugin does not read it
        flag = FLAGS[name](self.reader, where, value)
        allowed = None if variable else FLAG_VALUES.get(name)
        values = (flag,) if isinstance(flag, str) else flag if isinstance(flag, tuple) else ()
        if allowed and not set(values) <= set(allowed):
            self.reader.refuse(Rule.FLAG_VALUE, where, value, either(allowed))
            return None
        return flag

    def is_too_new(self, name: str, where: str) -> bool:
        version = self.plugin.version
        if name != "plugin.sharedDevicesAllocationPolicy" or not version or version >= V0_20:
            return False
        said = f"is known from plugin v0.20.0 on; the cluster has {dotted(version)}"
        self.reader.problem(Rule.PLUGIN_VERSION, where, said)
        return True


def to_document(content: Content) -> dict[str, object]:
    """What a file says as plain values, in one order: same content, same document."""
    document: dict[str, object] = {"version": "v1"}
    if content.flags:
        document["flags"] = _nested(content.flags)
    if content.resources:
        strategy: dict[str, object] = {
            "renameByDefault": content.rename_by_default,
            "failRequestsGreaterThanOne": content.fail_requests_greater_than_one,
            "resources": [{"name": r.name, "replicas": r.replicas} for r in content.resources],
        }
        document["sharing"] = {"mps" if content.mps else "timeSlicing": strategy}
    if content.imex.channels or content.imex.required:
        imex: dict[str, object] = {"channelIDs": list(content.imex.channels)}
        document["imex"] = imex | ({"required": True} if content.imex.required else {})
    return document


def _nested(flags: Sequence[tuple[str, Flag]]) -> dict[str, object]:
    """{"plugin.x": 1} -> {"plugin": {"x": 1}}"""
    found: dict[str, object] = {}
    parts: dict[str, dict[str, object]] = {}
    for name, flag in flags:
        part, dot, inner = name.rpartition(".")
        value = list(flag) if isinstance(flag, tuple) else flag
        if dot:
            parts.setdefault(part, {})[inner] = value
        else:
            found[name] = value
    return {**found, **parts}
