# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator: its Helm release, one that somebody else installed, and what killed runs leave."""

from __future__ import annotations

import base64
import gzip
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.tests.integration.answers import mentions
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    GROUPS,
    PROFILES,
    Lab,
    Run,
    lease_holder,
    module_command,
    module_result,
    remains,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import POINTER, call, converge

HELM_SECRETS = ("-n", "gpu-operator", "-l", "owner=helm")
PLUGIN = ("-n", "gpu-operator", "nvidia-device-plugin-daemonset")
LEASE = "leases/gpufleet-sharing"  # goes with the profiles, not with the release
CHECKED = {"state": "checked", "default_profile": "default"}
RELEASE = ("-n", "gpu-operator", "gpu-operator")


def helm(lab: Lab, *arguments: str) -> str:
    done = subprocess.run(
        ["helm", *arguments], env=lab.environ, check=True, text=True, capture_output=True
    )
    return done.stdout


def by_hand(lab: Lab, verb: str, *options: str) -> None:
    """Install or upgrade the release as somebody else than our collection."""
    chart = lab.environ["GPULAB_CHART"]
    helm(lab, verb, "gpu-operator", chart, "-n", "gpu-operator", *options)


def values(lab: Lab) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(helm(lab, "get", "values", *RELEASE, "-o", "json")) or {}
    return found


def status(lab: Lab) -> str:
    listed = json.loads(helm(lab, "list", "-n", "gpu-operator", "-a", "-o", "json"))
    return str(listed[0]["status"]) if listed else "none"


def policy(lab: Lab) -> dict[str, Any]:
    config: dict[str, Any] = lab.json("clusterpolicy", "cluster-policy")["spec"]["devicePlugin"]
    return dict(config.get("config") or {})


def release(lab: Lab, **options: Any) -> dict[str, Any]:
    """Run the task that keeps the release, or removes it, by itself."""
    return module_result(lab, "helm_release", task(lab, **options))


def task(lab: Lab, **options: Any) -> dict[str, Any]:
    """Of one run, so that none waits for the lease of the one before."""
    own = {"chart_ref": lab.environ["GPULAB_CHART"], "timeout": 60, "run": "tests"}
    return {**own, "pointer": POINTER, **options}


