# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: reads the device plugin's configuration file strictly.

Source: NVIDIA/k8s-device-plugin api/config/v1 (v0.19.3; settings of v0.20.0 depend on the
version), and the environment that the GPU Operator v26.7.0 sets for the plugin and for GPU feature
discovery.
"""

from __future__ import annotations

from dataclasses import replace

from .._common.text import either
from .._common.values import quote, to_whole_number
from .fields import TOP_KEYS, map_fields, struct_fields
from .flags import FLAG_VALUES, FLAGS, SET_INSTEAD
from .model import Content, Flag, Imex
from .plugin import V0_20, Plugin, format_version
from .reader import ProfileReader
from .resources import check_devices, read_resources, shared_content
from .rules import Rule


def read_content(document: object, reader: ProfileReader, plugin: Plugin) -> Content:
    """The content of a parsed file. Problems are added to the reader."""
    top = struct_fields(reader, "", document, TOP_KEYS)
    if top.get("version") not in (None, "", "v1"):
        reader.reject(Rule.VERSION, "version", top["version"], "v1, or omit it")
    _refuse_patterns(reader, top.get("resources"))
    flags = _Flags(reader, plugin).read(top.get("flags"))
    imex = _read_imex(reader, top.get("imex"))
    sharing = struct_fields(reader, "sharing", top.get("sharing"), ("timeSlicing", "mps"))
    # The plugin rejects null for timeSlicing (a Go value) and ignores it for mps (a Go pointer)
    given = [name for name in sharing if name == "timeSlicing" or sharing[name] is not None]
    if len(given) > 1:
        text = (
            "has both timeSlicing and mps, and the plugin would use mps alone; allowed: one of them"
        )
        reader.problem(Rule.TWO_STRATEGIES, "sharing", text)
    contents = [_read_strategy(reader, name, sharing[name]) for name in given]
    content = replace(contents[-1] if contents else Content(), flags=flags, imex=imex)
    check_devices(reader, "sharing", content, plugin)
    return content


def _read_strategy(reader: ProfileReader, name: str, value: object) -> Content:
    where = f"sharing.{name}"
    mps = name == "mps"
    known = ("renameByDefault", "failRequestsGreaterThanOne", "resources")
    settings = map_fields(reader, where, value, known)
    entries = settings.get("resources")
    if not isinstance(entries, list | tuple) or not entries:
        allowed = "a list with at least one {name, replicas}; to share nothing, omit sharing"
        rule = Rule.NO_RESOURCES if not entries else Rule.TYPE
        reader.reject(rule, f"{where}.resources", entries, allowed)
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


def _refuse_patterns(reader: ProfileReader, value: object) -> None:
    settings = struct_fields(reader, "resources", value, ("gpus", "mig"))
    for name, entries in settings.items():
        if entries is not None and not isinstance(entries, list | tuple):
            reader.reject(Rule.TYPE, f"resources.{name}", entries, "omit it")
        elif entries:
            text = "is ignored by the plugin; omit it. Shared resources belong below sharing"
            reader.problem(Rule.RESOURCE_PATTERNS, f"resources.{name}", text)


def _read_imex(reader: ProfileReader, value: object) -> Imex:
    settings = struct_fields(reader, "imex", value, ("channelIDs", "required"))
    required = reader.boolean("imex.required", settings.get("required"), default=False)
    ids = settings.get("channelIDs")
    if ids is None:
        return Imex((), required)
    allowed = "[] or [0]"
    if not isinstance(ids, list | tuple):
        reader.reject(Rule.TYPE, "imex.channelIDs", ids, allowed)
        return Imex((), required)
    numbers = [0 if i is None else to_whole_number(i, lenient=reader.lenient) for i in ids]
    if None in numbers:
        reader.reject(Rule.TYPE, "imex.channelIDs", ids, allowed)
    elif numbers not in ([], [0]):
        reader.reject(Rule.IMEX_CHANNELS, "imex.channelIDs", ids, allowed)
    else:
        return Imex(tuple(number for number in numbers if number is not None), required)
    return Imex((), required)


class _Flags:
    """Reads the section flags: names and types by table, values as the plugin checks them."""

    def __init__(self, reader: ProfileReader, plugin: Plugin) -> None:
        self.reader = reader
        self.plugin = plugin

    def read(self, value: object) -> tuple[tuple[str, Flag], ...]:
        top = [name for name in FLAGS if "." not in name]
        settings = struct_fields(self.reader, "flags", value, (*top, "plugin", "gfd"))
        given: dict[str, object] = {name: settings.get(name) for name in top}
        for part in ("plugin", "gfd"):
            names = [name.partition(".")[2] for name in FLAGS if name.startswith(f"{part}.")]
            inner = struct_fields(self.reader, f"flags.{part}", settings.get(part), names)
            given |= {f"{part}.{name}": inner.get(name) for name in names}
        read = {name: self.flag(name, given[name]) for name in FLAGS if given[name] is not None}
        return tuple((name, flag) for name, flag in read.items() if flag is not None)

    def flag(self, name: str, value: object) -> Flag | None:
        where = f"flags.{name}"
        if variable := self.plugin.shadowed.get(name):
            text = (
                f"(value {quote(value)}) is ignored: the operator sets {variable} in the plugin's"
                f" environment, which overrides it; {SET_INSTEAD.get(name, 'omit it')}"
            )
            self.reader.problem(Rule.SHADOWED_FLAG, where, text)
        if self.is_too_new(name, where):
            return None  # the plugin does not read it
        flag = FLAGS[name](self.reader, where, value)
        if variable:
            return None
        allowed = FLAG_VALUES.get(name)
        values = (flag,) if isinstance(flag, str) else flag if isinstance(flag, tuple) else ()
        if allowed and not set(values) <= set(allowed):
            self.reader.reject(Rule.FLAG_VALUE, where, value, either(allowed))
            return None
        return flag

    def is_too_new(self, name: str, where: str) -> bool:
        version = self.plugin.version
        if name != "plugin.sharedDevicesAllocationPolicy" or not version or version >= V0_20:
            return False
        text = f"needs plugin v0.20.0 or later; the cluster has {format_version(version)}"
        self.reader.problem(Rule.PLUGIN_VERSION, where, text)
        return True
