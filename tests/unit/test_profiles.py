# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Profiles: what is accepted, what is refused and how, and the file that comes out."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import ProfileError
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.values import quote
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles import flags
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.hashing import (
    config_hash,
    same_content,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.model import (
    GPU_RESOURCE,
    Content,
    Imex,
    Profile,
    SharedResource,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.plugin import (
    Plugin,
    operator_plugin,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rendering import (
    to_plugin_config,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rules import Rule
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    parse_profile,
    parse_profiles,
    read_profile,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

BARE = Plugin()
GPU = GPU_RESOURCE
MIG = "nvidia.com/mig-1g.5gb"


def profile(*pairs: tuple[str, int], mig: str | None = None, **settings: Any) -> Profile:
    resources = tuple(SharedResource(name, replicas) for name, replicas in pairs)
    return Profile("p", Content(resources, **settings), mig)


RECIPE = """version: v1
sharing:
  timeSlicing:
    resources:
      - name: nvidia.com/gpu
        replicas: 4
"""


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        pytest.param({"replicas": 1}, profile(), id="no sharing"),
        pytest.param({"replicas": 1, "strategy": "mps"}, profile(), id="no sharing, also by MPS"),
        pytest.param({"strategy": "none"}, profile(), id="strategy none"),
        pytest.param({"version": "v1"}, profile(), id="no sharing in the plugin's keys"),
        pytest.param({"sharing": None, "version": ""}, profile(), id="null is nothing"),
        pytest.param({"replicas": 4}, profile((GPU, 4)), id="short form"),
        pytest.param({"replicas": "4"}, profile((GPU, 4)), id="as text"),
        pytest.param({"replicas": 4.0}, profile((GPU, 4)), id="a whole number with a point"),
        pytest.param({"strategy": "mps", "replicas": 4}, profile((GPU, 4), mps=True), id="MPS"),
        pytest.param(
            {"replicas": 2, "mig": "all-1g.5gb"}, profile((GPU, 2), mig="all-1g.5gb"), id="MIG"
        ),
        pytest.param(
            {"replicas": 2, "rename_by_default": "Yes", "fail_requests_greater_than_one": "off"},
            profile((GPU, 2), rename_by_default=True, fail_requests_greater_than_one=False),
            id="booleans as text",
        ),
        pytest.param(
            {"resources": [{"name": "gpu", "replicas": 3}, {"name": MIG, "replicas": 2}]},
            profile((GPU, 3), (MIG, 2)),
            id="list with short and full names",
        ),
        pytest.param(
            RECIPE, profile((GPU, 4), fail_requests_greater_than_one=False), id="text of a file"
        ),
        pytest.param(
            {
                "Version": "v1",
                "flags": {"gdsEnabled": "true", "plugin": None, "gfd": {"noTimestamp": False}},
                "sharing": {
                    "mps": {
                        "renameByDefault": True,
                        "resources": [{"name": "gpu", "replicas": "2"}],
                    }
                },
                "imex": {"channelIDs": [0], "required": True},
                "mig": "all-disabled",
            },
            profile(
                (GPU, 2),
                mig="all-disabled",
                mps=True,
                rename_by_default=True,
                flags=(("gdsEnabled", True), ("gfd.noTimestamp", False)),
                imex=Imex((0,), True),
            ),
            id="the plugin's own keys",
        ),
    ],
)
def test_parse_profile_accepts(definition: object, expected: Profile) -> None:
    assert parse_profile("p", definition) == expected


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        (1, ("1", "63")),
        ("a" * 64, ("64", "1", "63")),
        ("", ("''",)),
        ("-a", ("'-a'",)),
        ("a.", ("'a.'",)),
        ("a b", ("'a b'",)),
        ("a\n", ()),
    ],
)
def test_parse_profile_refuses_name(name: object, facts: tuple[str, ...]) -> None:
    with pytest.raises(ProfileError) as caught:
        parse_profile(name, {"replicas": 2})
    assert len(caught.value.problems) == 1
    assert mentions(caught.value.problems[0], *facts)


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "a" * 63])
def test_parse_profile_accepts_name(name: str) -> None:
    assert parse_profile(name, {"replicas": 2}).name == name


def test_parse_profile_cuts_long_value() -> None:
    with pytest.raises(ProfileError) as caught:
        parse_profile("p", {"replicas": "x" * 200})
    assert "x" * 76 + "..." in caught.value.problems[0]
    assert "x" * 80 not in caught.value.problems[0]


@pytest.mark.parametrize("definitions", [None, {}, [], "p"])
def test_parse_profiles_refuses_no_profiles(definitions: object) -> None:
    with pytest.raises(ProfileError) as caught:
        parse_profiles(definitions)
    assert mentions(caught.value, "O(profiles)", quote(definitions))


