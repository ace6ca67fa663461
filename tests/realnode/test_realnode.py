# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole collection, through Ansible only, on a real kubelet, containerd and NVIDIA's plugin.
Each test goes on where the one before has stopped. `realnode check` runs it; the journal is in
.build/realnode/run.log and run.json.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.hashing import (
    config_hash,
    to_note,
)
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    Run,
    remains,
    write_inventory,
)
from ansible_collections.gpufleet.sharing.tests.realnode.realtools import (
    CONFIG_MAP,
    LABEL,
    NAMESPACE,
    SHARED,
    Events,
    Node,
)

PROBE_ROOM = "gpufleet-sharing-probe"
DEPLOY = "nvidia.com/gpu.deploy.device-plugin"
PROFILES: dict[str, Any] = {
    "default": {"replicas": 4},
    "dev": {"replicas": 8},
    "no-sharing": {"replicas": 1},
    "renamed": {"replicas": 4, "rename_by_default": True},
}
GROUPS = {"prod": None, "dev": "dev", "train": "no-sharing", "render": "renamed"}
VERSIONED = {"gpu_sharing_rollout_mode": "versioned"}
REFUSED = (  # the recipe's no-sharing, written literally
    "version: v1\nsharing:\n  timeSlicing:\n    resources:\n"
    "      - {name: nvidia.com/gpu, replicas: 1}\n"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Inventories: the node in one of the groups, and the replicas of profiles."""

    def write(group: str, **counts: int) -> Path:
        hosts: dict[str, Any] = {"gpu-node": {}}
        profile = GROUPS[group]
        members: dict[str, Any] = {"hosts": hosts}
        if profile:
            members["vars"] = {"gpu_sharing_profile": profile}
        defined = PROFILES | {name: {"replicas": count} for name, count in counts.items()}
        folder = tmp_path_factory.mktemp("inventory") / group
        return write_inventory(
            folder, {f"{group}_gpus": members}, {"gpu_sharing_profiles": defined}
        )

    return write


def expect(
    node: Node, replicas: int, *, strategy: str = "time-slicing", shared: bool = True
) -> None:
    """Labels of GFD, once they have arrived."""

    def arrived() -> bool:
        found = node.gpu_labels()
        return (found["replicas"], found["sharing-strategy"]) == (str(replicas), strategy)

    took = node.until(arrived)
    node.journal.figure("labels after allocatable", took)
    found = node.gpu_labels()
    assert found["count"] == str(node.gpus)
    assert found["product"].endswith("-SHARED") == shared, found


def uids(node: Node) -> set[str]:
    found = [*node.pods(), *node.pods("gpu-feature-discovery")]
    return {pod["metadata"]["uid"] for pod in found}


def stats(run: Run, name: str) -> Any:
    """What a playbook hands on to other jobs."""
    return run.stats(name)["localhost"]


def test_node_before_the_collection(node: Node) -> None:
    """As the operator leaves it: every GPU once, and nobody shares."""
    node.journal.fact("GPUs", node.gpus)
    node.journal.fact("stand-in", node.stand_in)
    node.journal.fact("pods look with", node.look)
    node.journal.fact("product", node.told()["nvidia.com/gpu.product"])
    node.journal.fact("kubelet", node.object()["status"]["nodeInfo"]["kubeletVersion"])
    node.journal.fact("runtime", node.object()["status"]["nodeInfo"]["containerRuntimeVersion"])
    assert node.slots() == node.gpus
    expect(node, 1, strategy="none", shared=False)
    containers = [c["name"] for c in node.pods()[0]["spec"]["containers"]]
    assert containers == ["nvidia-device-plugin"]


def test_site_shares_the_default(node: Node, place: Callable[..., Path]) -> None:
    inventory = place("prod")
    with node.journal.step("site: default, 4 replicas"):
        node.play("site", inventory).succeeded()
    assert node.slots() == 4 * node.gpus
    assert node.profile() is None
    expect(node, 4)
    data = node.json("configmap", CONFIG_MAP, "-n", NAMESPACE)["data"]
    assert data.keys() == PROFILES.keys()
    annotations = node.object()["metadata"]["annotations"]
    wanted = to_note(config_hash(data["default"]))
    assert annotations["gpufleet.sharing/config-hash"] == wanted
    containers = [c["name"] for c in node.pods()[0]["spec"]["containers"]]
    assert containers == ["nvidia-device-plugin", "config-manager"]


def test_second_site_changes_and_writes_nothing(node: Node, place: Callable[..., Path]) -> None:
    node.forget_requests()
    with node.journal.step("site again"):
        run = node.play("site", place("prod")).succeeded()
    assert run.changed == {"localhost": 0}
    assert node.writes(dry_run=True) == []


def prove(node: Node, inventory: Path, per_gpu: int) -> None:
    """Pods on every slot, each of which sees one GPU; one more waits; two at once are refused."""
    with (
        node.journal.step(f"verify with {per_gpu * node.gpus} pods"),
        Events(node, PROBE_ROOM) as events,
    ):
        run = node.play(
            "verify",
            inventory,
            gpu_verify_probe_image=node.image,
            gpu_verify_probe_look=["sh", "-c", f"{node.look} > /dev/termination-log"],
            gpu_verify_probe_require_uuids=True,
        ).succeeded()
    spread = "+".join([str(per_gpu)] * node.gpus) if node.gpus > 1 else str(per_gpu)
    run.names(node.gpus, spread, "waits", "refused", "passed")
    insufficient = events.of("FailedScheduling")
    assert any("Insufficient nvidia.com/gpu" in text for text in insufficient), events.seen
    refused = events.of("UnexpectedAdmissionError")
    assert any("maximum request size for shared resources is 1" in text for text in refused)
    node.journal.fact("event of a refused pod", refused[0])
    node.journal.fact("event of the pod that waits", insufficient[0])
    node.until(lambda: PROBE_ROOM not in node.kubectl("get", "namespaces", "-o", "name"))


def test_probe_proves_the_default(node: Node, place: Callable[..., Path]) -> None:
    prove(node, place("prod"), 4)


def test_node_moves_to_dev_without_a_restart(node: Node, place: Callable[..., Path]) -> None:
    before = uids(node)
    with node.journal.step("site: moved to dev, 8 replicas"):
        node.play("site", place("dev")).succeeded()
    assert node.slots() == 8 * node.gpus
    assert node.profile() == "dev"
    expect(node, 8)
    assert uids(node) == before


def test_probe_proves_dev(node: Node, place: Callable[..., Path]) -> None:
    prove(node, place("dev"), 8)


def test_node_moves_to_no_sharing(node: Node, place: Callable[..., Path]) -> None:
    with node.journal.step("site: moved to no-sharing"):
        node.play("site", place("train")).succeeded()
    assert node.slots() == node.gpus
    assert node.profile() == "no-sharing"
    expect(node, 1, strategy="none", shared=False)


def test_node_moves_to_renamed(node: Node, place: Callable[..., Path]) -> None:
    with node.journal.step("site: moved to renamed"):
        node.play("site", place("render")).succeeded()
    assert (node.slots(SHARED), node.slots()) == (4 * node.gpus, 0)
    node.journal.fact("capacity of the old name", node.capacity())
    expect(node, 4, shared=False)


def test_content_changes_in_place(node: Node, place: Callable[..., Path]) -> None:
    """The plugin's pods of the node are restarted; the old name stays behind at 0."""
    with node.journal.step("site: back to dev"):
        node.play("site", place("dev")).succeeded()
    assert (node.slots(), node.slots(SHARED)) == (8 * node.gpus, 0)
    before = uids(node)
    with node.journal.step("site: dev 8 -> 6, in place"):
        node.play("site", place("dev", dev=6)).succeeded()
    assert node.slots() == 6 * node.gpus
    assert not uids(node) & before
    expect(node, 6)


def test_content_changes_versioned(node: Node, place: Callable[..., Path]) -> None:
    """Labels move and nothing restarts: neither pods, nor a side-car that saw its key too late."""
    before = uids(node)
    with node.journal.step("site: in place -> versioned"):
        node.play("site", place("dev", dev=6), **VERSIONED).succeeded()
    first = str(node.profile())
    assert first.startswith("dev.")
    with node.journal.step("site: dev 6 -> 5, versioned"):
        node.play("site", place("dev", dev=5), **VERSIONED).succeeded()
    assert node.slots() == 5 * node.gpus
    assert str(node.profile()).startswith("dev.")
    assert node.profile() != first
    expect(node, 5)
    assert uids(node) == before
    assert node.restarts() == 0


def test_history_and_rollback(node: Node, place: Callable[..., Path]) -> None:
    inventory = place("dev", dev=5)
    with node.journal.step("history"):
        node.play("history", inventory).succeeded().names("dev", 6, 5)
    with node.journal.step("rollback"):
        node.play("rollback", inventory, **VERSIONED).succeeded()
    assert node.slots() == 6 * node.gpus
    expect(node, 6)


def test_drift(node: Node, place: Callable[..., Path]) -> None:
    """Nothing at first; then a label that somebody has set by hand."""
    inventory = place("dev", dev=6)
    with node.journal.step("back in place"):
        node.play("site", inventory).succeeded()
    assert node.profile() == "dev"
    with node.journal.step("drift: none"):
        node.play("drift", inventory).succeeded()
    flip(node, "default", 4)
    with node.journal.step("drift: a label set by hand"):
        run = node.play("drift", inventory).failed()
    found = {(each["kind"], each["where"]) for each in stats(run, "gpu_sharing_drift")}
    assert {("label", "gpu-node"), ("allocatable", "gpu-node")} <= found
    flip(node, "dev", 6)


def flip(node: Node, profile: str, replicas: int) -> None:
    """Set the label by hand and measure until the node shows it."""
    started = time.monotonic()
    node.kubectl("label", "node", "gpu-node", f"{LABEL}={profile}", "--overwrite")
    node.until(lambda: node.slots() == replicas * node.gpus)
    node.journal.figure("label flip to allocatable", time.monotonic() - started)


def test_how_long_things_take(node: Node) -> None:
    """Figures for the lab's delays: flips, a restart, and a file that is refreshed."""
    with node.journal.step("figures: label flips"):
        for pause in (2, 5, 8):  # somewhere in the kubelet's period of 10 s
            time.sleep(pause)
            flip(node, "default", 4)
            time.sleep(pause)
            flip(node, "dev", 6)
    with node.journal.step("figures: restart of the plugin"):
        restart(node)
    with node.journal.step("figures: annotation to file"):
        for number in range(3):
            refresh(node, f"annotated.{number}")


def restart(node: Node) -> None:
    """Delete the plugin's pod and follow allocatable to 0, by the default, to what it was."""
    (pod,) = node.pods()
    wanted, seen = node.slots(), [node.slots()]

    def is_replaced() -> bool:
        uids = [found["metadata"]["uid"] for found in node.pods()]
        return bool(uids) and pod["metadata"]["uid"] not in uids

    started = time.monotonic()
    name = pod["metadata"]["name"]
    node.kubectl("delete", "pod", name, "-n", NAMESPACE, "--wait=false")
    stable = started
    while time.monotonic() - stable < 25 or seen[-1] != wanted or not is_replaced():
        assert time.monotonic() - started < 120, seen
        now = node.slots()
        if now != seen[-1]:
            seen.append(now)
            stable = time.monotonic()
            node.journal.figure(f"plugin pod deleted to {now} slots", stable - started)
        time.sleep(0.05)
    node.journal.fact("slots after the plugin pod was deleted", seen)
    assert seen[-1] == wanted


def refresh(node: Node, key: str) -> None:
    """A new key of the ConfigMap is before the plugin at once when its pod is annotated."""
    (pod,) = node.pods()
    patch = json.dumps({"data": {key: "version: v1\n"}})
    node.kubectl("patch", "configmap", CONFIG_MAP, "-n", NAMESPACE, "--type=merge", "-p", patch)
    started = time.monotonic()
    node.kubectl("annotate", "pod", pod["metadata"]["name"], "-n", NAMESPACE, f"test/{key}=1")
    node.until(lambda: node.volume(pod, key).exists(), timeout=30)
    node.journal.figure("annotation to refreshed file", time.monotonic() - started)
    patch = json.dumps({"data": {key: None}})
    node.kubectl("patch", "configmap", CONFIG_MAP, "-n", NAMESPACE, "--type=merge", "-p", patch)


def examine(node: Node, inventory: Path, *codes: str) -> None:
    """The doctor finds these, and fails."""
    run = node.play("doctor", inventory).failed()
    found = {each["code"] for each in stats(run, "gpu_sharing_doctor")["findings"]}
    node.journal.fact(f"doctor, expected {', '.join(codes)}", sorted(found))
    assert set(codes) <= found, run.output


def test_doctor_on_a_healthy_node(node: Node, place: Callable[..., Path]) -> None:
    """All that it may find is what the rename has left, which the kubelet forgets in time."""
    with node.journal.step("doctor: nothing but an old name"):
        run = node.play("doctor", place("dev", dev=6)).succeeded()
    found = {each["code"] for each in stats(run, "gpu_sharing_doctor")["findings"]}
    node.journal.fact("doctor on a healthy node", sorted(found))
    assert found <= {"GS044"}


def test_doctor_on_a_refused_file(node: Node, place: Callable[..., Path]) -> None:
    """The plugin stops serving before it reads the file, and then exits: the GPUs are gone."""
    patch = json.dumps({"data": {"literal": REFUSED}})
    node.kubectl("patch", "configmap", CONFIG_MAP, "-n", NAMESPACE, "--type=merge", "-p", patch)
    (pod,) = node.pods()
    node.kubectl("annotate", "pod", pod["metadata"]["name"], "-n", NAMESPACE, "test/literal=1")
    node.until(lambda: node.volume(pod, "literal").exists(), timeout=30)
    started = time.monotonic()
    node.kubectl("label", "node", "gpu-node", f"{LABEL}=literal", "--overwrite")
    node.until(lambda: node.slots() == 0)
    node.journal.figure("refused file to 0 slots", time.monotonic() - started)
    with node.journal.step("doctor: a refused file"):
        examine(node, place("dev", dev=6), "GS016", "GS024")
    started = time.monotonic()
    node.kubectl("label", "node", "gpu-node", f"{LABEL}=dev", "--overwrite")
    node.until(lambda: node.slots() == 6 * node.gpus, timeout=400)
    node.journal.figure("recovery from a refused file", time.monotonic() - started)


def test_doctor_on_a_missing_key(node: Node, place: Callable[..., Path]) -> None:
    """The side-car exits again and again; the plugin keeps what it has loaded."""
    node.kubectl("label", "node", "gpu-node", f"{LABEL}=nowhere", "--overwrite")
    before = node.restarts()
    node.until(lambda: node.restarts() > before)
    assert node.slots() == 6 * node.gpus
    with node.journal.step("doctor: a missing key"):
        examine(node, place("dev", dev=6), "GS015")
    with node.journal.step("site heals the label"):
        node.play("site", place("dev", dev=6)).succeeded()
    assert (node.profile(), node.slots()) == ("dev", 6 * node.gpus)


def test_doctor_without_the_plugin(node: Node, place: Callable[..., Path]) -> None:
    started = time.monotonic()
    node.kubectl("label", "node", "gpu-node", f"{DEPLOY}=false", "--overwrite")
    node.until(lambda: node.slots() == 0)
    node.journal.figure("plugin switched off to 0 slots", time.monotonic() - started)
    node.journal.fact("capacity without the plugin", node.capacity())
    with node.journal.step("doctor: no plugin"):
        examine(node, place("dev", dev=6), "GS025")
    started = time.monotonic()
    node.kubectl("label", "node", "gpu-node", f"{DEPLOY}=true", "--overwrite")
    node.until(lambda: node.slots() == 6 * node.gpus)
    node.journal.figure("plugin switched on to its slots", time.monotonic() - started)


def test_gpu_that_becomes_unhealthy(node: Node, place: Callable[..., Path]) -> None:
    """An Xid error, which only the stand-in can be asked for. It is over with the plugin's pod.

    Plugin v0.19.3 takes one slot of the GPU away and leaves its other replicas.
    """
    if not node.stand_in:
        pytest.skip("nobody breaks a real GPU for a test")
    before = node.slots()
    started = time.monotonic()
    with Path(node.hardware).open("a", encoding="utf-8") as hardware:
        hardware.write("xid 0 79\n")
    node.until(lambda: node.slots() != before)
    node.journal.figure("Xid to fewer slots", time.monotonic() - started)
    time.sleep(12)  # more than a period of the kubelet
    node.journal.fact("slots with one GPU unhealthy", node.slots())
    assert (node.slots(), node.capacity()) == (6 * node.gpus - 1, 6 * node.gpus)
    with node.journal.step("doctor: an unhealthy GPU"):
        run = node.play("doctor", place("dev", dev=6)).failed()
    found = {each["code"] for each in stats(run, "gpu_sharing_doctor")["findings"]}
    node.journal.fact("doctor on an unhealthy GPU", sorted(found))
    assert {"GS033", "GS043"} <= found
    restart_pods(node)
    node.until(lambda: node.slots() == before)


def restart_pods(node: Node) -> None:
    for pod in node.pods():
        node.kubectl("delete", "pod", pod["metadata"]["name"], "-n", NAMESPACE)


def test_uninstall_leaves_nothing(node: Node, place: Callable[..., Path]) -> None:
    patch = json.dumps({"data": {"literal": None}})  # ours to clear up: a test has put it there
    node.kubectl("patch", "configmap", CONFIG_MAP, "-n", NAMESPACE, "--type=merge", "-p", patch)
    with node.journal.step("uninstall"):
        node.play("uninstall", place("dev", dev=6)).succeeded()
    assert node.profile() is None
    assert remains(node) == []
    found = node.attempt("get", "configmap", CONFIG_MAP, "-n", NAMESPACE)
    assert found.rc != 0, found.output
    policy = node.json("clusterpolicy", "cluster-policy")["spec"]["devicePlugin"]
    assert not policy.get("config", {}).get("name")
    node.until(lambda: node.slots() == node.gpus, timeout=180)
    expect(node, 1, strategy="none", shared=False)
    with node.journal.step("uninstall again"):
        run = node.play("uninstall", place("dev", dev=6)).succeeded()
    assert run.changed == {"localhost": 0}
