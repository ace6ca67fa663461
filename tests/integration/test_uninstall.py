# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""uninstall where pods use the GPUs that go: refused, evicted, ignored, and killed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.gpufleet.sharing.tests.integration.fleettools import MARK, cordoned, noted
from ansible_collections.gpufleet.sharing.tests.integration.killing import in_helm, kill
from ansible_collections.gpufleet.sharing.tests.integration.labtools import Lab, remains
from ansible_collections.gpufleet.sharing.tests.integration.modules import call, converge
from ansible_collections.gpufleet.sharing.tests.integration.workloads import (
    Workload,
    pods_of,
    start,
    stop,
    wait_until_running,
)

DEV = ("dev-gpu-01", "dev-gpu-02")
GPU_NODES = {*DEV, "prod-gpu-01", "prod-gpu-02", "train-gpu-01"}
NOTEBOOKS = Workload("notebook", DEV, pods=6, namespace="team-a")
EVICT = {"gpu_sharing_drain": "evict", "gpu_sharing_drain_timeout": 60}


@pytest.fixture(scope="module")
def busy(lab: Lab) -> Iterator[Lab]:
    """Shared GPUs, and pods that use them."""
    share(lab)
    start(lab, NOTEBOOKS)
    yield lab
    stop(lab, NOTEBOOKS)


def uids(lab: Lab) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods_of(lab, NOTEBOOKS)}


def phases(lab: Lab) -> list[str]:
    return sorted(pod["status"]["phase"] for pod in pods_of(lab, NOTEBOOKS))


def everything_has_gone(lab: Lab) -> bool:
    """Of the operator and of ours; and nobody is cordoned."""
    slots = {count for count in lab.allocatable().values() if count != "0"}
    kept = [*lab.json("clusterpolicies")["items"], *cordoned(lab), *noted(lab, MARK), *slots]
    return not kept and remains(lab) == []


def share(lab: Lab) -> None:
    """Share the GPUs, with a release that is ours."""
    converge(lab)
    assert not call(lab, "helm_release", {"chart_ref": "-", "outcome": "succeeded"}).get("failed")


def again(lab: Lab) -> None:
    """GPUs are shared again, and the pods run."""
    share(lab)
    wait_until_running(lab, NOTEBOOKS)


def test_running_pods_are_refused_before_any_write(busy: Lab, inventory: Path) -> None:
    before = uids(busy)
    busy.forget_requests()
    for mode in ((), ("--check", "--diff")):
        run = busy.playbook("uninstall", inventory, *mode)
        run.fails_with("Helm release", "gpu-operator", 5, 6, "team-a", "Deployment/notebook")
        run.fails_with("gpu_sharing_drain")
    assert busy.writes(dry_run=True) == []
    assert uids(busy) == before
    assert busy.allocatable()["dev-gpu-01"] == "8"


def test_check_mode_shows_release_labels_and_evictions_and_writes_nothing(
    busy: Lab, inventory: Path
) -> None:
    busy.forget_requests()
    run = busy.playbook("uninstall", inventory, "--check", "--diff", variables=EVICT).succeeded()
    assert busy.writes() == []
    run.names("-", "Helm release gpu-operator").names("-", "dev-gpu-01", "dev")
    run.names("Evicts", 6, "team-a", "Deployment/notebook")
    run.names("Stays", "namespace", "gpu-operator")
    assert run.changed["localhost"] >= 4  # evictions, labels, release, ConfigMap


def test_evicted_pods_are_gone_before_their_gpus(busy: Lab, inventory: Path) -> None:
    before = uids(busy)
    run = busy.playbook("uninstall", inventory, variables=EVICT).succeeded()
    assert len(run.naming("evicted", "dev-gpu-01")) >= 1
    run.names("Removed", "Helm release", "gpu-operator").names("Stays", "CustomResourceDefinitions")
    busy.wait_for(lambda: everything_has_gone(busy))
    assert not before & uids(busy)
    assert phases(busy) == ["Pending"] * 6


def test_killed_uninstall_is_finished_by_the_next(busy: Lab, inventory: Path) -> None:
    """It is killed while Helm removes the release: the nodes are cordoned, so that pods that were
    evicted are not back on GPUs that go.
    """
    again(busy)
    command = busy.command("uninstall", inventory, variables=EVICT)
    killed = kill(busy, command, in_helm(verb="uninstall"))
    assert killed.in_time, killed.output
    assert cordoned(busy) == GPU_NODES == noted(busy, MARK).keys()
    assert phases(busy) == ["Pending"] * 6
    # Nobody uses a GPU any longer, so nothing is refused.
    busy.playbook("uninstall", inventory, variables={"gpu_operator_timeout": 10}).succeeded()
    busy.wait_for(lambda: everything_has_gone(busy))


def test_ignored_pods_keep_running(busy: Lab, inventory: Path) -> None:
    again(busy)
    before = uids(busy)
    run = busy.playbook("uninstall", inventory, variables={"gpu_sharing_drain": "ignore"})
    run.succeeded().names("gpu_sharing_drain", "ignore")
    busy.wait_for(lambda: everything_has_gone(busy))
    assert (uids(busy), phases(busy)) == (before, ["Running"] * 6)


def test_release_that_helm_was_removing_is_removed_by_the_next(busy: Lab, inventory: Path) -> None:
    """Helm is killed while it waits, which a finalizer makes it do."""
    again(busy)
    place = ("deployment", "gpu-operator", "-n", "gpu-operator", "--type=merge", "-p")
    busy.kubectl("patch", *place, '{"metadata": {"finalizers": ["example.com/held"]}}')
    removing = ("secrets", "-n", "gpu-operator", "-l", "owner=helm,status=uninstalling")
    command = ["helm", "uninstall", "gpu-operator", "-n", "gpu-operator", "--wait"]
    with subprocess.Popen(command, env=busy.environ) as helm:
        busy.wait_for(lambda: len(busy.json(*removing)["items"]) == 1)
        helm.kill()
    busy.kubectl("patch", *place, '{"metadata": {"finalizers": null}}')
    assert len(busy.json(*removing)["items"]) == 1
    variables = {"gpu_sharing_drain": "ignore", "gpu_operator_timeout": 5}
    busy.playbook("uninstall", inventory, variables=variables).succeeded()
    assert busy.json("secrets", "-n", "gpu-operator", "-l", "owner=helm")["items"] == []
    busy.wait_for(lambda: everything_has_gone(busy))
