# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each finding appears for its own fault, as the only root."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.catalog import (
    CHECKS,
    find_all,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.snapshot import Location
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.summary import (
    counts,
    findings_table,
    verdict,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.operands import (
    GFD_APP,
    MPS_APP,
    PLUGIN_APP,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions, numbers
from ansible_collections.gpufleet.sharing.tests.unit.fake_snapshot import (
    CONFIG_MAP,
    LABEL,
    LATER,
    POLICY,
    PROFILES,
    SETS,
    Fleet,
    daemon_set,
    hash_of,
    healthy,
    operand,
    pod,
    pod_path,
    roots,
    waiting,
    written,
)

Break = Callable[[Fleet], object]
CASES: dict[str, tuple[str, Break, set[str]]] = {}


def case(code: str, *follows: str) -> Callable[[Break], Break]:
    """Register a fault of the fleet, its finding, and the findings that follow."""

    def register(break_it: Break) -> Break:
        CASES[break_it.__name__.removeprefix("_")] = (code, break_it, set(follows))
        return break_it

    return register


@case("GS001")
def _gpu_cluster(fleet: Fleet) -> None:
    path = "/apis/nvidia.com/v1alpha1/gpuclusters/gpus"
    fleet.objects[path] = {"metadata": {"name": "gpus"}}


@case("GS002")
def _no_policy(fleet: Fleet) -> None:
    fleet.drop(POLICY)


@case("GS002", "GS042")
def _no_operator(fleet: Fleet) -> None:
    fleet.drop(POLICY)
    for app in (PLUGIN_APP, GFD_APP):
        fleet.drop(SETS + app)
        for name in fleet.assignments:
            fleet.drop(pod_path(app, name))
    for name in fleet.assignments:
        fleet.slots(name, 0)
        for label in ("gpu.count", "gpu.product"):
            del fleet.labels(name)[f"nvidia.com/{label}"]


@case("GS023", "GS037", "GS042", "GS043")
def _no_gpu_nodes(fleet: Fleet) -> None:
    """The operator then leaves its DaemonSets as they are, so GS011 does not appear."""
    said = {"type": "Ready", "status": "True", "reason": "NoGPUNodes", "message": "none"}
    fleet.objects[POLICY]["status"]["conditions"] = [said]
    fleet.policy["config"]["default"] = fleet.default = "dev"
    for name in fleet.assignments:
        for app in (PLUGIN_APP, GFD_APP):
            fleet.drop(pod_path(app, name))
        fleet.labels(name)["nvidia.com/gpu.present"] = "false"
        fleet.slots(name, 0)


@case("GS003")
def _ignored(fleet: Fleet) -> None:
    """The operator has not written a status into it."""
    fleet.objects[POLICY]["metadata"]["creationTimestamp"] = "2026-01-02T00:00:00Z"
    fleet.objects[POLICY]["status"] = {}
    metadata = {"name": "older", "creationTimestamp": "2026-01-01T00:00:00Z"}
    fleet.objects[POLICY + "-2"] = {"metadata": metadata}


@case("GS004", "GS011", "GS059")
def _namespace(fleet: Fleet) -> None:
    """It has moved without its objects."""
    fleet.objects[POLICY]["status"]["namespace"] = "nvidia"


@case("GS004", "GS013")
def _namespace_of_the_inventory_is_wrong(fleet: Fleet) -> None:
    fleet.location = Location(namespace="elsewhere")


@case("GS005", "GS043")
def _disabled(fleet: Fleet) -> None:
    fleet.policy["enabled"] = False
    fleet.drop(SETS + PLUGIN_APP)
    for name in fleet.assignments:
        fleet.drop(pod_path(PLUGIN_APP, name))
        fleet.slots(name, 0)


@case("GS006", "GS043")
def _pointer_unset(fleet: Fleet) -> None:
    fleet.policy["config"] = {}
    for app in (PLUGIN_APP, GFD_APP):
        spec = fleet.objects[SETS + app]["spec"]["template"]["spec"]
        spec["containers"].pop()
        spec["volumes"] = []
    fleet.slots("dev-1", 1)
    fleet.slots("prod-1", 2)
    for name in fleet.assignments:
        fleet.labels(name)["nvidia.com/gpu.replicas"] = "1"


@case("GS007", "GS011")
def _pointer_elsewhere(fleet: Fleet) -> None:
    fleet.policy["config"]["name"] = "other"


@case("GS008")
def _no_default(fleet: Fleet) -> None:
    fleet.policy["config"]["default"] = ""
    for app in (PLUGIN_APP, GFD_APP):
        manager = fleet.objects[SETS + app]["spec"]["template"]["spec"]["containers"][1]
        manager["env"][0]["value"] = ""


@case("GS009")
def _other_default(fleet: Fleet) -> None:
    fleet.policy["config"]["default"] = "dev"
    for app in (PLUGIN_APP, GFD_APP):
        manager = fleet.objects[SETS + app]["spec"]["template"]["spec"]["containers"][1]
        manager["env"][0]["value"] = "dev"


@case("GS010")
def _no_side_car(fleet: Fleet) -> None:
    fleet.objects[SETS + PLUGIN_APP]["spec"]["template"]["spec"]["containers"].pop()


@case("GS011")
def _lags(fleet: Fleet) -> None:
    fleet.objects[SETS + PLUGIN_APP]["status"]["updatedNumberScheduled"] = 1


@case("GS011")
def _no_daemon_set(fleet: Fleet) -> None:
    fleet.drop(SETS + GFD_APP)


@case("GS012")
def _no_config_map(fleet: Fleet) -> None:
    fleet.drop(CONFIG_MAP)


@case("GS013")
def _config_map_elsewhere(fleet: Fleet) -> None:
    moved = fleet.objects.pop(CONFIG_MAP)
    moved["metadata"]["namespace"] = "default"
    fleet.objects["/api/v1/namespaces/default/configmaps/device-plugin-config"] = moved


@case("GS014", "GS038", "GS043")
def _no_default_key(fleet: Fleet) -> None:
    del fleet.data["default"]
    waiting(fleet.pod(PLUGIN_APP, "prod-1"), "CrashLoopBackOff", 3)
    fleet.slots("prod-1", 0)


@case("GS015", "GS038")
def _no_key(fleet: Fleet) -> None:
    del fleet.data["dev"]
    waiting(fleet.pod(PLUGIN_APP, "dev-1"), "CrashLoopBackOff", 3)


@case("GS016", "GS018", "GS038", "GS043")
def _refused(fleet: Fleet) -> None:
    fleet.data["dev"] = (
        "version: v1\nsharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 1}]}}\n"
    )
    waiting(fleet.pod(PLUGIN_APP, "dev-1"), "CrashLoopBackOff", 3)
    fleet.slots("dev-1", 0)


@case("GS017", "GS018")
def _ignored_part(fleet: Fleet) -> None:
    fleet.data["dev"] = fleet.data["dev"] + "renameByDefault: true\n"


@case("GS018")
def _edited(fleet: Fleet) -> None:
    fleet.data["dev"] = fleet.data["dev"].replace("replicas: 8", "replicas: 6")


@case("GS018", "GS043")
def _edited_and_loaded(fleet: Fleet) -> None:
    _edited(fleet)
    fleet.slots("dev-1", 6)
    fleet.node("dev-1")["status"]["capacity"]["nvidia.com/gpu"] = "6"
    fleet.labels("dev-1")["nvidia.com/gpu.replicas"] = "6"


@case("GS019")
def _not_in_cluster(fleet: Fleet) -> None:
    fleet.assignments["lost-1"] = "dev"


@case("GS020")
def _not_in_inventory(fleet: Fleet) -> None:
    del fleet.assignments["train-1"]


@case("GS021", "GS037")
def _not_ready(fleet: Fleet) -> None:
    fleet.node("dev-1")["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    fleet.drop(pod_path(PLUGIN_APP, "dev-1"))


@case("GS022")
def _cordoned(fleet: Fleet) -> None:
    fleet.node("dev-1")["spec"]["unschedulable"] = True


@case("GS022")
def _cordoned_by_us(fleet: Fleet) -> None:
    _cordoned(fleet)
    fleet.node("dev-1")["metadata"]["annotations"]["gpufleet.sharing/cordoned"] = "run"


@case("GS023")
def _no_gpus(fleet: Fleet) -> None:
    metadata = fleet.node("dev-1")["metadata"]
    metadata["labels"] = {LABEL: "dev"}
    fleet.node("dev-1")["status"]["allocatable"] = {}
    fleet.drop(pod_path(PLUGIN_APP, "dev-1"))
    fleet.drop(pod_path(GFD_APP, "dev-1"))


@case("GS023")
def _taint_that_feature_discovery_does_not_tolerate(fleet: Fleet) -> None:
    """The operator's DaemonSets tolerate nvidia.com/gpu."""
    tolerated, other = ({"key": key, "effect": "NoSchedule"} for key in ("nvidia.com/gpu", "team"))
    worker = daemon_set("gpu-operator-node-feature-discovery-worker", 3)
    worker["spec"]["template"]["metadata"]["labels"] = {
        "app.kubernetes.io/name": "node-feature-discovery",
        "role": "worker",
    }
    fleet.objects[SETS + "gpu-operator-node-feature-discovery-worker"] = worker
    for app in (PLUGIN_APP, GFD_APP, "gpu-operator-node-feature-discovery-worker"):
        spec = fleet.objects[SETS + app]["spec"]["template"]["spec"]
        spec["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    _no_gpus(fleet)
    fleet.node("dev-1")["spec"]["taints"] = [tolerated, other]


@case("GS024", "GS043")
def _hand_set_label(fleet: Fleet) -> None:
    fleet.labels("dev-1")[LABEL] = "default"
    fleet.slots("dev-1", 4)


@case("GS024", "GS015", "GS038")
def _hand_set_label_without_key(fleet: Fleet) -> None:
    fleet.labels("dev-1")[LABEL] = "devv"
    waiting(fleet.pod(PLUGIN_APP, "dev-1"), "CrashLoopBackOff", 3)


@case("GS025", "GS037", "GS043")
def _plugin_off(fleet: Fleet) -> None:
    fleet.labels("dev-1")["nvidia.com/gpu.deploy.device-plugin"] = "false"
    fleet.drop(pod_path(PLUGIN_APP, "dev-1"))
    fleet.slots("dev-1", 0)


@case("GS025")
def _operands_off(fleet: Fleet) -> None:
    fleet.labels("dev-1")["nvidia.com/gpu.deploy.operands"] = "false"


@case("GS025", "GS042")
def _gfd_off(fleet: Fleet) -> None:
    del fleet.labels("dev-1")["nvidia.com/gpu.deploy.gpu-feature-discovery"]
    fleet.drop(pod_path(GFD_APP, "dev-1"))


@case("GS026", "GS037", "GS042", "GS043")
def _mig_busy(fleet: Fleet) -> None:
    fleet.labels("dev-1")["nvidia.com/mig.config.state"] = "pending"
    for app in (PLUGIN_APP, GFD_APP):
        fleet.drop(pod_path(app, "dev-1"))
    fleet.labels("dev-1")["nvidia.com/gpu.deploy.device-plugin"] = "paused-for-mig-change"
    fleet.slots("dev-1", 0)


@case("GS027")
def _mig_failed(fleet: Fleet) -> None:
    fleet.labels("dev-1")["nvidia.com/mig.config.state"] = "failed"


@case("GS028", "GS038", "GS043")
def _mig_uneven(fleet: Fleet) -> None:
    fleet.labels("dev-1")["nvidia.com/gpu.product"] = "NVIDIA-A100-MIG-INVALID"
    waiting(fleet.pod(PLUGIN_APP, "dev-1"), "CrashLoopBackOff", 3)
    fleet.slots("dev-1", 0)


@case("GS029", "GS038")
def _driver(fleet: Fleet) -> None:
    driver = operand("nvidia-driver-daemonset", "dev-1")
    fleet.add_pod(waiting(driver, "CrashLoopBackOff", 2))
    plugin = waiting(fleet.pod(PLUGIN_APP, "dev-1"), "PodInitializing")
    init = {"name": "toolkit-validation", "state": {"running": {"startedAt": LATER}}}
    plugin["status"]["initContainerStatuses"] = [init]


@case("GS029", "GS038")
def _toolkit_validation(fleet: Fleet) -> None:
    plugin = waiting(fleet.pod(PLUGIN_APP, "dev-1"), "PodInitializing")
    init = {"name": "toolkit-validation", "state": {"running": {"startedAt": LATER}}}
    plugin["status"]["initContainerStatuses"] = [init]


@case("GS029")
def _driver_of_its_own_kind(fleet: Fleet) -> None:
    driver = operand("nvidia-gpu-driver-ubuntu22.04", "dev-1")
    driver["metadata"]["labels"]["app.kubernetes.io/component"] = "nvidia-driver"
    fleet.add_pod(waiting(driver, "ImagePullBackOff"))


@case("GS030", "GS022")
def _driver_upgrade(fleet: Fleet) -> None:
    fleet.labels("dev-1")["nvidia.com/gpu-driver-upgrade-state"] = "drain-required"
    _cordoned(fleet)


@case("GS063")
def _driver_upgrade_due(fleet: Fleet) -> None:
    fleet.labels("dev-1")["nvidia.com/gpu-driver-upgrade-state"] = "upgrade-required"


@case("GS030", "GS037", "GS042", "GS043")
def _driver_upgrade_failed(fleet: Fleet) -> None:
    fleet.labels("dev-1")["nvidia.com/gpu-driver-upgrade-state"] = "upgrade-failed"
    for app in (PLUGIN_APP, GFD_APP):
        fleet.drop(pod_path(app, "dev-1"))
    fleet.slots("dev-1", 0)


@case("GS030", "GS037", "GS042", "GS043")
def _paused_by_another_controller(fleet: Fleet) -> None:
    labels = fleet.labels("dev-1")
    labels["nvidia.com/gpu-driver-upgrade-state"] = "upgrade-done"
    for app, name in ((PLUGIN_APP, "device-plugin"), (GFD_APP, "gpu-feature-discovery")):
        fleet.drop(pod_path(app, "dev-1"))
        labels[f"nvidia.com/gpu.deploy.{name}"] = "paused-for-driver-upgrade"
    fleet.slots("dev-1", 0)


@case("GS031", "GS043")
def _mixed_models(fleet: Fleet) -> None:
    fleet.labels("prod-1")["nvidia.com/gpu.count"] = "1"


@case("GS031", "GS032")
def _mixed_models_stated(fleet: Fleet) -> None:
    fleet.labels("prod-1")["nvidia.com/gpu.count"] = "1"
    fleet.gpus["prod-1"] = 2


@case("GS032")
def _gpu_missing(fleet: Fleet) -> None:
    fleet.gpus["prod-1"] = 3


@case("GS033", "GS043")
def _unhealthy(fleet: Fleet) -> None:
    fleet.slots("prod-1", 4)


@case("GS033", "GS043")
def _unhealthy_by_one_slot(fleet: Fleet) -> None:
    """As plugin v0.19.3 reports an unhealthy GPU."""
    fleet.slots("prod-1", 7)


@case("GS034")
def _hami_registered(fleet: Fleet) -> None:
    fleet.node("dev-1")["metadata"]["annotations"]["hami.io/node-nvidia-register"] = "[]"


@case("GS034")
def _hami_runs(fleet: Fleet) -> None:
    fleet.add_pod(pod("hami-device-plugin-x", "kube-system", "dev-1", image="projecthami/hami:v2"))


@case("GS035")
def _kai(fleet: Fleet) -> None:
    fraction = pod("half")
    fraction["metadata"]["annotations"] = {"gpu-fraction": "0.5"}
    fleet.add_pod(fraction)


@case("GS035")
def _kai_reservation(fleet: Fleet) -> None:
    fleet.add_pod(pod("gpu-reservation-x", "kai-resource-reservation", slots=1))


@case("GS036")
def _other_plugin(fleet: Fleet) -> None:
    image = "nvcr.io/nvidia/k8s-device-plugin@sha256:0"
    fleet.add_pod(pod("nvidia-device-plugin-daemonset-x", "kube-system", image=image))


@case("GS037", "GS043")
def _taint(fleet: Fleet) -> None:
    taint = {"key": "team", "value": "a", "effect": "NoSchedule"}
    fleet.node("dev-1")["spec"]["taints"] = [taint]
    fleet.drop(pod_path(PLUGIN_APP, "dev-1"))
    fleet.slots("dev-1", 0)


@case("GS038", "GS043")
def _plugin_crashes(fleet: Fleet) -> None:
    waiting(fleet.pod(PLUGIN_APP, "dev-1"), "CrashLoopBackOff", 3)
    fleet.slots("dev-1", 0)


@case("GS039", "GS043")
def _stale(fleet: Fleet) -> None:
    """As after a run that was killed between the write and the restart."""
    fleet.node("dev-1")["metadata"]["annotations"] = {"gpufleet.sharing/config-hash": "old"}
    fleet.objects[CONFIG_MAP] = written()
    notes = fleet.objects[CONFIG_MAP]["metadata"]["annotations"]
    text = notes["gpufleet.sharing/profiles"].replace("T02:", "T04:").replace("false", "true")
    notes["gpufleet.sharing/profiles"] = text
    fleet.slots("dev-1", 6)


@case("GS039", "GS043")
def _stale_without_a_note(fleet: Fleet) -> None:
    _stale(fleet)
    fleet.node("dev-1")["metadata"]["annotations"] = {}


@case("GS040", "GS043")
def _missed_removal(fleet: Fleet) -> None:
    container = fleet.objects[SETS + PLUGIN_APP]["spec"]["template"]["spec"]["containers"][0]
    container["image"] = "nvcr.io/nvidia/k8s-device-plugin:v0.17.1"
    fleet.slots("prod-1", 16)
    fleet.node("prod-1")["status"]["capacity"]["nvidia.com/gpu"] = "16"
    fleet.labels("prod-1")["nvidia.com/gpu.replicas"] = "8"


def _mps_node(fleet: Fleet) -> None:
    fleet.add_node("mps-1", "mps", 1)
    fleet.labels("mps-1")["nvidia.com/gpu.sharing-strategy"] = "mps"
    for app in (PLUGIN_APP, GFD_APP):
        fleet.objects[SETS + app] = daemon_set(app, 4)
    fleet.objects[pod_path(MPS_APP, "mps-1")] = operand(MPS_APP, "mps-1")


@case("GS041", "GS043")
def _mps_daemon_missing(fleet: Fleet) -> None:
    _mps_node(fleet)
    fleet.drop(pod_path(MPS_APP, "mps-1"))
    fleet.slots("mps-1", 0)
    del fleet.node("mps-1")["status"]["capacity"]["nvidia.com/gpu"]


@case("GS041", "GS033", "GS043")
def _mps_daemon_has_died(fleet: Fleet) -> None:
    """Capacity keeps the old number, as it does with unhealthy GPUs."""
    _mps_node(fleet)
    waiting(fleet.pod(MPS_APP, "mps-1"), "CrashLoopBackOff", 2)
    fleet.slots("mps-1", 0)


@case("GS041")
def _mps_daemon_fails(fleet: Fleet) -> None:
    _mps_node(fleet)
    waiting(fleet.pod(MPS_APP, "mps-1"), "CrashLoopBackOff", 2)


@case("GS041")
def _mps_on_mig(fleet: Fleet) -> None:
    _mps_node(fleet)
    fleet.labels("mps-1")["nvidia.com/gpu.product"] = "NVIDIA-A100-MIG-1g.10gb-SHARED"


@case("GS042")
def _gfd_missing(fleet: Fleet) -> None:
    fleet.drop(pod_path(GFD_APP, "dev-1"))


@case("GS042")
def _gfd_crashes(fleet: Fleet) -> None:
    waiting(fleet.pod(GFD_APP, "dev-1"), "CrashLoopBackOff", 2)


@case("GS042")
def _gfd_counts_nothing(fleet: Fleet) -> None:
    for name in ("count", "product", "replicas"):
        del fleet.labels("dev-1")[f"nvidia.com/gpu.{name}"]


@case("GS042")
def _labels_disagree(fleet: Fleet) -> None:
    fleet.labels("dev-1")["nvidia.com/gpu.replicas"] = "4"


@case("GS043")
def _slots_differ(fleet: Fleet) -> None:
    fleet.slots("dev-1", 3)
    fleet.node("dev-1")["status"]["capacity"]["nvidia.com/gpu"] = "3"


@case("GS044")
def _old_resource(fleet: Fleet) -> None:
    fleet.node("dev-1")["status"]["capacity"]["nvidia.com/gpu.shared"] = "8"
    fleet.slots("dev-1", 0, "nvidia.com/gpu.shared")


@case("GS045")
def _over_capacity(fleet: Fleet) -> None:
    for number in range(9):
        fleet.add_pod(pod(f"busy-{number}", slots=1))


@pytest.mark.parametrize("code", ["GS023", "GS037"])
def test_only_taints_that_keep_pods_away_are_named(code: str) -> None:
    fleet = healthy()
    _taint_that_feature_discovery_does_not_tolerate(fleet)
    fleet.labels("dev-1")["nvidia.com/gpu.count"] = "1"
    (found,) = (finding for finding in fleet.find() if finding.code == code)
    assert mentions(found.seen, "team:NoSchedule")
    assert mentions(found.fix, "tolerations")
    assert "nvidia.com/gpu:NoSchedule" not in found.seen + found.cause


def test_other_devices_of_nvidia_are_no_slots() -> None:
    """The network operator's nodes and pods are not about GPUs."""
    fleet = healthy()
    other = {"nvidia.com/hostdev": "2"}
    metadata = {"name": "net-1", "labels": {}}
    status = {"capacity": other, "allocatable": other, "conditions": []}
    fleet.objects["/api/v1/nodes/net-1"] = {"metadata": metadata, "spec": {}, "status": status}
    crashing = pod("net", slots=4, resource="nvidia.com/hostdev")
    fleet.add_pod(waiting(crashing, "CrashLoopBackOff", 9))
    assert fleet.find() == []


@pytest.mark.parametrize("message", ["too large: maximum request size for shared resources is 1"])
def test_rejected_pod_has_a_reason(message: str) -> None:
    fleet = healthy()
    _rejected(fleet, message)
    (found,) = fleet.find()
    assert mentions(found.cause, "UnexpectedAdmissionError")
    assert numbers(found.cause) == [1]
    assert mentions(found.fix, "`kubectl delete pod -n work greedy`")
    assert 1 in numbers(found.fix)


def _rejected(fleet: Fleet, message: str) -> None:
    greedy = pod("greedy", slots=2)
    reason = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": message}
    greedy["status"] = reason
    fleet.add_pod(greedy)


@case("GS046")
def _rejected_since_its_slot_is_gone(fleet: Fleet) -> None:
    _rejected(fleet, "previously allocated devices are no longer healthy")


@case("GS046")
def _rejected_for_another_reason(fleet: Fleet) -> None:
    _rejected(fleet, "no healthy devices present")


@case("GS047")
def _cannot_start(fleet: Fleet) -> None:
    fleet.add_pod(waiting(pod("stuck", slots=1), "CreateContainerError"))


@case("GS048")
def _several_slots(fleet: Fleet) -> None:
    fleet.add_pod(pod("greedy", slots=2))


@case("GS049")
def _old_name(fleet: Fleet) -> None:
    waits = pod("waits", slots=1, resource="nvidia.com/gpu.shared", node="")
    waits["status"] = {"phase": "Pending"}
    fleet.add_pod(waits)


@case("GS064")
def _no_free_slot(fleet: Fleet) -> None:
    fleet.add_pod(pending("late", "nvidia.com/gpu"))


def pending(name: str, resource: str) -> dict[str, Any]:
    """A pod that the scheduler cannot place."""
    found = pod(name, slots=1, resource=resource, node="")
    message = f"0/3 nodes are available: 3 Insufficient {resource}. preemption: not helpful."
    condition = {"type": "PodScheduled", "status": "False", "message": message}
    found["status"] = {"phase": "Pending", "conditions": [condition]}
    return found


def test_pods_that_wait_for_other_reasons_are_not_reported() -> None:
    """A name that no node has is another finding; so is what the scheduler says of other things."""
    fleet = healthy()
    fleet.add_pod(pending("renamed", "nvidia.com/gpu.shared"))
    other = pending("other", "nvidia.com/gpu")
    other["status"]["conditions"][0]["message"] = "0/3 nodes are available: 3 Insufficient cpu."
    fleet.add_pod(other)
    assert roots(fleet.find()) == {"GS049"}


@case("GS050")
def _old_quota(fleet: Fleet) -> None:
    fleet.objects["/api/v1/namespaces/work/resourcequotas/gpus"] = {
        "metadata": {"name": "gpus", "namespace": "work"},
        "spec": {"hard": {"requests.nvidia.com/gpu.shared": "4", "pods": "9"}},
    }


@case("GS051")
def _crash_loop(fleet: Fleet) -> None:
    fleet.add_pod(waiting(pod("hungry", slots=1), "CrashLoopBackOff", 5))


@case("GS052")
def _metrics(fleet: Fleet) -> None:
    fleet.objects[SETS + "nvidia-dcgm-exporter"] = daemon_set("nvidia-dcgm-exporter", 3)


@case("GS053")
def _autoscaler(fleet: Fleet) -> None:
    image = "registry.k8s.io/autoscaling/cluster-autoscaler:v1.31.0"
    fleet.add_pod(pod("cluster-autoscaler-x", "kube-system", image=image))


@case("GS054")
def _not_allowed(fleet: Fleet) -> None:
    fleet.forbidden = {"/api/v1/resourcequotas"}


def test_missing_node_has_a_similar_name() -> None:
    fleet = healthy()
    fleet.assignments["Dev_1"] = fleet.assignments.pop("dev-1")
    found = {finding.code: finding for finding in fleet.find()}
    assert mentions(found["GS019"].seen, "Dev_1", "dev-1 for Dev_1")


@case("GS055")
def _policy_of_another_name(fleet: Fleet) -> None:
    """In another namespace too: its pods are not those of another plugin."""
    fleet.objects[POLICY + "-2"] = fleet.objects.pop(POLICY)


@case("GS055", "GS013")
def _policy_and_namespace_of_other_names(fleet: Fleet) -> None:
    fleet.objects[POLICY + "-2"] = fleet.objects.pop(POLICY)
    fleet.location = Location(namespace="elsewhere")


@case("GS056")
def _karpenter(fleet: Fleet) -> None:
    image = "public.ecr.aws/karpenter/controller:1.8.2@sha256:0"
    fleet.add_pod(pod("karpenter-x", "kube-system", "cpu-1", image=image))


@case("GS056")
def _karpenter_outside_the_cluster(fleet: Fleet) -> None:
    fleet.labels("prod-1")["karpenter.sh/nodepool"] = "gpus"


def _no_plugin(fleet: Fleet, name: str) -> None:
    """The operator keeps its pods away, and removes their labels."""
    for app in (PLUGIN_APP, GFD_APP):
        fleet.drop(pod_path(app, name))
        fleet.labels(name).pop(f"nvidia.com/gpu.deploy.{app.removeprefix('nvidia-')}", None)
    fleet.labels(name).pop("nvidia.com/gpu.deploy.device-plugin", None)
    fleet.slots(name, 0)


def _sandbox(fleet: Fleet, **more: str) -> None:
    fleet.objects[POLICY]["spec"]["sandboxWorkloads"] = {"enabled": True, **more}


@case("GS057", "GS025", "GS037", "GS042", "GS043")
def _vm_passthrough(fleet: Fleet) -> None:
    _sandbox(fleet)
    _no_plugin(fleet, "dev-1")
    fleet.labels("dev-1")["nvidia.com/gpu.workload.config"] = "vm-passthrough"


@case("GS057", "GS025", "GS037", "GS042", "GS043")
def _vm_by_default(fleet: Fleet) -> None:
    _sandbox(fleet, defaultWorkload="vm-vgpu")
    _no_plugin(fleet, "dev-1")
    for name in ("prod-1", "train-1"):
        fleet.labels(name)["nvidia.com/gpu.workload.config"] = "container"


@case("GS058")
def _gke_plugin(fleet: Fleet) -> None:
    image = "gke.gcr.io/nvidia-gpu-device-plugin@sha256:0"
    fleet.add_pod(pod("nvidia-gpu-device-plugin-x", "kube-system", image=image))


@case("GS058", "GS005", "GS043")
def _gke_node(fleet: Fleet) -> None:
    """GKE's way: its plugin, and that of the operator off."""
    _disabled(fleet)
    for name in fleet.assignments:
        fleet.labels(name)["cloud.google.com/gke-accelerator"] = "nvidia-l4"


@case("GS059", "GS043")
def _plugin_on_the_host(fleet: Fleet) -> None:
    fleet.drop(pod_path(PLUGIN_APP, "dev-1"))
    fleet.slots("dev-1", 1)


@case("GS060")
def _dra(fleet: Fleet) -> None:
    group = {"preferredVersion": {"groupVersion": "resource.k8s.io/v1"}, "metadata": {}}
    fleet.objects["/apis/resource.k8s.io"] = group
    for driver, on in (("gpu.nvidia.com", "dev-1"), ("compute-domain.nvidia.com", "prod-1")):
        path = f"/apis/resource.k8s.io/v1/resourceslices/{on}"
        spec = {"driver": driver, "nodeName": on}
        fleet.objects[path] = {"metadata": {"name": on}, "spec": spec}


@case("GS061")
def _slicer(fleet: Fleet) -> None:
    fleet.node("dev-1")["status"]["capacity"]["mig.das.com/1g.5gb"] = "7"


@case("GS062")
def _gpustack(fleet: Fleet) -> None:
    fleet.node("dev-1")["status"]["capacity"]["nvidia.com/gpu.sliced"] = "1"


def test_vm_nodes_are_none_without_sandbox_workloads() -> None:
    """The operator then ignores the label."""
    fleet = healthy()
    fleet.labels("dev-1")["nvidia.com/gpu.workload.config"] = "vm-passthrough"
    assert fleet.find() == []


def test_vm_nodes_outside_the_inventory_are_no_finding() -> None:
    fleet = healthy()
    _vm_passthrough(fleet)
    del fleet.assignments["dev-1"]
    assert fleet.find() == []


def test_gke_nodes_without_its_plugin_are_healthy() -> None:
    fleet = healthy()
    for name in fleet.assignments:
        fleet.labels(name)["cloud.google.com/gke-accelerator"] = "nvidia-l4"
        fleet.labels(name)["gke-no-default-nvidia-gpu-device-plugin"] = "true"
    assert fleet.find() == []


@pytest.mark.parametrize("break_it", [_autoscaler, _karpenter])
def test_autoscalers_get_the_slots_of_new_nodes(break_it: Break) -> None:
    fleet = healthy()
    break_it(fleet)
    fleet.labels("dev-1")["node.kubernetes.io/instance-type"] = "g5.xlarge"
    del fleet.labels("prod-1")["nvidia.com/gpu.count"]
    (found,) = (each for each in fleet.find() if each.code in ("GS053", "GS056"))
    assert mentions(found.fix, "g5.xlarge, profile dev = nvidia.com/gpu: 8")
    assert mentions(found.fix, "profile default = nvidia.com/gpu: GPUs x 4")
    assert "no-sharing" not in found.fix
    assert ("NodeOverlay" in found.fix) == (found.code == "GS056")
    assert ("k8s.io/cluster-autoscaler/node-template" in found.fix) == (found.code == "GS053")


def test_healthy_fleet_has_no_findings() -> None:
    assert healthy().find() == []


def test_new_key_is_read_with_the_label() -> None:
    """The recorded hash is that of the previous profile."""
    fleet = healthy()
    fleet.node("dev-1")["metadata"]["annotations"] = {"gpufleet.sharing/config-hash": "other"}
    assert fleet.find() == []


def test_busy_healthy_fleet_has_no_findings() -> None:
    fleet = healthy()
    _mps_node(fleet)
    for number in range(8):
        fleet.add_pod(pod(f"busy-{number}", slots=1))
    fleet.add_pod(pod("whole", node="train-1", slots=4))
    fleet.add_pod(waiting(pod("own fault"), "CrashLoopBackOff", 9))
    ours = pod("half", node="train-1", slots=0)
    ours["metadata"]["annotations"] = {"gpu-fraction": "0.5"}  # where nothing is shared
    fleet.add_pod(ours)
    fleet.objects["/api/v1/namespaces/work/resourcequotas/gpus"] = {
        "metadata": {"name": "gpus", "namespace": "work"},
        "spec": {"hard": {"requests.nvidia.com/gpu": "4"}},
    }
    exporter = daemon_set("nvidia-dcgm-exporter", 3)
    told = {"name": "KUBERNETES_VIRTUAL_GPUS", "value": "true"}
    exporter["spec"]["template"]["spec"]["containers"][0]["env"] = [told]
    fleet.objects[SETS + "nvidia-dcgm-exporter"] = exporter
    assert fleet.find() == []


@pytest.mark.parametrize("name", CASES)
def test_node_without_its_slots_is_an_error(name: str) -> None:
    """Whatever explains it, the exit code must not be that of a fleet without fault."""
    _code, break_it, _follows = CASES[name]
    fleet = healthy()
    break_it(fleet)
    found = find_all(fleet.snapshot())
    if any(finding.code in ("GS037", "GS038", "GS043") for finding in found):
        assert counts(found)["error"]


@pytest.mark.parametrize("state", ["upgrade-required", "upgrade-failed", "drain-required"])
def test_driver_upgrade_excuses_no_crash_loop(state: str) -> None:
    """cases/README.md, 3a and 3b: all nodes carry the label, the plugin of one is down."""
    fleet = healthy()
    for name in fleet.assignments:
        fleet.labels(name)["nvidia.com/gpu-driver-upgrade-state"] = state
    waiting(fleet.pod(PLUGIN_APP, "dev-1"), "CrashLoopBackOff", 3)
    fleet.slots("dev-1", 0)
    found = find_all(fleet.snapshot())
    assert counts(found)["error"] >= 1
    required = {finding.code: finding.follows for finding in found}
    assert required["GS043"] == ("GS038" if state == "upgrade-required" else "GS030")


@pytest.mark.parametrize(
    ("since", "severity"),
    [("2026-01-02T03:00:00Z", "warning"), ("2026-01-02T02:00:00Z", "error"), (None, "warning")],
)
def test_mig_that_is_pending_for_too_long_is_an_error(since: str | None, severity: str) -> None:
    """cases/README.md, 3d. The API server notes when the label was set."""
    fleet = healthy()
    fleet.labels("dev-1")["nvidia.com/mig.config.state"] = "pending"
    if since:
        field: dict[str, object] = {
            "f:metadata": {"f:labels": {"f:nvidia.com/mig.config.state": {}}}
        }
        managers = [{"time": since, "fieldsV1": field}]
        fleet.objects["/api/v1/nodes/dev-1"]["metadata"]["managedFields"] = managers
    (finding,) = find_all(fleet.snapshot())
    assert (finding.code, finding.severity.value) == ("GS026", severity)


def test_edited_key_with_an_ignored_flag_is_an_error() -> None:
    """cases/README.md, 3c."""
    fleet = healthy()
    fleet.objects[CONFIG_MAP]["data"]["dev"] = (
        "version: v1\nflags:\n  migStrategy: none\nsharing: {timeSlicing: {resources:"
        " [{name: nvidia.com/gpu, replicas: 2}]}}\n"
    )
    found = find_all(fleet.snapshot())
    assert {finding.code: finding.follows for finding in found} == {"GS017": "", "GS018": "GS017"}
    assert counts(found)["error"] == 1


@pytest.mark.parametrize("name", CASES)
def test_finding_is_the_only_root(name: str) -> None:
    code, break_it, follows = CASES[name]
    fleet = healthy()
    break_it(fleet)
    found = fleet.find()
    assert roots(found) == {code}
    after = {finding.code for finding in found if finding.follows}
    assert after == follows
    assert {finding.follows for finding in found if finding.follows} <= {code}


def test_every_finding_has_a_case() -> None:
    assert {code for code, _break, _follows in CASES.values()} == {check.code for check in CHECKS}


@pytest.mark.parametrize("name", CASES)
def test_texts_have_no_gaps(name: str) -> None:
    _code, break_it, _follows = CASES[name]
    fleet = healthy()
    break_it(fleet)
    for finding in fleet.find():
        for text in (finding.cause, finding.seen, finding.why, finding.fix):
            assert text
            assert "  " not in text
            assert "{" not in text.replace('{"', "")


def test_rollout_blocked_by_a_lost_node_names_its_pod() -> None:
    fleet = healthy()
    _lags(fleet)
    (before,) = (finding for finding in fleet.find() if finding.code == "GS011")
    assert "dev-1" not in before.seen
    fleet.node("dev-1")["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    stuck = fleet.objects[pod_path(PLUGIN_APP, "dev-1")]
    stuck["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    after = {finding.seen for finding in fleet.find() if finding.code == "GS011"}
    told = f"{stuck['metadata']['name']} on dev-1"
    assert [told in seen for seen in after] == [True]


def test_hash_is_that_of_the_profile() -> None:
    trace = healthy().snapshot().traces["dev-1"]
    assert trace.hash == trace.loaded_hash == hash_of(PROFILES["dev"])


def _uninstalled(fleet: Fleet) -> None:
    """As the playbook uninstall leaves a cluster whose operator site had installed."""
    _no_operator(fleet)
    fleet.drop(CONFIG_MAP)
    for name in fleet.assignments:
        fleet.labels(name).pop(LABEL, None)


def test_uninstalled_operator_is_one_finding_without_a_rollback() -> None:
    fleet = healthy()
    _uninstalled(fleet)
    found = fleet.find()
    assert roots(found) == {"GS002"}
    assert {finding.code for finding in found if finding.follows} == {"GS012", "GS024", "GS042"}
    assert "rollback" not in found[0].fix
    assert mentions(found[0].fix, "gpufleet.sharing.site", "gpufleet.sharing.uninstall")


@pytest.mark.parametrize("break_it", [_no_policy, _no_operator])
def test_deleted_cluster_policy_is_restored_by_a_rollback(break_it: Break) -> None:
    """Its DaemonSets, or at least the profiles, are still there."""
    fleet = healthy()
    break_it(fleet)
    assert mentions(fleet.find()[0].fix, "helm rollback", "`helm list -n gpu-operator`")


def test_labels_that_differ_are_one_finding() -> None:
    """Whatever the labels are: one run of site sets all of them."""
    fleet = healthy()
    for number in range(4):
        fleet.add_node(f"dev-{number + 2}", "dev", 1)
        fleet.labels(f"dev-{number + 2}")[LABEL] = "default"
    fleet.labels("prod-1")[LABEL] = "nope"
    del fleet.labels("train-1")[LABEL]
    found = [finding for finding in fleet.find() if finding.code == "GS024"]
    assert len(found) == 1
    assert found[0].count == 6
    assert mentions(found[0].seen, "dev-2 dev-3 dev-4 dev-5: ", "prod-1: ", "train-1: ")
    assert counts(fleet.find())["error"] == 1


@pytest.mark.parametrize(
    ("label", "assigned"), [("default", "gpu_sharing_profile: default"), ("nope", ""), ("", "")]
)
def test_label_is_assigned_only_if_it_is_a_profile(label: str, assigned: str) -> None:
    fleet = healthy()
    fleet.labels("dev-1").pop(LABEL)
    if label:
        fleet.labels("dev-1")[LABEL] = label
    (found,) = (finding for finding in fleet.find() if finding.code == "GS024")
    assert mentions(found.fix, "gpufleet.sharing.site")
    assert (assigned in found.fix) if assigned else ("gpu_sharing_profile" not in found.fix)
    assert ("nope, a missing key" in found.seen) == (label == "nope")


def test_fraction_of_kai_gets_a_profile_that_exists() -> None:
    fleet = healthy()
    _kai(fleet)
    (found,) = fleet.find()
    assert mentions(found.fix, "gpu_sharing_profile: no-sharing")
    snapshot = fleet.snapshot()
    known = {name: one for name, one in PROFILES.items() if name in ("default", "dev")}
    assignments = dict.fromkeys(snapshot.desired.assignments, "dev")
    desired = replace(snapshot.desired, profiles=known, assignments=assignments)
    (again,) = (
        each for each in find_all(replace(snapshot, desired=desired)) if each.code == "GS035"
    )
    assert "gpu_sharing_profile:" not in again.fix
    assert mentions(again.fix, "gpu_sharing_profiles", "replicas: 1")


@pytest.mark.parametrize(
    ("old", "advice"),
    [
        ("nvidia.com/gpu.shared", "rename_by_default: true"),
        ("nvidia.com/gpu", "remove rename_by_default"),
    ],
)
def test_renamed_resource_has_advice_for_both_directions(old: str, advice: str) -> None:
    fleet = healthy()
    _old_name(fleet)
    waits = fleet.objects["/api/v1/namespaces/work/pods/waits"]
    waits["spec"]["containers"][0]["resources"]["limits"] = {old: "1"}
    if old == "nvidia.com/gpu":
        for name in fleet.assignments:
            status = fleet.node(name)["status"]
            status["allocatable"] = {"cpu": "8", "nvidia.com/gpu.shared": "8"}
    (found,) = (finding for finding in fleet.find() if finding.code == "GS049")
    assert mentions(found.fix, advice)


@pytest.mark.parametrize("name", CASES)
def test_one_is_singular(name: str) -> None:
    _code, break_it, _follows = CASES[name]
    fleet = healthy()
    break_it(fleet)
    found = fleet.find()
    texts = [(each.seen, each.why, each.fix, each.cause) for each in found]
    shown = str(texts) + "\n".join(findings_table(found)) + verdict(found, 1)
    assert (
        re.findall(
            r"(?<![\d.,])1 (?:GPU )?(?:\w+ed )?(?:nodes|pods|slots|GPUs|are|errors)\b", shown
        )
        == []
    )


@pytest.mark.parametrize("name", CASES)
def test_advice_is_one_of_those_listed(name: str) -> None:
    code, break_it, _follows = CASES[name]
    (check,) = (each for each in CHECKS if each.code == code)
    assert bool(check.advice) == ("{advice}" in check.fix)
    fleet = healthy()
    break_it(fleet)
    found = [finding.fix for finding in fleet.find() if finding.code == code]
    assert not check.advice or any(text in found[0] for text in check.advice)


def test_daemon_sets_that_are_behind_are_one_finding() -> None:
    """The operator that has not applied the ClusterPolicy is one cause."""
    fleet = healthy()
    for app in (PLUGIN_APP, GFD_APP):
        fleet.objects[SETS + app]["status"]["updatedNumberScheduled"] = 1
    (found,) = fleet.find()
    assert (found.code, found.count) == ("GS011", 3)
    assert mentions(found.seen, PLUGIN_APP, GFD_APP)
    assert mentions(found.cause, PLUGIN_APP, GFD_APP)
