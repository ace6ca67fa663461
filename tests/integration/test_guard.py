# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes that would hurt running work: told by plan, refused by site, or made room for. Each test
goes on where the one before has stopped.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.gpufleet.sharing.tests.integration.answers import mentions, naming
from ansible_collections.gpufleet.sharing.tests.integration.fleettools import (
    cordoned,
    profiles,
    replicas,
    state,
    states,
)
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    FLEET,
    GROUPS,
    Lab,
    boot,
    shut_down,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import (
    Wanted,
    applied,
    call,
    converge,
    differing,
    planned,
)
from ansible_collections.gpufleet.sharing.tests.integration.sampler import Sampler
from ansible_collections.gpufleet.sharing.tests.integration.workloads import (
    NAMESPACE,
    Workload,
    pods_of,
    protect,
    start,
    stop,
)

EVICT = {"gpu_sharing_drain": "evict"}
DEV = ["dev-gpu-01", "dev-gpu-02"]
PROD = ["prod-gpu-01", "prod-gpu-02"]
WEB = Workload("web", DEV[:1], pods=8)  # all 8 slots of one node
API = Workload("api", DEV[1:], pods=2)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Eight pods on the eight slots of dev-gpu-01, two on dev-gpu-02."""
    booted = boot(f"guard-{os.getpid()}", FLEET)
    converge(booted)
    start(booted, WEB, API)
    yield booted
    shut_down(booted)


def on_nodes(lab: Lab, *workloads: Workload) -> dict[str, str]:
    """Nodes of living pods by uid."""
    return {
        pod["metadata"]["uid"]: pod["spec"].get("nodeName", "")
        for workload in workloads
        for pod in pods_of(lab, workload)
    }


def quota(lab: Lab, resource: str) -> None:
    lab.apply(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "gpus", "namespace": NAMESPACE},
            "spec": {"hard": {f"requests.{resource}": "50"}},
        }
    )


def test_plan_tells_everything_and_reads_only(lab: Lab, inventory: Path) -> None:
    before = state(lab)
    lab.forget_requests()
    run = lab.playbook("plan", inventory, variables=replicas(dev=6)).succeeded()
    assert lab.writes(dry_run=True) == []
    assert run.changed == {"localhost": 0}
    assert state(lab) == before
    run.names(2, 1)  # nodes change, in batches of one; as many need nothing
    run.names("refuse", 8, 1, "gpu_sharing_drain")  # the verdict: pods, and node
    run.names("dev_gpus", "dev", 2, 8, 6, "nvidia.com/gpu", "dev-gpu-01")  # and one more node
    run.names("dev-gpu-01", "work", "Deployment/web", 8, 6)
    assert run.naming("Deployment/api") == []


def test_plan_of_nothing_names_no_node(lab: Lab) -> None:
    answer = call(lab, "rollout", Wanted(options={"explain": True}).of_rollout(), check=True)
    assert answer["table"]
    assert [line for node in (*DEV, *PROD) for line in naming(answer["table"], node)] == []


def test_shrinking_below_running_pods_is_refused_before_any_write(
    lab: Lab, inventory: Path
) -> None:
    before = state(lab)
    lab.forget_requests()
    run = lab.playbook("site", inventory, variables=replicas(dev=6))
    run.fails_with(8, 1)  # pods, on one node
    run.fails_with("dev-gpu-01", "work", "Deployment/web", 8)
    run.fails_with("gpu_sharing_drain", "evict")  # what would make room
    planned(lab, Wanted(profiles=profiles(dev=6))).fails_with("Deployment/web", 8)  # check mode
    assert lab.writes(dry_run=True) == []
    assert state(lab) == before


@pytest.mark.full("another case of the guard")
def test_pods_of_a_daemonset_are_refused_and_nothing_is_changed(lab: Lab) -> None:
    agent = Workload("agent", PROD, kind="DaemonSet", slots=7)
    start(lab, agent)
    before = state(lab)
    evict = {"drain": "evict"}
    run = applied(lab, Wanted(profiles=profiles(default=3), options=evict))
    run.fails_with("prod-gpu-01", "DaemonSet/agent")
    assert state(lab) == before
    stop(lab, agent)


@pytest.mark.full("another case of the guard")
def test_budget_that_blocks_is_named_and_nothing_is_left_changed(lab: Lab) -> None:
    protect(lab, WEB, minAvailable=8)
    before, there = state(lab), on_nodes(lab, WEB, API)
    waiting = {"drain": "evict", "drain_timeout": 5}
    run = applied(lab, Wanted(profiles=profiles(dev=6), options=waiting))
    run.fails_with(5, 8, 1)  # seconds, pods, node
    run.fails_with("dev-gpu-01", "disruption budget web")  # the server's own words
    assert cordoned(lab) == set()
    assert on_nodes(lab, WEB, API) == there
    assert state(lab) == before  # the content too: a later restart would load it
    assert states(lab)[-1] == "failed"
    lab.kubectl("delete", "poddisruptionbudget", "web", "-n", NAMESPACE)


@pytest.mark.full("test_drain evicts too")
def test_evict_moves_the_hurt_pods_only(lab: Lab, inventory: Path) -> None:
    """dev-gpu-01 is full of a Deployment's pods; dev-gpu-02 of
    bare pods and the api, and it is cordoned by hand, as is prod-gpu-02, which does not change.
    """
    bare = Workload("bare", DEV[1:], kind="Pod", pods=6)
    elsewhere = Workload("elsewhere", PROD[1:], pods=4)
    start(lab, bare, elsewhere)
    lab.kubectl("cordon", "dev-gpu-02", "prod-gpu-02")
    there = on_nodes(lab, elsewhere)
    said = lab.playbook("plan", inventory, variables=replicas(dev=6) | EVICT).succeeded()
    lab.forget_requests()
    with Sampler(lab) as sampler:
        run = lab.playbook("site", inventory, variables=replicas(dev=6) | EVICT).succeeded()
    assert lab.allocatable()["dev-gpu-01"] == lab.allocatable()["dev-gpu-02"] == "6"
    gone = {pod.node for pod in sampler.pods.values() if pod.first and pod.gone}
    assert gone == set(DEV)
    assert on_nodes(lab, elsewhere) == there
    assert cordoned(lab) == {"dev-gpu-02", "prod-gpu-02"}
    touched = {request.split("?")[0] for request in lab.writes() if "/api/v1/nodes/" in request}
    assert touched == {f"patch /api/v1/nodes/{node}" for node in DEV}
    run.names(1, 8)  # node, pods
    assert any("dev-gpu-01" in line and "work/web-" in line for line in run.answers.lines)
    run.names("WARNING", "work/bare-1")
    sizes = [int(size) for size in re.findall(r"batch \d+ of \d+: (\d+) ", run.output)]
    evicted = len(set(re.findall(r"evicted (work/\S+)", run.output)))
    assert (sizes, evicted) == ([1, 1], 16)
    said.names("batches", sum(sizes), *sizes, evicted)  # the plan's verdict
    run.names("work", "Deployment/web", 2, "Insufficient")  # 8 pods for 6 slots
    run.names("work", "Deployment/api", 2, "unschedulable")
    lab.kubectl("uncordon", "dev-gpu-02", "prod-gpu-02")
    stop(lab, bare, elsewhere)


@pytest.mark.full("another case of the guard")
def test_ignore_warns_and_leaves_the_pods(lab: Lab) -> None:
    stop(lab, WEB, API)
    there = Workload("there", DEV[:1], pods=5)
    start(lab, there)
    before = on_nodes(lab, there)
    ignore = {"drain": "ignore"}
    run = applied(lab, Wanted(profiles=profiles(dev=3), options=ignore)).succeeded()
    run.names("warnings", "drain", "ignore")
    run.names("dev-gpu-01", "work", "Deployment/there", 5)
    assert on_nodes(lab, there) == before
    assert lab.allocatable()["dev-gpu-01"] == "3"
    stop(lab, there)


@pytest.mark.full("another case of the guard")
def test_renamed_resource_is_a_hazard_and_quotas_on_the_old_name_are_named(lab: Lab) -> None:
    pair = Workload("pair", PROD, pods=2)
    start(lab, pair)
    quota(lab, "nvidia.com/gpu")
    named = profiles(dev=3) | {"default": {"replicas": 4, "rename_by_default": True}}
    lab.forget_requests()
    explained = Wanted(profiles=named, options={"explain": True}).of_rollout()
    answer = call(lab, "rollout", explained, check=True)
    assert naming(answer["table"], "prod-gpu-01", 8, "nvidia.com/gpu.shared")
    for node in PROD:
        assert naming(
            answer["disruption_table"], node, "work", "Deployment/pair", 1, "nvidia.com/gpu"
        )
    (quota_of_old_name,) = answer["quotas"]
    names = ("nvidia.com/gpu", "requests.nvidia.com/gpu.shared")
    assert mentions(quota_of_old_name, "gpus", "work", *names)
    planned(lab, Wanted(profiles=named)).fails_with(2)  # pods, and nodes
    assert lab.writes(dry_run=True) == []
    lab.kubectl("delete", "resourcequota", "gpus", "-n", NAMESPACE)


@pytest.mark.full("another case of the guard")
def test_sharing_that_ends_under_running_pods_is_a_hazard(lab: Lab) -> None:
    """Two GPUs in 8 slots: with whole GPUs, a pod that stays on a slot may get company."""
    whole = {**GROUPS["prod_gpus"], "vars": {"gpu_sharing_profile": "no-sharing"}}
    exclusive = Wanted({**GROUPS, "prod_gpus": whole}, profiles(dev=3))
    lab.forget_requests()
    run = planned(lab, exclusive)
    run.fails_with(2).fails_with("prod-gpu-01", "work", "Deployment/pair", "nvidia.com/gpu")
    assert lab.writes(dry_run=True) == []
    lab.kubectl("delete", "deployment", "pair", "-n", NAMESPACE, "--wait", "--cascade=foreground")
    applied(lab, exclusive).succeeded()
    assert lab.allocatable()["prod-gpu-01"] == "2"
    assert differing(lab, exclusive) == []
