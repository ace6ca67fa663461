# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: the rules that a profile must keep, by name, and how problems are
collected.

Source: NVIDIA/k8s-device-plugin api/config/v1 and the start of its programs, v0.12.0 to v0.20.0.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import shorten
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.values import (
    shown,
    to_whole_number,
)

_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")


class Rule(Enum):
    """What can be wrong with a profile; the value says what the plugin would do with it."""

    # The plugin refuses the file, and the node loses its GPUs.
    SYNTAX = "the text is no YAML that the plugin can read"
    VERSION = "the version is none that the plugin knows"
    TYPE = "a value of a type that the plugin does not convert"
    MISSING = "a setting that has to be there is not"
    NO_RESOURCES = "sharing that names no resource"
    REPLICAS = "replicas below 2 in the file"
    RESOURCE_NAME = "a name that can be no resource of the plugin"
    FLAG_VALUE = "a flag that the plugin checks when it starts"
    IMEX_CHANNELS = "IMEX channels other than none and channel 0"
    MPS_WITH_MIXED = "MPS beside the MIG strategy mixed"
    # The plugin takes the file, and the MPS daemon does not: the node loses its GPUs.
    MPS_WITH_MIG = "MPS with MIG devices"
    MPS_CLIENTS = "more MPS clients than any GPU has"
    # There is no such profile: the ConfigMap or the node label could not be written.
    NAME = "a name that can be no key of a ConfigMap or no value of a label"
    FORM = "a definition that is neither short form, nor the plugin's own keys, nor a file's text"
    # The plugin takes the file and silently does something else than it seems to say.
    UNKNOWN_KEY = "a key that the plugin ignores"
    DUPLICATE_KEY = "a key twice, of which the plugin takes the last"
    UNKNOWN_RESOURCE = "a resource that no device ever has"
    MIG_STRATEGY = "a MIG resource, which the operator's MIG strategy does not advertise"
    OVERFLOW = "a duration beyond 64 bits of nanoseconds, which wraps around"
    DUPLICATE_RESOURCE = "a resource twice: the plugin takes the largest, the label the first"
    SECOND_DOCUMENT = "a second YAML document, which the plugin ignores"
    SIZE = "a text far deeper or longer than any configuration file"
    EMPTY_FILE = "a file that says nothing, and so shares nothing"
    TAG = "a YAML tag or directive, which readers of YAML treat differently"
    AMBIGUOUS = "a tab as a blank, a colon without one, or the like, which readers take differently"
    CONTROL = "a text with line breaks or other characters that a flag cannot have"
    RENAME = "rename, which the plugin ignores"
    DEVICES = "devices, which the plugin ignores: sharing covers all GPUs of a node"
    RESOURCE_PATTERNS = "resources by pattern, which the plugin ignores"
    TWO_STRATEGIES = "timeSlicing and mps, of which MPS wins whole"
    SHADOWED_FLAG = "a flag that the operator sets in the plugin's environment, which wins"
    PLUGIN_VERSION = "a setting that this version of the plugin ignores"

    @property
    def plugin_takes_it(self) -> bool:
        """Whether the plugin would take the file all the same."""
        return self in _TAKEN


_TAKEN = frozenset(
    {
        Rule.MPS_WITH_MIG,
        Rule.MPS_CLIENTS,
        Rule.UNKNOWN_KEY,
        Rule.UNKNOWN_RESOURCE,
        Rule.MIG_STRATEGY,
        Rule.OVERFLOW,
        Rule.DUPLICATE_KEY,
        Rule.DUPLICATE_RESOURCE,
        Rule.SECOND_DOCUMENT,
        Rule.SIZE,
        Rule.EMPTY_FILE,
        Rule.TAG,
        Rule.AMBIGUOUS,
        Rule.CONTROL,
        Rule.RENAME,
        Rule.DEVICES,
        Rule.RESOURCE_PATTERNS,
        Rule.TWO_STRATEGIES,
        Rule.SHADOWED_FLAG,
        Rule.PLUGIN_VERSION,
    }
)


@dataclass(frozen=True)
class Problem:
    """One broken rule, told for people: whose, where, the value, and what is allowed."""

    rule: Rule
    text: str


@dataclass
class Reader:
    """Reads the settings of one profile and collects what is wrong, so that a user sees all
    problems at once.

    lenient takes numbers and truth values also as texts, as surveys and -e give them; a file's
    text is read strictly, as the plugin reads it.
    """

    subject: str
    lenient: bool = True
    problems: list[Problem] = field(default_factory=list)

    def problem(self, rule: Rule, where: str, text: str) -> None:
        said = f"{self.subject}: {where} {text}." if where else f"{self.subject} {text}."
        self.problems.append(Problem(rule, said))

    def refuse(self, rule: Rule, where: str, value: object, allowed: str) -> None:
        self.problem(rule, where, f"is {shown(value)}; allowed: {allowed}")

    def unknown_key(
        self, where: str, key: object, value: object, known: Sequence[str], place: str = ""
    ) -> None:
        """A key that is none of known; with what may be meant, or where (place) it belongs."""
        near = difflib.get_close_matches(str(key).lower(), [k.lower() for k in known], n=1)
        hints = [f" Did you mean {name}?" for name in known if near == [name.lower()]]
        if place and not hints:
            hints = [f" In the plugin's own keys it belongs at {place}."]
        below = f" in {where}" if where else ""
        name = path(where, shorten(str(key)))
        said = (
            f"{self.subject}: {name} (value {shown(value)}) is not a setting"
            f" of a profile; allowed{below}: {', '.join(known)}.{''.join(hints)}"
        )
        self.problems.append(Problem(Rule.UNKNOWN_KEY, said))

    def mapping(self, where: str, value: object, example: str) -> Mapping[object, object]:
        """A mapping, empty where there is none."""
        if isinstance(value, Mapping):
            return value
        self.refuse(Rule.TYPE, where, value, f"a mapping, for example {example}")
        return {}

    def whole_number(self, where: str, value: object, allowed: str) -> int | None:
        """A whole number of 64 bits, None where it is not one. 4.0 is one, as for the plugin."""
        number = to_whole_number(value, lenient=self.lenient)
        if number is None:
            self.refuse(Rule.TYPE, where, value, allowed)
        return number

    def boolean(self, where: str, value: object, *, default: bool) -> bool:
        """A truth value; null means the default, as for the plugin."""
        if value is None:
            return default
        if self.lenient and isinstance(value, str) and value.lower() in (*_TRUE, *_FALSE):
            return value.lower() in _TRUE
        if not isinstance(value, bool):
            self.refuse(Rule.TYPE, where, value, "true or false")
            return default
        return value

    def text(self, where: str, value: object) -> str | None:
        """A text, None where it is not one."""
        if isinstance(value, str):
            if value.isprintable() or value == "":
                return str(value)
            self.refuse(
                Rule.CONTROL, where, ascii(value), "a text of one line, of letters and signs"
            )
            return None
        plain = isinstance(value, bool | int | float)
        self.refuse(Rule.TYPE, where, value, "a text. Put it in quotes" if plain else "a text")
        return None


def path(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
