# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe end to end: each test goes on where the one before has stopped."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.hashing import (
    config_hash,
    to_note,
)
from ansible_collections.gpufleet.sharing.tests.integration.answers import mentions
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    GROUPS,
    PROFILES,
    Lab,
    Run,
    lease_holder,
    remains,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import (
    Wanted,
    applied,
    call,
    differing,
    planned,
)

ACTING = ("profiles", "helm_release", "rollout")
OURS = "gpufleet.sharing/history=device-plugin-config"
READY = "lab.gpufleet.sharing/ready"
LEASE = ("lease", "gpufleet-sharing", "-n", "gpu-operator")
CONFIG_MAP = ("configmap", "device-plugin-config", "-n", "gpu-operator")
SIX = {**PROFILES, "dev": {"replicas": 6}}


def hold(lab: Lab, holder: str, seconds: int) -> None:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": seconds}
    lab.kubectl("patch", *LEASE, "--type=merge", "-p", json.dumps({"spec": spec}))


def ends(lab: Lab) -> list[str]:
    """How the revisions of the history have ended, the oldest first."""
    items = lab.json("controllerrevisions", "-n", "gpu-operator", "-l", OURS)["items"]
    ordered = sorted(items, key=lambda item: int(item["revision"]))
    return [item["metadata"]["annotations"]["gpufleet.sharing/state"] for item in ordered]


def acted(run: Run) -> list[str]:
    """Which of ACTING were run to change something. To plan, each runs once at most."""
    looked = [name for name in run.ran("check") if name in ACTING]
    assert len(looked) == len(set(looked))
    return [name for name in run.ran() if name in ACTING]


def test_site_check_mode_on_an_empty_cluster_shows_the_plan_and_writes_nothing(
    lab: Lab, inventory: Path
) -> None:
    lab.forget_requests()
    run = lab.playbook("site", inventory, "--check", "--diff").succeeded()
    assert lab.writes() == []
    run.names("-", "dev-gpu-01").names("+", "dev-gpu-01", "dev")
    run.names("+", "replicas", 8).names("device-plugin-config")
    assert run.changed["localhost"] > 0


def test_site_makes_the_cluster_as_the_inventory_says(lab: Lab, inventory: Path) -> None:
    said = lab.playbook("plan", inventory).succeeded()
    folder = Path(lab.environ["GPULAB_CHART"])
    chart = yaml.safe_load((folder / "Chart.yaml").read_text(encoding="utf-8"))
    said.names("install", chart["name"], chart["version"], "gpu_operator_chart_version")
    said.names("none", "device-plugin-config", "default")  # the config before, and after
    run = lab.playbook("site", inventory).succeeded()
    sizes = [int(size) for size in re.findall(r"batch \d+ of \d+: (\d+) ", run.output)]
    said.names("batches", sum(sizes), *sizes)  # its verdict says what site has done
    run.names("lab-admin").names(5, 10, 36)  # nodes, GPUs, slots
    assert acted(run) == [*ACTING]
    expected = {"dev-gpu-01": "8", "dev-gpu-02": "8", "prod-gpu-01": "8", "prod-gpu-02": "8"}
    assert lab.allocatable() == {**expected, "train-gpu-01": "4"}
    labels = {"dev-gpu-01": "dev", "dev-gpu-02": "dev", "train-gpu-01": "no-sharing"}
    assert lab.labels() == labels
    assert ends(lab) == ["good"]
    assert lease_holder(lab) == ""


def test_each_node_is_annotated_with_the_content_that_it_has_loaded(lab: Lab) -> None:
    data = lab.json(*CONFIG_MAP)["data"]
    hashes = {key: to_note(config_hash(content)) for key, content in data.items()}
    profiles = {"dev-gpu-01": "dev", "prod-gpu-01": "default", "train-gpu-01": "no-sharing"}
    for node, profile in profiles.items():
        annotations = lab.json("node", node)["metadata"]["annotations"]
        assert annotations["gpufleet.sharing/config-hash"] == hashes[profile]


def test_the_checks_of_the_recipe_hold(lab: Lab) -> None:
    """2 GPUs x 4 replicas: kubectl shows "8", and the ConfigMap holds the recipe's file."""
    path = r"jsonpath={.status.allocatable.nvidia\.com/gpu}"
    assert lab.kubectl("get", "node", "prod-gpu-01", "-o", path) == "8"
    data = lab.json(*CONFIG_MAP)["data"]
    assert data["no-sharing"] == "version: v1\n"
    sharing = yaml.safe_load(data["default"])["sharing"]["timeSlicing"]
    assert sharing["resources"] == [{"name": "nvidia.com/gpu", "replicas": 4}]
    policy = lab.json("clusterpolicy", "cluster-policy")["spec"]["devicePlugin"]["config"]
    assert (policy["name"], policy["default"]) == ("device-plugin-config", "default")
    namespace = lab.json("namespace", "gpu-operator")["metadata"]["labels"]
    assert namespace["pod-security.kubernetes.io/enforce"] == "privileged"


