# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters say in YAML's terms what they were given and what is allowed, and do what their
documentation says.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from inspect import Parameter, signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible.parsing.dataloader import DataLoader

from ansible_collections.gpufleet.sharing.plugins.filter.sharing import FilterModule
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import FleetError
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.inventory import Inventory
from ansible_collections.gpufleet.sharing.plugins.plugin_utils import _inventory
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

ROOT = Path(__file__).resolve().parents[2]
FILTERS = FilterModule().filters()
NODE = {"name": "n1", "host": "h1", "cluster": "c", "profile": "dev", "selected": True}
PROFILES = {"dev": {"replicas": 4, "mig": "all-1g.5gb"}, "default": {"replicas": 1}}
# What each filter takes: all of its arguments
VALID: dict[str, list[Any]] = {
    "to_plugin_config": [PROFILES, "v0.19.3", "single"],
    "expected_allocatable": [{"replicas": 4}, {"nvidia.com/gpu.count": "2"}],
    "recommended_replicas": ["heavy"],
    "memory_budget": [81559, 4],
    "sharing_strategy": ["NVIDIA-L4", "memory", "bursty", "8.9"],
    "as_in_revision": [[NODE], {"n1": None}, PROFILES],
    "cluster_hosts": [{"gpu_nodes": ["n1"]}],
    "access_manifests": [["reader", "operator"], "existing", "gpus", "shares", "policy", "tries"],
}
WRONG = (
    "[null, true, 19, -1, 4.5, x, '', '99999999999999999999999', [], [x], [1, null], [[x]],"
    " {}, {x: 1}, {1: x}, {x: null}, 2026-01-02, {x: [true, {y: 4}]}]"
)
PYTHON = re.compile(
    r"\bof type|(?<![\w'])(int|str|bool|float|dict|NoneType|tuple|_\w+|Ansible\w+)\b(?!')"
    r"|object|attribute|Traceback|hashable|subscript|iterable|KeyError|instance"
)
CONSTANTS = re.compile(r"\b(None|True|False)\b")
# What is said of these is said by the floor below, which all modules share.
PROFILE_ARGUMENTS = {("to_plugin_config", 0), ("expected_allocatable", 0)}


def wrong_values() -> list[tuple[str, Any]]:
    """Each value as Python has it, and as Ansible reads it with the place where it stood."""
    return [(f"{value!r}", value) for value in yaml.safe_load(WRONG)] + [
        (f"tagged {value!r}", value) for value in DataLoader().load(WRONG)
    ]


def changed(value: Any, wrong: Any) -> Iterator[Any]:
    """The value with each part of it, and it all, replaced; and each mapping less one key."""
    yield wrong
    if isinstance(value, dict):
        for key in value:
            yield {name: entry for name, entry in value.items() if name != key}
            for other in changed(value[key], wrong):
                yield {**value, key: other}
            yield {wrong if isinstance(wrong, str | int) else 7: value[key]}
    if isinstance(value, list):
        for at, entry in enumerate(value):
            for other in changed(entry, wrong):
                yield [*value[:at], other, *value[at + 1 :]]


def call(name: str, arguments: list[Any]) -> str:
    """What a filter says against its arguments; nothing where it takes them."""
    try:
        FILTERS[name](*copy.deepcopy(arguments))
    except AnsibleFilterError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_filters_take_what_is_valid(name: str) -> None:
    assert call(name, VALID[name]) == ""
    assert call(name, DataLoader().load(yaml.safe_dump(VALID[name]))) == ""


@pytest.mark.parametrize(("said", "wrong"), wrong_values())
@pytest.mark.parametrize("name", sorted(FILTERS))
def test_filters_refuse_in_the_terms_of_yaml(name: str, said: str, wrong: Any) -> None:
    for at, valid in enumerate(VALID[name]):
        below = (name, at) in PROFILE_ARGUMENTS
        for value in changed(valid, wrong):
            message = call(name, [*VALID[name][:at], value, *VALID[name][at + 1 :]])
            if not message:
                continue
            assert message.startswith(f"{name}: ")
            assert below or not CONSTANTS.search(message), message
            assert not PYTHON.search(message.removeprefix(f"{name}: ")), message


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_filters_refuse_enormous_numbers(name: str) -> None:
    for at in range(len(VALID[name])):
        message = call(name, [*VALID[name][:at], 10**5000, *VALID[name][at + 1 :]])
        assert mentions(message, "30")


