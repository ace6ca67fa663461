# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the ConfigMap key of a profile, in both rollout modes."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .._common.errors import ProfileError, joined
from .._common.values import quote
from .hashing import config_hash
from .model import MAX_NAME_LENGTH, Profile
from .rendering import to_plugin_config

IN_PLACE, VERSIONED = MODES = ("in_place", "versioned")
VERSION_LENGTH = 8  # digits of the hash in the key of a versioned profile
MAX_VERSIONED_NAME_LENGTH = MAX_NAME_LENGTH - VERSION_LENGTH - 1


def config_key(profile: Profile, *, versioned: bool) -> str:
    """The ConfigMap key of a profile: its name. A versioned key adds a hash of the content, so that
    keys never change.
    """
    if not versioned:
        return profile.name
    return f"{profile.name}.{config_hash(to_plugin_config(profile))[:VERSION_LENGTH]}"


_VERSIONED_KEY = re.compile(rf".+\.[0-9a-f]{{{VERSION_LENGTH}}}")


def is_versioned(key: str) -> bool:
    """Whether a key looks like that of a versioned profile."""
    return _VERSIONED_KEY.fullmatch(key) is not None


def check_versioned_names(names: Iterable[str]) -> None:
    """Raise ProfileError where a name is too long for a versioned key."""
    problems = [
        f"profile {quote(name)} has a name of {len(name)} characters; allowed: at most"
        f" {MAX_VERSIONED_NAME_LENGTH} with O(mode): versioned."
        for name in names
        if len(name) > MAX_VERSIONED_NAME_LENGTH
    ]
    if problems:
        raise joined(ProfileError, problems)