def test_second_site_run_changes_and_writes_nothing(lab: Lab, inventory: Path) -> None:
    """Nor does it need the lease, which somebody holds here."""
    hold(lab, "somebody", 3600)
    before = lab.json(*LEASE)
    lab.forget_requests()
    run = lab.playbook("site", inventory).succeeded()
    assert lab.json(*LEASE) == before
    assert run.changed == {"localhost": 0}
    assert lab.writes(dry_run=True) == []
    assert acted(run) == []
    assert run.ran("check") == ["site_plan"]  # one look, which shows that the operator is done too
    assert run.ran() == ["cluster_info"]
    hold(lab, "", 30)


def test_namespace_that_lost_its_pod_security_label_differs(lab: Lab) -> None:
    label = "pod-security.kubernetes.io/enforce"
    arguments = {"profiles": PROFILES}
    assert not call(lab, "profiles", arguments, check=True)["differs"]
    lab.kubectl("label", "namespace", "gpu-operator", f"{label}-")
    assert call(lab, "profiles", arguments)["differs"]
    assert lab.json("namespace", "gpu-operator")["metadata"]["labels"][label] == "privileged"


def test_verify_reads_only_and_fails_naming_a_node_that_differs(lab: Lab, inventory: Path) -> None:
    """Where nothing differs it is what site ends with."""
    lab.forget_requests()
    wrong = {
        "gpu_verify_probe": False,
        "gpu_sharing_profiles": {**PROFILES, "default": {"replicas": 5}},
    }
    run = lab.playbook("verify", inventory, variables=wrong).failed()
    run.fails_with(2, 5)
    for node in ("prod-gpu-01", "prod-gpu-02"):
        run.fails_with(node, "nvidia.com/gpu", 8, 10)
    assert lab.writes(dry_run=True) == []


def test_check_mode_of_a_changed_inventory_shows_the_difference_only(lab: Lab) -> None:
    lab.forget_requests()
    run = planned(lab, Wanted(profiles=SIX)).succeeded()
    assert lab.writes() == []
    run.names("after", "replicas", 6).names("before", "dev-gpu-01", "dev", 8, "nvidia.com/gpu")
    run.names("after", "dev-gpu-01", "dev", 6, "nvidia.com/gpu")
    assert [*run.naming("after", "prod-gpu-01"), *run.naming("before", "prod-gpu-01")] == []


def test_changed_content_restarts_the_plugins_of_its_nodes_only(lab: Lab, inventory: Path) -> None:
    before = lab.plugin_pods()
    run = lab.playbook("site", inventory, variables={"gpu_sharing_profiles": SIX}).succeeded()
    assert acted(run) == ["profiles", "rollout"]
    after = lab.plugin_pods()
    restarted = {key.split("/")[0] for key in before if before[key] != after[key]}
    assert restarted == {"dev-gpu-01", "dev-gpu-02"}
    assert lab.allocatable()["dev-gpu-01"] == "6"
    assert ends(lab) == ["good", "good"]
    assert lease_holder(lab) == ""


def test_lease_of_a_run_that_was_killed_is_waited_out_and_that_is_said(lab: Lab) -> None:
    kept = {"profiles": PROFILES, "run": "killed", "keep_lease": True}
    assert "warnings" not in call(lab, "profiles", kept)
    assert lease_holder(lab) == "killed"
    warnings = call(lab, "profiles", {"profiles": SIX, "run": "next"})["warnings"]
    assert [mentions(warning, "killed", "gpufleet-sharing") for warning in warnings] == [True, True]
    assert lease_holder(lab) == ""


def test_run_killed_between_config_map_and_restart_is_finished_by_the_next(lab: Lab) -> None:
    """The ConfigMap is written, as by a run that died right after; nothing has been restarted."""
    document = lab.json(*CONFIG_MAP)
    seven = {**PROFILES, "dev": {"replicas": 7}}
    written = call(lab, "profiles", {"profiles": seven})
    assert written["rewritten"] == ["dev"], document
    assert lab.allocatable()["dev-gpu-01"] == "6"
    assert differing(lab, Wanted(profiles=seven)) == ["rollout"]
    applied(lab, Wanted(profiles=seven)).succeeded()
    assert lab.allocatable()["dev-gpu-01"] == "7"