def kill_in_mid_wait(lab: Lab, command: Sequence[str]) -> None:
    """Start a run where no pod can be scheduled; kill everything while Helm waits."""
    nodes = lab.kubectl("get", "nodes", "-o", "name").split()
    lab.kubectl("cordon", *nodes)
    with subprocess.Popen(
        command,
        env=lab.ansible_environ(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        # The policy is what it makes last; from there on it only looks.
        lab.wait_for(lambda: lab.attempt("get", "clusterpolicy", "cluster-policy").rc == 0, 300)
        assert status(lab).startswith("pending")
        for pid in (process.pid, *descendants(process.pid)):
            os.kill(pid, signal.SIGKILL)
    lab.kubectl("uncordon", *nodes)


def descendants(pid: int) -> list[int]:
    """The processes below one: Ansible's workers, and Helm, are in sessions of their own."""
    listed = subprocess.run(
        ["ps", "-eo", "pid=,ppid="], check=True, text=True, capture_output=True
    ).stdout
    pairs = [(int(child), int(parent)) for child, parent in map(str.split, listed.splitlines())]
    children = [child for child, parent in pairs if parent == pid]
    return [*children, *(below for child in children for below in descendants(child))]


@pytest.mark.full("another history of a release")
def test_uninstall_takes_what_a_killed_install_has_left(lab: Lab, inventory: Path) -> None:
    """Of an install that was killed nothing but its pending revision tells what Helm has made."""
    kill_in_mid_wait(lab, lab.command("site", inventory))
    assert status(lab) == "pending-install"
    young = {"gpu_operator_timeout": 5}
    lab.playbook("uninstall", inventory, variables=young).succeeded()
    assert status(lab) == "none"
    assert lab.json("clusterpolicies")["items"] == []
    assert lab.json("deployments", "-n", "gpu-operator")["items"] == []
    assert remains(lab) == []


@pytest.mark.full("another history of a release")
def test_release_left_pending_by_a_kill_is_waited_for_and_then_recovered(
    lab: Lab, inventory: Path
) -> None:
    kill_in_mid_wait(lab, module_command("helm_release", task(lab)))
    assert status(lab) == "pending-install"
    lab.wait_for(lambda: is_quiet(lab))
    lab.forget_requests()
    looked = call(lab, "helm_release", {"chart_ref": "-"}, check=True)
    assert looked["recovered"]["status"] == "pending-install"
    assert "seconds_left" not in looked  # check mode waits for nothing
    assert lab.writes() == []
    run = site_beside_helm(lab, inventory, "pending-install").succeeded()
    assert len(run.naming("pending-install")) >= 2  # that it is waited for, and then recovered
    run.names(5, 10, 36)  # nodes, GPUs, slots
    assert status(lab) == "deployed"


def site_beside_helm(lab: Lab, inventory: Path, said: str) -> Run:
    """Run site while Helm looks alive, which it does until the run has said that it waits for it:
    the API server notes when a Secret was last written, and the run waits for 10 s after that.
    """
    (secret,) = lab.kubectl("get", "secrets", "-o", "name", *HELM_SECRETS).split()
    ended = threading.Event()

    def touch() -> None:
        while not ended.wait(1):
            now = f"touched={int(time.time())}"
            lab.kubectl("label", secret, "-n", "gpu-operator", now, "--overwrite")

    command = lab.command("site", inventory, variables={"gpu_operator_timeout": 10})
    thread = threading.Thread(target=touch, daemon=True)
    thread.start()
    lines = []
    with subprocess.Popen(
        command,
        env=lab.ansible_environ(),
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        for line in process.stdout or ():
            lines.append(line)
            if said in line:
                ended.set()
    ended.set()
    thread.join()
    return Run(process.returncode, "".join(lines))


def is_quiet(lab: Lab) -> bool:
    """Whether what a killed process had asked for has been done, and written to the audit log."""
    before = lab.writes()
    time.sleep(1)
    return lab.writes() == before


@pytest.mark.full("whole runs of plan and site")
def test_values_of_others_are_kept_and_nothing_is_said_about_helm_diff(
    lab: Lab, inventory: Path
) -> None:
    by_hand(lab, "upgrade", "--reuse-values", "--set", "toolkit.enabled=false")
    changed = {"gpu_operator_values": {"driver": {"enabled": False}}}
    said = lab.playbook("plan", inventory, variables=changed).succeeded()
    said.names("values", "driver.enabled")
    run = lab.playbook("site", inventory, variables=changed).succeeded()
    assert "helm diff" not in run.output
    assert "WARNING" not in run.output
    assert values(lab)["driver"] == {"enabled": False}
    assert values(lab)["toolkit"] == {"enabled": False}  # never in the inventory, and it stays
    assert lease_holder(lab) == ""  # also where no node needs anything


@pytest.mark.full("another history of a release")
def test_values_of_others_go_where_exact_is_asked_for(lab: Lab) -> None:
    assert release(lab, values_exact=True)["changed"]
    assert values(lab) == {"devicePlugin": {"config": POINTER}}


def test_pointer_patched_away_by_hand_is_named_and_put_back(lab: Lab) -> None:
    """A Helm upgrade with the same values does not undo a live patch."""
    converge(lab)
    patch = {"spec": {"devicePlugin": {"config": {"default": "dev"}}}}
    lab.kubectl("patch", "clusterpolicy", "cluster-policy", "--type=merge", "-p", json.dumps(patch))
    found = call(lab, "cluster_policy", CHECKED | {"timeout": 5})
    assert found["failed"]
    assert mentions(found["msg"], "ClusterPolicy", "cluster-policy", "dev", "default")
    repaired = CHECKED | {"state": "repaired"}
    looked = call(lab, "cluster_policy", repaired, check=True)
    assert (looked["changed"], looked["before"]["default"]) == (True, "dev")
    assert policy(lab)["default"] == "dev"
    assert call(lab, "cluster_policy", repaired)["changed"] is True
    assert policy(lab) == POINTER
    annotations = lab.json("clusterpolicy", "cluster-policy")["metadata"]["annotations"]
    assert "gpufleet.sharing/previous-config" not in annotations
    assert call(lab, "cluster_policy", repaired)["changed"] is False


def set_status(lab: Lab, revision: int, status: str) -> None:
    """Give a revision another status, as Helm stores it."""
    place = (f"secret/sh.helm.release.v1.gpu-operator.v{revision}", "-n", "gpu-operator")
    packed = lab.json(*place)["data"]["release"]
    document = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(packed))))
    document["info"]["status"] = status
    data = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(document).encode())))
    change = {"metadata": {"labels": {"status": status}}, "data": {"release": data.decode()}}
    lab.kubectl("patch", *place, "--type=merge", "-p", json.dumps(change))


