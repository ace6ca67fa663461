# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulated plugin behaves as FACTS 2 and 3 say. Each test leaves the fleet as it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from labclient import CONFIG_MAP, GFD, NAMESPACE, PLUGIN, PROFILES, Client, slices, until

pytestmark = pytest.mark.lab
NODE = "prod-gpu-01"  # two GPUs
OTHER = "prod-gpu-02"


@pytest.fixture(autouse=True)
def clean(client: Client) -> Iterator[None]:
    client.touched.clear()
    yield
    client.profiles(PROFILES)
    for node in client.touched.copy():
        client.label(node, None)
        client.label(node, "true", "nvidia.com/gpu.deploy.device-plugin")
        client.restart(node)
    for node in client.touched:
        client.settle(node, 8)


def test_labels_and_slots_without_a_profile_label(client: Client) -> None:
    client.settle(NODE, 8)
    until(lambda: client.node_label(NODE, "nvidia.com/gpu.replicas") == "4", "GFD labels")
    labels = client.node(NODE)["metadata"]["labels"]
    assert labels["nvidia.com/gpu.count"] == "2"
    assert labels["nvidia.com/gpu.product"] == "NVIDIA-A100-SXM4-80GB-SHARED"
    assert labels["nvidia.com/gpu.sharing-strategy"] == "time-slicing"
    assert labels["nvidia.com/gpu.present"] == "true"
    assert client.allocatable("cpu-01") == 0


def test_label_flip_is_acted_on_without_a_restart(client: Client) -> None:
    before = client.pod(NODE)
    client.label(NODE, "dev")
    client.settle(NODE, 16)
    client.label(NODE, "no-sharing")
    client.settle(NODE, 2)
    until(lambda: client.node_label(NODE, "nvidia.com/gpu.sharing-strategy") == "none", "labels")
    after = client.pod(NODE)
    assert before
    assert after
    assert before["metadata"]["uid"] == after["metadata"]["uid"]


def test_content_change_does_nothing_until_a_restart(client: Client) -> None:
    client.profiles({**PROFILES, "default": slices(6)})
    client.annotate_pods(NODE)  # its files are new
    client.keeps(NODE, 8, seconds=3.0)
    client.restart(NODE)
    client.settle(NODE, 12)
    client.keeps(OTHER, 8)


def test_restart_shows_the_default_before_the_label(client: Client) -> None:
    client.label(NODE, "dev")
    client.settle(NODE, 16)
    with client.notes(NODE) as notes:
        client.restart(NODE)
        until(lambda: client.loaded(NODE).get("key") == "dev", "the label's profile")
        client.settle(NODE, 16)
    assert "default" in [note.get("key") for note in notes]


def test_missing_key_crashes_the_side_car_only(client: Client) -> None:
    client.label(NODE, "nokey")
    until(lambda: "CrashLoopBackOff" in client.waiting(NODE), "a crash-looping side-car")
    assert not client.ready(NODE)
    client.keeps(NODE, 8)
    until(lambda: client.state() == "notReady", "ClusterPolicy notices")


@pytest.mark.full("another fault of a file")
def test_missing_default_takes_the_gpus_at_the_next_restart(client: Client) -> None:
    client.label(NODE, "dev")
    client.settle(NODE, 16)
    client.profiles({key: value for key, value in PROFILES.items() if key != "default"})
    client.keeps(NODE, 16)
    client.restart(NODE)
    until(lambda: "Init:CrashLoopBackOff" in client.waiting(NODE), "a crash-looping init container")
    client.settle(NODE, 0)


def test_refused_file_takes_the_gpus_and_a_good_label_brings_them_back(client: Client) -> None:
    client.label(NODE, "refused")
    client.settle(NODE, 0)
    until(lambda: "CrashLoopBackOff" in client.waiting(NODE), "a crash-looping plugin")
    assert client.capacity(NODE) == 8
    client.label(NODE, "dev")
    client.settle(NODE, 16)


@pytest.mark.full("another fault of a file")
def test_refusal_that_is_injected_takes_the_gpus_until_it_is_taken_back(client: Client) -> None:
    refuse = "lab.gpufleet.sharing/refuse"
    client.annotate(NODE, refuse, "8")
    client.label(NODE, "dev")
    client.label(OTHER, "dev")
    client.stuck(NODE, refuse)
    until(lambda: "CrashLoopBackOff" in client.waiting(NODE), "a crash-looping plugin")
    assert client.ready(NODE, GFD)
    client.settle(OTHER, 16)
    client.label(NODE, None)
    client.settle(NODE, 8)
    client.label(NODE, "dev")
    client.stuck(NODE, refuse)
    client.annotate(NODE, refuse, None)
    client.settle(NODE, 16)


