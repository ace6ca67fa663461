# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: compares and hashes configuration files by content, independent of layout."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import replace
from functools import lru_cache

from .document import to_document
from .model import Content
from .plugin import ANY_PLUGIN, Plugin
from .reader import ProfileReader
from .validation import read_text

VERSION = "v1:"  # of config_hash, in notes: a later release knows what it reads


@lru_cache
def config_hash(text: str) -> str:
    """Twelve hexadecimal digits for the content of a configuration file, independent of layout and
    comments. For a file that the plugin would reject or partly ignore, they hash its bytes.
    """
    content = parse_content(text)
    hashed = text if content is None else json.dumps(to_document(content), sort_keys=True)
    return hashlib.sha256(hashed.encode(errors="surrogatepass")).hexdigest()[:12]


def to_note(digest: str) -> str:
    """A hash as it is stored in the cluster; one of another version stays as it is."""
    return digest if ":" in digest else f"{VERSION}{digest}"


def from_note(text: str) -> str:
    """The stored hash, to compare with that of a content. Older releases stored it without a
    version. One of another version stays as it is, and equals no hash of a content.
    """
    return text.removeprefix(VERSION)


def same_content(one: str | None, other: str, shadowed: Collection[str] = frozenset()) -> bool:
    """Whether two configuration files have the same content, independent of layout and comments.
    shadowed are flags that the plugin's environment overrides, so that they do not count.
    """
    if one is None or one == other:
        return one is not None
    first, second = parse_content(one), parse_content(other)
    if first is None or second is None:
        return False
    return _without(first, shadowed) == _without(second, shadowed)


def _without(content: Content, shadowed: Collection[str]) -> Content:
    flags = tuple((name, value) for name, value in content.flags if name not in shadowed)
    return replace(content, flags=flags)


@lru_cache
def parse_content(text: str) -> Content | None:
    """The content of a file, None where it breaks a rule. Flags that the operator overrides are
    accepted.
    """
    reader = ProfileReader("", lenient=False)
    content = read_text(text, reader, Plugin() if "mpsRoot" in text else ANY_PLUGIN)
    return None if reader.problems else content
