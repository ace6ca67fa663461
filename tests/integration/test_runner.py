# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks as jobs of AWX, on execution nodes with an old and a new ansible-runner, in execution
environments with the oldest ansible-core and with that of the other tests.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.gpufleet.sharing.tests.integration.answers import mentions
from ansible_collections.gpufleet.sharing.tests.integration.fleettools import revisions
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    GROUPS,
    PROFILES,
    Lab,
    lease_holder,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import converge
from ansible_collections.gpufleet.sharing.tests.integration.runner_job import (
    BY_SCHEDULE,
    Job,
    Node,
)
from ansible_collections.gpufleet.sharing.tests.unit.ansible_versions import programs

OLD_RUNNER, NEW_RUNNER = "runner-2.4.1", "runner-2.4.3"
OLD_CORE, NEW_CORE = "core-2.18", ""
FLEET = {
    "children": {"gpu_nodes": {"children": GROUPS}},
    "vars": {"gpu_sharing_profiles": PROFILES},
}


SLOW = {"gpu_sharing_rollout_stable_seconds": 600, "gpu_sharing_rollout_timeout": 900}
EXECUTIONS = [
    (runner, core) for runner in (OLD_RUNNER, NEW_RUNNER) for core in (OLD_CORE, NEW_CORE)
]


def node(runner: str, core: str = NEW_CORE) -> Node:
    return Node(programs(runner), programs(core) if core else Path(sys.executable).parent)


@pytest.fixture
def settled(lab: Lab) -> None:
    """The fleet is as the inventory says."""
    converge(lab)


@pytest.fixture(scope="module")
def newest() -> Node:
    return node(NEW_RUNNER)


def of(dev: int) -> dict[str, Any]:
    """Extra variables with so many replicas for the profile dev."""
    return {"gpu_sharing_profiles": {**PROFILES, "dev": {"replicas": dev}}}


def credential(lab: Lab) -> dict[str, str]:
    return {"K8S_AUTH_KUBECONFIG": lab.environ["KUBECONFIG"]}


@pytest.fixture(scope="module")
def token(lab: Lab) -> str:
    """Of an administrator."""
    metadata = {"name": "robot", "namespace": "default"}
    account = {"kind": "ServiceAccount", **metadata}
    rbac = "rbac.authorization.k8s.io"
    lab.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "robot"},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [account],
        },
    )
    return lab.kubectl("create", "token", "robot", "-n", "default").strip()


def attach(lab: Lab, job: Job, token: str, *, verify: bool) -> None:
    """Attach AWX's credential OpenShift or Kubernetes API Bearer Token to a job; with verify, it
    has a certificate authority.
    """
    config = yaml.safe_load(Path(lab.environ["KUBECONFIG"]).read_text(encoding="utf-8"))
    cluster = config["clusters"][0]["cluster"]
    ca_cert = base64.b64decode(cluster["certificate-authority-data"]).decode()
    authority = {"K8S_AUTH_SSL_CA_CERT": str(job.write("env/tmp0ca", ca_cert))} if verify else {}
    job.env = {
        "K8S_AUTH_HOST": cluster["server"],
        "K8S_AUTH_API_KEY": token,
        "K8S_AUTH_VERIFY_SSL": str(verify),
        **authority,
    }


@pytest.mark.parametrize(("runner", "core"), EXECUTIONS)
def test_progress_is_shown_by_each_runner(lab: Lab, tmp_path: Path, runner: str, core: str) -> None:
    """A job with ansible-runner 2.4.1 and ansible-core 2.18 hung forever at its first line."""
    wanted = 5 if lab.allocatable().get("dev-gpu-01") == "6" else 6
    job = Job(lab, tmp_path, node(runner, core), "site", FLEET, of(dev=wanted), credential(lab))
    done = job.run().ended("successful")
    assert lab.allocatable()["dev-gpu-01"] == str(wanted)
    shown = [event for event in done.events if "batch 1 of " in event["stdout"]]
    assert [event["event"] for event in shown] == ["verbose"]
    assert "errantly" not in done.stdout


def test_check_job_writes_nothing(lab: Lab, settled: None, tmp_path: Path, newest: Node) -> None:
    lab.forget_requests()
    job = Job(lab, tmp_path, newest, "site", FLEET, of(dev=9), credential(lab), check=True)
    done = job.run().ended("successful")
    assert lab.writes() == []
    passed = done.artifacts["gpu_sharing_plan"]["localhost"]
    assert (passed["changes"], passed["counts"]["changing"]) == (True, 2)


