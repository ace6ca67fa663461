# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tools of the tests of a live fleet do what they say."""

from __future__ import annotations

import subprocess
from collections import Counter

import pytest

from ansible_collections.gpufleet.sharing.tests.integration.labtools import Lab
from ansible_collections.gpufleet.sharing.tests.integration.sampler import Sampler
from ansible_collections.gpufleet.sharing.tests.integration.workloads import (
    Workload,
    evict,
    pods_of,
    protect,
    start,
    stop,
    wait_until_running,
)

NODES = ["prod-gpu-01", "prod-gpu-02"]
SLOTS = {"dev-gpu-01": "4", "dev-gpu-02": "4", "prod-gpu-01": "8", "prod-gpu-02": "8"} | {
    "train-gpu-01": "16"
}
FILE = "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 4}]}}"


@pytest.fixture(scope="module", autouse=True)
def operator(lab: Lab) -> None:
    """The operator, by hand: four slots for each GPU."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gpu-operator"}}
    profiles = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "profiles", "namespace": "gpu-operator"},
        "data": {"default": f"version: v1\n{FILE}\n"},
    }
    lab.apply(namespace, profiles)
    pointer = "devicePlugin.config.name=profiles,devicePlugin.config.default=default"
    chart = lab.environ["GPULAB_CHART"]
    command = ["helm", "install", "gpu-operator", chart, "-n", "gpu-operator", "--set", pointer]
    subprocess.run(command, env=lab.environ, check=True, capture_output=True)
    lab.wait_for(lambda: lab.allocatable() == SLOTS)


@pytest.mark.parametrize("kind", ["Pod", "ReplicaSet", "Deployment", "Job", "DaemonSet"])
def test_workload_runs_where_it_should(lab: Lab, kind: str) -> None:
    pods = 2 if kind == "DaemonSet" else 4
    workload = Workload("web", NODES, kind, pods=4, slots=2)
    start(lab, workload)
    found = pods_of(lab, workload)
    assert Counter(pod["spec"]["nodeName"] for pod in found) == dict.fromkeys(NODES, pods // 2)
    stop(lab, workload)
    assert pods_of(lab, workload) == []


def test_budget_holds_and_a_cordoned_node_takes_no_pod_back(lab: Lab) -> None:
    workload = Workload("web", NODES, pods=2)
    start(lab, workload)
    protect(lab, workload, minAvailable=2)
    victim = next(p for p in pods_of(lab, workload) if p["spec"]["nodeName"] == NODES[0])
    name = victim["metadata"]["name"]
    evict(lab, "work", name).failed().says("TooManyRequests")
    protect(lab, workload, minAvailable=1)
    lab.kubectl("cordon", NODES[0])
    evict(lab, "work", name).succeeded()
    wait_until_running(lab, workload)
    assert {pod["spec"]["nodeName"] for pod in pods_of(lab, workload)} == {NODES[1]}
    lab.kubectl("uncordon", NODES[0])
    stop(lab, workload)


def test_sampler_sees_short_darkness_and_what_pods_go_through(lab: Lab) -> None:
    stays, goes = (Workload(name, NODES, kind="Pod") for name in ("stays", "goes"))
    start(lab, stays, goes)
    lab.forget_requests()
    before = lab.plugin_pods()
    with Sampler(lab) as sampler:
        plugins = ("-n", "gpu-operator", "-l", "app=nvidia-device-plugin-daemonset")
        for node in NODES:
            lab.kubectl("delete", "pod", *plugins, "--field-selector", f"spec.nodeName={node}")
        lab.kubectl("delete", "pod", "-n", "work", "goes-1")
        lab.wait_for(lambda: len(sampler.changes) >= 9 and lab.allocatable() == SLOTS)
    assert sampler.ever_dark == sampler.changed == set(NODES)
    assert 1 <= sampler.most_dark <= 2
    assert sampler.darkest <= set(NODES)
    dark = [change.node for change in sampler.changes if change.slots == {"nvidia.com/gpu": 0}]
    assert sorted(dark) == NODES
    assert sampler.disturbed == ["goes-1 on prod-gpu-01: gone"]
    assert sampler.gaps == 0
    assert len([write for write in lab.writes() if write.startswith("delete")]) == 3
    assert len(before.keys() & lab.plugin_pods().keys()) == len(before)
    stop(lab, stays, goes)
