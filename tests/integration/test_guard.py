# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes that would hurt running work: told by plan, refused by site, or made room for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.tests.integration.fleettools import (
    config_map,
    cordoned,
    replicas,
    state,
    states,
)
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    FLEET,
    GROUPS,
    PROFILES,
    Lab,
    boot,
    shut_down,
    write_inventory,
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
IGNORE = {"gpu_sharing_drain": "ignore"}
DEV = ["dev-gpu-01", "dev-gpu-02"]
FULL = Workload("web", DEV[:1], pods=8)  # all 8 slots of one node
FEW = Workload("api", DEV[1:], pods=2)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    booted = boot(f"guard-{os.getpid()}", FLEET, "restart=600ms")
    first = write_inventory(tmp_path_factory.mktemp("first") / "inventory")
    booted.playbook("site", first).succeeded()
    yield booted
    shut_down(booted)


@pytest.fixture
def busy(lab: Lab) -> Iterator[Lab]:
    """Eight pods on the slots of dev-gpu-01, two on dev-gpu-02."""
    start(lab, FULL, FEW)
    yield lab
    stop(lab, FULL, FEW)


def inventory_with(
    folder: Path, profiles: Mapping[str, Any], groups: Mapping[str, Any] = GROUPS
) -> Path:
    variables = {"gpu_sharing_profiles": {**PROFILES, **profiles}}
    return write_inventory(folder / "changed", groups, variables)


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
            "spec": {"hard": {f"requests.{resource}": "20"}},
        }
    )


def test_plan_tells_everything_and_reads_only(busy: Lab, inventory: Path) -> None:
    before = state(busy)
    busy.forget_requests()
    run = busy.playbook("plan", inventory, variables=replicas(dev=6)).succeeded()
    assert busy.writes(dry_run=True) == []
    assert run.changed == {"localhost": 0}
    assert state(busy) == before
    run.says("2 nodes change, in batches of 1, 1:", "dev: 8 nvidia.com/gpu", "plugin restarts")
    run.says("dev: 6 nvidia.com/gpu")
    run.says("8 nvidia.com/gpu are in use, 6 will be left: runs on, but may not start again")
    run.says("dev-gpu-01 work Deployment/web 8")
    assert "Deployment/api" not in run.output


def test_plan_of_nothing_says_so(lab: Lab, inventory: Path) -> None:
    lab.playbook("plan", inventory).succeeded().says("No node changes.")


def test_shrinking_below_running_pods_is_refused_before_any_write(
    busy: Lab, inventory: Path
) -> None:
    before = state(busy)
    busy.forget_requests()
    run = busy.playbook("site", inventory, variables=replicas(dev=6)).failed()
    assert busy.writes(dry_run=True) == []
    assert state(busy) == before
    run.says("This change would hurt 8 running pods on 1 nodes", "Deployment/web")
    run.says("Move these pods, or set gpu_sharing_drain to evict")
    run = busy.playbook("site", inventory, "--check", variables=replicas(dev=6)).failed()
    run.says("This change would hurt 8 running pods")


def test_growing_is_not_refused(busy: Lab, inventory: Path) -> None:
    before = on_nodes(busy, FULL, FEW)
    busy.playbook("site", inventory, variables=replicas(dev=9)).succeeded()
    busy.playbook("site", inventory).succeeded()  # and back to as many as there are pods
    assert on_nodes(busy, FULL, FEW) == before


def test_ignore_warns_and_leaves_the_pods(busy: Lab, inventory: Path) -> None:
    before = on_nodes(busy, FULL, FEW)
    run = busy.playbook("site", inventory, variables=replicas(dev=6) | IGNORE).succeeded()
    run.says("[WARNING]", "gpu_sharing_drain is ignore, so these pods stay at their own risk")
    run.says("dev-gpu-01 work Deployment/web 8")
    assert on_nodes(busy, FULL, FEW) == before
    assert busy.allocatable()["dev-gpu-01"] == "6"


def test_evict_moves_the_hurt_pods_only(lab: Lab, inventory: Path) -> None:
    """The web has 8 pods on one node and may run on another; the api stays where it is."""
    lab.playbook("site", inventory).succeeded()
    web = Workload("web", [DEV[0], "prod-gpu-01"], pods=10, slots=1)
    lab.kubectl("cordon", "dev-gpu-02", "prod-gpu-02")  # by hand
    lab.kubectl("uncordon", "dev-gpu-02")
    full = Workload("full", DEV[:1], pods=3)
    start(lab, web, full, FEW)
    held = on_nodes(lab, FEW)
    hurt = {uid for uid, node in on_nodes(lab, web, full).items() if node == "dev-gpu-01"}
    assert len(hurt) == 8
    lab.forget_requests()
    with Sampler(lab) as sampler:
        run = lab.playbook("site", inventory, variables=replicas(dev=6) | EVICT)
    assert run.rc == 0, run.output
    assert lab.allocatable()["dev-gpu-01"] == "6"
    assert on_nodes(lab, FEW) == held
    gone = {uid for uid, pod in sampler.pods.items() if pod.first and pod.gone}
    assert gone and gone <= hurt
    assert cordoned(lab) == {"prod-gpu-02"}
    touched = {request.split("?")[0] for request in lab.writes() if "/api/v1/nodes/" in request}
    assert touched == {f"patch /api/v1/nodes/{node}" for node in DEV}
    run.says("draining 1 nodes of 8 pods", "evicted work/")
    lab.kubectl("uncordon", "prod-gpu-02")
    stop(lab, web, full, FEW)


