# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: rendered profiles, which modules pass on within a run.

{name: {file: the plugin's file, hash: 12 hexadecimal digits, mig: a configuration or null}}.
Modules accept this form instead of definitions, so that a run validates its profiles once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .._common.errors import ProfileError, joined
from .._common.values import quote
from .hashing import config_hash
from .model import Profile
from .plugin import Plugin
from .rendering import to_plugin_config
from .validation import checked_profiles, is_rendered, parse_profiles


def render(profiles: Mapping[str, Profile]) -> dict[str, dict[str, str | None]]:
    """Render validated profiles."""
    files = {name: to_plugin_config(profile) for name, profile in profiles.items()}
    return {
        name: {"file": text, "hash": config_hash(text), "mig": profiles[name].mig}
        for name, text in files.items()
    }


def take_profiles(
    given: object,
    plugin: Plugin | None = None,
    notice: Callable[[str], object] = lambda _text: None,
) -> dict[str, Profile]:
    """Profiles from definitions or rendered profiles. plugin validates definitions; by default they
    are already validated against the cluster's. notice is as for parse_profiles.

    Raises ProfileError, also where a hash does not match its file.
    """
    profiles = checked_profiles(given) if plugin is None else parse_profiles(given, plugin, notice)
    entries = given.items() if isinstance(given, Mapping) else ()
    wrong = [
        f"profile {quote(str(name))}: hash is {quote(entry['hash'])}, but that of its file is"
        f" '{found}'."
        for name, entry in entries
        if isinstance(entry, Mapping) and is_rendered(entry)
        if (found := config_hash(str(entry["file"]))) != entry["hash"]
    ]
    if wrong:
        raise joined(ProfileError, wrong)
    return profiles