def test_plan_is_passed_on(lab: Lab, settled: None, tmp_path: Path, newest: Node) -> None:
    """An approval step can show it."""
    job = Job(lab, tmp_path, newest, "plan", FLEET, of(dev=9), credential(lab))
    passed = job.run().ended("successful").artifacts["gpu_sharing_plan"]["localhost"]
    assert [row["node"] for row in passed["nodes"]] == ["dev-gpu-01", "dev-gpu-02"]
    assert {row["then"].split()[0] for row in passed["nodes"]} == {"9"}
    assert (passed["changes"], passed["disrupted_pods"]) == (True, 0)


def test_verify_and_history_are_passed_on(
    lab: Lab, settled: None, tmp_path: Path, newest: Node, token: str
) -> None:
    folders = [tmp_path / name for name in ("verify", "history")]
    for folder in folders:
        folder.mkdir()
    verify = Job(lab, folders[0], newest, "verify", FLEET)
    attach(lab, verify, token, verify=True)
    passed = verify.run().ended("successful").artifacts["gpu_sharing_verify"]["localhost"]
    assert (passed["differing"], passed["failing"]) == (0, 0)
    assert passed["totals"]["physical"] == 10
    assert "{}" not in passed["probe"]
    history = Job(lab, folders[1], newest, "history", FLEET, env=credential(lab))
    shown = history.run().artifacts["gpu_sharing_history"]["localhost"]
    assert [row["who"] for row in shown] == [each["who"] for each in reversed(revisions(lab))]


def test_credential_without_certificate_authority(
    lab: Lab, settled: None, tmp_path: Path, token: str
) -> None:
    """Its warnings, and what -vvv shows, come from the main thread, too."""
    oldest = node(OLD_RUNNER, OLD_CORE)
    job = Job(lab, tmp_path, oldest, "drift", FLEET, verbosity=3)
    attach(lab, job, token, verify=False)
    done = job.run().ended("successful")
    assert mentions(done.stdout, "K8S_AUTH_SSL_CA_CERT")  # by the warning alone
    assert token not in done.stdout


def test_job_without_credential(lab: Lab, tmp_path: Path, newest: Node) -> None:
    """In a container group there is a pod, but no token."""
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    (said,) = Job(lab, tmp_path, newest, "site", FLEET, env=pod).run().ended("failed").failures
    assert mentions(said, "token", "K8S_AUTH_HOST", "K8S_AUTH_API_KEY", "gpu_sharing_kubeconfig")


def test_limit_of_nodes_alone(lab: Lab, tmp_path: Path, newest: Node) -> None:
    job = Job(lab, tmp_path, newest, "site", FLEET, env=credential(lab), limit="dev-gpu-01")
    (said,) = job.run().ended("failed").failures
    assert mentions(said, "localhost,dev-gpu-01", "AWX")


def slow_job(lab: Lab, folder: Path, core: str, timeout: int = 0) -> Job:
    """A job whose first node has 6 slots soon, and which waits 10 minutes for them to be stable."""
    given = of(dev=6) | SLOW
    execution = node(NEW_RUNNER, core)
    return Job(lab, folder, execution, "site", FLEET, given, credential(lab), timeout=timeout)


@pytest.mark.parametrize("core", [OLD_CORE, NEW_CORE])
def test_job_that_is_cancelled_in_its_rollout(
    lab: Lab, settled: None, tmp_path: Path, core: str
) -> None:
    """Ansible is killed. Since ansible-core 2.19 its forks are not, but end by themselves. The next
    job takes the Lease over and finishes.
    """
    job = slow_job(lab, tmp_path, core)
    job.run(cancel=lambda: lab.allocatable()["dev-gpu-01"] == "6").ended("canceled")
    lab.wait_for(lambda: not job.processes(), timeout=60)
    (tmp_path / "next").mkdir()
    after = Job(lab, tmp_path / "next", job.node, "site", FLEET, of(dev=6), credential(lab))
    after.meta = BY_SCHEDULE
    after.run().ended("successful")
    assert lab.allocatable()["dev-gpu-02"] == "6"
    assert lease_holder(lab) == ""
    assert revisions(lab)[-1]["who"].endswith("AWX job 112 of schedule drift nightly")


def test_job_that_takes_too_long(lab: Lab, settled: None, tmp_path: Path) -> None:
    job = slow_job(lab, tmp_path, NEW_CORE, timeout=30)
    job.run().ended("timeout")
    lab.wait_for(lambda: not job.processes(), timeout=60)
