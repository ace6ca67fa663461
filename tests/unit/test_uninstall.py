# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard of uninstall: what it finds to go, from one look, what it refuses whom it evicts."""

from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import RefusedError
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rendered import (
    render,
    take_profiles,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.drain import DrainError
from ansible_collections.gpufleet.sharing.plugins.modules import uninstall_guard
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions
from ansible_collections.gpufleet.sharing.tests.unit.fake_fleet import (
    GPU,
    LABEL,
    MAP,
    NODES,
    FakeFleet,
    asked_node,
)
from ansible_collections.gpufleet.sharing.tests.unit.test_site_plan import SECRET, release_of

NAMES = ["n1", "n2", "n3"]
ASKED = [asked_node("n1", "dev"), asked_node("n2", "dev"), asked_node("n3")]
PROFILES: dict[str, Any] = {"default": {"replicas": 2}, "dev": {"replicas": 8}}
POLICY = "/apis/nvidia.com/v1/clusterpolicies/cluster-policy"
NAMESPACE = "/api/v1/namespaces/gpu-operator"
CONFIG = {"name": "device-plugin-config", "default": "default"}
RELEASE = {
    "meta.helm.sh/release-name": "gpu-operator",
    "meta.helm.sh/release-namespace": "gpu-operator",
}
CORDONED = "gpufleet.sharing/cordoned"
MIG = "nvidia.com/mig.config"


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> FakeFleet:
    """n1 and n2 with the profile dev, n3 with the default, of an operator that site installed; n4
    is in the cluster only, and n5 has no GPU.
    """
    profiles = take_profiles(PROFILES)
    found = FakeFleet()
    found.write(profiles)
    found.add("n1", "n2", label="dev", annotated=str(render(profiles)["dev"]["hash"]))
    found.add("n3", "n4")
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {}}
    found.api.put(f"{NODES}/n5", {"metadata": {"labels": {}}, "spec": {}, "status": ready})
    config = {"spec": {"devicePlugin": {"config": CONFIG}}, "metadata": {"annotations": RELEASE}}
    found.api.put(POLICY, config)
    found.api.put(NAMESPACE, {"metadata": {"labels": {"a": "b"}}})
    found.api.put(SECRET, release_of({"devicePlugin": {"config": CONFIG}}))
    found.api.objects[SECRET]["metadata"]["uid"] = "first"
    recorded(found, installed=True, pointer={})
    found.api.objects[MAP]["metadata"]["labels"] = {
        "app.kubernetes.io/managed-by": "gpufleet.sharing"
    }
    monkeypatch.setattr(uninstall_guard, "connect", lambda _module: found.api.cluster)
    found.api.requests.clear()
    return found


def recorded(fleet: FakeFleet, **record: Any) -> None:
    """Who installed the release."""
    text = json.dumps({"first": "first", **record})
    fleet.api.patch(
        NAMESPACE, {"metadata": {"annotations": {"gpufleet.sharing/helm-gpu-operator": text}}}
    )


def existing(fleet: FakeFleet, name: str = "", default: str = "") -> None:
    """An operator of others, whose device plugin config was this before site."""
    fleet.api.drop(SECRET)
    text = json.dumps({"name": name, "default": default})
    annotations = {"gpufleet.sharing/previous-config": text}
    fleet.api.put(
        POLICY,
        {"spec": {"devicePlugin": {"config": CONFIG}}, "metadata": {"annotations": annotations}},
    )


def ran(*, check_mode: bool = False, **given: Any) -> dict[str, Any]:
    """What the module returns, with what it warns of."""
    defaults = {name: option.get("default") for name, option in uninstall_guard.SPEC.items()}
    warned: list[str] = []
    params = {**defaults, "nodes": ASKED, "option_names": {}, "run": "tests", **given}
    module: Any = SimpleNamespace(params=params, check_mode=check_mode, warn=warned.append)
    return {**uninstall_guard.run(module), "warned": warned}


