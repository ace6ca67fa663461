# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Profiles that are handed on within a run: checked once, and the same at the other end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import ProfileError
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.hashing import config_hash
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rendered import (
    render,
    take_profiles,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rendering import (
    to_plugin_config,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    depends_on_plugin,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

DEFINITIONS: dict[str, Any] = {
    "default": {"replicas": 1},
    "dev": {"replicas": 8, "rename_by_default": True},
    "mps": {"strategy": "mps", "replicas": 4},
    "mig": {"replicas": 2, "mig": "all-1g.10gb"},
    "file": "version: v1\nflags: {migStrategy: none}\n",
    "keys": {
        "sharing": {"timeSlicing": {"resources": [{"name": "nvidia.com/gpu", "replicas": 3}]}}
    },
}


def test_profiles_are_the_same_at_the_other_end() -> None:
    """As JSON, in which Ansible hands them on."""
    profiles = take_profiles(DEFINITIONS)
    handed_on = json.loads(json.dumps(render(profiles)))
    assert take_profiles(handed_on) == profiles
    assert render(take_profiles(handed_on)) == handed_on


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_rendered_profile_has_file_hash_and_mig(name: str) -> None:
    profile = take_profiles(DEFINITIONS)[name]
    file = to_plugin_config(profile)
    expected = {"file": file, "hash": config_hash(file), "mig": profile.mig}
    assert render({name: profile}) == {name: expected}


def test_what_is_rendered_is_not_checked_against_the_plugin_again() -> None:
    assert depends_on_plugin({"mig": DEFINITIONS["mig"]})
    assert not depends_on_plugin(render(take_profiles(DEFINITIONS)))
    mixed = {**render(take_profiles({"dev": DEFINITIONS["dev"]})), "mig": DEFINITIONS["mig"]}
    assert depends_on_plugin(mixed)
    assert take_profiles(mixed) == take_profiles({k: DEFINITIONS[k] for k in ("dev", "mig")})


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"hash": "0123456789ab"}, ("'dev'", "0123456789ab")),
        ({"file": "version: v2\n"}, ("'dev'", "v2")),
        ({"mig": 4}, ("'dev'", "mig", "4")),
        ({"more": 1}, ("'dev'", "file")),  # then it is a definition, with keys that none has
    ],
)
def test_rendered_profile_that_is_refused(change: dict[str, Any], facts: tuple[str, ...]) -> None:
    (rendered,) = render(take_profiles({"dev": {"replicas": 8}})).values()
    with pytest.raises(ProfileError) as caught:
        take_profiles({"dev": {**rendered, **change}})
    assert mentions(caught.value, *facts)
