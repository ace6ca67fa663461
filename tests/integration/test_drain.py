# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guard and drain against a real API server: evictions, budgets, cordons, a run that is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import kubernetes
import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import Cluster
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.disruption import (
    Disruption,
    disruption_table,
    find_disruptions,
    pods_of,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.pods import GpuPod, gpu_pods
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import node_state
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    parse_profile,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.drain import (
    Drainer,
    DrainError,
    left_cordoned,
    without_controller,
)
from ansible_collections.gpufleet.sharing.tests.integration.answers import naming
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    COLLECTIONS,
    Lab,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import converge
from ansible_collections.gpufleet.sharing.tests.integration.workloads import make_namespace

if TYPE_CHECKING:
    from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.connection import ApiClient


GPU = "nvidia.com/gpu"
SPACE = "work"
MARK = "gpufleet.sharing/cordoned"
SIX = parse_profile("six", {"replicas": 6})
KILLED = """
import sys
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout import drain as _drain
from ansible_collections.gpufleet.sharing.tests.integration import test_drain
cluster = test_drain.connect(sys.argv[1])
_drain.Drainer(cluster, 60, print).drain([sys.argv[2]], list)
"""


def connect(kubeconfig: str) -> Cluster:
    api = kubernetes.config.new_client_from_config(kubeconfig)
    return Cluster(cast("ApiClient", api), str(api.configuration.host))


@pytest.fixture(scope="module")
def fleet(lab: Lab) -> Lab:
    """Shared GPUs: dev nodes advertise 8 slots, prod nodes 8 of 2 GPUs."""
    converge(lab)
    return lab


@pytest.fixture
def workload(fleet: Lab) -> Iterator[Lab]:
    """A namespace for pods, and nodes that nobody has cordoned before and after."""
    make_namespace(fleet, SPACE)
    yield fleet
    fleet.kubectl("delete", "namespace", SPACE, "--timeout=60s")
    if left := list(cordons(fleet)):
        fleet.kubectl("uncordon", *left)
        fleet.kubectl("annotate", "nodes", "--all", f"{MARK}-")


def template(name: str, nodes: list[str], gpus: int = 1, **more: Any) -> dict[str, Any]:
    where = [{"key": "metadata.name", "operator": "In", "values": [node]} for node in nodes]
    terms = {"nodeSelectorTerms": [{"matchFields": [field]} for field in where]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    resources = {"limits": {GPU: str(gpus)}} if gpus else {}
    containers = [{"name": "c", "image": "i", "resources": resources}]
    spec = {"affinity": affinity, "containers": containers, **more}
    return {"metadata": {"labels": {"app": name}}, "spec": spec}


def controlled(kind: str, name: str, nodes: list[str], **more: Any) -> dict[str, Any]:
    replicas = {"replicas": more.pop("replicas", 1)} if kind == "Deployment" else {}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {
            **replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template(name, nodes, **more),
        },
    }


def budget(name: str, **spec: int) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {"selector": {"matchLabels": {"app": name}}, **spec},
    }


def running(lab: Lab, name: str) -> dict[str, str]:
    """Nodes of Running pods by uid."""
    pods = lab.json("pods", "-n", SPACE, "-l", f"app={name}")["items"]
    return {
        pod["metadata"]["uid"]: pod["spec"]["nodeName"]
        for pod in pods
        if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
    }


def start(lab: Lab, count: int, *documents: dict[str, Any]) -> None:
    """Apply objects, and wait until the first of them has its pods."""
    lab.apply(*documents)
    name = documents[0]["metadata"]["name"]
    lab.wait_for(lambda: len(running(lab, name)) == count)


def guarded(lab: Lab, name: str) -> None:
    """Wait until the disruption controller has counted the pods of a budget."""

    def counted() -> bool:
        status = lab.json("pdb", name, "-n", SPACE).get("status", {})
        return bool(status.get("currentHealthy") == len(running(lab, name)))

    lab.wait_for(counted)


def cordons(lab: Lab) -> dict[str, bool]:
    """Whether it carries our mark, by cordoned node."""
    nodes = lab.json("nodes")["items"]
    return {
        node["metadata"]["name"]: MARK in node["metadata"].get("annotations", {})
        for node in nodes
        if node["spec"].get("unschedulable")
    }


def drainer(lab: Lab, timeout: float = 30) -> Drainer:
    return Drainer(connect(lab.environ["KUBECONFIG"]), timeout, print)


def disrupted_by_six(lab: Lab, node: str) -> list[Disruption]:
    state = node_state(lab.json("node", node))
    pods = gpu_pods(lab.json("pods", "-A")["items"])
    return find_disruptions(state, SIX, {GPU: 1}, pods)


def test_evicts_only_gpu_pods_and_only_when_disrupted(workload: Lab) -> None:
    node = "dev-gpu-01"
    start(workload, 1, controlled("Deployment", "cpu", [node], gpus=0))
    start(workload, 6, controlled("Deployment", "web", [node], replicas=6))
    assert disrupted_by_six(workload, node) == []
    start(workload, 8, controlled("Deployment", "web", [node], replicas=8))
    found = disrupted_by_six(workload, node)
    assert {each.pod.owner for each in found} == {"Deployment/web"}
    assert disruption_table(found)[2].split()[:4] == [node, SPACE, "Deployment/web", "8"]

    before = running(workload, "cpu")
    state = node_state(workload.json("node", node))

    def disrupted(pods: list[GpuPod]) -> list[GpuPod]:
        return pods_of(find_disruptions(state, SIX, {GPU: 1}, pods))

    evicted = drainer(workload).drain([node], disrupted)
    assert {pod.uid for pod in evicted} == {each.pod.uid for each in found}
    assert without_controller(evicted) == []
    assert cordons(workload) == {node: True}
    assert running(workload, "web") == {}
    assert running(workload, "cpu") == before
    drainer(workload).uncordon([node])
    assert cordons(workload) == {}
    workload.wait_for(lambda: len(running(workload, "web")) == 8)


