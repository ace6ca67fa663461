# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of nodes that are templates, in an inventory as Ansible reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import FleetError
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.fleet import Fleet, read_fleet
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.limit import Selection
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._inventory import (
    read_inventory,
    with_own_profiles,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

EVERYTHING = Selection()
TIER = {"gpu_sharing_profile": "{{ tier }}"}


def read(
    folder: Path,
    nodes: str,
    selection: Selection = EVERYTHING,
    extra: Mapping[str, object] = MappingProxyType({}),
) -> Fleet:
    """The fleet of an inventory whose group gpu_nodes is this, as YAML."""
    file = folder / "hosts.yml"
    group = yaml.safe_load(nodes)
    file.write_text(yaml.safe_dump({"all": {"children": {"gpu_nodes": group}}}), encoding="utf-8")
    loader = DataLoader()
    loader.set_basedir(str(folder))
    manager = InventoryManager(loader, [str(file)])
    variables = VariableManager(loader, manager)
    variables._extra_vars = dict(extra)
    hostvars = HostVars(manager, variables, loader)
    fleet = read_fleet(read_inventory(manager.get_groups_dict(), hostvars), selection)
    return with_own_profiles(fleet, hostvars)


def test_extra_variable_is_the_profile_of_the_limited_nodes_only(tmp_path: Path) -> None:
    nodes = """
      vars: {gpu_sharing_profile: "{{ tier }}", tier: low}
      hosts: {n1: {}, n2: {tier: high}, n3: {gpu_sharing_profile: own}, n4: {}}
      children: {g: {hosts: {n4: {}}, vars: {gpu_sharing_profile: ""}}}
    """
    limit = Selection(["localhost", "n1"], "localhost,n1")
    fleet = read(tmp_path, nodes, limit, {"gpu_sharing_profile": "given"})
    expected = {"n1": "given", "n2": "high", "n3": "own", "n4": None}
    assert {node.host: node.profile for node in fleet.nodes} == expected
    expected["n1"] = "low"
    assert {node.host: node.profile for node in read(tmp_path, nodes, limit).nodes} == expected


@pytest.mark.parametrize(
    ("variable", "facts"),
    [
        ("gpu_sharing_node_name: '{{ private_dns_name }}'", ("'private_dns_name'", "undefined")),
        ("gpu_sharing_profile: '{{ pool | default(omit) }}'", ("omit", "default('')")),
        ("gpu_sharing_profile: '{{ pools[0] }}'", ("pools", "undefined")),
        ("gpu_sharing_profile: 'dev-{{ pool }}'", ("'pool'", "undefined")),
        ("gpu_sharing_cluster: '{{ site }}'", ("'site'", "undefined")),
        ("gpu_sharing_gpus: '{{ gpus | default(omit) }}'", ("omit",)),
        ("gpu_sharing_gpus: '{{ gpus | int('", ("gpus",)),
    ],
)
def test_variables_without_a_value(variable: str, facts: Sequence[str], tmp_path: Path) -> None:
    """On all hosts at once, and those alone."""
    well = "{gpu_sharing_node_name: x, gpu_sharing_profile: '', gpu_sharing_gpus: 2}"
    fine = well.replace("}", ", gpu_sharing_cluster: localhost}")
    nodes = f"{{vars: {{{variable}}}, hosts: {{n1: {{}}, n2: {fine}, n3: {{}}}}}}"
    with pytest.raises(FleetError) as raised:
        read(tmp_path, nodes)
    assert len(raised.value.problems) == 1
    assert mentions(raised.value, variable.partition(":")[0], "n1, n3", *facts)


def test_variables_without_a_value_are_reported_together(tmp_path: Path) -> None:
    nodes = """
      vars: {gpu_sharing_profile: "{{ pool | default(omit) }}", gpu_sharing_node_name: "{{ dns }}"}
      hosts: {i-0aaa: {dns: ip-10-0-1-2.example.internal}, i-0bbb: {}}
    """
    with pytest.raises(FleetError) as raised:
        read(tmp_path, nodes)
    first, second = raised.value.problems
    assert mentions(first, "gpu_sharing_profile", "i-0aaa, i-0bbb")
    assert mentions(second, "gpu_sharing_node_name", "i-0bbb")
    assert "i-0aaa" not in second


@pytest.mark.parametrize("value", ["''", "'{{ pool | default('''') }}'", "null"])
def test_empty_is_not_set(value: str, tmp_path: Path) -> None:
    names = ("profile", "cluster", "node_name", "gpus")
    variables = ", ".join(f"gpu_sharing_{name}: {value}" for name in names)
    (node,) = read(tmp_path, f"{{vars: {{{variables}}}, hosts: {{n1: {{}}}}}}").nodes
    assert (node.name, node.cluster, node.profile, node.gpus) == ("n1", "localhost", None, None)


AGREE = [
    pytest.param("{tier: dev, gpu_sharing_profile: '{{ tier }}'}", "{gpu_sharing_profile: dev}"),
    pytest.param("{gpu_sharing_profile: dev}", "{tier: dev, gpu_sharing_profile: '{{ tier }}'}"),
    pytest.param("{gpu_sharing_profile: '{{ mine }}'}", "{gpu_sharing_profile: '{{ mine }}'}"),
    pytest.param("{tier: dev}", "{tier: dev, gpu_sharing_profile: '{{ tier }}'}"),
    pytest.param("{a: x}", "{gpu_sharing_profile: '{{ \"dev\" }}'}"),
]
DIFFER = [
    pytest.param("{tier: dev, gpu_sharing_profile: '{{ tier }}'}", "{gpu_sharing_profile: prod}"),
    pytest.param("{gpu_sharing_profile: prod}", "{tier: dev, gpu_sharing_profile: '{{ tier }}'}"),
    pytest.param(
        "{tier: dev, gpu_sharing_profile: '{{ tier }}'}",
        "{tier: prod, gpu_sharing_profile: '{{ tier }}'}",
    ),
    pytest.param(  # behind a template of a template
        "{size: dev, tier: '{{ size }}', gpu_sharing_profile: '{{ tier }}'}",
        "{size: prod, tier: '{{ size }}', gpu_sharing_profile: '{{ tier }}'}",
    ),
    pytest.param("{tier: dev, gpu_sharing_profile: '{{ tier }}'}", "{tier: prod}"),
]


def two_groups(one: str, two: str) -> str:
    host = "hosts: {n1: {mine: dev}}"
    return f"children: {{a: {{vars: {one}, {host}}}, b: {{vars: {two}, {host}}}}}"


@pytest.mark.parametrize(("one", "two"), AGREE)
def test_groups_that_agree_behind_templates(one: str, two: str, tmp_path: Path) -> None:
    (node,) = read(tmp_path, two_groups(one, two)).nodes
    assert node.profile == "dev"


@pytest.mark.parametrize(("one", "two"), DIFFER)
def test_groups_that_differ_behind_templates(one: str, two: str, tmp_path: Path) -> None:
    with pytest.raises(FleetError) as raised:
        read(tmp_path, two_groups(one, two))
    assert mentions(raised.value, "n1: ", "a (", "b (", "dev", "prod")


def test_groups_that_differ_behind_the_template_of_their_parent(tmp_path: Path) -> None:
    parent = f"vars: {TIER}\n{two_groups('{tier: dev}', '{tier: prod}')}"
    with pytest.raises(FleetError) as raised:
        read(tmp_path, parent)
    assert mentions(raised.value, "n1: ", "a (dev)", "b (prod)")


@pytest.mark.parametrize("own", ["{tier: dev}", "{gpu_sharing_profile: dev}"])
def test_host_resolves_a_conflict_behind_templates(own: str, tmp_path: Path) -> None:
    nodes = yaml.safe_load(f"vars: {TIER}\n{two_groups('{tier: dev}', '{tier: prod}')}")
    nodes["hosts"] = {"n1": yaml.safe_load(own)}
    (node,) = read(tmp_path, yaml.safe_dump(nodes)).nodes
    assert node.profile == "dev"