def test_parse_profiles_reports_every_problem() -> None:
    definitions = {"a": {"replicas": 0, "x": 1}, "good": {"replicas": 2}, "-b": {"replicas": 2}}
    with pytest.raises(ProfileError) as caught:
        parse_profiles(definitions)
    assert len(caught.value.problems) == 3


def test_parse_profiles_refuses_a_name_twice() -> None:
    with pytest.raises(ProfileError) as caught:
        parse_profiles({4: {"replicas": 2}, "4": {"replicas": 3}})
    assert len(caught.value.problems) == 2
    assert mentions(caught.value.problems[0], "profile 4")
    assert mentions(caught.value.problems[1], "profile '4'")


def test_parse_profiles_keeps_names() -> None:
    profiles = parse_profiles({"a": {"replicas": 1}, "b": {"replicas": 2}})
    assert {name: profile.replicas for name, profile in profiles.items()} == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("definition", "replicas", "strategy", "advertised"),
    [
        ({"replicas": 1}, 1, "none", GPU),
        ({"replicas": 1, "rename_by_default": True}, 1, "none", GPU),
        ({"replicas": 4}, 4, "time-slicing", GPU),
        ({"replicas": 4, "rename_by_default": True}, 4, "time-slicing", GPU + ".shared"),
        ({"resources": [{"name": MIG, "replicas": 2}]}, 1, "time-slicing", GPU),
        ({"strategy": "mps", "replicas": 4}, 4, "mps", GPU),
    ],
)
def test_profile_properties(
    definition: object, replicas: int, strategy: str, advertised: str
) -> None:
    read = parse_profile("p", definition)
    assert (read.replicas, read.strategy, read.advertised(GPU)) == (
        replicas,
        strategy,
        advertised,
    )


def test_to_plugin_config_without_sharing() -> None:
    nothing = parse_profile("p", {"replicas": 1})
    assert to_plugin_config(nothing) == "version: v1\n"


def test_to_plugin_config_with_sharing() -> None:
    text = to_plugin_config(parse_profile("p", {"replicas": 4}))
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
    said = profile(
        (GPU, replicas),
        (MIG, 2),
        rename_by_default=rename,
        fail_requests_greater_than_one=fail,
    )
    sharing = yaml.safe_load(to_plugin_config(said))["sharing"]["timeSlicing"]
    assert sharing == {
        "renameByDefault": rename,
        "failRequestsGreaterThanOne": fail,
        "resources": [{"name": GPU, "replicas": replicas}, {"name": MIG, "replicas": 2}],
    }


def test_to_plugin_config_with_everything() -> None:
    said = profile(
        (GPU, 2),
        mps=True,
        flags=(
            ("gdsEnabled", True),
            ("plugin.deviceListStrategy", ("envvar",)),
            ("gfd.sleepInterval", "30s"),
        ),
        imex=Imex((0,), required=True),
    )
    assert to_plugin_config(said) == (
        "version: v1\n"
        "flags:\n"
        "  gdsEnabled: true\n"
        "  plugin:\n"
        "    deviceListStrategy:\n"
        "    - envvar\n"
        "  gfd:\n"
        "    sleepInterval: 30s\n"
        "sharing:\n"
        "  mps:\n"
        "    renameByDefault: false\n"
        "    failRequestsGreaterThanOne: true\n"
        "    resources:\n"
        "    - name: nvidia.com/gpu\n"
        "      replicas: 2\n"
        "imex:\n"
        "  channelIDs:\n"
        "  - 0\n"
        "  required: true\n"
    )


def test_forms_of_one_profile_give_the_same_bytes() -> None:
    short = {"replicas": 4, "fail_requests_greater_than_one": False}
    own = yaml.safe_load(RECIPE)
    files = {to_plugin_config(parse_profile("p", d)) for d in (short, own, RECIPE)}
    assert len(files) == 1


FOUR = "sharing: {timeSlicing: {resources: [{name: gpu, replicas: 4}]}}"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("version: v1\n", "# comment\n\nversion:   'v1'", True),
        (FOUR, RECIPE, True),
        (FOUR, FOUR.replace("4", "0x4"), True),
        (FOUR, FOUR.replace("4", "5"), False),
        (FOUR, FOUR.replace("4", "'4'"), False),  # the plugin refuses the second
        (FOUR, "%YAML 1.2\n---\n" + FOUR, False),
        (FOUR, "unknown: 1\n" + FOUR, False),
        (FOUR, "flags: {migStrategy: none}\n" + FOUR, False),
        ("{", "{", True),
        ("{", "[", False),
    ],
)
def test_config_hash_and_same_content_ignore_layout(one: str, other: str, same: bool) -> None:
    assert (config_hash(one) == config_hash(other)) is same
    assert same_content(one, other) is same


