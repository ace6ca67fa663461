# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet: conflicts in the inventory, limits that surprise, and the plan of labels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import FleetError
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.assignments import (
    plan_labels,
    undefined_profiles,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.fleet import (
    Fleet,
    misspelled_variables,
    read_fleet,
    reason_empty,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.inventory import (
    CLUSTER_VARIABLES,
    NODE_VARIABLES,
    FleetNode,
    GroupProfile,
    Inventory,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.limit import (
    Selection,
    beyond_limit,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.nodes import read_nodes
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions
from ansible_collections.gpufleet.sharing.tests.unit.fake_fleet import asked_node

ROOT = Path(__file__).resolve().parents[2]
ONE_CLUSTER = {"gpu_clusters": ["c1"], "gpu_nodes": ["n1", "n2"], "rack": ["n1"]}
TWO_CLUSTERS = {"gpu_clusters": ["c1", "c2"], "gpu_nodes": ["n1", "n2", "n3"], "web": ["w1"]}
IN_TWO = {
    "n1": {"gpu_sharing_cluster": "c1"},
    "n2": {"gpu_sharing_cluster": "c1"},
    "n3": {"gpu_sharing_cluster": "c2"},
}
ALL = Selection()
NAMES = st.sampled_from(["n1", "n2", "n3", "n4", "n5"])
LABELS = st.dictionaries(NAMES, st.sampled_from([None, "a", "b"]))


def inventory(
    groups: Mapping[str, Sequence[str]],
    variables: Mapping[str, Mapping[str, object]] | None = None,
    settings: Sequence[GroupProfile] = (),
    own: Sequence[str] = (),
) -> Inventory:
    return Inventory(groups, variables or {}, settings, own)


def setting(group: str, profile: object, *ancestors: str, priority: int = 1) -> GroupProfile:
    return GroupProfile(group, profile, frozenset(ancestors), priority)


def test_read_fleet_reads_variables() -> None:
    variables: dict[str, dict[str, object]] = {
        "n1": {
            "gpu_sharing_profile": "big",
            "gpu_sharing_node_name": "worker-1",
            "gpu_sharing_gpus": "8",
        },
        "n2": {"gpu_sharing_profile": ""},
    }
    fleet = read_fleet(inventory(ONE_CLUSTER, variables), ALL)
    assert fleet == Fleet(
        ("c1",),
        (
            FleetNode("worker-1", "n1", "c1", "rack", "big", 8, True),
            FleetNode("n2", "n2", "c1", "gpu_nodes", None, None, True),
        ),
    )


PROFILES_VARIABLE = {"gpu_sharing_profiles", "gpu_sharing_profile"}


@pytest.mark.parametrize(
    ("named", "facts"),
    [
        ({}, ()),
        ({"c1": PROFILES_VARIABLE}, ()),
        ({"c1": PROFILES_VARIABLE, "n1": PROFILES_VARIABLE}, ()),  # of group all
        ({"n1": {"gpu_sharing_profile", "gpu_sharing_owner"}}, ()),
        (
            {"n1": PROFILES_VARIABLE, "n2": PROFILES_VARIABLE, "c1": {"gpu_sharing_context"}},
            ("gpu_sharing_profiles", "n1, n2", "group_vars/all", "host_vars/c1"),
        ),
        (
            {"n3": {"gpu_sharing_drain"}, "c1": {"gpu_sharing_drain"}},
            ("gpu_sharing_drain", "n3", "group_vars/all", "host_vars/c2"),
        ),
    ],
)
def test_variables_of_clusters_on_nodes_alone(
    named: dict[str, set[str]], facts: Sequence[str]
) -> None:
    read = replace(inventory(TWO_CLUSTERS, IN_TWO), named=named)
    if not facts:
        assert read_fleet(read, ALL).nodes
        return
    with pytest.raises(FleetError) as raised:
        read_fleet(read, ALL)
    assert len(raised.value.problems) <= 1
    assert mentions(raised.value, *facts)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("profil", "profile"),
        ("profile", ""),
        ("rollout_batch", "rollout_batches"),
        ("unavailable_node", "unavailable_nodes"),
        ("rollout_max_failure", "rollout_max_failures"),
        ("rollout_stable", "rollout_stable_seconds"),
        ("drian", "drain"),
        ("drift", ""),  # what drift hands on to the next job of a workflow
        ("plan", ""),
        ("verify", ""),
        ("history", ""),
        ("fleet", ""),
        ("doctor", ""),
        ("report_summary", ""),
        ("owner", ""),
    ],
)
def test_misspelt_variables(name: str, meant: str) -> None:
    read = replace(inventory(ONE_CLUSTER), named={"n1": {f"gpu_sharing_{name}"}, "c1": ()})
    said = list(misspelled_variables(read))
    assert len(said) == bool(meant)
    if meant:
        assert re.search(rf"\bgpu_sharing_{name}\b.*\bn1\b.*\bgpu_sharing_{meant}\b", said[0])


HANDED_ON = ("doctor", "drift", "fleet", "history", "plan", "report_summary", "verify")


def test_every_variable_that_is_documented_is_known() -> None:
    """Of clusters and nodes, in the roles and in docs; what playbooks set themselves aside."""
    texts = [*ROOT.glob("roles/*/meta/argument_specs.yml"), ROOT / "docs" / "inventory.md"]
    found = {name for file in texts for name in re.findall(r"gpu_sharing_\w+", file.read_text())}
    handed_on = {f"gpu_sharing_{name}" for name in HANDED_ON}
    known = CLUSTER_VARIABLES.union(NODE_VARIABLES)
    assert found - handed_on <= known
    playbooks = (*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("roles/*/defaults/*.yml"))
    read = {name for file in playbooks for name in re.findall(r"gpu_sharing_\w+", file.read_text())}
    assert read >= CLUSTER_VARIABLES


def test_read_fleet_without_clusters_group() -> None:
    fleet = read_fleet(inventory({"gpu_nodes": ["n1"]}), ALL)
    assert fleet.clusters == ("localhost",)
    assert [(node.host, node.cluster) for node in fleet.nodes] == [("n1", "localhost")]


def test_read_fleet_names_the_smallest_group() -> None:
    groups = {
        "all": ["n1", "n2"],
        "ungrouped": ["n1"],
        "gpu_clusters": ["c1"],
        "gpu_nodes": ["n1", "n2"],
        "hall": ["n1", "n2"],
        "rack": ["n1"],
    }
    fleet = read_fleet(inventory(groups), ALL)
    assert [node.group for node in fleet.nodes] == ["rack", "hall"]


@pytest.mark.parametrize(
    ("groups", "variables", "facts"),
    [
        (
            {"gpu_nodes": ["n1"]},
            {"n1": {"gpu_sharing_cluster": "c9"}},
            ("'c9'", "n1", "gpu_sharing_cluster", "gpu_clusters"),
        ),
        ({"gpu_nodes": ["n1"], "gpu_clusters": []}, {}, ("gpu_clusters",)),
        (
            ONE_CLUSTER,
            {"n1": {"gpu_sharing_cluster": "c9"}},
            ("'c9'", "n1", "gpu_sharing_cluster", "gpu_clusters", "c1"),
        ),
        (
            TWO_CLUSTERS,
            {"n1": {"gpu_sharing_cluster": "c1"}},
            ("n2", "n3", "gpu_sharing_cluster", "c1", "c2"),
        ),
        (
            ONE_CLUSTER,
            {"n1": {"gpu_sharing_gpus": 0}},
            ("n1", "gpu_sharing_gpus", "0", "GPUs"),
        ),
        (ONE_CLUSTER, {"n1": {"gpu_sharing_gpus": True}}, ("n1", "gpu_sharing_gpus", "true")),
        (ONE_CLUSTER, {"n1": {"gpu_sharing_gpus": "two"}}, ("'two'", "n1", "gpu_sharing_gpus")),
        (
            ONE_CLUSTER,
            {"n1": {"gpu_sharing_profile": 4}},
            ("n1", "gpu_sharing_profile", "4"),
        ),
        (
            ONE_CLUSTER,
            {"n1": {"gpu_sharing_node_name": ["a"]}},
            ("['a']", "n1", "gpu_sharing_node_name"),
        ),
        (
            ONE_CLUSTER,
            {"n1": {"gpu_sharing_node_name": "n2"}},
            ("n2", "c1", "n1"),
        ),
    ],
)
def test_read_fleet_refuses_inventory(
    groups: Mapping[str, Sequence[str]],
    variables: Mapping[str, Mapping[str, object]],
    facts: Sequence[str],
) -> None:
    with pytest.raises(FleetError) as caught:
        read_fleet(inventory(groups, variables), ALL)
    assert len(caught.value.problems) == 1
    assert mentions(caught.value.problems[0], *facts)


@pytest.mark.parametrize(
    ("groups", "facts"),
    [
        ({"all": ["n1"], "ungrouped": [], "gpus": ["n1"], "dev": []}, ("gpu_nodes", "gpus, dev")),
        ({"all": ["c1"], "gpu_clusters": ["c1"], "gpu-nodes": []}, ("gpu_nodes", "gpu-nodes")),
        ({"gpu_nodes": [], "dev_gpus": []}, ("gpu_nodes", "dev_gpus")),
        ({"all": ["n1"], "ungrouped": ["n1"]}, ("gpu_nodes",)),
        ({"all": [], "ungrouped": []}, ("-i",)),
        ({}, ("-i",)),
    ],
)
def test_inventory_without_gpu_nodes(
    groups: Mapping[str, Sequence[str]], facts: Sequence[str]
) -> None:
    read = inventory(groups)
    (cluster,) = read_fleet(read, ALL).clusters
    reason = reason_empty(read, cluster)
    assert mentions(reason, *facts, "docs/inventory.md", "gpu_sharing_allow_empty", "AWX")
    assert "ungrouped" not in reason


def test_cluster_without_gpu_nodes() -> None:
    read = inventory(
        TWO_CLUSTERS, {host: {"gpu_sharing_cluster": "c1"} for host in ("n1", "n2", "n3")}
    )
    assert read_fleet(read, ALL).of("c2") == []
    assert mentions(
        reason_empty(read, "c2"), "c2", "gpu_sharing_cluster", "gpu_sharing_allow_empty"
    )


@pytest.mark.parametrize(
    ("name", "possible"),
    [
        ("gpu-node-01", True),
        ("ip-10-0-1-2.eu-west-1.compute.internal", True),
        ("10.0.0.7", True),
        ("n" * 253, True),
        ("n" * 254, False),
        ("GPU-Node-01", False),
        ("gpu_node_02", False),
        ("gpu node 3", False),
        ("-gpu", False),
        ("gpu-", False),
        ("gpu..a", False),
        ("gpu.", False),
        ("gpu\n", False),
        ("gpü", False),
        (" ", False),
    ],
)
def test_names_that_a_node_can_have(name: str, possible: bool) -> None:
    of_variable = {"n1": {"gpu_sharing_node_name": name}}
    for groups, variables in (({"gpu_nodes": ["n1"]}, of_variable), ({"gpu_nodes": [name]}, {})):
        read = inventory(groups, variables)
        if possible:
            assert read_fleet(read, ALL).nodes[0].name == name
            continue
        with pytest.raises(FleetError) as caught:
            read_fleet(read, ALL)
        assert mentions(caught.value, f"'{name}'", "gpu_sharing_node_name")


def test_impossible_names_are_listed_together() -> None:
    hosts = ["GPU-Node-01", "gpu-node-02", "gpu_node_03"]
    with pytest.raises(FleetError) as caught:
        read_fleet(inventory({"gpu_nodes": hosts}), ALL)
    (problem,) = caught.value.problems
    assert mentions(problem, "'GPU-Node-01', 'gpu_node_03'")


def test_impossible_name_with_a_name_of_its_own_is_fine() -> None:
    own = {"GPU_01": {"gpu_sharing_node_name": "gpu-01"}}
    assert read_fleet(inventory({"gpu_nodes": ["GPU_01"]}, own), ALL).nodes[0].name == "gpu-01"


def test_read_fleet_reports_every_problem() -> None:
    variables = {"n1": {"gpu_sharing_gpus": 0}, "n2": {"gpu_sharing_gpus": -1}}
    with pytest.raises(FleetError) as caught:
        read_fleet(inventory(ONE_CLUSTER, variables), ALL)
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["n1", "n2"]
    assert mentions(caught.value, *caught.value.problems)


RIVALS = {"gpu_clusters": ["c1"], "gpu_nodes": ["n1"], "a": ["n1"], "b": ["n1"]}


def test_read_fleet_refuses_conflicting_groups() -> None:
    settings = [setting("a", "x"), setting("b", "y")]
    with pytest.raises(FleetError) as caught:
        read_fleet(inventory(RIVALS, settings=settings), ALL)
    assert mentions(caught.value, "n1: ", "a (x)", "b (y)", "gpu_sharing_profile")


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param([setting("a", "x"), setting("b", "y", "a")], id="parent in group_vars"),
        pytest.param([setting("a", "x"), setting("b", "y", priority=2)], id="deeper group"),
    ],
)
def test_read_fleet_refuses_what_ansible_takes_from_another_group(
    settings: Sequence[GroupProfile],
) -> None:
    taken = {"n1": {"gpu_sharing_profile": "x"}}
    with pytest.raises(FleetError) as caught:
        read_fleet(inventory(RIVALS, taken, settings=settings), ALL)
    assert mentions(caught.value, "n1: ", " x ", " a ", " y ", " b")
    meant = {"n1": {"gpu_sharing_profile": "y"}}
    assert read_fleet(inventory(RIVALS, meant, settings=settings), ALL).nodes