def test_upgrade_that_failed_is_repeated_with_the_same_values(lab: Lab) -> None:
    """As where a hook of the chart has failed, so that nothing of the upgrade is there."""
    wanted = {"driver": {"version": "1.2.3"}}
    assert release(lab, values=wanted)["changed"]
    listed = json.loads(helm(lab, "list", "-n", "gpu-operator", "-a", "-o", "json"))
    newest = int(listed[0]["revision"])
    set_status(lab, newest - 1, "deployed")
    set_status(lab, newest, "failed")
    patch = {"spec": {"driver": {"version": None}}}
    lab.kubectl("patch", "clusterpolicy", "cluster-policy", "--type=merge", "-p", json.dumps(patch))
    assert release(lab, values=wanted)["changed"]
    assert status(lab) == "deployed"
    spec = lab.json("clusterpolicy", "cluster-policy")["spec"]
    assert spec["driver"]["version"] == "1.2.3"
    assert not release(lab, values=wanted)["changed"]


def scale_operator(lab: Lab, replicas: int) -> None:
    """Stop it, or start it again."""
    command = ("scale", "deployment", "gpu-operator", "-n", "gpu-operator")
    lab.kubectl(*command, f"--replicas={replicas}")
    there = ("deployment", "gpu-operator", "-n", "gpu-operator")
    lab.wait_for(lambda: lab.json(*there)["status"].get("availableReplicas", 0) == replicas)


def test_new_value_that_restarts_plugins_is_waited_for(lab: Lab) -> None:
    """The pointer is as it was, and the operator has not got to the value yet: it is stopped."""

    def put(version: str) -> None:
        patch = json.dumps({"spec": {"devicePlugin": {"version": version}}})
        lab.kubectl("patch", "clusterpolicy", "cluster-policy", "--type=merge", "-p", patch)

    def check(timeout: int) -> str:
        return str(call(lab, "cluster_policy", CHECKED | {"timeout": timeout}).get("msg", ""))

    assert check(60) == ""  # what the test before has changed is over
    scale_operator(lab, 0)
    before = lab.json("clusterpolicy", "cluster-policy")["spec"]["devicePlugin"]["version"]
    put("v0.19.99")
    assert "k8s-device-plugin:v0.19.99" in check(2)
    scale_operator(lab, 1)
    assert check(60) == ""
    assert ":v0.19.99" in lab.kubectl("get", "daemonset", *PLUGIN, "-o", "yaml")
    put(before)
    assert check(60) == ""


