# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: matches the keys of a configuration file as Go does."""

from __future__ import annotations

from collections.abc import Sequence

from .flags import FLAGS
from .reader import ProfileReader, join_path
from .rules import Rule

TOP_KEYS = ("version", "flags", "resources", "sharing", "imex")


def _fold(name: str) -> str:
    """A key as Go's JSON library compares it: case-insensitive, letter by letter."""
    return "".join(letter.lower() for letter in name).replace("\N{LATIN SMALL LETTER LONG S}", "s")


_PLACES = {
    **{_fold(name.rpartition(".")[2]): join_path("flags", name) for name in FLAGS},
    **{_fold(name): f"sharing.{name}" for name in ("timeSlicing", "mps")},
    **{_fold(name): f"imex.{name}" for name in ("channelIDs", "required")},
    **{
        _fold(name): f"sharing.timeSlicing.{name}"
        for name in ("renameByDefault", "failRequestsGreaterThanOne", "resources")
    },
    **{_fold(n): f"sharing.timeSlicing.resources[].{n}" for n in ("name", "replicas")},
    **{_fold(name): name for name in TOP_KEYS if name != "resources"},
}


def location_of(key: object) -> str:
    """Where in a file a key belongs; empty for an unknown key."""
    return _PLACES.get(_fold(str(key)), "")


def struct_fields(
    reader: ProfileReader, where: str, value: object, known: Sequence[str]
) -> dict[str, object]:
    """The entries of a section that is a struct in Go: null is empty, and case is ignored."""
    if value is None:
        return {}
    folded = {_fold(name): name for name in known}
    found: dict[str, object] = {}
    duplicates: set[str] = set()
    for key, entry in reader.mapping(where, value, "{version: v1}").items():
        name = folded.get(_fold(str(key)))
        if name is None:
            reader.unknown_key(where, key, entry, known, location_of(key))
        elif name in found:
            text = "occurs twice (in different case); allowed: each key once"
            reader.problem(Rule.DUPLICATE_KEY, join_path(where, name), text)
            duplicates.add(name)
        else:
            found[name] = entry
    # Which of two the plugin would use is not known, so neither is checked further.
    return {name: entry for name, entry in found.items() if name not in duplicates}


def map_fields(
    reader: ProfileReader, where: str, value: object, known: Sequence[str], also: Sequence[str] = ()
) -> dict[str, object]:
    """The entries of a section that Go reads as a map: required, and case-sensitive."""
    mapping = reader.mapping(where, value, "{name: nvidia.com/gpu, replicas: 4}")
    for key, entry in mapping.items():
        if key not in (*known, *also):
            reader.unknown_key(where, key, entry, known, location_of(key))
    return {str(key): entry for key, entry in mapping.items() if key in (*known, *also)}