@pytest.mark.full("another case of a drain")
def test_cordon_of_somebody_else_stays(workload: Lab) -> None:
    start(workload, 1, controlled("Deployment", "web", ["dev-gpu-02"]))
    workload.kubectl("cordon", "dev-gpu-02")
    workload.forget_requests()
    nodes = ["dev-gpu-01", "dev-gpu-02"]
    assert len(drainer(workload).drain(nodes, list)) == 1
    assert cordons(workload) == {"dev-gpu-01": True, "dev-gpu-02": False}
    drainer(workload).uncordon(nodes)
    assert cordons(workload) == {"dev-gpu-02": False}
    writes = [write.partition("?")[0] for write in workload.writes()]
    pod, *patches = sorted(writes)
    assert pod.startswith(f"create /api/v1/namespaces/{SPACE}/pods/web-")
    assert patches == ["patch /api/v1/nodes/dev-gpu-01"] * 2


def test_budget_that_blocks_is_honoured_and_named(workload: Lab) -> None:
    web = controlled("Deployment", "web", ["prod-gpu-01"], replicas=2)
    start(workload, 2, web, budget("web", minAvailable=2))
    start(workload, 1, controlled("Deployment", "free", ["prod-gpu-01"]))
    guarded(workload, "web")
    before = running(workload, "web")
    with pytest.raises(DrainError) as caught:
        drainer(workload, timeout=3).drain(["prod-gpu-01"], list)
    assert len(naming(str(caught.value).splitlines(), "disruption budget web", 2)) == 2
    assert all(line.startswith("prod-gpu-01: work/web-") for line in caught.value.problems)
    assert len(caught.value.problems) == 2
    assert running(workload, "web") == before
    assert cordons(workload) == {}


@pytest.mark.full("another case of a drain")
def test_budget_lets_pods_move_one_by_one(workload: Lab) -> None:
    nodes = ["prod-gpu-01", "prod-gpu-02"]
    workload.kubectl("cordon", nodes[1])
    web = controlled("Deployment", "web", nodes, replicas=3)
    start(workload, 3, web, budget("web", maxUnavailable=1))
    guarded(workload, "web")
    workload.kubectl("uncordon", nodes[1])
    lines: list[str] = []
    cluster = connect(workload.environ["KUBECONFIG"])
    assert len(Drainer(cluster, 60, lines.append).drain(nodes[:1], list)) == 3
    workload.wait_for(lambda: list(running(workload, "web").values()) == nodes[1:] * 3)
    assert sum(": evicted work/web-" in line for line in lines) == 3


@pytest.mark.full("another case of a drain")
@pytest.mark.parametrize("gpu_owner", ["DaemonSet", "tolerant"])
def test_pods_that_would_come_back_are_refused_before_any_write(
    workload: Lab, gpu_owner: str
) -> None:
    tolerations = {"tolerations": [{"operator": "Exists"}]}
    if gpu_owner == "DaemonSet":
        start(workload, 1, controlled("DaemonSet", "agent", ["dev-gpu-01"]))
    else:
        start(workload, 1, controlled("Deployment", "agent", ["dev-gpu-01"], **tolerations))
    workload.forget_requests()
    (pod,) = workload.json("pods", "-n", SPACE, "-l", "app=agent")["items"]
    with pytest.raises(DrainError) as caught:
        drainer(workload).drain(["dev-gpu-01"], list)
    assert naming(str(caught.value).splitlines(), "dev-gpu-01", SPACE, pod["metadata"]["name"])
    assert workload.writes() == []


@pytest.mark.full("another case of a drain")
def test_pod_without_owner_is_named_as_lost(workload: Lab) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", **template("lone", ["dev-gpu-01"])}
    pod["metadata"] |= {"name": "lone", "namespace": SPACE}
    start(workload, 1, pod)
    evicted = drainer(workload).drain(["dev-gpu-01"], list)
    assert [each.name for each in without_controller(evicted)] == ["lone"]
    assert workload.json("pods", "-n", SPACE)["items"] == []


@pytest.mark.full("another case of a drain")
def test_mark_of_a_run_that_was_killed_is_found(workload: Lab) -> None:
    node = "prod-gpu-02"
    web = controlled("Deployment", "web", [node])
    start(workload, 1, web, budget("web", minAvailable=1))
    guarded(workload, "web")
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, workload.environ["KUBECONFIG"], node],
        env={**os.environ, "PYTHONPATH": str(COLLECTIONS)},
        cwd=Path(__file__).parent,
        stdout=subprocess.DEVNULL,
    )
    try:
        workload.wait_for(lambda: cordons(workload) == {node: True})
    finally:
        killed.kill()
        killed.wait()
    states = [node_state(item) for item in workload.json("nodes")["items"]]
    assert left_cordoned(states) == [node]
    drainer(workload).uncordon(left_cordoned(states))
    assert cordons(workload) == {}
    assert len(running(workload, "web")) == 1