@pytest.mark.parametrize(
    ("settings", "own"),
    [
        pytest.param([setting("a", "x"), setting("b", "y")], ["n1"], id="set on the host"),
        pytest.param([setting("a", "x"), setting("b", "x")], [], id="same profile"),
        pytest.param([setting("a", "x"), setting("b", "y", "a")], [], id="child above parent"),
        pytest.param([setting("a", "x"), setting("b", "y", priority=2)], [], id="priority"),
        pytest.param([setting("a", "x")], [], id="one group"),
    ],
)
def test_read_fleet_accepts_groups(settings: Sequence[GroupProfile], own: Sequence[str]) -> None:
    fleet = read_fleet(inventory(RIVALS, settings=settings, own=own), ALL)
    assert len(fleet.nodes) == 1


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (ALL, ["n1", "n2", "n3"]),
        (Selection(["c1"], "c1"), ["n1", "n2"]),
        (Selection(["c1", "localhost"], "c1,localhost"), ["n1", "n2"]),
        (Selection(["c1", "n1"], "c1,n1"), ["n1"]),
        (Selection(["c1", "n1", "n3"], "c1,n1,n3"), ["n1"]),
        (Selection(["c1", "n2"], "c1,gpu_nodes,!n1", ["n1"]), ["n2"]),
        (Selection(["c1", "c2"], "all:!web", ["w1"]), ["n1", "n2", "n3"]),
    ],
)
def test_read_fleet_selects(selection: Selection, expected: list[str]) -> None:
    fleet = read_fleet(inventory(TWO_CLUSTERS, IN_TWO), selection)
    assert [node.host for node in fleet.nodes if node.selected] == expected


