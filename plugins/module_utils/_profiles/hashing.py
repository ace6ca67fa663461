# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: what a configuration file says, whatever its layout: comparison and
hash.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache

from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.document import to_document
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.model import (
    Content,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.plugin import (
    ANY_PLUGIN,
    Plugin,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.reader import ProfileReader
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import read_text


@lru_cache
def config_hash(text: str) -> str:
    """Twelve hexadecimal digits that name what a configuration file says, whatever its layout and
    comments. A file that the plugin would refuse, or partly ignore, is named by its bytes.
    """
    content = parse_content(text)
    said = text if content is None else json.dumps(to_document(content), sort_keys=True)
    return hashlib.sha256(said.encode(errors="surrogatepass")).hexdigest()[:12]


def same_content(one: str | None, other: str) -> bool:
    """Whether two configuration files say the same to the plugin, whatever their layout and
    comments.
    """
    if one is None or one == other:
        return one is not None
    content = parse_content(one)
    return content is not None and content == parse_content(other)


@lru_cache
def parse_content(text: str) -> Content | None:
    """What a file says, None where it breaks a rule. What the operator shadows does not matter."""
    reader = ProfileReader("", lenient=False)
    content = read_text(text, reader, Plugin() if "mpsRoot" in text else ANY_PLUGIN)
    return None if reader.problems else content
