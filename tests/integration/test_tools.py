# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tools of the tests of a live fleet do what they say."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.gpufleet.sharing.tests.integration.killing import (
    Running,
    _kill_all,
    after,
    at_write,
    in_helm,
    kill,
)
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
DEPLOY = "nvidia.com/gpu.deploy.device-plugin"
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
    evict(lab, "work", name).failed().names("TooManyRequests")
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


def test_sampler_goes_on_after_a_restart_of_the_server(lab: Lab) -> None:
    with Sampler(lab) as sampler:
        lab.restart_apiserver()
        lab.kubectl("label", "node", NODES[0], f"{DEPLOY}=false", "--overwrite")
        # Everybody comes back after pauses that have grown for as long as the server was away
        lab.wait_for(lambda: NODES[0] in sampler.ever_dark, 180)
        lab.kubectl("label", "node", NODES[0], f"{DEPLOY}=true", "--overwrite")
        lab.wait_for(lambda: lab.allocatable() == SLOTS, 180)
    assert sampler.gaps >= 2
    assert sampler.changed == {NODES[0]}


STUCK = {
    "metadata": {"labels": {"app": "stuck"}},
    "spec": {
        "nodeSelector": {"no": "such"},
        "containers": [{"name": "main", "image": "none"}],
    },
}
RUN = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.command: kubectl create namespace kill-{{ item }}
      loop: [1, 2, 3]
    - ansible.builtin.command: helm {{ lookup('env', 'HELM_WORDS') }}
"""


@pytest.fixture
def command(lab: Lab, tmp_path: Path) -> Iterator[list[str]]:
    """A run that writes three times and then lets Helm wait for what never comes."""
    playbook = tmp_path / "run.yml"
    playbook.write_text(RUN, encoding="utf-8")
    yield ["ansible-playbook", str(playbook)]
    clear(lab)


def clear(lab: Lab) -> None:
    """Remove what runs have left."""
    lab.kubectl("delete", "secret", "-n", "default", "-l", "owner=helm")
    lab.kubectl("delete", "deployment", "-n", "default", "--all")
    if left := namespaces(lab):
        lab.kubectl("delete", *left)


def namespaces(lab: Lab) -> list[str]:
    names = lab.kubectl("get", "namespaces", "-o", "name").split()
    return [name for name in names if "/kill-" in name]


def test_run_is_killed_at_a_write(lab: Lab, command: list[str]) -> None:
    killed = kill(lab, command, at_write(2))
    assert killed.in_time
    assert 2 <= len(killed.written) <= 3
    assert {write.partition("?")[0] for write in killed.written} == {"create /api/v1/namespaces"}
    assert len(namespaces(lab)) == len(killed.written)
    assert any("ansible-playbook" in line for line in killed.processes)
    assert killed.left == []


def test_run_is_killed_after_a_time(lab: Lab, command: list[str]) -> None:
    killed = kill(lab, command, after(0.1))
    assert killed.in_time
    assert killed.written == []
    assert "PLAY RECAP" not in killed.output


def test_run_that_ends_before_its_moment_is_not_killed(lab: Lab, command: list[str]) -> None:
    killed = kill(lab, command, after(100), environ={"HELM_WORDS": "version"})
    assert not killed.in_time
    assert killed.processes == []
    assert len(killed.written) == 3
    assert "PLAY RECAP" in killed.output


def test_process_that_is_dying_keeps_its_name(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its command line may go between the look at its environment and that at the line itself."""
    with subprocess.Popen(["sleep", "60"]) as process:
        seen: Iterator[dict[int, str]] = iter([{process.pid: "sleep 60"}, {process.pid: ""}, {}])
        monkeypatch.setattr(Running, "processes", lambda _run: next(seen))
        assert _kill_all(Running(lab, "", 0), spare_helm=False) == ["sleep 60"]


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """A chart with a pod that no node takes."""
    templates = tmp_path / "chart" / "templates"
    templates.mkdir(parents=True)
    (tmp_path / "chart" / "Chart.yaml").write_text("{apiVersion: v2, name: stuck, version: 1.0.0}")
    spec = {"selector": {"matchLabels": {"app": "stuck"}}, "template": STUCK}
    metadata = {"name": "stuck"}
    stuck = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
    (templates / "stuck.yaml").write_text(json.dumps(stuck))
    return tmp_path / "chart"


def waits_in_helm(chart: Path, seconds: int) -> dict[str, str]:
    """Let Helm wait for that pod."""
    words = f"upgrade --install stuck {chart} -n default --wait --timeout {seconds}s"
    return {"HELM_WORDS": words}


def test_run_is_killed_as_soon_as_helm_works(lab: Lab, command: list[str], chart: Path) -> None:
    killed = kill(lab, command, in_helm(), environ=waits_in_helm(chart, 300))
    assert killed.in_time
    assert any("helm upgrade" in line for line in killed.processes)
    assert killed.left == []


@pytest.mark.parametrize(
    ("spare_helm", "seconds", "then"), [(False, 300, "pending-install"), (True, 5, "failed")]
)
def test_helm_is_killed_too_or_goes_on(
    lab: Lab, command: list[str], chart: Path, spare_helm: bool, seconds: int, then: str
) -> None:
    environ = waits_in_helm(chart, seconds)
    killed = kill(lab, command, at_write(4), spare_helm=spare_helm, environ=environ)
    assert killed.in_time
    assert "create /api/v1/namespaces/default/secrets" in killed.written[3]
    assert any("helm upgrade" in line for line in killed.processes) is not spare_helm, killed
    assert len(killed.left) == int(spare_helm)
    wait_for_end(lab, killed.left)
    assert helm_status(lab) == then


def wait_for_end(lab: Lab, processes: list[int]) -> None:
    lab.wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes))


def helm_status(lab: Lab) -> str:
    release = ["helm", "status", "stuck", "-n", "default", "-o", "json"]
    done = subprocess.run(release, env=lab.environ, check=True, capture_output=True)
    return str(json.loads(done.stdout)["info"]["status"])
