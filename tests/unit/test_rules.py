# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every rule of a profile: what breaks it, and what is said then.

A case is a definition as an inventory has it; a text is a configuration file. For what the device
plugin itself makes of such files see tests/differential.
"""

from __future__ import annotations

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils import _plugin_file, _profiles
from ansible_collections.gpufleet.sharing.plugins.module_utils._rules import Rule

OLD = _plugin_file.operator_plugin("single", (0, 19, 3))
NEW = _plugin_file.operator_plugin("single", (0, 20, 0))
MIXED = _plugin_file.operator_plugin("mixed")
BARE = _plugin_file.Plugin(mig_strategy="none")
GPU = {"name": "gpu", "replicas": 4}
SLICED = {"sharing": {"timeSlicing": {"resources": [GPU]}}}


def entry(**settings: object) -> dict[str, object]:
    """A file that shares one resource, with settings of its entry changed."""
    return {"sharing": {"timeSlicing": {"resources": [GPU | settings]}}}


CASES: list[tuple[Rule, object, str]] = [
    (Rule.SYNTAX, "sharing: {", "is no YAML that every reader can read: expected"),
    (Rule.SYNTAX, "a: &a [*a]", "a[0] is an anchor that contains itself"),
    (Rule.SYNTAX, "? [a]\n: b", "has a key that is no text; allowed: a text"),
    (Rule.SYNTAX, "version: *nowhere", "found undefined alias"),
    (Rule.SYNTAX, "<<: 4", "<< merges what is no mapping"),
    (Rule.SYNTAX, r'version: "\ud83d\ude00"', "version has half a character"),
    (Rule.SIZE, "x: " + "[" * 200 + "]" * 200, "is nested far deeper, or is far longer"),
    (Rule.SIZE, "x: [" + "0," * 30_000 + "]", "is nested far deeper, or is far longer"),
    (Rule.AMBIGUOUS, "version: v1\t", "found character '\\t' that cannot start any token (line 1)"),
    (Rule.TAG, "version: !!str v1", "uses the tag 'tag:yaml.org,2002:str'; write it without"),
    (Rule.TAG, "%YAML 1.2\n---\nversion: v1", "uses a directive (%)"),
    (Rule.SECOND_DOCUMENT, "version: v1\n---\n[", "has more than one YAML document"),
    (
        Rule.DUPLICATE_KEY,
        "version: v1\nversion: v2",
        "version is there twice, and the plugin takes",
    ),
    (Rule.DUPLICATE_KEY, {"version": "v1", "Version": "v1"}, "version is there twice (in other"),
    (Rule.EMPTY_FILE, "# nothing\n", "is a text that says nothing"),
    (Rule.FORM, None, "is null; allowed: a mapping with replicas or resources, for example"),
    (Rule.FORM, ["replicas"], "is ['replicas']; allowed: a mapping"),
    (Rule.FORM, {"strategy": "time-slicing", "replicas": 2}, "strategy is 'time-slicing'; allowed"),
    (Rule.FORM, {"strategy": "none", "replicas": 2}, "replicas is 2 beside strategy none"),
    (Rule.FORM, {"strategy": "none", "resources": [GPU]}, "has both strategy none and resources"),
    (Rule.FORM, {"replicas": 2, "resources": [GPU]}, "has both replicas and resources; allowed"),
    (Rule.NAME, {"replicas": 2, "mig": "all 1g"}, "mig is 'all 1g'; allowed: the name of a"),
    (Rule.VERSION, {"version": "v2"}, "version is 'v2'; allowed: v1"),
    (Rule.VERSION, "version: 1", "version is 1; allowed: v1"),
    (Rule.VERSION, "version: .nan", "version is nan; allowed: v1"),
    (Rule.TYPE, {"replicas": 4.5}, "replicas is 4.5; allowed: a whole number from 1 on (1 means"),
    (Rule.TYPE, {"replicas": True}, "replicas is true; allowed: a whole number"),
    (Rule.TYPE, {"replicas": "four"}, "replicas is 'four'; allowed: a whole number"),
    (Rule.TYPE, {"replicas": 2**63}, "replicas is 9223372036854775808; allowed: a whole number"),
    (Rule.TYPE, {"replicas": None}, "replicas is null; allowed: a whole number"),
    (
        Rule.TYPE,
        {"replicas": 2, "rename_by_default": 1},
        "rename_by_default is 1; allowed: true or",
    ),
    (Rule.TYPE, "sharing: {timeSlicing: {resources: [{name: gpu, replicas: '4'}]}}", "is '4'"),
    (
        Rule.TYPE,
        "flags: {gdsEnabled: 'true'}",
        "flags.gdsEnabled is 'true'; allowed: true or false",
    ),
    (Rule.TYPE, "unknown: .nan", "unknown is nan; allowed: a finite number"),
    (Rule.TYPE, {"flags": []}, "flags is []; allowed: a mapping"),
    (
        Rule.TYPE,
        {"resources": {"gpus": {"a": "b"}}},
        "resources.gpus is {'a': 'b'}; allowed: leave",
    ),
    (Rule.TYPE, {"imex": {"channelIDs": "0"}}, "imex.channelIDs is '0'; allowed: [] or [0]"),
    (Rule.TYPE, {"imex": {"channelIDs": ["a"]}}, "imex.channelIDs is ['a']; allowed: [] or [0]"),
    (
        Rule.TYPE,
        {"flags": {"plugin": {"deviceListStrategy": 1}}},
        "is 1; allowed: a text, or a list",
    ),
    (
        Rule.TYPE,
        {"flags": {"gfd": {"sleepInterval": True}}},
        "is true; allowed: a duration such as",
    ),
    (Rule.TYPE, {"flags": {"mpsRoot": []}}, "flags.mpsRoot is []; allowed: a text"),
    (Rule.TYPE, {"sharing": {"timeSlicing": {"resources": "gpu"}}}, "resources is 'gpu'; allowed"),
    (Rule.TYPE, {"resources": ["gpu"]}, "resources[0] is 'gpu'; allowed: a mapping"),
    (
        Rule.TYPE,
        {"flags": {"nvidiaDevRoot": 4}},
        "is 4; allowed: a text. Put it in quotes",
    ),
    (
        Rule.MISSING,
        {},
        "replicas is missing; allowed: a whole number from 1 on (1 means no sharing)",
    ),
    (Rule.MISSING, {"resources": [{"name": "gpu"}]}, "resources[0].replicas is missing"),
    (Rule.MISSING, {"resources": [{"replicas": 2}]}, "resources[0].name is missing; allowed: nvid"),
    (Rule.NO_RESOURCES, {"resources": []}, "resources is []; allowed: a list with at least one"),
    (
        Rule.NO_RESOURCES,
        {"sharing": {"timeSlicing": {}}},
        "resources is null; allowed: a list with",
    ),
    (Rule.NO_RESOURCES, {"sharing": {"mps": {"resources": []}}}, "to share nothing, leave sharing"),
    (
        Rule.REPLICAS,
        {"replicas": 0},
        "replicas is 0; allowed: a whole number from 1 on (1 means no",
    ),
    (Rule.REPLICAS, {"replicas": -2}, "replicas is -2; allowed: a whole number from 1 on"),
    (
        Rule.REPLICAS,
        entry(replicas=1),
        "resources[0].replicas is 1; allowed: a whole number from 2",
    ),
    (Rule.RESOURCE_NAME, entry(name="nvidia.com/GPU"), "name is 'nvidia.com/GPU'; allowed: nvidia"),
    (
        Rule.RESOURCE_NAME,
        entry(name="amd.com/gpu"),
        "name is 'amd.com/gpu'; allowed: nvidia.com/gpu",
    ),
    (Rule.RESOURCE_NAME, entry(name="mig-" + "1" * 60), "name is 'mig-1111"),
    (Rule.RESOURCE_NAME, entry(name=4), "name is 4; allowed: nvidia.com/gpu"),
    (Rule.UNKNOWN_RESOURCE, entry(name="cpu"), "name is 'cpu'; allowed: nvidia.com/gpu, or nvidia"),
    (Rule.UNKNOWN_RESOURCE, entry(name="mig-small"), "name is 'mig-small'; allowed"),
    (Rule.UNKNOWN_RESOURCE, entry(name="mig-9g.99gb"), "(slices 1, 2, 3, 4, 6, 7 or 8; behind it"),
    (Rule.UNKNOWN_RESOURCE, entry(name="mig-1c.3g.20gb"), "mig-<slices>g.<memory>gb such as nvi"),
    (
        Rule.FLAG_VALUE,
        {"flags": {"deviceDiscoveryStrategy": "vfio"}},
        "is 'vfio'; allowed: auto, nv",
    ),
    (
        Rule.IMEX_CHANNELS,
        {"imex": {"channelIDs": [0, 1]}},
        "imex.channelIDs is [0, 1]; allowed: []",
    ),
    (
        Rule.MPS_CLIENTS,
        {"strategy": "mps", "replicas": 49},
        "has 49 replicas; allowed for MPS: 2 to",
    ),
    (
        Rule.MPS_WITH_MIG,
        {"strategy": "mps", "resources": [{"name": "mig-1g.5gb", "replicas": 2}]},
        "shares nvidia.com/mig-1g.5gb by MPS, which takes no MIG devices; allowed: nvidia.com/gpu",
    ),
    (
        Rule.MPS_WITH_MIG,
        {"strategy": "mps", "replicas": 2, "mig": "all-1g.5gb"},
        "mig is 'all-1g.5gb' beside MPS, which takes no MIG devices; allowed: all-disabled",
    ),
    (
        Rule.UNKNOWN_KEY,
        {"replicas": 2, "renameByDefault": True},
        "renameByDefault (value true) is not a setting of a profile; allowed: strategy, replicas,"
        " rename_by_default, fail_requests_greater_than_one, resources, mig."
        " Did you mean rename_by_default?",
    ),
    (
        Rule.UNKNOWN_KEY,
        {"flags": {"renameByDefault": True}},
        "In the plugin's own keys it belongs at sharing.timeSlicing.renameByDefault.",
    ),
    (Rule.UNKNOWN_KEY, {"timeSlicing": {}}, "it belongs at sharing.timeSlicing."),
    (Rule.UNKNOWN_KEY, entry(replica=2), "allowed in sharing.timeSlicing.resources[0]: name, repl"),
    (Rule.DUPLICATE_RESOURCE, {"resources": [GPU, GPU]}, "names 'nvidia.com/gpu' more than once"),
    (Rule.RENAME, entry(rename="my-gpu"), "rename is ignored by the plugin; use renameByDefault"),
    (
        Rule.DEVICES,
        entry(devices=[0]),
        "devices is [0]; allowed: all. Sharing covers all GPUs of a",
    ),
    (
        Rule.RESOURCE_PATTERNS,
        {"resources": {"gpus": [{"pattern": "*", "name": "gpu"}]}},
        "resources.gpus is ignored by the plugin; leave it out",
    ),
    (
        Rule.TWO_STRATEGIES,
        {"sharing": {"timeSlicing": {"resources": [GPU]}, "mps": {"resources": [GPU]}}},
        "has both timeSlicing and mps, and MPS would win",
    ),
    (
        Rule.SHADOWED_FLAG,
        {"flags": {"migStrategy": "mixed"}},
        "flags.migStrategy (value 'mixed') is ignored: the operator sets MIG_STRATEGY in the"
        " plugin's environment, which wins; set the chart's value mig.strategy",
    ),
    (Rule.CONTROL, {"flags": {"gfd": {"outputFile": "a\nb"}}}, "a text of one line"),
    (Rule.TYPE, {"replicas": "010"}, "replicas is '010'; allowed: a whole number"),
    (Rule.UNKNOWN_KEY, ".nan: 1", ".nan (value 1) is not a setting of a profile; allowed: version"),
    (Rule.OVERFLOW, {"flags": {"gfd": {"sleepInterval": f"{2**63}ns{2**63}ns"}}}, "64 bits of"),
    (Rule.OVERFLOW, {"flags": {"gfd": {"sleepInterval": 2**70}}}, "at most 64 bits of nanoseconds"),
]
GATED: list[tuple[Rule, object, _plugin_file.Plugin, str]] = [
    (
        Rule.PLUGIN_VERSION,
        {"flags": {"plugin": {"sharedDevicesAllocationPolicy": "packed"}}},
        OLD,
        "is known from plugin v0.20.0 on; the cluster has v0.19.3",
    ),
    (
        Rule.PLUGIN_VERSION,
        {"flags": {"plugin": {"sharedDevicesAllocationPolicy": "tight"}}},
        OLD,
        "is known from plugin v0.20.0 on; the cluster has v0.19.3",
    ),
    (
        Rule.FLAG_VALUE,
        {"flags": {"plugin": {"sharedDevicesAllocationPolicy": "tight"}}},
        NEW,
        "is 'tight'; allowed: distributed or packed",
    ),
    (
        Rule.FLAG_VALUE,
        {"flags": {"plugin": {"sharedDevicesAllocationPolicy": "tight"}}},
        MIXED,
        "is 'tight'; allowed: distributed or packed",
    ),
    (
        Rule.DUPLICATE_KEY,
        {"version": "v2", "Version": 1},
        OLD,
        "version is there twice (in other case), and one would win",
    ),
    (Rule.TAG, "version: !!int '4'", OLD, "uses the tag 'tag:yaml.org,2002:int'; write it without"),
    (
        Rule.PLUGIN_VERSION,
        {"strategy": "mps", "replicas": 2, "fail_requests_greater_than_one": False},
        OLD,
        "lets requests above 1 pass, which MPS ignores before plugin v0.20.0",
    ),
    (
        Rule.MIG_STRATEGY,
        {"resources": [{"name": "mig-1g.5gb", "replicas": 2}]},
        OLD,
        "shares nvidia.com/mig-1g.5gb, which only MIG strategy mixed advertises",
    ),
    (
        Rule.MPS_WITH_MIXED,
        {"strategy": "mps", "replicas": 2},
        MIXED,
        "uses MPS, which the plugin refuses beside the MIG strategy mixed; allowed: time-slicing",
    ),
    (
        Rule.FLAG_VALUE,
        {"flags": {"migStrategy": "all"}},
        BARE,
        "is 'all'; allowed: none, single or",
    ),
    (Rule.FLAG_VALUE, {"sharing": {"mps": {"resources": [GPU]}}}, BARE, "uses MPS without an MPS"),
    (
        Rule.FLAG_VALUE,
        {"flags": {"gfd": {"sleepInterval": "1h2"}}},
        BARE,
        "is '1h2'; allowed: a dur",
    ),
]


@pytest.mark.parametrize(
    ("rule", "definition", "message"),
    CASES,
    ids=[f"{case[0].name}-{n}" for n, case in enumerate(CASES)],
)
def test_rule(rule: Rule, definition: object, message: str) -> None:
    _profile, problems = _profiles.read_profile("p", definition)
    said = [problem.text for problem in problems if problem.rule is rule]
    assert any(message in text for text in said), problems
    assert all(text.startswith("profile 'p'") for text in said)


@pytest.mark.parametrize(
    ("rule", "definition", "plugin", "message"),
    GATED,
    ids=[f"{c[0].name}-{n}" for n, c in enumerate(GATED)],
)
def test_rule_that_depends_on_the_plugin(
    rule: Rule, definition: object, plugin: _plugin_file.Plugin, message: str
) -> None:
    _profile, problems = _profiles.read_profile("p", definition, plugin)
    assert [problem.rule for problem in problems] == [rule]
    assert message in problems[0].text


def test_every_rule_has_a_case() -> None:
    assert {case[0] for case in CASES} | {case[0] for case in GATED} == set(Rule)


@pytest.mark.parametrize("number", range(len(CASES)))
def test_rule_is_told_once(number: int) -> None:
    """One mistake, one message: nothing that follows from it."""
    rule, definition, _message = CASES[number]
    _profile, problems = _profiles.read_profile("p", definition)
    assert [problem.rule for problem in problems].count(rule) == 1


@pytest.mark.parametrize(
    ("definition", "plugin"),
    [
        ({"flags": {"plugin": {"sharedDevicesAllocationPolicy": "packed"}}}, NEW),
        ({"flags": {"plugin": {"sharedDevicesAllocationPolicy": "packed"}}}, MIXED),
        ({"strategy": "mps", "replicas": 2, "fail_requests_greater_than_one": False}, NEW),
        ({"resources": [{"name": "mig-1g.5gb", "replicas": 2}]}, MIXED),
        ({"resources": [{"name": "mig-1g.5gb", "replicas": 2}]}, None),
        ({"flags": {"migStrategy": "mixed"}}, _plugin_file.operator_plugin("")),
        ({"flags": {"gfd": {"sleepInterval": "infinite"}}}, BARE),
        ({"sharing": {"mps": {"resources": [GPU]}}, "flags": {"mpsRoot": "/mps"}}, BARE),
    ],
)
def test_same_definition_passes_elsewhere(
    definition: object, plugin: _plugin_file.Plugin | None
) -> None:
    assert _profiles.read_profile("p", definition, plugin)[1] == []


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("v0.19.3", (0, 19, 3)),
        ("0.20.0-ubi9", (0, 20, 0)),
        ("sha256:abc", None),
        ("", None),
    ],
)
def test_read_version(image: str, version: tuple[int, int, int] | None) -> None:
    assert _plugin_file.read_version(image) == version
