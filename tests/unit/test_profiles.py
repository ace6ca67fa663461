# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Profiles: what is accepted, what is refused and how, and the file that comes out."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpufleet.sharing.plugins.module_utils import _errors, _profiles

GPU = _profiles.GPU_RESOURCE
MIG = "nvidia.com/mig-1g.5gb"


def shared(*pairs: tuple[str, int]) -> tuple[_profiles.SharedResource, ...]:
    return tuple(_profiles.SharedResource(name, replicas) for name, replicas in pairs)


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        pytest.param({"replicas": 1}, _profiles.Profile("p"), id="no sharing"),
        pytest.param({"replicas": 4}, _profiles.Profile("p", shared((GPU, 4))), id="short form"),
        pytest.param({"replicas": "4"}, _profiles.Profile("p", shared((GPU, 4))), id="as text"),
        pytest.param(
            {"replicas": 2, "rename_by_default": "Yes", "fail_requests_greater_than_one": "off"},
            _profiles.Profile("p", shared((GPU, 2)), True, False),
            id="booleans as text",
        ),
        pytest.param(
            {"resources": [{"name": "gpu", "replicas": 3}, {"name": MIG, "replicas": 2}]},
            _profiles.Profile("p", shared((GPU, 3), (MIG, 2))),
            id="list with short and full names",
        ),
    ],
)
def test_parse_profile_accepts(definition: object, expected: _profiles.Profile) -> None:
    assert _profiles.parse_profile("p", definition) == expected


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (
            None,
            "profile 'p' is None; allowed: a mapping with replicas, rename_by_default,"
            " fail_requests_greater_than_one or resources, for example {replicas: 4}.",
        ),
        ({}, "profile 'p': replicas is missing; allowed: a whole number from 1 on"),
        ({"replicas": 0}, "profile 'p': replicas is 0; allowed: a whole number from 1 on (1 means"),
        ({"replicas": True}, "profile 'p': replicas is True; allowed: a whole number"),
        ({"replicas": 1.5}, "profile 'p': replicas is 1.5; allowed: a whole number"),
        ({"replicas": "-2"}, "profile 'p': replicas is '-2'; allowed: a whole number"),
        (
            {"replicas": 2, "renameByDefault": True},
            "profile 'p': renameByDefault (value True) is not a setting of a profile; allowed:"
            " replicas, rename_by_default, fail_requests_greater_than_one, resources."
            " Did you mean rename_by_default?",
        ),
        ({"replicas": 2, "rename_by_default": 1}, "rename_by_default is 1; allowed: true or false"),
        (
            {"replicas": 2, "resources": [{"name": "gpu", "replicas": 2}]},
            "profile 'p' has both replicas and resources; allowed: replicas alone (all GPUs)",
        ),
        ({"resources": []}, "profile 'p': resources is []; allowed: a list with at least one"),
        ({"resources": "gpu"}, "profile 'p': resources is 'gpu'; allowed: a list"),
        ({"resources": ["gpu"]}, "resources[0] is 'gpu'; allowed: a mapping {name: nvidia.com/gpu"),
        (
            {"resources": [{"name": "gpu", "replicas": 1}]},
            "profile 'p': resources[0].replicas is 1; allowed: a whole number from 2 on.",
        ),
        ({"resources": [{"name": "gpu"}]}, "resources[0].replicas is missing"),
        ({"resources": [{"replicas": 2}]}, "resources[0].name is None; allowed: nvidia.com/gpu"),
        ({"resources": [{"name": "cpu", "replicas": 2}]}, "resources[0].name is 'cpu'; allowed:"),
        ({"resources": [{"name": "mig-1G.5gb", "replicas": 2}]}, "resources[0].name is 'mig-1G.5"),
        (
            {"resources": [{"name": "mig-" + "1" * 60, "replicas": 2}]},
            "resources[0].name is 'mig-1111",
        ),
        (
            {"resources": [{"name": "gpu", "replicas": 2, "replica": 3}]},
            "profile 'p': resources[0].replica (value 3) is not a setting of a profile; allowed:"
            " name, replicas. Did you mean replicas?",
        ),
        (
            {"resources": [{"name": "gpu", "replicas": 2}, {"name": GPU, "replicas": 3}]},
            "profile 'p': resources names 'nvidia.com/gpu' more than once; allowed: one entry",
        ),
    ],
)
def test_parse_profile_refuses_definition(definition: object, message: str) -> None:
    with pytest.raises(_errors.ProfileError) as caught:
        _profiles.parse_profile("p", definition)
    assert message in "\n".join(caught.value.problems)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (1, "profile 1 has a name of type int; allowed: a text of 1 to 63 characters"),
        ("a" * 64, "has a name of 64 characters; allowed: a text of 1 to 63"),
        ("", "profile '' has a name that cannot be used"),
        ("-a", "profile '-a' has a name that cannot be used"),
        ("a.", "profile 'a.' has a name that cannot be used"),
        ("a b", "profile 'a b' has a name that cannot be used"),
        ("a\n", "has a name that cannot be used"),
    ],
)
def test_parse_profile_refuses_name(name: object, message: str) -> None:
    with pytest.raises(_errors.ProfileError) as caught:
        _profiles.parse_profile(name, {"replicas": 2})
    assert [message in problem for problem in caught.value.problems] == [True]


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "a" * 63])
def test_parse_profile_accepts_name(name: str) -> None:
    assert _profiles.parse_profile(name, {"replicas": 2}).name == name


