# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lease on a real API server: two runs at once, killed ones, lost ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import LeaseError
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import Cluster
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.lease import (
    LeaseTiming,
    hold_lease,
    remove_lease,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.objects import namespaced
from ansible_collections.gpufleet.sharing.tests.integration.answers import mentions
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    COLLECTIONS,
    Lab,
    connected,
)

NAMESPACE = "gpu-operator"
LEASE = ("lease", "gpufleet-sharing", "-n", NAMESPACE)
SHORT = LeaseTiming(3)
HOLD = """
import sys
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube import lease
from ansible_collections.gpufleet.sharing.tests.integration.labtools import Lab, connected
lab = Lab("", {"KUBECONFIG": sys.argv[1]})
timing = lease.LeaseTiming(3)
with lease.hold_lease(connected(lab), "gpu-operator", sys.argv[2], timing=timing):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def cluster(lab: Lab) -> Cluster:
    return connected(lab)


@pytest.fixture(autouse=True)
def no_lease(lab: Lab) -> None:
    lab.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    lab.kubectl("delete", *LEASE, "--ignore-not-found")


@contextmanager
def another_run(lab: Lab, holder: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lease until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, lab.environ["KUBECONFIG"], holder],
        env=lab.environ | {"PYTHONPATH": str(COLLECTIONS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()


def spec(lab: Lab) -> dict[str, Any]:
    return dict(lab.json(*LEASE)["spec"])


def change(lab: Lab, **fields: object) -> None:
    """Change the lease as somebody else."""
    lab.kubectl("patch", *LEASE, "--type", "merge", "-p", json.dumps({"spec": fields}))


def test_is_taken_renewed_and_released(lab: Lab, cluster: Cluster) -> None:
    with hold_lease(cluster, NAMESPACE, "root@here job 42", timing=SHORT) as lease:
        first = spec(lab)
        assert first["holderIdentity"] == "root@here job 42"
        assert first["leaseDurationSeconds"] == 3
        labels = lab.json(*LEASE)["metadata"]["labels"]
        assert labels == {"app.kubernetes.io/managed-by": "gpufleet.sharing"}
        lab.wait_for(lambda: spec(lab)["renewTime"] != first["renewTime"])
        lease.check()
    last = spec(lab)
    assert last.get("holderIdentity", "") == ""
    assert last["acquireTime"] == first["acquireTime"]
    said: list[str] = []
    with hold_lease(cluster, NAMESPACE, "next", log=said.append, timing=SHORT):
        assert said == []  # nothing to wait for
        assert spec(lab)["leaseTransitions"] == 1


def test_second_run_is_told_who_and_since_when(lab: Lab, cluster: Cluster) -> None:
    said: list[str] = []
    with another_run(lab, "alice@awx job 7"):
        since = spec(lab)["acquireTime"][:19].replace("T", " ")
        lab.forget_requests()
        with (
            pytest.raises(LeaseError) as caught,
            hold_lease(cluster, NAMESPACE, "bob", log=said.append, timing=SHORT),
        ):
            pytest.fail("two runs at once")
        assert spec(lab)["holderIdentity"] == "alice@awx job 7"
    assert mentions(str(caught.value), "alice@awx job 7", since, "gpufleet-sharing", NAMESPACE)
    assert len(said) == 1


def test_killed_run_is_waited_out_and_taken_over(lab: Lab, cluster: Cluster) -> None:
    said: list[str] = []
    with another_run(lab, "alice") as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        start = time.monotonic()
        with hold_lease(cluster, NAMESPACE, "bob", log=said.append, timing=SHORT) as lease:
            assert 3 <= time.monotonic() - start < 15
            lease.check()
            assert spec(lab)["holderIdentity"] == "bob"
            assert spec(lab)["leaseTransitions"] == 1
    waiting, taking_over = said
    assert mentions(waiting, "alice", "gpufleet-sharing", 3)  # seconds
    assert mentions(taking_over, "alice", "gpufleet-sharing")


def test_stopped_run_that_was_taken_over_writes_nothing_more(lab: Lab, cluster: Cluster) -> None:
    """Stopped like a virtual machine that pauses, then woken beside its successor."""
    with hold_lease(cluster, NAMESPACE, "alice", timing=SHORT) as lease:
        change(lab, holderIdentity="bob", acquireTime="2026-01-02T03:04:05.000000Z")
        lease.renew()
        with pytest.raises(LeaseError) as caught:
            lease.check()
    assert mentions(str(caught.value), "bob", "2026-01-02 03:04:05")
    assert spec(lab)["holderIdentity"] == "bob"  # not released by us


@pytest.mark.full("a race")
def test_of_two_that_take_over_one_wins(lab: Lab, cluster: Cluster) -> None:
    with hold_lease(cluster, NAMESPACE, "dead", keep=True, timing=LeaseTiming(2)):
        pass
    assert spec(lab)["holderIdentity"] == "dead"
    command = [sys.executable, "-c", HOLD, lab.environ["KUBECONFIG"]]
    environ = lab.environ | {"PYTHONPATH": str(COLLECTIONS)}
    runs = [
        subprocess.Popen(
            [*command, name],
            env=environ,
            text=True,
            stdin=subprocess.PIPE,  # whose end ends the one that has won
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for name in ("alice", "bob")
    ]
    lab.wait_for(lambda: any(run.poll() is not None for run in runs))
    ended = [(*run.communicate(), run.returncode) for run in runs]
    won = [run for run in ended if run[2] == 0]
    (lost,) = [run for run in ended if run[2] != 0]
    assert [run[0] for run in won] == ["held\n"]
    assert "LeaseError: " in lost[1]
    assert "alice" in lost[1] or "bob" in lost[1]


def test_same_run_goes_on_with_a_lease_that_it_kept(lab: Lab, cluster: Cluster) -> None:
    with hold_lease(cluster, NAMESPACE, "job 42", keep=True):
        pass
    before = spec(lab)
    with hold_lease(cluster, NAMESPACE, "job 42"):
        during = spec(lab)
    assert before["holderIdentity"] == "job 42"
    assert during["acquireTime"] == before["acquireTime"]
    assert during["renewTime"] != before["renewTime"]
    assert spec(lab).get("holderIdentity", "") == ""


def test_labels_of_others_do_not_disturb_it(lab: Lab, cluster: Cluster) -> None:
    with hold_lease(cluster, NAMESPACE, "me", timing=SHORT) as lease:
        lab.kubectl("label", *LEASE, "theirs=1")
        lease.renew()
        lease.check()
    assert spec(lab).get("holderIdentity", "") == ""
    assert lab.json(*LEASE)["metadata"]["labels"]["theirs"] == "1"


def test_there_is_none_without_the_namespace(lab: Lab, cluster: Cluster) -> None:
    with hold_lease(cluster, "nowhere", "me") as lease:
        assert not lease.held
        lease.check()


@pytest.mark.full("a lease in a fleet")
def test_is_removed_when_nobody_holds_it(lab: Lab, cluster: Cluster) -> None:
    with hold_lease(cluster, NAMESPACE, "me"):
        remove_lease(cluster, NAMESPACE)
        assert spec(lab)["holderIdentity"] == "me"
    remove_lease(cluster, NAMESPACE)
    assert lab.kubectl("get", *LEASE, "--ignore-not-found") == ""


@pytest.mark.full("a race")
def test_one_door_serves_many_threads(lab: Lab, cluster: Cluster) -> None:
    """Bulk writes go on while the lease is renewed: nothing is miscounted or mixed up."""
    names = [f"many-{number}" for number in range(100)]
    path = namespaced("configmaps", NAMESPACE)
    before = cluster.requests
    with hold_lease(cluster, NAMESPACE, "me") as lease:

        def write(name: str) -> None:
            lease.renew()
            lease.check()
            made = cluster.create(path, {"metadata": {"name": name}})
            assert made["metadata"]["name"] == name  # type: ignore[index]

        assert cluster.for_each(names, write) == {}
    assert len(lab.json("configmaps", "-n", NAMESPACE)["items"]) >= 100
    assert cluster.requests >= before + 103  # read, create and release of the lease