def test_edit_reaches_a_label_flip_late_unless_the_pod_is_annotated(client: Client) -> None:
    client.profiles({**PROFILES, "dev": slices(9)})
    client.label(NODE, "dev")  # at once: the old file is still mounted
    client.settle(NODE, 16)
    client.annotate_pods(OTHER)
    client.restart(NODE)  # a pod that is newer than the annotations: they have been seen by then
    client.settle(NODE, 18)
    client.label(OTHER, "dev")
    client.settle(OTHER, 18)


@pytest.mark.full("another fault of a file")
def test_key_deleted_in_use_blocks_later_flips(client: Client) -> None:
    client.label(NODE, "dev")
    client.settle(NODE, 16)
    files = {key: value for key, value in PROFILES.items() if key != "dev"}
    client.profiles({**files, "late": slices(3)})
    client.annotate_pods(NODE)
    client.label(NODE, "late")  # if it overtakes the files, the side-car crashes and meets them
    until(lambda: "file exists" in client.loaded(NODE).get("error", ""), "the link in the way")
    client.keeps(NODE, 16)
    client.restart(NODE)
    client.settle(NODE, 6)


def test_deploy_label_removes_the_plugin_but_not_gfd(client: Client) -> None:
    client.label(NODE, "false", "nvidia.com/gpu.deploy.device-plugin")
    until(lambda: client.pod(NODE) is None, "no plugin pod")
    client.settle(NODE, 0)
    assert client.ready(NODE, GFD)
    client.label(NODE, None, "nvidia.com/gpu.deploy.device-plugin")
    client.keeps(NODE, 0)
    client.label(NODE, "true", "nvidia.com/gpu.deploy.device-plugin")
    client.settle(NODE, 8)


@pytest.mark.full("another switch")
def test_operands_label_removes_every_operand_and_removing_it_restores_them(client: Client) -> None:
    client.label(NODE, "false", "nvidia.com/gpu.deploy.operands")
    until(lambda: client.pod(NODE) is None and client.pod(NODE, GFD) is None, "no operand pods")
    client.settle(NODE, 0)
    client.label(NODE, None, "nvidia.com/gpu.deploy.operands")
    client.settle(NODE, 8)


@pytest.mark.full("another fault of a node")
def test_unhealthy_gpu_costs_one_slot_until_the_plugin_starts_again(client: Client) -> None:
    client.annotate(NODE, "lab.gpufleet.sharing/unhealthy", "1")
    client.settle(NODE, 7)
    assert client.capacity(NODE) == 8
    client.restart(NODE)
    client.settle(NODE, 8)
    client.annotate(NODE, "lab.gpufleet.sharing/unhealthy", "2")
    client.settle(NODE, 7)
    client.annotate(NODE, "lab.gpufleet.sharing/unhealthy", None)
    client.settle(NODE, 8)


@pytest.mark.full("another profile")
def test_rename_leaves_the_old_name_at_zero(client: Client) -> None:
    body = slices(3).replace("resources:", "renameByDefault: true, resources:")
    client.profiles({**PROFILES, "renamed": body})
    client.annotate_pods(NODE)
    client.label(NODE, "renamed")
    client.settle(NODE, 6, "nvidia.com/gpu.shared")
    client.settle(NODE, 0)
    assert (client.capacity(NODE), client.capacity(NODE, "nvidia.com/gpu.shared")) == (8, 6)


def test_node_readiness_follows_the_annotation(client: Client) -> None:
    def ready() -> str:
        conditions = client.node(OTHER)["status"]["conditions"]
        return str(next(c["status"] for c in conditions if c["type"] == "Ready"))

    client.annotate(OTHER, "lab.gpufleet.sharing/ready", "false")
    until(lambda: ready() == "False", "NotReady")
    client.annotate(OTHER, "lab.gpufleet.sharing/ready", None)
    until(lambda: ready() == "True", "Ready")


@pytest.mark.full("test_operator moves the pointer")
def test_pointer(client: Client) -> None:
    """No pointer: no config-manager. A missing ConfigMap: nothing starts. Back: all as before."""
    client.label(NODE, "dev")
    client.settle(NODE, 16)
    client.point_at("", "")
    client.settle(NODE, 2)
    plugin = client.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/{PLUGIN}")
    names = [container["name"] for container in plugin["spec"]["template"]["spec"]["containers"]]
    assert names == ["nvidia-device-plugin"]
    client.point_at("nowhere", "default")
    client.settle(NODE, 0)
    until(lambda: client.state() == "notReady", "ClusterPolicy notices")

    def told() -> bool:
        events = client.get(f"/api/v1/namespaces/{NAMESPACE}/events")["items"]
        return any(e["reason"] == "FailedMount" and "nowhere" in e["message"] for e in events)

    until(told, "an event about the mount")
    client.point_at(CONFIG_MAP, "default")
    client.settle(NODE, 16)
    until(lambda: client.state() == "ready", "ClusterPolicy ready")