def test_parse_profile_cuts_long_value() -> None:
    with pytest.raises(_errors.ProfileError) as caught:
        _profiles.parse_profile("p", {"replicas": "x" * 200})
    assert "x" * 76 + "...; allowed" in caught.value.problems[0]


@pytest.mark.parametrize("definitions", [None, {}, [], "p"])
def test_parse_profiles_refuses_no_profiles(definitions: object) -> None:
    with pytest.raises(_errors.ProfileError, match="it must map at least one profile name"):
        _profiles.parse_profiles(definitions)


def test_parse_profiles_reports_every_problem() -> None:
    definitions = {"a": {"replicas": 0, "x": 1}, "good": {"replicas": 2}, "-b": {"replicas": 2}}
    with pytest.raises(_errors.ProfileError) as caught:
        _profiles.parse_profiles(definitions)
    assert len(caught.value.problems) == 3


def test_parse_profiles_keeps_names() -> None:
    profiles = _profiles.parse_profiles({"a": {"replicas": 1}, "b": {"replicas": 2}})
    assert {name: profile.replicas for name, profile in profiles.items()} == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("definition", "replicas", "strategy", "advertised"),
    [
        ({"replicas": 1}, 1, "none", GPU),
        ({"replicas": 1, "rename_by_default": True}, 1, "none", GPU),
        ({"replicas": 4}, 4, "time-slicing", GPU),
        ({"replicas": 4, "rename_by_default": True}, 4, "time-slicing", GPU + ".shared"),
        ({"resources": [{"name": MIG, "replicas": 2}]}, 1, "time-slicing", GPU),
    ],
)
def test_profile_properties(
    definition: object, replicas: int, strategy: str, advertised: str
) -> None:
    profile = _profiles.parse_profile("p", definition)
    assert (profile.replicas, profile.strategy, profile.advertised(GPU)) == (
        replicas,
        strategy,
        advertised,
    )


def test_to_plugin_config_without_sharing() -> None:
    profile = _profiles.parse_profile("p", {"replicas": 1})
    assert _profiles.to_plugin_config(profile) == "version: v1\n"


def test_to_plugin_config_with_sharing() -> None:
    text = _profiles.to_plugin_config(_profiles.parse_profile("p", {"replicas": 4}))
    assert text == (
        "version: v1\n"
        "sharing:\n"
        "  timeSlicing:\n"
        "    renameByDefault: false\n"
        "    failRequestsGreaterThanOne: true\n"
        "    resources:\n"
        "    - name: nvidia.com/gpu\n"
        "      replicas: 4\n"
    )


@given(replicas=st.integers(min_value=2, max_value=10**6), rename=st.booleans(), fail=st.booleans())
def test_to_plugin_config_says_the_profile(replicas: int, rename: bool, fail: bool) -> None:
    profile = _profiles.Profile("p", shared((GPU, replicas), (MIG, 2)), rename, fail)
    sharing = yaml.safe_load(_profiles.to_plugin_config(profile))["sharing"]["timeSlicing"]
    assert sharing == {
        "renameByDefault": rename,
        "failRequestsGreaterThanOne": fail,
        "resources": [{"name": GPU, "replicas": replicas}, {"name": MIG, "replicas": 2}],
    }


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("version: v1\n", "# comment\n\nversion:   'v1'", True),
        ("a: 1\nb: 2\n", "{b: 2, a: 1}", True),
        ("a: 1\n", "a: 2\n", False),
        ("a: [1, 2]\n", "a: [2, 1]\n", False),
        ("{", "{", True),
        ("{", "[", False),
    ],
)
def test_config_hash_and_same_content_ignore_layout(one: str, other: str, same: bool) -> None:
    assert (_profiles.config_hash(one) == _profiles.config_hash(other)) is same
    assert _profiles.same_content(one, other) is same


def test_config_hash_is_twelve_digits() -> None:
    digits = _profiles.config_hash("version: v1\n")
    assert len(digits) == 12
    int(digits, 16)


def test_same_content_without_file() -> None:
    assert not _profiles.same_content(None, "")
