# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: the rules that a profile must keep, by name, and how problems are
collected.

Source: NVIDIA/k8s-device-plugin api/config/v1 and the start of its programs, v0.12.0 to v0.20.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

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