@pytest.mark.full("another history of a release")
def test_pod_that_cannot_go_holds_the_rollout_up_and_is_named(lab: Lab) -> None:
    """Its node is NotReady, so that nobody ends it; a finalizer stands for that here."""
    node, ready = "prod-gpu-01", "lab.gpufleet.sharing/ready"
    pods = ("pods", "-n", "gpu-operator", "-l", "app=nvidia-device-plugin-daemonset")
    (pod,) = (p for p in lab.json(*pods)["items"] if p["spec"]["nodeName"] == node)
    name = pod["metadata"]["name"]
    lab.apply(_finalized(name))
    lab.kubectl("annotate", "node", node, f"{ready}=false")
    version = {"spec": {"devicePlugin": {"version": "v0.19.98"}}}
    patch = ("patch", "clusterpolicy", "cluster-policy", "--type=merge", "-p")
    before = lab.json("clusterpolicy", "cluster-policy")["spec"]["devicePlugin"]["version"]
    lab.wait_for(lambda: "NotReady" in lab.kubectl("get", "node", node))
    lab.kubectl("delete", "pod", "-n", "gpu-operator", name, "--wait=false")
    lab.kubectl(*patch, json.dumps(version))
    try:
        said = call(lab, "cluster_policy", CHECKED | {"timeout": 3})["msg"]
    finally:
        lab.kubectl("annotate", "node", node, f"{ready}-")
        none = '{"metadata": {"finalizers": null}}'
        lab.kubectl("patch", "pod", name, "-n", "gpu-operator", "--type=merge", "-p", none)
    assert mentions(said, name, node, "NotReady")
    version["spec"]["devicePlugin"]["version"] = before
    lab.kubectl(*patch, json.dumps(version))
    assert not call(lab, "cluster_policy", CHECKED | {"timeout": 60}).get("failed")


def _finalized(pod: str) -> dict[str, Any]:
    metadata = {"name": pod, "namespace": "gpu-operator", "finalizers": ["example.com/held"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}


@pytest.mark.full("another history of a release")
def test_existing_operator_is_adopted_without_a_restart_and_given_back(
    lab: Lab, inventory: Path
) -> None:
    """Somebody has installed it by hand, by the usual recipe; adopting it touches no plugin pod."""
    nothing_of_ours(lab)
    others = {name: _by_hand(settings["replicas"]) for name, settings in PROFILES.items()}
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "device-plugin-config", "namespace": "gpu-operator"},
        "data": others,
    }
    lab.apply(config_map)
    by_hand(
        lab,
        "install",
        "--wait",
        "--set",
        "devicePlugin.config.name=device-plugin-config",
        "--set",
        "devicePlugin.config.default=default",
    )
    groups: dict[str, Any] = dict(GROUPS)
    for group in groups.values():
        profile = group.get("vars", {}).get("gpu_sharing_profile")
        for node in group["hosts"] if profile else ():
            lab.kubectl("label", "node", node, f"nvidia.com/device-plugin.config={profile}")
    lab.wait_for(lambda: lab.allocatable().get("dev-gpu-01") == "8")
    lab.wait_for(lambda: lab.allocatable().get("train-gpu-01") == "4")
    lab.wait_for(lambda: lab.labels("nvidia.com/gpu.replicas").get("dev-gpu-01") == "8")
    lab.wait_for(lambda: all_ready(lab))
    pods = lab.plugin_pods()
    lab.forget_requests()
    lab.playbook("site", inventory, variables={"gpu_operator_manage": "existing"}).succeeded()
    assert lab.plugin_pods() == pods
    data = lab.json("configmap", "device-plugin-config", "-n", "gpu-operator")["data"]
    assert data == others  # not a byte of the content was touched
    assert not [w for w in lab.writes() if "clusterpolicies" in w]
    lab.playbook("uninstall", inventory, variables={"gpu_operator_manage": "existing"}).succeeded()
    data = lab.json("configmap", "device-plugin-config", "-n", "gpu-operator")["data"]
    assert data == others  # the pointer still names it: without its default key no plugin starts
    assert remains(lab) == []


def nothing_of_ours(lab: Lab) -> None:
    """Take everything away, as uninstall does."""
    nodes = list(lab.labels())
    absent = {"state": "absent", "nodes": [{"name": node} for node in nodes]}
    steps: list[tuple[str, dict[str, Any]]] = [
        ("node_profiles", absent),
        ("helm_release", {"chart_ref": "-", "forget": True}),
        ("profiles", {"state": "absent"}),
    ]
    helm(lab, "uninstall", *RELEASE, "--wait")
    for name, arguments in steps:
        assert not (answer := call(lab, name, arguments)).get("failed"), answer
    assert remains(lab) == []


