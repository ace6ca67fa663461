# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One plan of everything: what it finds to do, from one look, and what it refuses."""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    ClusterError,
    FleetError,
    ProfileError,
    RefusedError,
    SharingError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.operands import PLUGIN_APP
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rendered import (
    render,
    take_profiles,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout import operator_plan
from ansible_collections.gpufleet.sharing.plugins.modules import site_plan
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions, numbers
from ansible_collections.gpufleet.sharing.tests.unit.fake_fleet import (
    GPU,
    MAP,
    FakeFleet,
    asked_node,
)

NAMES = ["n1", "n2", "n3"]
NODES = [asked_node(name, "dev") for name in NAMES]
OLD: dict[str, Any] = {"default": {"replicas": 2}, "dev": {"replicas": 8}}
NEW: dict[str, Any] = {"default": {"replicas": 2}, "dev": {"replicas": 6}}
POLICY = "/apis/nvidia.com/v1/clusterpolicies/cluster-policy"
CONFIG = {"name": "device-plugin-config", "default": "default"}
NOTHING = dict.fromkeys(("profiles", "operator", "wait", "rollout", "prune", "verify"), False)


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> FakeFleet:
    """Three nodes that have what OLD says, and an operator that uses the profiles."""
    profiles = take_profiles(OLD)
    found = FakeFleet()
    found.write(profiles)
    found.add(*NAMES, label="dev", annotated=str(render(profiles)["dev"]["hash"]))
    found.api.put("/api/v1/namespaces/gpu-operator", {"metadata": {"labels": {"a": "b"}}})
    found.api.put(POLICY, {"spec": {"devicePlugin": {"config": CONFIG}}})
    monkeypatch.setattr(operator_plan, "outdated_daemonset", lambda _sets, _policy: "")
    monkeypatch.setattr(site_plan, "connect", lambda _module: found.api.cluster)
    found.api.requests.clear()
    return found


def planned(profiles: dict[str, Any] | None = None, **given: Any) -> dict[str, Any]:
    """What the module returns."""
    content = {
        **{name: option.get("default") for name, option in site_plan.PROFILES.items()},
        "profiles": OLD if profiles is None else profiles,
        "default_profile": "default",
        "create_namespace": False,
        **given.pop("content", {}),
    }
    operator = {name: option.get("default") for name, option in site_plan.OPERATOR.items()}
    rollout = {name: option.get("default") for name, option in site_plan.ROLLOUT.items()}
    params = {
        "nodes": NODES,
        "profiles": content,
        "operator": {**operator, "manage": "existing", **given.pop("operator", {})},
        "rollout": {**rollout, **given.pop("rollout", {})},
        "explain": False,
        "drift": False,
        **given,
    }
    chart = "name: gpu-operator\nversion: v1\n"
    module: Any = SimpleNamespace(
        params=params, check_mode=True, warn=print, run_command=lambda _args: (0, chart, "")
    )
    return site_plan.run(module)


def test_nothing_to_do_is_found_from_one_look(fleet: FakeFleet) -> None:
    found = planned()
    assert found["todo"] == NOTHING
    assert (found["changed"], found["no_nodes"], found["uses_mig"]) == (False, False, False)
    assert found["sharing"]["differing"] == {}
    assert found["rollout"]["notes"] == []
    assert fleet.api.writes() == []
    again = [path for path, count in Counter(fleet.api.requests).items() if count > 1]
    assert again == []


def _vm(fleet: FakeFleet) -> None:
    fleet.api.objects[POLICY]["spec"]["sandboxWorkloads"] = {"enabled": True}
    _node(fleet)["metadata"]["labels"]["nvidia.com/gpu.workload.config"] = "vm-passthrough"


def _gke(fleet: FakeFleet) -> None:
    _node(fleet)["metadata"]["labels"]["cloud.google.com/gke-accelerator"] = "nvidia-l4"


def _slicer(fleet: FakeFleet) -> None:
    _node(fleet)["status"]["allocatable"]["mig.das.com/1g.5gb"] = "7"


def _gpustack(fleet: FakeFleet) -> None:
    _node(fleet)["status"]["allocatable"]["nvidia.com/gpu.sliced.units"] = "100"


def _dra(fleet: FakeFleet) -> None:
    versions = {"preferredVersion": {"groupVersion": "resource.k8s.io/v1"}}
    fleet.api.put("/apis/resource.k8s.io", versions)
    spec = {"driver": "gpu.nvidia.com", "nodeName": "n2"}
    fleet.api.put("/apis/resource.k8s.io/v1/resourceslices/n2-x", {"spec": spec})


def _node(fleet: FakeFleet) -> dict[str, Any]:
    return fleet.api.objects["/api/v1/nodes/n2"]


@pytest.mark.parametrize(
    ("claim", "told"),
    [
        (_vm, ("vm-passthrough", "inventory")),
        (_gke, ("GKE", "gke-no-default-nvidia-gpu-device-plugin=true")),
        (_slicer, ("mig.das.com/1g.5gb", "Dynamic Accelerator Slicer")),
        (_gpustack, ("nvidia.com/gpu.sliced.units",)),
        (_dra, ("gpu.nvidia.com", "resources.gpus.enabled")),
    ],
)
def test_nodes_whose_gpus_others_hand_out_are_refused(
    fleet: FakeFleet, claim: Callable[[FakeFleet], None], told: tuple[str, ...]
) -> None:
    """Unless they are not selected."""
    claim(fleet)
    with pytest.raises(RefusedError) as caught:
        planned(NEW)
    assert mentions(caught.value, "n2", *told)
    assert "n1" not in str(caught.value)
    assert fleet.api.writes() == []
    others = [node for node in NODES if node["name"] != "n2"]
    assert planned(nodes=others)["todo"] == NOTHING


def test_gpus_without_an_operator_are_refused(fleet: FakeFleet) -> None:
    """The device plugin is on the host, or somebody else's."""
    fleet.api.drop(POLICY)
    with pytest.raises(RefusedError) as caught:
        planned(operator={"manage": "helm"})
    assert mentions(caught.value, "n1, n2, n3", "nvidia.com/gpu", "GS059")


def test_policy_of_another_name_is_named(fleet: FakeFleet) -> None:
    """A second operator is not advised."""
    fleet.api.put(POLICY.replace("cluster-policy", "gpu-cluster-policy"), {"spec": {}})
    fleet.api.drop(POLICY)
    with pytest.raises(ClusterError) as caught:
        planned()
    assert mentions(caught.value, "O(cluster_policy): gpu-cluster-policy")
    assert "helm" not in str(caught.value)


def test_changed_content(fleet: FakeFleet) -> None:
    found = planned(NEW)
    expected = {"profiles": True, "wait": True, "rollout": True, "verify": True}
    assert found["todo"] == NOTHING | expected
    assert found["profiles"]["rewritten"] == ["dev"]
    assert found["rollout"]["restarted"] == NAMES
    assert take_profiles(found["rendered"]) == take_profiles(NEW)
    assert fleet.api.writes() == []


def test_same_plan_from_profiles_that_were_checked_before(fleet: FakeFleet) -> None:
    rendered = render(take_profiles(NEW))
    assert planned(rendered) == planned(NEW)


def test_content_that_nodes_outside_the_limit_share_is_refused(fleet: FakeFleet) -> None:
    nodes = [*NODES[:2], {**NODES[2], "selected": False}]
    assert planned(nodes=nodes)["todo"] == NOTHING
    with pytest.raises(RefusedError) as caught:
        planned(NEW, nodes=nodes)
    assert mentions(caught.value, "--limit", "n3", "dev")


def test_operator_that_nodes_outside_the_limit_share_is_refused(fleet: FakeFleet) -> None:
    fleet.api.put(POLICY, {"spec": {"devicePlugin": {"config": {"name": "other"}}}})
    found = planned()
    assert (found["operator"]["differs"], found["operator"]["settled"]) == (True, False)
    assert found["todo"]["operator"]
    with pytest.raises(RefusedError) as caught:
        planned(nodes=[NODES[0], {**NODES[1], "selected": False}])
    assert mentions(caught.value, "--limit", "n2")


@pytest.mark.parametrize(
    ("given", "error", "facts"),
    [
        ({"profiles": {"dev": {"replicas": 0}}}, ProfileError, ("'dev'", "replicas", "0")),
        ({"nodes": [asked_node("n1", "prod")]}, FleetError, ("O(profile)", "n1", "'prod'")),
        ({"content": {"name": "my.map"}}, Exception, ("O(config_map)", "'my.map'")),
        ({"rollout": {"timeout": 0}}, FleetError, ("timeout", "0")),
        ({"operator": {"cluster_policy": "mine"}}, ClusterError, ("mine", "cluster-policy")),
        (
            {"nodes": [asked_node("n9")], "rollout": {"unavailable_nodes": "fail"}},
            FleetError,
            ("n9", "O(unavailable_nodes)"),
        ),
    ],
    ids=["profile", "undefined", "name", "timeout", "policy", "missing"],
)
def test_refusals_write_nothing(
    fleet: FakeFleet, given: dict[str, Any], error: type[Exception], facts: tuple[str, ...]
) -> None:
    with pytest.raises(error) as caught:
        planned(**given)
    assert mentions(caught.value, *facts)
    assert fleet.api.writes() == []


def test_release_that_is_not_there_has_to_be_installed(fleet: FakeFleet) -> None:
    found = planned(operator={"manage": "helm", "chart_ref": "gpu-operator"})
    assert found["operator"]["differs"] is True
    assert found["todo"]["operator"]


def release_of(values: dict[str, Any], **chart: Any) -> dict[str, Any]:
    """The Secret of a release of the chart that planned() shows."""
    metadata = {"name": "gpu-operator", "version": "v1", **chart}
    document = {"info": {"status": "deployed"}, "chart": {"metadata": metadata}, "config": values}
    packed = base64.b64encode(gzip.compress(json.dumps(document).encode()))
    labels = {"owner": "helm", "name": "gpu-operator", "version": "1", "status": "deployed"}
    return {
        "metadata": {"labels": labels},
        "data": {"release": base64.b64encode(packed).decode()},
    }


SECRET = "/api/v1/namespaces/gpu-operator/secrets/sh.helm.release.v1.gpu-operator.v1"
BY_HELM = {"manage": "helm", "chart_ref": "gpu-operator"}


def test_release_that_stays_as_it_is(fleet: FakeFleet) -> None:
    fleet.api.put(SECRET, release_of({"devicePlugin": {"config": CONFIG}}))
    assert planned(operator=BY_HELM)["todo"] == NOTHING


def test_pointer_patched_beside_the_release_has_to_be_put_back(fleet: FakeFleet) -> None:
    fleet.api.put(SECRET, release_of({"devicePlugin": {"config": CONFIG}}))
    fleet.api.put(POLICY, {"spec": {"devicePlugin": {"config": {**CONFIG, "default": "dev"}}}})
    found = planned(operator=BY_HELM, drift=True)
    assert found["operator"]["differs"] is True
    assert found["operator"]["pointer"]["before"]["default"] == "dev"
    assert found["todo"]["operator"]
    differing = {(each["kind"], each["where"]) for each in found["drift"]["findings"]}
    assert ("pointer", "ClusterPolicy") in differing
    assert ("operator", "Helm release") not in differing
    assert planned(operator=BY_HELM)["operator"] == found["operator"]


def test_drift_of_an_existing_operator_says_nothing_about_a_release(fleet: FakeFleet) -> None:
    fleet.api.put(POLICY, {"spec": {"devicePlugin": {"config": {"name": "other"}}}})
    kinds = [each["kind"] for each in planned(drift=True)["drift"]["findings"]]
    assert "pointer" in kinds
    assert "operator" not in kinds


@pytest.mark.parametrize(
    "chart", [{"dependencies": [{"name": "gpu-operator"}]}, {"name": "gpu-stack"}]
)
def test_release_of_another_chart_is_refused(fleet: FakeFleet, chart: dict[str, Any]) -> None:
    fleet.api.put(SECRET, release_of({}, **chart))
    fleet.api.requests.clear()
    with pytest.raises(RefusedError) as caught:
        planned(operator=BY_HELM)
    assert mentions(caught.value, "O(manage): existing", chart.get("name", "wrapper"))
    assert fleet.api.writes() == []
    planned(operator={"manage": "existing"})


def test_chart_that_helm_cannot_read_is_named(fleet: FakeFleet) -> None:
    logged: list[str] = []
    said = (1, "", "Error: repo nvidia not found\n")
    module = SimpleNamespace(run_command=lambda _args: said, log=logged.append)
    planner = site_plan.Planner.__new__(site_plan.Planner)
    planner._module = module
    planner._params = {
        "operator": {"chart_ref": "nvidia/c", "chart_version": "1", "chart_repo_url": ""}
    }
    with pytest.raises(RefusedError) as caught:
        planner._read_chart()
    assert mentions(caught.value, "chart nvidia/c", "repository nvidia", "O(chart_ref)")
    assert said[2].strip() not in str(caught.value)
    assert mentions(*logged, "nvidia/c", said[2].strip())


def test_cluster_without_any_of_the_nodes(fleet: FakeFleet) -> None:
    found = planned(nodes=[asked_node("n9")])
    assert found["no_nodes"] is True
    assert found["rollout"]["missing"] == ["n9"]
    assert any("n9" in note for note in found["rollout"]["notes"])


def test_keys_that_may_go_are_pruned_in_the_end(fleet: FakeFleet) -> None:
    fleet.api.objects[MAP]["data"]["old"] = "version: v1\n"
    assert planned()["todo"] == NOTHING
    assert planned(content={"prune": True})["todo"] == NOTHING | {"prune": True}


def test_drift_is_told(fleet: FakeFleet) -> None:
    assert planned(drift=True)["drift"]["findings"] == []
    findings = planned(NEW, drift=True)["drift"]["findings"]
    assert {(each["kind"], each["where"]) for each in findings} >= {("content", "key dev")}


# ---- the plan in words


def said(fleet: FakeFleet, profiles: dict[str, Any] | None = None, **given: Any) -> list[str]:
    """The summary, whose last line is the verdict. Nothing was written for it."""
    found = planned(profiles, explain=True, **given)
    assert found["verdict"] == found["summary"][-1]
    assert fleet.api.writes() == []
    return list(found["summary"])


def busy(fleet: FakeFleet, *nodes: str, slots: int = 16) -> None:
    """A pod on all slots of each node, as dev has them."""
    for node in nodes:
        fleet.workload(f"train-{node}", node, slots)


def test_summary_of_nothing_is_its_verdict(fleet: FakeFleet) -> None:
    (verdict,) = said(fleet)
    assert numbers(verdict) == [3]


def test_summary_names_keys_nodes_and_batches(fleet: FakeFleet) -> None:
    nodes = [*NODES[:2], asked_node("n3", "dev2")]
    lines = said(fleet, {**NEW, "dev2": {"replicas": 4}}, nodes=nodes)
    assert mentions(lines[0], "device-plugin-config", "new keys: dev2", "changed keys: dev")
    assert numbers(lines[-1]) == [1, 1, 1, 2, 3]  # two keys, and three nodes in three batches
    counts = planned({**NEW, "dev2": {"replicas": 4}}, nodes=nodes)["rollout"]["counts"]
    assert (counts["changing"], counts["batches"], counts["unchanged"]) == (3, [1, 1, 1], 0)


def test_verdict_counts_nodes_that_stay_and_names_those_left_out(fleet: FakeFleet) -> None:
    """n1 gets another profile; n2 stays, n3 is NotReady, n4 is not in the inventory."""
    fleet.add("n4")
    fleet.set_ready("n3", ready=False)
    fleet.api.requests.clear()
    nodes = [asked_node("n1"), *NODES[1:]]
    lines = said(fleet, nodes=nodes)
    assert numbers(lines[-1]) == [1, 1, 1, 1]  # changes, needs nothing, left out, not in it
    notes = "\n".join(lines[-3:-1])
    assert mentions(notes, "n4", "n3", "NotReady")
    assert numbers(said(fleet)[-1]) == [1, 1, 2]  # nothing to do


def test_verdict_of_disruptions_is_what_site_says(fleet: FakeFleet) -> None:
    busy(fleet, "n1", "n2")
    lines = said(fleet, NEW)
    assert mentions(lines[-1], "refuse", "2 running pods on 2 nodes", "set drain to")
    with pytest.raises(RefusedError) as caught:
        planned(NEW)
    assert mentions(caught.value, "2 running pods on 2 nodes")
    ignored = said(fleet, NEW, rollout={"drain": "ignore"})
    assert "refuse" not in ignored[-1]
    assert mentions(ignored[-1], "2 pods would be disrupted")


def test_eviction_says_what_it_costs(fleet: FakeFleet) -> None:
    busy(fleet, "n1", "n2", slots=14)
    evict = {"drain": "evict", "stable_seconds": 31, "timeout": 432}
    lines = said(fleet, NEW, rollout=evict)
    assert mentions(lines[-1], "2 pods would be evicted")
    assert mentions("\n".join(lines), "n1", "Job/train", "31 s", "432 s", "n1 (2), n2 (2)")
    planned(NEW, rollout=evict)  # and it is not refused


def test_pods_that_evictions_would_not_move_are_refused(fleet: FakeFleet) -> None:
    busy(fleet, "n1")
    pod = fleet.api.objects["/api/v1/namespaces/work/pods/train-n1"]
    pod["spec"]["tolerations"] = [{"operator": "Exists"}]
    evict = {"drain": "evict"}
    with pytest.raises(SharingError) as caught:
        planned(NEW, rollout=evict)
    assert mentions(caught.value, "n1", "work", "train-n1")
    assert mentions(said(fleet, NEW, rollout=evict)[-1], "refuse", "work/train-n1")


def test_names_of_variables_are_in_the_summary(fleet: FakeFleet) -> None:
    busy(fleet, "n1")
    names = {"drain": "gpu_sharing_drain"}
    assert mentions(said(fleet, NEW, option_names=names)[-1], "gpu_sharing_drain to evict")


def test_nodes_that_would_fail_verification_are_in_the_verdict(fleet: FakeFleet) -> None:
    _node(fleet)["status"]["allocatable"][GPU] = "3"
    (verdict,) = said(fleet)
    assert mentions(verdict, "1 of 3 nodes", "n2", "3")


def with_another_config(fleet: FakeFleet) -> None:
    """An operator whose device plugin runs on all nodes, with another ConfigMap."""
    daemonset = {
        "spec": {"template": {"metadata": {"labels": {"app": PLUGIN_APP}}}},
        "status": {"desiredNumberScheduled": 3},
    }
    fleet.api.put("/apis/apps/v1/namespaces/gpu-operator/daemonsets/plugin", daemonset)
    fleet.api.put(POLICY, {"spec": {"devicePlugin": {"config": {"name": "team", "default": "x"}}}})


def test_operator_restarts_nodes_that_need_no_batch(fleet: FakeFleet) -> None:
    """Before the rollout, the operator restarts all plugins, so that they load the new content."""
    with_another_config(fleet)
    nodes = [asked_node("n1"), *NODES[1:]]
    found = planned(NEW, nodes=nodes)
    assert mentions("\n".join(found["summary"]), "team (x) -> device-plugin-config (default)")
    assert found["operator"]["restart"] == "all"
    assert found["rollout"]["counts"]["batches"] == [1]
    assert found["rollout"]["counts"]["by_operator"] == 2
    assert numbers(found["verdict"]) == [1, 1, 2]  # a key, one in a batch, two by the operator


def test_pods_on_nodes_that_the_operator_restarts_are_not_evicted(fleet: FakeFleet) -> None:
    """Outside the batches, nobody drains a node."""
    busy(fleet, "n1", "n2", "n3")
    with_another_config(fleet)
    nodes = [asked_node("n1"), *NODES[1:]]
    evict = {"drain": "evict"}
    verdict = said(fleet, NEW, nodes=nodes, rollout=evict)[-1]
    assert mentions(verdict, "1 pod would be evicted", "2 pods would be disrupted")
    with pytest.raises(RefusedError) as caught:
        planned(NEW, nodes=nodes)
    assert mentions(caught.value, "3 running pods")


def test_pods_in_the_way_of_mig_are_in_the_plan(fleet: FakeFleet) -> None:
    fleet.edit("n1", labels={"nvidia.com/mig.capable": "true"})
    busy(fleet, "n1", "n2", slots=1)
    fleet.api.requests.clear()
    cut = {**OLD, "cut": {"replicas": 2, "mig": "all-1g.5gb"}}
    nodes = [asked_node("n1", "cut"), *NODES[1:]]
    lines = said(fleet, cut, nodes=nodes)
    assert mentions("\n".join(lines), "all-1g.5gb (1 node)")
    assert mentions(lines[-1], "refuse", "1 running pod on 1 node")
    with pytest.raises(RefusedError) as caught:
        planned(cut, nodes=nodes)
    assert mentions(caught.value, "1 running pod on 1 node", "n1", "MIG")
    evicted = said(fleet, cut, nodes=nodes, rollout={"drain": "evict"})
    assert mentions(evicted[-1], "1 pod would be evicted")


def test_installation_is_in_the_summary(fleet: FakeFleet) -> None:
    fleet.api.put(SECRET, release_of({"driver": {"token": "hush"}}, version="v0"))
    given = {**BY_HELM, "values": {"driver": {"token": "hushed"}}}
    text = "\n".join(said(fleet, operator=given))
    assert mentions(text, "v0 -> v1", "driver.token", "devicePlugin.config.name")
    assert "hush" not in text
    fleet.api.drop(SECRET)
    assert mentions("\n".join(said(fleet, operator=BY_HELM)), "install chart gpu-operator v1")


def test_keys_that_go_are_in_the_summary(fleet: FakeFleet) -> None:
    fleet.api.objects[MAP]["data"]["old"] = "version: v1\n"
    lines = said(fleet, content={"prune": True})
    assert mentions(lines[0], "old")
    assert numbers(lines[-1]) == [1, 3]  # a key, and nodes that need nothing


def test_drift_says_which_chart_and_keys_differ(fleet: FakeFleet) -> None:
    fleet.api.put(SECRET, release_of({"devicePlugin": {"config": CONFIG}}, version="v0"))
    drift = planned(operator=BY_HELM, drift=True)["drift"]
    assert mentions(drift["verdict"], "Helm release differs")
    assert mentions(drift["table"][2], "Helm release", "v0 -> v1")