def slots(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Slots now and then, by node."""
    return {row["node"]: (row["now"], row["then"]) for row in found["nodes"]}


def refused(**given: Any) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        ran(**given)
    return caught.value


def named(lines: list[str], *facts: object) -> list[str]:
    """The lines with all facts."""
    return [line for line in lines if all(str(fact) in line for fact in facts)]


def test_release_of_ours_takes_the_gpus_of_all_nodes_of_the_cluster(fleet: FakeFleet) -> None:
    found = ran()
    assert (found["removes_release"], found["evicts"], found["pods"]) == (True, False, [])
    assert found["labels"] == ["n1", "n2"]
    assert slots(found) == {
        "n1": (f"16 {GPU}", "none"),
        "n2": (f"16 {GPU}", "none"),
        "n3": (f"4 {GPU}", "none"),
        "n4": (f"4 {GPU}", "none"),
    }
    assert named(found["plan"], "Helm release gpu-operator", 4)
    assert named(found["plan"], "n1, n2", "label")
    assert fleet.api.writes() == []
    again = {path for path, count in Counter(fleet.api.requests).items() if count > 1}
    assert again == {"GET /api/v1/pods"}  # of one node each


def test_running_pods_that_lose_their_gpu_are_refused_with_their_owners(fleet: FakeFleet) -> None:
    for name, node in (("a", "n1"), ("b", "n1"), ("c", "n4")):
        fleet.workload(name, node)
    error = refused()
    first = str(error).partition("\n")[0]
    assert mentions(first, "Helm release gpu-operator", 4, 3, "work Job/train")
    assert mentions(str(error), "O(drain)", "n1", "n4")
    assert [problem.partition(": ")[0] for problem in error.problems] == ["n1", "n1", "n4"]
    assert fleet.api.writes() == []


def test_pods_of_the_probe_and_pods_without_gpus_do_not_count(fleet: FakeFleet) -> None:
    fleet.workload("a", "n1", slots=0)
    fleet.workload("b", "n1")
    assert ran(probe_namespace="work")["pods"] == []
    assert len(refused().problems) == 1


def test_ignore_goes_on_and_warns(fleet: FakeFleet) -> None:
    fleet.workload("a", "n1")
    found = ran(drain="ignore")
    assert (found["evicts"], found["pods"]) == (False, ["work/a"])
    assert mentions(found["warned"][0], "drain is ignore", "n1", "Job/train")


def test_evict_cordons_every_node_that_loses_gpus_until_it_is_uncordoned(fleet: FakeFleet) -> None:
    fleet.workload("a", "n1")
    fleet.workload("b", "n4")
    found = ran(drain="evict")
    assert found["evicts"]
    assert named(found["plan"], "Evicts", 2, "work Job/train")
    looked = ran(drain="evict", state="drained", check_mode=True)
    assert (looked["changed"], looked["evicted"]) == (True, ["work/a", "work/b"])
    assert fleet.api.writes() == []
    assert ran(drain="evict", state="drained")["evicted"] == ["work/a", "work/b"]
    assert cordoned(fleet) == ["n1", "n2", "n3", "n4"]
    assert [path for path in fleet.api.objects if "/namespaces/work/" in path] == []
    assert ran()["pods"] == []
    assert ran(state="uncordoned", check_mode=True)["changed"]
    assert ran(state="uncordoned")["uncordoned"] == ["n1", "n2", "n3", "n4"]
    assert cordoned(fleet) == []
    assert ran(state="uncordoned")["changed"] is False


def cordoned(fleet: FakeFleet) -> list[str]:
    nodes = [item for path, item in fleet.api.objects.items() if path.startswith(f"{NODES}/")]
    marked = [CORDONED in (node["metadata"].get("annotations") or {}) for node in nodes]
    assert marked == [bool(node["spec"].get("unschedulable")) for node in nodes]
    return sorted(node["metadata"]["name"] for node in nodes if node["spec"].get("unschedulable"))


def test_helm_keeps_a_node_for_its_jobs(fleet: FakeFleet) -> None:
    """Without a node that stays in service, jobs of the chart would wait for ever."""
    fleet.workload("a", "n1")
    fleet.api.drop(f"{NODES}/n5")
    found = ran(drain="evict", state="drained")
    assert found["evicted"] == ["work/a"]
    assert cordoned(fleet) == []
    assert len(found["warned"]) == 1


def test_pod_that_would_come_back_is_refused_before_any_write(fleet: FakeFleet) -> None:
    fleet.workload("a", "n1")
    path = "/api/v1/namespaces/work/pods/a"
    owner = {"kind": "DaemonSet", "name": "miner", "controller": True}
    fleet.api.objects[path]["metadata"]["ownerReferences"] = [owner]
    with pytest.raises(DrainError) as caught:
        ran(drain="evict")
    assert mentions(caught.value, "work", "a", "DaemonSet/miner")
    assert fleet.api.writes() == []


def test_release_that_site_did_not_install_stays(fleet: FakeFleet) -> None:
    fleet.api.objects[NAMESPACE]["metadata"]["annotations"] = {}
    fleet.workload("a", "n3", slots=4)
    found = ran()
    assert found["removes_release"] is False
    assert slots(found) == dict.fromkeys(("n1", "n2"), (f"16 {GPU}", f"4 {GPU}"))
    assert named(found["done"], "Stays:", "Helm release gpu-operator")
    assert named(found["done"], "Stays:", "device-plugin-config", "default")  # in use


def test_release_of_others_gets_its_earlier_config_back(fleet: FakeFleet) -> None:
    """No sharing: 2 slots on each node, and on n4 too, which the inventory does not know."""
    recorded(fleet, installed=False, pointer={})
    found = ran()
    assert slots(found)["n4"] == (f"4 {GPU}", f"2 {GPU}")
    assert slots(found)["n1"] == (f"16 {GPU}", f"2 {GPU}")
    fleet.workload("a", "n4", slots=3)
    assert mentions(str(refused()), "n4", 3, 2)
    assert ran(drain="evict")["evicts"]
    assert ran(drain="evict", state="drained")["evicted"] == ["work/a"]


def test_existing_operator_gets_its_config_map_back(fleet: FakeFleet) -> None:
    existing(fleet, "theirs", "small")
    theirs = take_profiles({"small": {"replicas": 3}})
    data = {"small": render(theirs)["small"]["file"]}
    fleet.api.put(f"{NAMESPACE}/configmaps/theirs", {"data": data})
    found = ran(manage="existing")
    assert slots(found)["n3"] == (f"4 {GPU}", f"6 {GPU}")
    assert slots(found)["n1"] == (f"16 {GPU}", f"6 {GPU}")
    restored = "device-plugin-config (default) -> theirs (small)"
    assert named(found["plan"], restored)
    fleet.workload("a", "n1", slots=6)
    assert ran(manage="existing")["pods"] == []
    fleet.workload("b", "n1")
    assert len(refused(manage="existing").problems) == 2


def test_config_map_that_may_not_be_read_is_unknown_and_refused(fleet: FakeFleet) -> None:
    existing(fleet, "theirs", "small")
    fleet.api.fault = lambda _method, path: 403 if path.endswith("/theirs") else 0
    assert set(slots(ran(manage="existing")).values()) == {
        (f"16 {GPU}", "unknown"),
        (f"4 {GPU}", "unknown"),
    }
    fleet.workload("a", "n3")
    assert mentions(refused(manage="existing"), "n3", "ConfigMap theirs")
    assert ran(manage="existing", drain="ignore")["pods"] == ["work/a"]


def test_limit_that_leaves_nodes_out_takes_labels_only(fleet: FakeFleet) -> None:
    nodes = [ASKED[0], {**ASKED[1], "selected": False}, ASKED[2]]
    found = ran(nodes=nodes)
    assert (found["removes_release"], found["labels"]) == (False, ["n1"])
    assert slots(found) == {"n1": (f"16 {GPU}", f"4 {GPU}")}
    assert named(found["plan"], "ConfigMap") == named(found["plan"], "Stays:", "n2", "limit")
    fleet.workload("a", "n2", slots=16)
    fleet.workload("b", "n1", slots=4)
    assert ran(nodes=nodes)["pods"] == []
    fleet.workload("c", "n1")
    assert len(refused(nodes=nodes).problems) == 2
    assert ran(nodes=nodes, drain="evict", state="drained")["evicted"] == ["work/b", "work/c"]
    assert cordoned(fleet) == ["n1"]
    fleet.edit("n2", annotations={CORDONED: "true"})
    fleet.api.patch(f"{NODES}/n2", {"spec": {"unschedulable": True}})
    assert ran(nodes=nodes, state="uncordoned")["uncordoned"] == ["n1"]


def test_config_map_goes_if_nothing_uses_it(fleet: FakeFleet) -> None:
    assert "Removes ConfigMap device-plugin-config." in ran()["plan"]
    fleet.edit("n4", labels={LABEL: "dev"})
    found = ran()
    assert named(found["plan"], "Removes key default of")
    assert named(found["done"], "Stays:", "device-plugin-config", "dev")
    assert named(found["done"], "Stays:", "n4", "label")
    fleet.api.objects[MAP]["data"]["mine"] = "version: v1\n"
    assert named(ran()["done"], "Stays:", "mine")


def test_nodes_that_get_another_mig_configuration_disrupt_all_their_pods(fleet: FakeFleet) -> None:
    fleet.api.objects[NAMESPACE]["metadata"]["annotations"] = {}
    previous = json.dumps({"before": None, "ours": "all-1g.10gb"})
    fleet.edit(
        "n3",
        labels={MIG: "all-1g.10gb"},
        annotations={"gpufleet.sharing/previous-mig-config": previous},
    )
    assert slots(ran())["n3"] == (f"4 {GPU}", "unknown")
    fleet.workload("a", "n3")
    assert mentions(refused(), "n3", "MIG")


def test_node_that_the_mig_manager_works_on_is_refused(fleet: FakeFleet) -> None:
    fleet.edit("n1", labels={"nvidia.com/mig.config.state": "pending"})
    assert mentions(refused(), "n1", "MIG")


def test_policy_of_another_name_that_uses_the_profiles_is_refused(fleet: FakeFleet) -> None:
    assert mentions(refused(manage="existing", cluster_policy="mine"), "O(cluster_policy)")
    assert fleet.api.writes() == []


def test_killed_uninstall_leaves_less_to_do(fleet: FakeFleet) -> None:
    """Helm has removed the release; nodes are cordoned, and pods still run."""
    fleet.workload("a", "n1")
    fleet.api.drop(SECRET)
    fleet.api.drop(POLICY)
    for name in NAMES:
        fleet.edit(name, annotations={CORDONED: "true"})
        none = {"status": {"allocatable": {GPU: "0"}}, "spec": {"unschedulable": True}}
        fleet.api.patch(f"{NODES}/{name}", none)
    found = ran()
    assert (found["removes_release"], found["pods"]) == (False, [])
    assert found["labels"] == ["n1", "n2"]
    assert named(found["plan"], "Uncordons", 3, "n1")
    assert ran(state="uncordoned")["uncordoned"] == NAMES


def test_definitions_go_where_no_other_operator_needs_them(fleet: FakeFleet) -> None:
    wanted = "Removes the operator's CustomResourceDefinitions."
    assert wanted in ran(remove_crds=True)["plan"]
    assert wanted not in ran()["plan"]
    assert named(ran()["done"], "Stays:", "CustomResourceDefinitions", "remove_crds")
    fleet.api.put(POLICY.replace("cluster-policy", "theirs"), {"spec": {}})
    assert wanted not in ran(remove_crds=True)["plan"]


def test_names_of_options_are_those_of_the_reader(fleet: FakeFleet) -> None:
    names = {"remove_crds": "gpu_operator_remove_crds"}
    assert named(ran(option_names=names)["plan"], "gpu_operator_remove_crds")
