# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every rule of a profile: what breaks it, and what is said then.

A case is a definition as an inventory has it; a text is a configuration file. For what the device
plugin itself makes of such files see tests/differential.
"""

from __future__ import annotations

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.plugin import (
    Plugin,
    operator_plugin,
    read_version,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rules import Rule
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    read_profile,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

OLD = operator_plugin("single", (0, 19, 3))
NEW = operator_plugin("single", (0, 20, 0))
MIXED = operator_plugin("mixed")
BARE = Plugin(mig_strategy="none")
GPU = {"name": "gpu", "replicas": 4}
SLICED = {"sharing": {"timeSlicing": {"resources": [GPU]}}}


def entry(**settings: object) -> dict[str, object]:
    """A file that shares one resource, with settings of its entry changed."""
    return {"sharing": {"timeSlicing": {"resources": [GPU | settings]}}}


Facts = tuple[str, ...]
CASES: list[tuple[Rule, object, Facts]] = [
    (Rule.SYNTAX, "sharing: {", ("YAML",)),
    (Rule.SYNTAX, "a: &a [*a]", ("a[0]",)),
    (Rule.SYNTAX, "? [a]\n: b", ()),
    (Rule.SYNTAX, "version: *nowhere", ("nowhere",)),
    (Rule.SYNTAX, "<<: 4", ("<<",)),
    (Rule.SYNTAX, r'version: "\ud83d\ude00"', ("version",)),
    (Rule.SIZE, "x: " + "[" * 200 + "]" * 200, ()),
    (Rule.SIZE, "x: [" + "0," * 30_000 + "]", ()),
    (Rule.AMBIGUOUS, "version: v1\t", ("'\\t'", "1")),
    (Rule.TAG, "version: !!str v1", ("'tag:yaml.org,2002:str'",)),
    (Rule.TAG, "%YAML 1.2\n---\nversion: v1", ("%",)),
    (Rule.SECOND_DOCUMENT, "version: v1\n---\n[", ("YAML",)),
    (
        Rule.DUPLICATE_KEY,
        "version: v1\nversion: v2",
        ("version",),
    ),
    (Rule.DUPLICATE_KEY, {"version": "v1", "Version": "v1"}, ("version",)),
    (Rule.EMPTY_FILE, "# nothing\n", ()),
    (Rule.FORM, None, ("null", "replicas", "resources")),
    (Rule.FORM, ["replicas"], ("['replicas']",)),
    (Rule.FORM, {"strategy": "time-slicing", "replicas": 2}, ("'time-slicing'", "strategy")),
    (Rule.FORM, {"strategy": "none", "replicas": 2}, ("replicas", "2", "strategy", "none")),
    (Rule.FORM, {"strategy": "none", "resources": [GPU]}, ("strategy", "none", "resources")),
    (Rule.FORM, {"replicas": 2, "resources": [GPU]}, ("replicas", "resources")),
    (Rule.NAME, {"replicas": 2, "mig": "all 1g"}, ("'all 1g'", "mig")),
    (Rule.VERSION, {"version": "v2"}, ("version", "'v2'", "v1")),
    (Rule.VERSION, "version: 1", ("version", "1", "v1")),
    (Rule.VERSION, "version: .nan", ("version", "nan", "v1")),
    (Rule.TYPE, {"replicas": 4.5}, ("replicas", "4.5", "1")),
    (Rule.TYPE, {"replicas": True}, ("replicas", "true")),
    (Rule.TYPE, {"replicas": "four"}, ("'four'", "replicas")),
    (Rule.TYPE, {"replicas": 2**63}, ("replicas", "9223372036854775808")),
    (Rule.TYPE, {"replicas": None}, ("replicas", "null")),
    (
        Rule.TYPE,
        {"replicas": 2, "rename_by_default": 1},
        ("rename_by_default", "1", "true"),
    ),
    (Rule.TYPE, "sharing: {timeSlicing: {resources: [{name: gpu, replicas: '4'}]}}", ("'4'",)),
    (
        Rule.TYPE,
        "flags: {gdsEnabled: 'true'}",
        ("'true'", "flags.gdsEnabled", "false"),
    ),
    (Rule.TYPE, "unknown: .nan", ("unknown", "nan")),
    (Rule.TYPE, {"flags": []}, ("flags", "[]")),
    (
        Rule.TYPE,
        {"resources": {"gpus": {"a": "b"}}},
        ("'a'", "'b'", "resources.gpus"),
    ),
    (Rule.TYPE, {"imex": {"channelIDs": "0"}}, ("'0'", "[]", "[0]", "imex.channelIDs")),
    (Rule.TYPE, {"imex": {"channelIDs": ["a"]}}, ("['a']", "[]", "[0]", "imex.channelIDs")),
    (
        Rule.TYPE,
        {"flags": {"plugin": {"deviceListStrategy": 1}}},
        ("1",),
    ),
    (
        Rule.TYPE,
        {"flags": {"gfd": {"sleepInterval": True}}},
        ("sleepInterval", "true"),
    ),
    (Rule.TYPE, {"flags": {"mpsRoot": []}}, ("[]", "flags.mpsRoot")),
    (Rule.TYPE, {"sharing": {"timeSlicing": {"resources": "gpu"}}}, ("'gpu'", "resources")),
    (Rule.TYPE, {"resources": ["gpu"]}, ("'gpu'", "resources[0]")),
    (
        Rule.TYPE,
        {"flags": {"nvidiaDevRoot": 4}},
        ("nvidiaDevRoot", "4"),
    ),
    (
        Rule.MISSING,
        {},
        ("replicas", "1"),
    ),
    (Rule.MISSING, {"resources": [{"name": "gpu"}]}, ("resources[0].replicas",)),
    (Rule.MISSING, {"resources": [{"replicas": 2}]}, ("resources[0].name",)),
    (Rule.NO_RESOURCES, {"resources": []}, ("[]", "resources")),
    (
        Rule.NO_RESOURCES,
        {"sharing": {"timeSlicing": {}}},
        ("resources", "null"),
    ),
    (Rule.NO_RESOURCES, {"sharing": {"mps": {"resources": []}}}, ("sharing.mps.resources", "[]")),
    (
        Rule.REPLICAS,
        {"replicas": 0},
        ("replicas", "0", "1"),
    ),
    (Rule.REPLICAS, {"replicas": -2}, ("replicas", "-2", "1")),
    (
        Rule.REPLICAS,
        entry(replicas=1),
        ("resources[0].replicas", "1", "2"),
    ),
    (Rule.RESOURCE_NAME, entry(name="nvidia.com/GPU"), ("'nvidia.com/GPU'",)),
    (
        Rule.RESOURCE_NAME,
        entry(name="amd.com/gpu"),
        ("'amd.com/gpu'", "nvidia.com/gpu"),
    ),
    (Rule.RESOURCE_NAME, entry(name="mig-" + "1" * 60), ("mig-1111",)),
    (Rule.RESOURCE_NAME, entry(name=4), ("4", "nvidia.com/gpu")),
    (Rule.UNKNOWN_RESOURCE, entry(name="cpu"), ("'cpu'", "nvidia.com/gpu")),
    (Rule.UNKNOWN_RESOURCE, entry(name="mig-small"), ("'mig-small'",)),
    (
        Rule.UNKNOWN_RESOURCE,
        entry(name="mig-9g.99gb"),
        ("mig-9g.99gb", "1", "2", "3", "4", "6", "7", "8"),
    ),
    (Rule.UNKNOWN_RESOURCE, entry(name="mig-1c.3g.20gb"), ("mig-<slices>g.<memory>gb",)),
    (
        Rule.FLAG_VALUE,
        {"flags": {"deviceDiscoveryStrategy": "vfio"}},
        ("deviceDiscoveryStrategy", "'vfio'", "auto", "nvml"),
    ),
    (
        Rule.IMEX_CHANNELS,
        {"imex": {"channelIDs": [0, 1]}},
        ("[0, 1]", "[]", "imex.channelIDs"),
    ),
    (
        Rule.MPS_CLIENTS,
        {"strategy": "mps", "replicas": 49},
        ("49", "replicas", "MPS", "2"),
    ),
    (
        Rule.MPS_WITH_MIG,
        {"strategy": "mps", "resources": [{"name": "mig-1g.5gb", "replicas": 2}]},
        ("nvidia.com/mig-1g.5gb", "MPS", "nvidia.com/gpu"),
    ),
    (
        Rule.MPS_WITH_MIG,
        {"strategy": "mps", "replicas": 2, "mig": "all-1g.5gb"},
        ("mig", "'all-1g.5gb'", "MPS", "all-disabled"),
    ),
    (
        Rule.UNKNOWN_KEY,
        {"replicas": 2, "renameByDefault": True},
        (
            "renameByDefault",
            "true",
            "strategy",
            "replicas",
            "rename_by_default",
            "fail_requests_greater_than_one",
            "resources",
            "mig",
        ),
    ),
    (
        Rule.UNKNOWN_KEY,
        {"flags": {"renameByDefault": True}},
        ("sharing.timeSlicing.renameByDefault",),
    ),
    (Rule.UNKNOWN_KEY, {"timeSlicing": {}}, ("sharing.timeSlicing",)),
    (Rule.UNKNOWN_KEY, entry(replica=2), ("sharing.timeSlicing.resources[0]",)),
    (Rule.DUPLICATE_RESOURCE, {"resources": [GPU, GPU]}, ("'nvidia.com/gpu'",)),
    (Rule.RENAME, entry(rename="my-gpu"), ("rename", "renameByDefault")),
    (
        Rule.DEVICES,
        entry(devices=[0]),
        ("devices", "[0]", "all"),
    ),
    (
        Rule.RESOURCE_PATTERNS,
        {"resources": {"gpus": [{"pattern": "*", "name": "gpu"}]}},
        ("resources.gpus",),
    ),
    (
        Rule.TWO_STRATEGIES,
        {"sharing": {"timeSlicing": {"resources": [GPU]}, "mps": {"resources": [GPU]}}},
        ("timeSlicing", "mps"),
    ),
    (
        Rule.SHADOWED_FLAG,
        {"flags": {"migStrategy": "mixed"}},
        ("'mixed'", "flags.migStrategy", "MIG_STRATEGY", "mig.strategy"),
    ),
    (Rule.CONTROL, {"flags": {"gfd": {"outputFile": "a\nb"}}}, ("flags.gfd.outputFile",)),
    (Rule.TYPE, {"replicas": "010"}, ("'010'", "replicas")),
    (Rule.UNKNOWN_KEY, ".nan: 1", (".nan", "1")),
    (Rule.OVERFLOW, {"flags": {"gfd": {"sleepInterval": f"{2**63}ns{2**63}ns"}}}, ("64",)),
    (Rule.OVERFLOW, {"flags": {"gfd": {"sleepInterval": 2**70}}}, ("64",)),
]
GATED: list[tuple[Rule, object, Plugin, Facts]] = [
    (
        Rule.PLUGIN_VERSION,
        {"flags": {"plugin": {"sharedDevicesAllocationPolicy": "packed"}}},
        OLD,
        ("v0.20.0", "v0.19.3"),
    ),
    (
        Rule.PLUGIN_VERSION,
        {"flags": {"plugin": {"sharedDevicesAllocationPolicy": "tight"}}},
        OLD,
        ("v0.20.0", "v0.19.3"),
    ),
    (
        Rule.FLAG_VALUE,
        {"flags": {"plugin": {"sharedDevicesAllocationPolicy": "tight"}}},
        NEW,
        ("sharedDevicesAllocationPolicy", "'tight'", "distributed", "packed"),
    ),
    (
        Rule.FLAG_VALUE,
        {"flags": {"plugin": {"sharedDevicesAllocationPolicy": "tight"}}},
        MIXED,
        ("sharedDevicesAllocationPolicy", "'tight'", "distributed", "packed"),
    ),
    (
        Rule.DUPLICATE_KEY,
        {"version": "v2", "Version": 1},
        OLD,
        ("version",),
    ),
    (Rule.TAG, "version: !!int '4'", OLD, ("'tag:yaml.org,2002:int'",)),
    (
        Rule.PLUGIN_VERSION,
        {"strategy": "mps", "replicas": 2, "fail_requests_greater_than_one": False},
        OLD,
        ("1", "MPS", "v0.20.0"),
    ),
    (
        Rule.MIG_STRATEGY,
        {"resources": [{"name": "mig-1g.5gb", "replicas": 2}]},
        OLD,
        ("nvidia.com/mig-1g.5gb", "MIG", "mixed"),
    ),
    (
        Rule.MPS_WITH_MIXED,
        {"strategy": "mps", "replicas": 2},
        MIXED,
        ("MPS", "MIG", "mixed", "time-slicing"),
    ),
    (
        Rule.FLAG_VALUE,
        {"flags": {"migStrategy": "all"}},
        BARE,
        ("flags.migStrategy", "'all'", "none", "single"),
    ),
    (Rule.FLAG_VALUE, {"sharing": {"mps": {"resources": [GPU]}}}, BARE, ("MPS", "mpsRoot")),
    (
        Rule.FLAG_VALUE,
        {"flags": {"gfd": {"sleepInterval": "1h2"}}},
        BARE,
        ("sleepInterval", "'1h2'", "60s"),
    ),
]


@pytest.mark.parametrize(
    ("rule", "definition", "facts"),
    CASES,
    ids=[f"{case[0].name}-{n}" for n, case in enumerate(CASES)],
)
def test_rule(rule: Rule, definition: object, facts: Facts) -> None:
    _profile, problems = read_profile("p", definition)
    said = [problem.text for problem in problems if problem.rule is rule]
    assert any(all(fact in text for fact in facts) for text in said), problems
    assert all(text.startswith("profile 'p'") for text in said)


@pytest.mark.parametrize(
    ("rule", "definition", "plugin", "facts"),
    GATED,
    ids=[f"{c[0].name}-{n}" for n, c in enumerate(GATED)],
)
def test_rule_that_depends_on_the_plugin(
    rule: Rule, definition: object, plugin: Plugin, facts: Facts
) -> None:
    _profile, problems = read_profile("p", definition, plugin)
    assert [problem.rule for problem in problems] == [rule]
    assert mentions(problems[0].text, "profile 'p'", *facts)


def test_every_rule_has_a_case() -> None:
    assert {case[0] for case in CASES} | {case[0] for case in GATED} == set(Rule)


@pytest.mark.parametrize("number", range(len(CASES)))
def test_rule_is_told_once(number: int) -> None:
    """One mistake, one message: nothing that follows from it."""
    rule, definition, _facts = CASES[number]
    _profile, problems = read_profile("p", definition)
    assert [problem.rule for problem in problems].count(rule) == 1


@pytest.mark.parametrize(
    ("definition", "plugin"),
    [
        ({"flags": {"plugin": {"sharedDevicesAllocationPolicy": "packed"}}}, NEW),
        ({"flags": {"plugin": {"sharedDevicesAllocationPolicy": "packed"}}}, MIXED),
        ({"strategy": "mps", "replicas": 2, "fail_requests_greater_than_one": False}, NEW),
        ({"resources": [{"name": "mig-1g.5gb", "replicas": 2}]}, MIXED),
        ({"resources": [{"name": "mig-1g.5gb", "replicas": 2}]}, None),
        ({"flags": {"migStrategy": "mixed"}}, operator_plugin("")),
        ({"flags": {"gfd": {"sleepInterval": "infinite"}}}, BARE),
        ({"sharing": {"mps": {"resources": [GPU]}}, "flags": {"mpsRoot": "/mps"}}, BARE),
    ],
)
def test_same_definition_passes_elsewhere(definition: object, plugin: Plugin | None) -> None:
    assert read_profile("p", definition, plugin)[1] == []


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
    assert read_version(image) == version