def test_budget_that_blocks_is_named_and_nothing_is_left_cordoned(
    busy: Lab, inventory: Path
) -> None:
    busy.playbook("site", inventory).succeeded()
    protect(busy, FULL, minAvailable=8)
    before, there = state(busy), on_nodes(busy, FULL, FEW)
    waiting = {"gpu_sharing_drain_timeout": 5}
    run = busy.playbook("site", inventory, variables=replicas(dev=6) | EVICT | waiting).failed()
    run.says("Not evicted within 5 s (pods: 8, nodes: 1)")
    run.says("Cannot evict pod as it would violate the pod's disruption budget")
    run.says("The disruption budget web needs 8 healthy pods")
    assert cordoned(busy) == set()
    assert on_nodes(busy, FULL, FEW) == there
    assert state(busy) == before  # the content too: a later restart would load it
    assert states(busy)[-1] == "failed"


def test_node_cordoned_by_hand_stays_cordoned(lab: Lab, inventory: Path) -> None:
    lab.playbook("site", inventory).succeeded()
    web = Workload("web", DEV[:1], pods=8)
    start(lab, web)
    lab.kubectl("cordon", "dev-gpu-01")
    lab.playbook("site", inventory, variables=replicas(dev=6) | EVICT).succeeded()
    assert cordoned(lab) == {"dev-gpu-01"}
    assert "dev-gpu-01" not in on_nodes(lab, web).values()  # they wait
    lab.kubectl("uncordon", "dev-gpu-01")
    stop(lab, web)


def test_bare_pods_are_lost_and_named(lab: Lab, inventory: Path) -> None:
    lab.playbook("site", inventory).succeeded()
    bare = Workload("bare", DEV[:1], kind="Pod", pods=8)
    start(lab, bare)
    run = lab.playbook("site", inventory, variables=replicas(dev=6) | EVICT).succeeded()
    run.says("No controller makes these pods again after their eviction", "work/bare-1")
    stop(lab, bare)


def test_pods_of_a_daemonset_are_refused_and_nothing_is_changed(lab: Lab, inventory: Path) -> None:
    lab.playbook("site", inventory).succeeded()
    agent = Workload("agent", DEV, kind="DaemonSet", slots=7)
    start(lab, agent)
    before = state(lab)
    run = lab.playbook("site", inventory, variables=replicas(dev=6) | EVICT).failed()
    run.says("its owner DaemonSet/agent runs it on this very node")
    assert state(lab) == before
    stop(lab, agent)


def test_renamed_resource_is_a_hazard_and_quotas_on_the_old_name_are_told(
    busy: Lab, tmp_path: Path
) -> None:
    plain = inventory_with(tmp_path / "plain", {})
    busy.playbook("site", plain).succeeded()
    quota(busy, "nvidia.com/gpu")
    renamed = inventory_with(tmp_path, {"dev": {"replicas": 8, "rename_by_default": True}})
    busy.forget_requests()
    run = busy.playbook("plan", renamed).succeeded()
    run.says("8 nvidia.com/gpu.shared", "no nvidia.com/gpu will be left: runs on")
    run.says("Deployment/web 8", "Deployment/api 2")
    run.says(
        "ResourceQuota gpus in namespace work limits nvidia.com/gpu; pods that ask for"
        " nvidia.com/gpu.shared instead are not limited: add requests.nvidia.com/gpu.shared to it"
    )
    run = busy.playbook("site", renamed).failed()
    run.says("This change would hurt 10 running pods on 2 nodes")
    assert busy.writes(dry_run=True) == []
    busy.kubectl("delete", "resourcequota", "gpus", "-n", NAMESPACE)


def test_sharing_that_ends_under_running_pods_is_a_hazard(busy: Lab, tmp_path: Path) -> None:
    """prod nodes have two GPUs in 8 slots: with whole GPUs, a pod on a slot may get company."""
    pair = Workload("pair", ["prod-gpu-01"], pods=1)
    start(busy, pair)
    whole = {**GROUPS["prod_gpus"], "vars": {"gpu_sharing_profile": "no-sharing"}}
    exclusive = inventory_with(tmp_path, {}, {**GROUPS, "prod_gpus": whole})
    busy.forget_requests()
    run = busy.playbook("site", exclusive).failed()
    run.says("This change would hurt 1 running pods on 1 nodes", "prod-gpu-01 work Deployment/pair")
    run.says("each nvidia.com/gpu will mean a whole GPU")
    assert busy.writes(dry_run=True) == []
    stop(busy, pair)
    busy.playbook("site", exclusive).succeeded()
    assert busy.allocatable()["prod-gpu-01"] == "2"
    assert "no-sharing" in config_map(busy)
