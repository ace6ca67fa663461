# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe: what it proves, what it finds out, that it is polite, and that it leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.gpufleet.sharing.tests.integration.answers import mentions
from ansible_collections.gpufleet.sharing.tests.integration.fleettools import loaded
from ansible_collections.gpufleet.sharing.tests.integration.killing import Running, kill
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    FLEET,
    Lab,
    boot,
    module_command,
    module_result,
    shut_down,
    write_inventory,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import call
from ansible_collections.gpufleet.sharing.tests.integration.workloads import (
    Workload,
    start,
    stop,
    wait_until_running,
)

ROOM = "gpufleet-sharing-probe"
GPU = "nvidia.com/gpu"
UUID = "GPU-5f8c1d1a-0000-1111-2222-333344445555"
PROFILES: dict[str, Any] = {
    "default": {"replicas": 4},
    "two": {"replicas": 2},
    "eight": {"replicas": 8},
    "whole": {"replicas": 1},
    "renamed": {"replicas": 4, "rename_by_default": True},
    "lax": {"replicas": 4, "fail_requests_greater_than_one": False},
}
NODES: dict[str, str | None] = {
    "one-gpu-01": "eight",
    "one-gpu-02": "renamed",
    "two-gpu-01": None,
    "two-gpu-02": "whole",
    "two-gpu-03": "lax",
    "four-gpu-01": "two",
    "eight-gpu-01": "eight",
}
LISTED = [{"name": name, "profile": profile} for name, profile in NODES.items()]
HANGS, SAYS = "lab.gpufleet.sharing/hangs", "lab.gpufleet.sharing/says"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Nodes of 1, 2, 4 and 8 GPUs, each with its profile."""
    booted = boot(f"test-probe-{os.getpid()}", FLEET.with_name("probe.yml"))
    operator(booted)
    yield booted
    shut_down(booted)


def operator(lab: Lab) -> None:
    """The operator, by hand: the files that the profiles mean, and the labels."""
    files = {}
    for name, profile in PROFILES.items():
        entry = {"name": GPU, "replicas": profile["replicas"]}
        shared = {
            "renameByDefault": profile.get("rename_by_default", False),
            "failRequestsGreaterThanOne": profile.get("fail_requests_greater_than_one", True),
            "resources": [entry],
        }
        sharing = {"sharing": {"timeSlicing": shared}} if profile["replicas"] > 1 else {}
        files[name] = yaml.safe_dump({"version": "v1", **sharing})
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gpu-operator"}}
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "profiles", "namespace": "gpu-operator"},
        "data": files,
    }
    lab.apply(namespace, config_map)
    for node, profile in NODES.items():
        if profile:
            lab.kubectl("label", "node", node, f"nvidia.com/device-plugin.config={profile}")
    pointer = "devicePlugin.config.name=profiles,devicePlugin.config.default=default"
    chart = lab.environ["GPULAB_CHART"]
    command = ["helm", "install", "gpu-operator", chart, "-n", "gpu-operator", "--set", pointer]
    subprocess.run(command, env=lab.environ, check=True, capture_output=True)
    wanted = {"one-gpu-01": "8", "two-gpu-01": "8", "two-gpu-02": "2", "two-gpu-03": "8"}
    wanted |= {"four-gpu-01": "8", "eight-gpu-01": "64"}

    keys = {node: profile or "default" for node, profile in NODES.items()}

    def ready() -> bool:
        found = {node: count for node, count in lab.allocatable().items() if count != "0"}
        shared, labels = lab.allocatable(f"{GPU}.shared"), lab.labels(f"{GPU}.count")
        arrived = found == wanted and shared == {"one-gpu-02": "4"} and labels.keys() == keys.keys()
        # The files of some profiles come to as many slots as the default's, which is loaded first
        return arrived and {node: key for node, (key, _digest) in loaded(lab).items()} == keys

    lab.wait_for(ready)


def arguments(*names: str, **more: Any) -> dict[str, Any]:
    given = {"nodes": LISTED, "profiles": PROFILES, "names": list(names), "timeout": 20}
    return {**given, **more}


def probe(lab: Lab, *names: str, check: bool = False, **more: Any) -> dict[str, Any]:
    return call(lab, "probe", arguments(*names, **more), check=check)


def apart(lab: Lab, *names: str, **more: Any) -> dict[str, Any]:
    """The same by Ansible, in a process of its own: for several at once."""
    return module_result(lab, "probe", arguments(*names, **more))


def rows(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    assert "nodes" in result, result
    assert result["changed"] is False
    return {row["node"]: row for row in result["nodes"]}


def remains(lab: Lab) -> list[str]:
    """Whatever the probe has made and is still there; the namespace may be on its way out. Quotas
    go with their Job, which Kubernetes sees to, a moment later.
    """
    lab.wait_for(lambda: lab.json("resourcequotas", "-n", ROOM)["items"] == [])
    found = [
        f"{kind}/{item['metadata']['name']}"
        for kind in ("pods", "jobs")
        for item in lab.json(kind, "-n", ROOM)["items"]
    ]
    namespaces = lab.json("namespaces", "--field-selector", f"metadata.name={ROOM}")["items"]
    return found + [ROOM for item in namespaces if "deletionTimestamp" not in item["metadata"]]


def vanishes(lab: Lab) -> None:
    """In the end there is no namespace, and no PriorityClass."""
    names = ("namespaces,priorityclasses", "--field-selector", f"metadata.name={ROOM}")
    lab.wait_for(lambda: lab.json(*names)["items"] == [])


def test_every_kind_of_node_passes(lab: Lab) -> None:
    lab.forget_requests()
    found = rows(probe(lab, per_profile=0, labels={SAYS: UUID}, require_uuids=True))
    keys = ("resource", "pods", "ran", "more", "two", "result")
    shown = {node: tuple(row[key] for key in keys) for node, row in found.items()}
    assert shown == {
        "one-gpu-01": (GPU, 8, 8, "waits", "refused", "passed"),
        "one-gpu-02": (f"{GPU}.shared", 4, 4, "waits", "refused", "passed"),
        "two-gpu-01": (GPU, 8, 8, "waits", "refused", "passed"),
        "two-gpu-02": (GPU, 2, 2, "waits", "admitted", "passed"),
        "two-gpu-03": (GPU, 8, 8, "waits", "admitted", "passed"),
        "four-gpu-01": (GPU, 8, 8, "waits", "refused", "passed"),
        "eight-gpu-01": (GPU, 16, 16, "waits", "refused", "passed"),  # of 64
    }
    assert found["two-gpu-01"]["gpus"] == {UUID: 8}
    assert remains(lab) == []
    elsewhere = [
        write
        for write in lab.writes(dry_run=True)
        if f"/namespaces/{ROOM}" not in write
        and not write.startswith(("create /api/v1/namespaces?", "create /apis/scheduling"))
    ]
    assert elsewhere == []


def test_check_mode_writes_nothing_and_says_what_would_be_done(lab: Lab) -> None:
    vanishes(lab)
    lab.forget_requests()
    result = probe(lab, check=True)
    assert lab.writes(dry_run=True) == []
    found = rows(result)
    assert sorted(found) == [  # one of each profile, those with most free slots
        "eight-gpu-01",
        "four-gpu-01",
        "one-gpu-02",
        "two-gpu-01",
        "two-gpu-02",
        "two-gpu-03",
    ]
    assert {row["result"] for row in found.values()} == {"planned"}
    assert found["two-gpu-01"]["pods"] == 8
    assert any("planned" in line for line in result["table"])


def test_node_that_lies_fails(lab: Lab) -> None:
    """It advertises fewer slots than promised, or more; or has loaded another file."""
    lab.kubectl("annotate", "node", "four-gpu-01", "lab.gpufleet.sharing/unhealthy=1")
    lab.wait_for(lambda: lab.allocatable()["four-gpu-01"] == "7")
    wrong = PROFILES | {
        "default": {"replicas": 6},
        "eight": {"replicas": 4},
        "lax": PROFILES["two"],
    }
    nodes = ("two-gpu-01", "one-gpu-01", "two-gpu-03", "four-gpu-01", "two-gpu-02")
    result = probe(lab, *nodes, profiles=wrong)
    lab.kubectl("annotate", "node", "four-gpu-01", "lab.gpufleet.sharing/unhealthy-")
    failing = result["failing"]
    assert failing.keys() == set(nodes) - {"two-gpu-02"}
    assert mentions(failing["two-gpu-01"], GPU, 8, 12)
    assert mentions(failing["one-gpu-01"], GPU, 8, 4)
    assert mentions(failing["two-gpu-03"], "lax")
    assert mentions(failing["four-gpu-01"], 7, 8)  # an unhealthy GPU
    found = rows(result)
    assert {node: (row["pods"], row["ran"], row["result"]) for node, row in found.items()} == {
        "two-gpu-01": (12, 8, "failed"),
        "one-gpu-01": (4, 4, "failed"),
        "two-gpu-03": (4, 4, "failed"),
        "four-gpu-01": (8, 7, "failed"),
        "two-gpu-02": (2, 2, "passed"),
    }
    assert found["one-gpu-01"]["more"] not in ("", "waits")  # one pod more got a slot
    assert found["two-gpu-03"]["two"] == "admitted"
    assert remains(lab) == []


STUCK: dict[str, tuple[str, list[object]]] = {
    "two-gpu-01": ("CreateContainerError", ["CreateContainerError"]),
    "two-gpu-02": ("ErrImagePull", ["ErrImagePull"]),
    "two-gpu-03": ("Pulling", [8, "Pulling"]),  # seconds
}


@pytest.mark.full("another case of a probe")
def test_pods_that_do_not_start_are_named_with_the_cause(lab: Lab) -> None:
    """Three runs beside each other, each with a fault of its own."""

    def run(node: str) -> dict[str, Any]:
        return apart(lab, node, labels={HANGS: STUCK[node][0]}, timeout=8)

    with ThreadPoolExecutor() as pool:
        results = dict(zip(STUCK, pool.map(run, STUCK), strict=True))
    for node, (_hangs, named) in STUCK.items():
        assert mentions(results[node]["failing"][node], *named)
    assert remains(lab) == []


@pytest.mark.full("another case of a probe")
def test_busy_nodes_lose_nobody(lab: Lab) -> None:
    """Also not to pods of a priority below that of the probe."""
    low = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "below-all"},
        "value": -2000,
    }
    lab.apply(low)
    full = Workload("full", ["two-gpu-02"], kind="Pod", pods=2)
    half = Workload("half", ["two-gpu-01"], kind="Pod", pods=5)
    start(lab, full)
    documents = half.documents
    for document in documents:
        document["spec"]["priorityClassName"] = "below-all"
    lab.apply(*documents)
    wait_until_running(lab, half)
    before = {pod["metadata"]["uid"] for pod in lab.json("pods", "-n", "work")["items"]}
    lab.kubectl("cordon", "two-gpu-03")
    result = probe(lab, "two-gpu-01", "two-gpu-02", "two-gpu-03", "four-gpu-01", tolerations=[])
    lab.kubectl("uncordon", "two-gpu-03")
    assert before == {pod["metadata"]["uid"] for pod in lab.json("pods", "-n", "work")["items"]}
    found = rows(result)
    assert (found["two-gpu-01"]["used"], found["two-gpu-01"]["ran"]) == (5, 3)
    assert found["two-gpu-01"]["result"] == "passed"
    assert result["failing"] == {}
    unproved = result["unproved"]
    assert unproved.keys() == {"two-gpu-02", "two-gpu-03", "four-gpu-01"}
    assert mentions(unproved["two-gpu-02"], 2, GPU)
    assert mentions(unproved["two-gpu-03"], "cordoned")
    assert mentions(unproved["four-gpu-01"], "nvidia.com/gpu=present:NoSchedule")
    assert found["two-gpu-02"]["result"] == "skipped"
    stop(lab, full, half)
    assert remains(lab) == []


@pytest.mark.full("another case of a probe")
def test_two_probes_of_one_node_do_not_fail_each_other(lab: Lab) -> None:
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda _number: apart(lab, "four-gpu-01"), range(2)))
    for result in results:
        assert result["failing"] == {}, result["failing"]
        assert rows(result)["four-gpu-01"]["result"] in ("passed", "busy", "skipped")
    vanishes(lab)


def hanging(lab: Lab) -> list[str]:
    """The command of a probe whose pods never start."""
    given = arguments("two-gpu-02", labels={HANGS: "Pulling"}, timeout=60)
    return module_command("probe", given)


def pods_are_there(lab: Lab) -> bool:
    return bool(lab.json("pods", "-n", ROOM)["items"])


@pytest.mark.full("another case of a probe")
def test_killed_probe_is_cleared_by_the_next_one(lab: Lab) -> None:
    killed = kill(lab, hanging(lab), lambda run: lambda: pods_are_there(run.lab))
    assert killed.in_time
    assert pods_are_there(lab)
    (job,) = lab.json("jobs", "-n", ROOM)["items"]
    result = probe(lab, "two-gpu-02")
    assert result["cleaned"] == [job["metadata"]["name"]]
    assert rows(result)["two-gpu-02"]["result"] == "passed"
    assert remains(lab) == []
    vanishes(lab)


@pytest.mark.full("another case of a probe")
def test_kubernetes_removes_the_pods_of_a_killed_probe(lab: Lab) -> None:
    """Its deadline is brought forward here, so as not to wait for a minute."""
    kill(lab, hanging(lab), lambda run: lambda: pods_are_there(run.lab))
    (job,) = lab.json("jobs", "-n", ROOM)["items"]
    patch = json.dumps({"spec": {"activeDeadlineSeconds": 1}})
    lab.kubectl("patch", "job", job["metadata"]["name"], "-n", ROOM, "-p", patch)
    lab.wait_for(lambda: remains(lab) == [ROOM])
    clean = {"nodes": [], "clean": True}
    assert call(lab, "probe", clean)["cleaned"] == [ROOM]
    vanishes(lab)


@pytest.mark.full("another case of a probe")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ended_probe_clears_up(lab: Lab, number: signal.Signals) -> None:
    process = subprocess.Popen(
        hanging(lab),
        env=lab.ansible_environ({"LABTOOLS_RUN": "ended"}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    lab.wait_for(lambda: pods_are_there(lab))
    lines = Running(lab, "ended", time.monotonic()).processes()
    (module,) = (  # without the shell around it
        pid
        for pid, line in lines.items()
        if "AnsiballZ_probe" in line and line.startswith(sys.executable)
    )
    os.kill(module, number)
    output, _none = process.communicate(timeout=60)
    assert mentions(output, number.name)
    assert remains(lab) == []


@pytest.mark.full("a whole run of verify")
def test_playbook_verify(lab: Lab, tmp_path: Path) -> None:
    groups = {
        f"group_{node.replace('-', '_')}": {
            "hosts": {node: {}},
            "vars": {"gpu_sharing_profile": profile} if profile else {},
        }
        for node, profile in NODES.items()
    }
    inventory = write_inventory(tmp_path / "fleet", groups, {"gpu_sharing_profiles": PROFILES})
    run = lab.playbook("verify", inventory).succeeded()
    run.names(6, "proved").names("eight-gpu-01", "eight", "nvidia.com/gpu", 64, 16)
    assert run.changed == {"localhost": 0}
    assert remains(lab) == []
    hangs = {
        "gpu_verify_probe_nodes": ["two-gpu-02"],
        "gpu_verify_probe_labels": {HANGS: "CreateContainerError"},
    }
    failed = lab.playbook("verify", inventory, variables=hangs)
    failed.fails_with(1, "two-gpu-02").fails_with("two-gpu-02", "CreateContainerError")
    assert remains(lab) == []
