# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: renders the configuration file of a profile; equal contents give equal bytes."""

from __future__ import annotations

try:
    import yaml
except ImportError:  # the modules and filters report it; kubernetes itself depends on PyYAML
    yaml = None  # type: ignore[assignment]

from functools import lru_cache

from .._common.errors import ProfileError
from .._common.values import quote
from .document import to_document
from .go_yaml import parse_scalar
from .hashing import parse_content
from .model import Profile


@lru_cache  # thousands of nodes share a few profiles
def to_plugin_config(profile: Profile) -> str:
    """The plugin's configuration file for a profile; equal contents give equal bytes.

    A profile that shares and sets nothing has only the version: the plugin rejects replicas below 2
    and an empty sharing section.
    """
    text = str(
        yaml.dump(
            _quoted(to_document(profile.content)),
            Dumper=_dumper(),
            sort_keys=False,
            allow_unicode=False,
        )
    )
    if parse_content(text) != profile.content:  # with a misread file the node loses its GPUs
        raise ProfileError(f"profile {quote(profile.name)} cannot be rendered: {text}")
    return text


class _Quoted(str):
    """A string that Go would read as another type without quotes."""

    __slots__ = ()


def _quoted(value: object) -> object:
    """The same values, with strings marked that need quotes for Go."""
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
        """Writes marked strings in double quotes."""

    def represent(dumper: yaml.SafeDumper, text: _Quoted) -> yaml.Node:
        return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style='"')

    Dumper.add_representer(_Quoted, represent)
    return Dumper