@pytest.mark.parametrize(
    ("selection", "facts"),
    [
        (
            Selection(["w1"], "web"),
            ("w1", "gpu_clusters", "gpu_nodes", "c1", "c2"),
        ),
        (
            Selection(["n1", "n3"], "n1,n3"),
            ("'c1,c2,n1,n3'",),
        ),
        (
            Selection(["n1"]),
            ("'c1,<nodes>'", "n1"),
        ),
        (
            Selection(["c2", "n1"], "c2,n1"),
            ("c2", "n1"),
        ),
        (
            Selection(["c1"], "c1,!n1", ["n1"]),
            ("'c1,gpu_nodes,!n1'", "'c1,n1'"),
        ),
        (
            Selection(["c1", "w1"], "c1,web"),
            ("c1", "w1", "gpu_clusters", "gpu_nodes"),
        ),
    ],
)
def test_read_fleet_refuses_limit(selection: Selection, facts: Sequence[str]) -> None:
    with pytest.raises(FleetError) as caught:
        read_fleet(inventory(TWO_CLUSTERS, IN_TWO), selection)
    assert mentions(caught.value, "--limit", *facts)


@pytest.mark.parametrize(
    ("assignments", "default", "facts"),
    [
        ({"n1": "a", "n2": None}, "b", ()),
        ({}, None, ()),
        ({"n1": "a"}, "c", ("O(default_profile)", "'c'", "a, b")),
        ({"n1": "c", "n2": "a", "n3": "c"}, "a", ("O(profile)", "n1, n3", "'c'", "a, b")),
    ],
)
def test_undefined_profiles(
    assignments: Mapping[str, str | None], default: str | None, facts: Sequence[str]
) -> None:
    found = list(undefined_profiles(assignments, ["b", "a"], default))
    assert len(found) == bool(facts)
    assert mentions("".join(found), *facts)