def all_ready(lab: Lab) -> bool:
    """Whether all 5 nodes have their pods, those of the plugin and of GPU feature discovery."""
    items = lab.json("daemonsets", "-n", "gpu-operator")["items"]
    found = {item["metadata"]["name"]: item["status"].get("numberReady", 0) for item in items}
    return found.get("nvidia-device-plugin-daemonset") == found.get("gpu-feature-discovery") == 5


def _by_hand(replicas: int) -> str:
    """The recipe's file, laid out as people do, with a comment."""
    if replicas == 1:
        return "# no sharing\nversion: v1\n"
    return (
        "version: v1\nsharing:\n  # as in the recipe\n  timeSlicing:\n    resources:\n"
        f"      - {{name: nvidia.com/gpu, replicas: {replicas}}}\n"
        "    failRequestsGreaterThanOne: true\n    renameByDefault: false\n"
    )


@pytest.mark.full("another history of a release")
def test_existing_operator_gets_the_pointer_by_a_patch_of_two_fields(
    lab: Lab, inventory: Path
) -> None:
    by_hand(
        lab,
        "upgrade",
        "--wait",
        "--reset-values",
    )
    assert policy(lab).get("name") in (None, "")
    assert not call(lab, "profiles", {"profiles": PROFILES}).get("failed")
    lab.forget_requests()
    existing = {"gpu_operator_manage": "existing"}
    assert call(lab, "cluster_policy", {"default_profile": "default"})["changed"]
    assert (policy(lab)["name"], policy(lab)["default"]) == ("device-plugin-config", "default")
    patches = [request for request in lab.writes() if "clusterpolicies" in request]
    assert not call(lab, "cluster_policy", CHECKED | {"timeout": 60}).get("failed")
    assert patches == [
        "patch /apis/nvidia.com/v1/clusterpolicies/cluster-policy?fieldManager=gpufleet.sharing"
    ]
    again = call(lab, "cluster_policy", {"default_profile": "default"}, check=True)
    assert again["changed"] is False
    scale_operator(lab, 0)
    stuck = existing | {"gpu_operator_timeout": 5}
    run = lab.playbook("uninstall", inventory, variables=stuck)
    run.fails_with("DaemonSet", "ConfigMap", "device-plugin-config")
    assert lease_holder(lab) == ""  # for the next run, at once
    assert lab.json("configmap", "device-plugin-config", "-n", "gpu-operator")["data"]
    scale_operator(lab, 1)
    lab.playbook("uninstall", inventory, variables=existing).succeeded()
    assert policy(lab).get("name") in (None, "")
    assert status(lab) == "deployed"  # not ours
    assert remains(lab) == []


@pytest.mark.full("another history of a release")
def test_release_that_was_there_before_survives_with_its_own_pointer(lab: Lab) -> None:
    by_hand(
        lab,
        "upgrade",
        "--wait",
        "--set",
        "devicePlugin.config.name=theirs",
        "--set",
        "toolkit.enabled=false",
    )
    assert release(lab)["changed"]
    assert policy(lab)["name"] == "device-plugin-config"
    gone = release(lab, state="absent")
    assert (gone["changed"], gone["left"]) == (True, True), gone
    assert status(lab) == "deployed"
    expected = {"toolkit": {"enabled": False}, "devicePlugin": {"config": {"name": "theirs"}}}
    assert values(lab) == expected
    assert remains(lab) == [LEASE]


@pytest.mark.full("another history of a release")
def test_field_that_the_crd_drops_is_an_error_that_names_it(lab: Lab) -> None:
    """An old CustomResourceDefinition, which knows no devicePlugin.config."""
    crd = lab.json("crd", "clusterpolicies.nvidia.com")
    plugin = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    del plugin["properties"]["devicePlugin"]["properties"]["config"]
    patch = {"spec": {"versions": crd["spec"]["versions"]}}
    lab.kubectl(
        "patch", "crd", "clusterpolicies.nvidia.com", "--type=merge", "-p", json.dumps(patch)
    )
    tried = json.dumps({"spec": {"devicePlugin": {"config": {"name": "tried"}}}})
    dry = ("patch", "clusterpolicy", "cluster-policy", "--type=merge", "--dry-run=server")
    lab.wait_for(lambda: "tried" not in lab.kubectl(*dry, "-p", tried, "-o", "json"))
    arguments = {"default_profile": "default", "timeout": 5}
    result = call(lab, "cluster_policy", arguments)
    assert result["failed"]
    assert mentions(result["msg"], "CustomResourceDefinition", "devicePlugin.config")