@pytest.mark.full("test_recipe uninstalls")
def test_uninstall_takes_the_slots_and_leaves_the_operator_labels(client: Client) -> None:
    client.label(NODE, "dev")
    client.settle(NODE, 16)
    client.program("helm", "uninstall", "gpu-operator", "--namespace", NAMESPACE, "--wait")
    client.settle(NODE, 0)
    until(lambda: client.node_label(NODE, "nvidia.com/gpu.count") is None, "GFD labels to go")
    labels = client.node(NODE)["metadata"]["labels"]
    assert labels["nvidia.com/gpu.present"] == "true"
    assert labels["nvidia.com/gpu.deploy.device-plugin"] == "true"
    assert labels["nvidia.com/device-plugin.config"] == "dev"
    client.point_at(CONFIG_MAP, "default")
    client.settle(NODE, 16)


def test_parser(client: Client) -> None:
    files = [slices(4), slices(1), "sharing: {timeSlicing: {}}"]
    answers = parse(client, files)
    assert [answer["ok"] for answer in answers] == [True, False, False]
    assert answers[0]["resources"] == [{"name": "nvidia.com/gpu", "replicas": 4}]
    assert "number of replicas must be >= 2" in answers[1]["error"]


def test_parser_tells_the_whole_file_with_and_without_the_operators_environment(
    client: Client,
) -> None:
    file = "flags: {migStrategy: mixed, gfd: {sleepInterval: 90s}}\nimex: {channelIDs: [0]}\n"
    (shadowed,) = parse(client, [file])
    (bare,) = parse(client, [file], "--operator-env=false")
    assert shadowed["config"]["flags"]["migStrategy"] == "single"
    assert bare["config"]["flags"]["migStrategy"] == "mixed"
    assert bare["config"]["flags"]["plugin"]["passDeviceSpecs"] is False
    assert bare["config"]["flags"]["gfd"]["sleepInterval"] == "1m30s"
    assert bare["config"]["imex"] == {"channelIDs": [0]}


def parse(client: Client, files: list[str], *options: str) -> list[dict[str, Any]]:
    lines = "".join(json.dumps(file) + "\n" for file in files)
    out = client.program("gpusim", "parse", "--lines", *options, stdin=lines)
    return [json.loads(line) for line in out.splitlines()]


def pod(name: str, slots: int = 1, **labels: str) -> dict[str, Any]:
    """A pod for NODE, with an init container."""
    container = {"image": "none", "resources": {"limits": {"nvidia.com/gpu": str(slots)}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {f"lab.gpufleet.sharing/{key}": value for key, value in labels.items()},
        },
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": NODE},
            "terminationGracePeriodSeconds": 0,
            "initContainers": [{"name": "first", **container}],
            "containers": [{"name": "main", **container}],
        },
    }


@pytest.fixture
def run_pod(client: Client) -> Iterator[Callable[..., dict[str, Any]]]:
    """Create a pod, and return its status when it has the phase."""
    pods = "/api/v1/namespaces/default/pods"
    made: list[str] = []

    def run(phase: str, **settings: Any) -> dict[str, Any]:
        made.append(f"test-{len(made)}")
        client.call("POST", pods, pod(made[-1], **settings))
        path = f"{pods}/{made[-1]}"

        def there() -> bool:
            status = client.call("GET", path)["status"]
            return bool(
                status["phase"] == phase and (phase != "Pending" or "containerStatuses" in status)
            )

        until(there, f"{made[-1]} is {phase}")
        return dict(client.call("GET", path)["status"])

    yield run
    for name in made:
        client.call("DELETE", f"{pods}/{name}")


def test_many_slots_are_given_as_the_loaded_file_says(
    client: Client, run_pod: Callable[..., dict[str, Any]]
) -> None:
    client.settle(NODE, 8)
    assert run_pod("Running", slots=2)["containerStatuses"][0]["ready"]
    strict = slices(4).replace("resources:", "failRequestsGreaterThanOne: true, resources:")
    client.profiles({**PROFILES, "strict": strict})
    client.label(NODE, "strict")
    until(lambda: client.loaded(NODE).get("key") == "strict", "the strict file")
    refused = run_pod("Failed", slots=2)
    assert refused["reason"] == "UnexpectedAdmissionError"
    assert "request for 'nvidia.com/gpu: 2' too large" in refused["message"]
    run_pod("Running", slots=2, admission="admitted")
    run_pod("Running", slots=1)


def test_pods_hang_and_tell_as_their_labels_say(
    client: Client, run_pod: Callable[..., dict[str, Any]]
) -> None:
    stuck = run_pod("Pending", hangs="CreateContainerError")
    assert stuck["initContainerStatuses"][0]["state"]["waiting"]["reason"] == "CreateContainerError"
    assert stuck["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"
    pulls = run_pod("Pending", hangs="Pulling")
    assert pulls["containerStatuses"][0]["state"]["waiting"]["reason"] == "ContainerCreating"
    tells = run_pod("Running", says="GPU-1")
    (first,) = tells["initContainerStatuses"]
    assert first["state"]["terminated"]["message"] == "GPU 0: (UUID: GPU-1)"