@pytest.mark.parametrize(
    ("name", "arguments", "facts"),
    [
        ("to_plugin_config", [19], ("19",)),
        ("to_plugin_config", [{}], ("profiles", "{}")),
        (
            "to_plugin_config",
            [PROFILES, "", "bogus"],
            ("'bogus'", "mig_strategy", "none"),
        ),
        (
            "to_plugin_config",
            [PROFILES, 0.19],
            ("plugin_version", "0.19 ", "'v0.19.3'"),
        ),
        ("to_plugin_config", [PROFILES, "new"], ("'new'", "plugin_version")),
        (
            "as_in_revision",
            [["n1"], {}, {}],
            ("'n1'", "nodes[0]"),
        ),
        (
            "as_in_revision",
            [[{"name": ["n1"], "profile": None, "selected": True}], {}, {}],
            ("['n1']", "nodes[0].name"),
        ),
        (
            "as_in_revision",
            [[{"name": "n1"}], {}, {}],
            ("nodes[0]", "{'name': 'n1'}", "profile"),
        ),
        (
            "as_in_revision",
            [[], {"n1": 4}, {}],
            ("assignments.n1", "4", "null"),
        ),
        (
            "as_in_revision",
            [[], ["n1"], {}],
            ("assignments", "['n1']"),
        ),
        (
            "expected_allocatable",
            [4, {}],
            ("4", "{replicas: 4}"),
        ),
        (
            "expected_allocatable",
            [{"replicas": 4}, ["x"]],
            ("['x']", "labels"),
        ),
        (
            "expected_allocatable",
            [{"replicas": 4}, {"a": "1" * 64}],
            ("labels['a']", "1" * 64, "63"),
        ),
        (
            "expected_allocatable",
            [{"replicas": 4}, {}],
            ("labels", "nvidia.com/gpu.count", "null"),
        ),
        ("recommended_replicas", [["x"]], ("['x']", "exclusive", "light")),
        ("memory_budget", [81559], ("'replicas'",)),
        ("as_in_revision", [[], {}, {}, "d"], ("assignments", "profiles")),
        ("recommended_replicas", ["x", 4], ()),
    ],
)
def test_filters_say_what_is_wrong(name: str, arguments: list[Any], facts: tuple[str, ...]) -> None:
    message = call(name, arguments)
    assert message.startswith(f"{name}: ")
    assert mentions(message, *facts)


def test_filters_take_labels_without_quotes() -> None:
    labels = {"nvidia.com/gpu.count": 2, "nvidia.com/mig.capable": True}
    assert FILTERS["expected_allocatable"]({"replicas": 4}, labels)["nvidia.com/gpu"] == 8  # type: ignore[index]


@pytest.mark.parametrize("strategy", [None, "", "none", "single", "mixed"])
def test_to_plugin_config_takes_each_mig_strategy(strategy: str | None) -> None:
    assert call("to_plugin_config", [{"a": {"replicas": 4}}, "", strategy]) == ""


@pytest.mark.parametrize(
    ("selected", "assignments", "profile", "chosen"),
    [
        (True, {"n1": "prod"}, "prod", True),
        ("yes", {"n1": None}, None, True),
        (False, {"n1": "prod"}, "prod", False),
        ("no", {"n1": "prod"}, "prod", False),
        (True, {"n2": "prod"}, "dev", True),
        (False, {"n2": "prod"}, "dev", False),
    ],
)
def test_as_in_revision(
    selected: object, assignments: dict[str, object], profile: str | None, chosen: bool
) -> None:
    node = {**NODE, "selected": selected, "gpus": 8}
    expected = {**node, "profile": profile, "selected": chosen}
    assert FILTERS["as_in_revision"]([node], assignments, PROFILES) == [expected]


@pytest.mark.parametrize(("profile", "chosen"), [("dev", True), (None, True), ("new", False)])
def test_as_in_revision_of_a_node_that_came_later(profile: str | None, chosen: bool) -> None:
    """It keeps its profile, and is left out where the revision has none of that name."""
    node = {**NODE, "profile": profile}
    found = FILTERS["as_in_revision"]([node], {}, PROFILES)
    assert found == [{**node, "selected": chosen}]


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_limit_file_that_cannot_be_read(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "limit"
    if content:
        file.write_bytes(content)
    hostvars: Any = SimpleNamespace(_inventory=SimpleNamespace())
    inventory = Inventory({"gpu_nodes": ["n1"]}, {})
    with pytest.raises(FleetError) as caught:
        _inventory.read_selection(["n1"], f"@{file}", inventory, hostvars)
    assert mentions(caught.value, "--limit", file)


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_filters_take_what_their_documentation_says(name: str) -> None:
    """The same arguments in the same order, with the same defaults."""
    text = (ROOT / "plugins" / "filter" / f"{name}.yml").read_text(encoding="utf-8")
    documented = yaml.safe_load(text)["DOCUMENTATION"]
    options = dict(documented["options"])
    options.pop("_input")
    known = list(signature(FILTERS[name]).parameters.values())[1:]
    assert [parameter.name for parameter in known] == list(options)
    if options:
        assert documented.get("positional", "").split(", ") == list(options)
    for parameter in known:
        option = options[parameter.name]
        required = parameter.default is Parameter.empty
        assert option.get("required", False) == required
        assert required or option.get("default") == parameter.default


@pytest.mark.parametrize(
    ("labels", "facts"),
    [
        ({"nvidia.com/gpu.product": "A100-MIG-1g.5gb"}, ("MPS", "MIG")),
        (
            {"nvidia.com/gpu.compute.major": "7", "nvidia.com/gpu.compute.minor": "0"},
            ("MPS", "16", "7.0"),
        ),
    ],
)
def test_expected_allocatable_refuses_what_mps_cannot_do(
    labels: dict[str, str], facts: tuple[str, ...]
) -> None:
    profile = {"strategy": "mps", "replicas": 20}
    with pytest.raises(AnsibleFilterError) as caught:
        FILTERS["expected_allocatable"](profile, {"nvidia.com/gpu.count": "1", **labels})
    assert mentions(caught.value, *facts)