def test_node_moved_to_another_group_gets_its_profile_without_a_restart(lab: Lab) -> None:
    """Without prune the keys of others stay: old is nobody's, used is named by the label of a node
    outside the inventory.
    """
    patch = json.dumps({"data": {"old": "version: v1\n", "used": "version: v1\n"}})
    lab.kubectl("patch", *CONFIG_MAP, "--type=merge", "-p", patch)
    lab.kubectl("label", "node", "cpu-01", "nvidia.com/device-plugin.config=used")
    before = lab.plugin_pods()
    moved = json.loads(json.dumps(GROUPS))
    moved["prod_gpus"]["hosts"]["dev-gpu-02"] = moved["dev_gpus"]["hosts"].pop("dev-gpu-02")
    wanted = Wanted(moved, {**PROFILES, "dev": {"replicas": 7}})
    assert differing(lab, wanted) == ["rollout"]
    applied(lab, wanted).succeeded()
    assert lab.allocatable()["dev-gpu-02"] == "4"
    assert "dev-gpu-02" not in lab.labels()
    assert lab.plugin_pods() == before
    assert {"old", "used"} <= lab.json(*CONFIG_MAP)["data"].keys()


@pytest.mark.full("two more runs; unit tests have the verdict")
def test_not_ready_node_is_left_alone_and_named(lab: Lab, inventory: Path) -> None:
    """Its label is to be another, and is not."""
    lab.kubectl("annotate", "node", "dev-gpu-02", f"{READY}=false")
    lab.kubectl("wait", "--for=condition=Ready=false", "node/dev-gpu-02", "--timeout=60s")
    lab.forget_requests()
    run = lab.playbook("site", inventory).failed()  # verification: a NotReady node is no proof
    run.names("NotReady", "dev-gpu-02", 1).fails_with(1, 5).fails_with("dev-gpu-02")
    assert "dev-gpu-02" not in lab.labels()
    assert not [request for request in lab.writes() if "/nodes/dev-gpu-02" in request]


def test_not_ready_node_that_is_back_is_brought_up_to_date_and_keys_in_use_are_not_pruned(
    lab: Lab,
) -> None:
    lab.kubectl("annotate", "node", "dev-gpu-02", f"{READY}-")
    lab.kubectl("wait", "--for=condition=Ready", "node/dev-gpu-02", "--timeout=60s")
    run = applied(lab, Wanted(prune=True)).succeeded()
    assert lab.labels()["dev-gpu-02"] == "dev"
    keys = {"default", "dev", "no-sharing", "used"}
    assert lab.json(*CONFIG_MAP)["data"].keys() == keys
    run.names("kept_in_use", "used")
    lab.kubectl("label", "node", "cpu-01", "nvidia.com/device-plugin.config-")


@pytest.mark.full("check mode of uninstall, a whole run")
def test_uninstall_check_mode_writes_nothing(lab: Lab, inventory: Path) -> None:
    lab.forget_requests()
    run = lab.playbook("uninstall", inventory, "--check").succeeded()
    assert lab.writes() == []
    assert run.changed["localhost"] > 0


def test_uninstall_undoes_what_site_did_and_keeps_what_others_added(
    lab: Lab, inventory: Path
) -> None:
    mark_as_cordoned_by_a_run_that_was_killed(lab, "prod-gpu-01")
    lab.kubectl("cordon", "prod-gpu-02")
    lab.playbook("uninstall", inventory).succeeded()
    assert lab.labels() == {}
    data = lab.json(*CONFIG_MAP)["data"]
    assert data == {"used": "version: v1\n"}  # somebody else's key
    assert lab.json("clusterpolicies")["items"] == []
    assert "clusterpolicies.nvidia.com" in lab.kubectl("get", "crds", "-o", "name")
    assert remains(lab) == []
    nodes = lab.json("nodes")["items"]
    cordoned = [n["metadata"]["name"] for n in nodes if n["spec"].get("unschedulable")]
    assert cordoned == ["prod-gpu-02"]  # by somebody else
    lab.kubectl("uncordon", "prod-gpu-02")


def mark_as_cordoned_by_a_run_that_was_killed(lab: Lab, node: str) -> None:
    lab.kubectl("cordon", node)
    lab.kubectl("annotate", "node", node, "gpufleet.sharing/cordoned=true")


@pytest.mark.full("a whole run of uninstall")
def test_uninstall_again_changes_nothing(lab: Lab, inventory: Path) -> None:
    text = {"gpu_operator_remove_crds": "false"}  # as -e and surveys give it
    run = lab.playbook("uninstall", inventory, variables=text).succeeded()
    assert run.changed == {"localhost": 0}
    assert "clusterpolicies.nvidia.com" in lab.kubectl("get", "crds", "-o", "name")


@pytest.mark.full("a whole run of uninstall, for one option")
def test_uninstall_with_crds_removes_them(lab: Lab, inventory: Path) -> None:
    lab.playbook("uninstall", inventory, variables={"gpu_operator_remove_crds": True}).succeeded()
    # It is deleted, and goes when the server has finalized it
    lab.wait_for(
        lambda: "clusterpolicies.nvidia.com" not in lab.kubectl("get", "crds", "-o", "name")
    )