def test_same_content_without_what_the_environment_overrides() -> None:
    guide = "version: v1\nflags: {migStrategy: none}\n" + FOUR
    assert same_content(guide, FOUR, {"migStrategy"})
    assert same_content(FOUR, guide, {"migStrategy"})
    assert not same_content(guide, FOUR, {"failOnInitError"})
    assert not same_content(guide, FOUR.replace("4", "5"), {"migStrategy"})
    assert not same_content("{", FOUR, {"migStrategy"})


def test_flags_that_the_environment_overrides_are_left_out_with_a_notice() -> None:
    guide = "version: v1\nflags: {migStrategy: none, gdsEnabled: true}\n" + FOUR
    notices: list[str] = []
    found = parse_profiles({"any": guide}, operator_plugin("single"), notices.append)["any"]
    assert found.content.flags == (("gdsEnabled", True),)
    (notice,) = notices
    assert mentions(notice, "'any'", "flags.migStrategy", "MIG_STRATEGY")
    assert "migStrategy" not in to_plugin_config(found)
    unset = parse_profiles({"any": guide}, operator_plugin(""), notices.append)["any"]
    assert ("migStrategy", "none") in unset.content.flags  # nothing overrides it
    assert len(notices) == 1
    with pytest.raises(ProfileError, match="migStrategy"):
        parse_profiles({"any": {"flags": {"migStrategy": 4}}}, operator_plugin("single"))


def test_config_hash_is_twelve_digits() -> None:
    digits = config_hash("version: v1\n")
    assert len(digits) == 12
    int(digits, 16)


def test_same_content_without_file() -> None:
    assert not same_content(None, "")


@pytest.mark.parametrize(
    "text", ["y", "N", "1e3", "09", "0X4", "0o10", "0B1", "+.5", "0b-1", "+_4", "~", "", "on", "é"]
)
def test_text_that_go_takes_for_something_else_is_quoted(text: str) -> None:
    said = parse_profile("p", {"flags": {"gfd": {"outputFile": text}}})
    file = to_plugin_config(said)
    assert parse_profile("p", file).content == said.content


@pytest.mark.parametrize(
    ("duration", "nanoseconds"),
    [
        ("60s", 60 * 10**9),
        ("1m30.5s", 905 * 10**8),
        ("-.5ms", -500_000),
        ("+0", 0),
        (1.9, 1),
        (2**53 + 1, 2**53),
        ("0.999999999999999999s", 10**9),  # Go rounds
        ("0.29s", 290_000_000),
        ("0.9223372036854775809s", 922_337_203),  # the last digit does not fit, and is left out
        ("9223372036854775807ns", 2**63 - 1),
        ("9223372036854775808ns", None),
        ("-9223372036854775808ns", -(2**63)),
        ("2562047h47m16.854775807s", 2**63 - 1),
        ("2562047h47m16.854775808s", None),
        ("99999999h", None),
        ("0" * 9000 + "1s", 10**9),
        ("9" * 9000 + "s", None),
        ("9223372036854775808ns9223372036854775808ns", 2**64),  # Go misses it, and has 0
        ("9223372036854775808ns1ns", None),
        ("1h2", None),
        (".s", None),
        ("", None),
    ],
)
def test_nanoseconds(duration: object, nanoseconds: int | None) -> None:
    assert flags.nanoseconds(duration) == nanoseconds


@pytest.mark.parametrize("interval", ["infinite", "9223372036854775807ns"])
def test_longest_duration_is_infinite(interval: str) -> None:
    said = parse_profile("p", f"flags: {{gfd: {{sleepInterval: {interval}}}}}", BARE)
    assert said.content.flags == (("gfd.sleepInterval", "infinite"),)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("mig-1g.5gb", True),
        ("mig-6g.24gb", True),
        ("mig-7g.1024gb", True),
        ("mig-1g.10gb.me", True),
        ("mig-1g.24gb.me.all", True),
        ("mig-4g.96gb.gfx", True),
        ("mig-2g.48gb-me", True),
        ("mig-5g.40gb", False),
        ("mig-9g.99gb", False),
        ("mig-0g.0gb", False),
        ("mig-1g.0gb", False),
        ("mig-1g.05gb", False),
        ("mig-1g.5gb.shared", False),
        ("mig-1g.5gb.me.gfx", False),
        ("mig-1g.5gb-gfx", False),
        ("mig-1c.3g.20gb", False),  # a compute instance has no resource of its own
    ],
)
def test_names_of_mig_resources(name: str, known: bool) -> None:
    settings = {"resources": [{"name": name, "replicas": 2}]}
    problems = read_profile("p", settings, operator_plugin("mixed"))[1]
    assert [problem.rule for problem in problems] == ([] if known else [Rule.UNKNOWN_RESOURCE])