@pytest.mark.parametrize(
    ("keys", "operator_changed", "expected"),
    [
        ([], False, []),
        (["other"], False, []),
        (["a"], False, [("a", "n2")]),
        (["d", "a"], False, [("a, d", "n2, n3")]),
        (["d"], True, [("GPU Operator", "n2, n3"), ("d", "n3")]),
    ],
)
def test_beyond_limit(
    keys: list[str], operator_changed: bool, expected: list[tuple[str, str]]
) -> None:
    nodes = read_nodes(
        [
            asked_node("n1", "a"),
            asked_node("n2", "a", selected=False),
            asked_node("n3", selected=False),
        ]
    )
    assert (nodes.limited, nodes.outside) == (True, ["n2", "n3"])
    found = beyond_limit(nodes, keys, "d", operator=operator_changed)
    assert len(found) == len(expected)
    for text, (shared, reached) in zip(found, expected, strict=True):
        assert re.search(rf"\b{shared}\b", text)
        assert re.search(rf"(?<!n2, ){reached}\b", text)


OWN_CHANGES = [("n1", None, "a"), ("n2", "a", None)]


@pytest.mark.parametrize(
    ("exclusive", "outside", "expected"),
    [
        (False, [], OWN_CHANGES),
        (False, ["n4"], OWN_CHANGES),
        (True, [], [*OWN_CHANGES, ("x1", "b", None)]),
        (True, ["n4"], OWN_CHANGES),  # with a limit, what is unknown is outside of it too
    ],
)
def test_plan_labels_changes(
    exclusive: bool, outside: list[str], expected: list[tuple[str, str | None, str | None]]
) -> None:
    observed = {"n1": "", "n2": "a", "n3": "a", "x1": "b", "x2": None}
    plan = plan_labels(
        {"n2": None, "n1": "a", "n3": "a", "gone": "a"},
        observed | dict.fromkeys(outside, "b"),
        known=["n1", "n2", "n3", "gone", *outside],
        exclusive=exclusive,
    )
    assert [(c.node, c.before, c.after) for c in plan.changes] == expected
    assert (plan.unmanaged, plan.missing, bool(plan)) == (("x1", "x2"), ("gone",), True)
    assert plan.diff() == {
        "before": {node: before for node, before, _after in expected},
        "after": {node: after for node, _before, after in expected},
    }


@given(desired=LABELS, observed=LABELS, exclusive=st.booleans())
def test_plan_labels_applied_leaves_nothing(
    desired: dict[str, str | None], observed: dict[str, str | None], exclusive: bool
) -> None:
    known, exclusive = list(desired), exclusive and bool(desired)
    plan = plan_labels(desired, observed, known=known, exclusive=exclusive)
    applied = observed | {change.node: change.after for change in plan.changes}
    again = plan_labels(desired, applied, known=known, exclusive=exclusive)
    assert not again
    assert (again.unmanaged, again.missing) == (plan.unmanaged, plan.missing)


@pytest.mark.parametrize(
    ("desired", "observed", "after"),
    [
        (None, "dev", "default"),
        (None, "default", None),  # no change
        (None, None, None),  # a node that never had a label needs none
        ("dev", "default", "dev"),
    ],
)
def test_plan_labels_instead_of_a_removal(
    desired: str | None, observed: str | None, after: str | None
) -> None:
    """For plugins that do not notice when a label is removed."""
    plan = plan_labels(
        {"a": desired}, {"a": observed}, known=["a"], exclusive=False, instead="default"
    )
    assert [change.after for change in plan.changes] == ([after] if after else [])
