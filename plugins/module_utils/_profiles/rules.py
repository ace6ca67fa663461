# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the rules for profiles, by name.

Source: NVIDIA/k8s-device-plugin api/config/v1 and the start of its programs, v0.12.0 to v0.20.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Rule(Enum):
    """What can be wrong with a profile."""

    # The plugin rejects the file, and the node loses its GPUs.
    SYNTAX = "the text is not YAML that the plugin can read"
    VERSION = "a version that the plugin does not know"
    TYPE = "a value of the wrong type"
    MISSING = "a required setting is missing"
    NO_RESOURCES = "sharing without resources"
    REPLICAS = "replicas below 2 in the file"
    RESOURCE_NAME = "an invalid resource name"
    FLAG_VALUE = "a value that the plugin rejects at its start"
    IMEX_CHANNELS = "IMEX channels other than channel 0"
    MPS_WITH_MIXED = "MPS together with the MIG strategy mixed"
    # The plugin accepts the file, the MPS daemon does not, and the node loses its GPUs.
    MPS_WITH_MIG = "MPS with MIG devices"
    MPS_CLIENTS = "more MPS clients than a GPU supports"
    # Not a profile: the ConfigMap or the node label could not be written.
    NAME = "a name that is not valid as a ConfigMap key and label value"
    FORM = "a definition that is neither the short form, the plugin's keys, nor a file's text"
    # The plugin accepts the file and silently ignores part of it.
    UNKNOWN_KEY = "a key that the plugin ignores"
    DUPLICATE_KEY = "a duplicate key: the plugin uses the last"
    UNKNOWN_RESOURCE = "a resource that no device has"
    MIG_STRATEGY = "a MIG resource that the operator's MIG strategy does not advertise"
    OVERFLOW = "a duration that overflows 64 bits of nanoseconds"
    DUPLICATE_RESOURCE = (
        "a duplicate resource: the plugin uses the largest, the label shows the first"
    )
    SECOND_DOCUMENT = "a second YAML document, which the plugin ignores"
    SIZE = "a text that is too deep or too long for a configuration file"
    EMPTY_FILE = "an empty file, which shares nothing"
    TAG = "a YAML tag or directive, which YAML parsers treat differently"
    AMBIGUOUS = "a text that YAML parsers read differently, such as a tab as a space"
    CONTROL = "a string with line breaks or other control characters"
    RENAME = "rename, which the plugin ignores"
    DEVICES = "devices, which the plugin ignores: sharing applies to all GPUs of a node"
    RESOURCE_PATTERNS = "resources by pattern, which the plugin ignores"
    TWO_STRATEGIES = "timeSlicing together with mps: the plugin uses mps alone"
    SHADOWED_FLAG = "a flag that the operator's environment variable overrides"
    PLUGIN_VERSION = "a setting that this version of the plugin ignores"

    @property
    def accepted_by_plugin(self) -> bool:
        """Whether the plugin accepts the file nevertheless."""
        return self in _ACCEPTED

    @property
    def is_notice(self) -> bool:
        """Whether a profile is taken nevertheless, without what the plugin ignores. Files that
        follow NVIDIA's guide have such flags.
        """
        return self is Rule.SHADOWED_FLAG


_ACCEPTED = frozenset(
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
    """A broken rule, with a message: the profile, the key, its value and what is allowed."""

    rule: Rule
    text: str