@pytest.mark.full("another history of a release")
def test_no_operator_to_point(lab: Lab) -> None:
    helm(lab, "uninstall", *RELEASE, "--wait")
    assert lab.json("clusterpolicies")["items"] == []
    found = call(lab, "cluster_policy", {"default_profile": "default"})
    assert found["failed"]
    assert mentions(found["msg"], "ClusterPolicy", "cluster-policy")


@pytest.mark.full("another history of a release")
def test_note_of_a_release_that_has_gone_is_taken_away(lab: Lab) -> None:
    """As by an uninstall that was killed after Helm had done it."""
    note = json.dumps({"installed": True, "pointer": {}})
    key = "gpufleet.sharing/helm-gpu-operator"
    lab.kubectl("annotate", "namespace", "gpu-operator", f"{key}={note}")
    assert release(lab, state="absent")["changed"]
    assert remains(lab) == [LEASE]


@pytest.mark.full("another history of a release")
def test_crds_stay_while_another_operator_needs_them(lab: Lab, inventory: Path) -> None:
    chart = lab.environ["GPULAB_CHART"]
    helm(lab, "install", "theirs", chart, "-n", "gpu-operator", "--create-namespace", "--wait")
    lab.forget_requests()
    crds = {"gpu_operator_remove_crds": True}
    lab.playbook("uninstall", inventory, variables=crds).succeeded()
    assert [item["metadata"]["name"] for item in lab.json("clusterpolicies")["items"]] == [
        "cluster-policy"
    ]
    assert not [write for write in lab.writes() if "customresourcedefinitions" in write]
    helm(lab, "uninstall", "theirs", "-n", "gpu-operator", "--wait")


@pytest.mark.full("another history of a release")
def test_release_of_others_that_is_pending_is_left_alone(lab: Lab) -> None:
    by_hand(lab, "install")
    (secret,) = lab.kubectl("get", "secrets", "-o", "name", *HELM_SECRETS).split()
    lab.kubectl("label", secret, "-n", "gpu-operator", "status=pending-upgrade", "--overwrite")
    lab.forget_requests()
    gone = release(lab, state="absent", timeout=1)
    assert (gone["changed"], gone["left"]) == (False, True), gone
    assert not [write for write in lab.writes() if "secrets" in write]
    helm(lab, "uninstall", *RELEASE, "--wait")


@pytest.mark.full("another history of a release")
def test_release_in_a_namespace_of_its_own_is_known_as_ours(lab: Lab) -> None:
    """Of the task alone, without the role that makes the namespace before it."""
    made = release(lab, namespace="fresh")
    assert made["changed"], made
    gone = release(lab, namespace="fresh", state="absent")
    assert (gone["changed"], gone["left"]) == (True, False), gone
    assert json.loads(helm(lab, "list", "-n", "fresh", "-a", "-o", "json")) == []
    assert "namespaces/fresh" not in remains(lab)


@pytest.mark.full("another history of a release")
def test_release_that_somebody_has_installed_in_the_place_of_ours_is_theirs(lab: Lab) -> None:
    assert release(lab, namespace="fresh")["changed"]
    place = ("gpu-operator", "-n", "fresh")
    helm(lab, "uninstall", *place, "--wait")
    helm(lab, "install", *place, lab.environ["GPULAB_CHART"], "--wait")
    gone = release(lab, namespace="fresh", state="absent")
    assert (gone["changed"], gone["left"]) == (True, True), gone  # the note of ours is taken away
    again = release(lab, namespace="fresh", state="absent")
    assert (again["changed"], again["left"]) == (False, True), again
    (theirs,) = json.loads(helm(lab, "list", "-n", "fresh", "-o", "json"))
    assert (theirs["status"], theirs["revision"]) == ("deployed", "1")
    helm(lab, "uninstall", *place, "--wait")
