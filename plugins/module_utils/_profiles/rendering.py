# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: the configuration file of a profile: same content, same bytes."""

from __future__ import annotations

try:
    import yaml
except ImportError:  # the modules and filters report it; kubernetes itself depends on PyYAML
    yaml = None  # type: ignore[assignment]

from functools import lru_cache

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    ProfileError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.values import quote
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.document import to_document
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.go_yaml import parse_scalar
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.hashing import (
    parse_content,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.model import (
    Profile,
)


@lru_cache  # thousands of nodes share a few profiles
def to_plugin_config(profile: Profile) -> str:
    """The plugin's configuration file for a profile: same content, same bytes.

    A profile that shares nothing and sets nothing is the version alone: the plugin refuses replicas
    below 2 and an empty sharing block.
    """
    text = str(
        yaml.dump(
            _quoted(to_document(profile.content)),
            Dumper=_dumper(),
            sort_keys=False,
            allow_unicode=False,
        )
    )
    if (
        parse_content(text) != profile.content
    ):  # a file that the plugin misreads takes the GPUs away
        raise ProfileError(f"profile {quote(profile.name)} cannot be written as a file: {text}")
    return text


class _Quoted(str):
    """A text that Go would take for something else without quotes."""

    __slots__ = ()


def _quoted(value: object) -> object:
    """The same values, with texts marked that have to be quoted for Go."""
    if isinstance(value, dict):
        return {key: _quoted(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_quoted(entry) for entry in value]
    if isinstance(value, str) and not isinstance(parse_scalar(value), str):
        return _Quoted(value)
    return value


@lru_cache
def _dumper() -> type[yaml.SafeDumper]:
    class Dumper(yaml.SafeDumper):
        """Writes marked texts in double quotes."""

    def represent(dumper: yaml.SafeDumper, text: _Quoted) -> yaml.Node:
        return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style='"')

    Dumper.add_representer(_Quoted, represent)
    return Dumper
