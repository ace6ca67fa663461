# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Site through an API server that goes wrong, and beside other runs.

What may be repeated is repeated; else the run fails in words, and the next one finishes.
FAULTS=all makes the long run, of every fault; without it there is one of each sort.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.config_map import (
    read_config_map,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.hashing import (
    config_hash,
    to_note,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rendering import (
    to_plugin_config,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    parse_profiles,
)
from ansible_collections.gpufleet.sharing.tests.integration.faults import Fault, FaultProxy, Rule
from ansible_collections.gpufleet.sharing.tests.integration.fleettools import HASH, MARK
from ansible_collections.gpufleet.sharing.tests.integration.killing import Running, at_write
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    GROUPS,
    PROFILES,
    Lab,
    Run,
    connected,
    module_result,
    write_inventory,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import (
    POINTER,
    Wanted,
    applied,
    call,
    converge,
)
from ansible_collections.gpufleet.sharing.tests.integration.sampler import _Watch
from ansible_collections.gpufleet.sharing.tests.integration.workloads import Workload, start

T = TypeVar("T")
SPACE = "gpu-operator"
NAME = "device-plugin-config"
LEASE = ("lease", "gpufleet-sharing", "-n", SPACE)
METHODS = ("GET", "POST", "PATCH", "DELETE")
KINDS = ("configmaps", "nodes", "pods", "eviction", "leases", "controllerrevisions", "daemonsets")
OTHERS = ("namespaces", "clusterpolicies")
WORK = Workload("web", ["dev-gpu-01", "dev-gpu-02"], pods=14)  # 6 slots a node are too few
EVERY = os.environ.get("FAULTS") == "all"
HELM_TIMEOUT = 15
VARIABLES = {"gpu_operator_timeout": HELM_TIMEOUT}


def of(*always: T, more: Sequence[T]) -> list[T]:
    """The cases of each run, and those of the long one."""
    return [*always, *(more if EVERY else ())]


class States:
    """Every state of the ConfigMap that the API server has shown."""

    def __init__(self, lab: Lab) -> None:
        self.seen: list[dict[str, Any]] = []
        self._watch = _Watch(lab, f"/api/v1/namespaces/{SPACE}/configmaps", self._see)

    def _see(self, documents: list[dict[str, Any]], _whole: bool) -> None:
        self.seen += [each for each in documents if each["metadata"]["name"] == NAME]

    def __enter__(self) -> States:
        self._watch.begin()
        return self

    def __exit__(self, *_told: object) -> None:
        self._watch.end()

    def check(self) -> None:
        """Each is one inventory's files, whole, and says so of itself."""
        wholes = [files(8), files(6)]
        for document in self.seen:
            found = read_config_map(document)
            assert {key: found.data[key] for key in files(8)} in wholes, found.data
            for key, written in found.written.items():
                assert written.hash == config_hash(found.data[key])


def profiles(dev: int) -> dict[str, Any]:
    return {**PROFILES, "dev": {"replicas": dev}}


def files(dev: int) -> dict[str, str]:
    parsed = parse_profiles(profiles(dev))
    return {name: to_plugin_config(profile) for name, profile in parsed.items()}


def inventory_of(folder: Path, dev: int, **more: object) -> Path:
    variables = {"gpu_sharing_profiles": profiles(dev), "gpu_sharing_drain": "evict", **more}
    return write_inventory(folder / f"dev-{dev}", GROUPS, variables)


def wanted(dev: int) -> Wanted:
    """The same for the modules of site."""
    return Wanted(GROUPS, profiles(dev), options={"drain": "evict"})


def dev_now(lab: Lab) -> int:
    """The replicas that the ConfigMap has for dev."""
    data = lab.json("configmap", NAME, "-n", SPACE)["data"]
    return 6 if data["dev"] == files(6)["dev"] else 8


def check_done(lab: Lab, dev: int) -> None:
    """Everything is as asked for, and nothing is left behind."""
    slots = {"dev-gpu-01": dev, "dev-gpu-02": dev, "prod-gpu-01": 8, "prod-gpu-02": 8}
    wanted = {node: str(count) for node, count in slots.items()} | {"train-gpu-01": "4"}
    assert lab.allocatable() == wanted
    assert not lab.json(*LEASE)["spec"].get("holderIdentity")
    ours = ("controllerrevisions", "-n", SPACE, "-l", "gpufleet.sharing/history")
    revisions = {
        each["revision"]: each["metadata"]["annotations"] for each in lab.json(*ours)["items"]
    }
    states = {n: notes["gpufleet.sharing/state"] for n, notes in revisions.items()}
    assert states[max(states)] == "good"
    assert "started" not in states.values()
    for node in lab.json("nodes")["items"]:
        assert "gpufleet.sharing/cordoned" not in node["metadata"].get("annotations", {})
        assert not node["spec"].get("unschedulable")
    helm = lab.json("secrets", "-n", SPACE, "-l", "owner=helm")["items"]
    assert not [each for each in helm if "pending" in each["metadata"]["labels"]["status"]]


def every(fault: Fault, *kinds: str, methods: tuple[str, ...] = METHODS) -> list[Rule]:
    """The first request of each kind meets a fault."""
    return [
        Rule(fault, [method], rf"/{kind}(/[^/]*)?(\?|$)", times=1)
        for method in methods
        for kind in kinds
    ]


@pytest.fixture
def proxy(lab: Lab, tmp_path: Path) -> Iterator[FaultProxy]:
    with FaultProxy(lab, tmp_path / "proxy") as running:
        yield running


def site(lab: Lab, folder: Path, variables: Mapping[str, object] | None = None) -> Run:
    return lab.playbook("site", folder, variables={**VARIABLES, **(variables or {})})


def tell(what: object, run: Run, proxy: FaultProxy) -> None:
    met = sorted({f"{each.method} {each.path.partition('?')[0]}" for each in proxy.faults})
    print(f"FAULT {what}: rc {run.rc}, {len(proxy.faults)} faults on {len(met)} paths")


@pytest.mark.full("another fault", keep=1)
@pytest.mark.parametrize("fault", of(Fault(500), more=[Fault(cut="after")]), ids=str)
def test_first_install_through_faults(
    lab: Lab, proxy: FaultProxy, tmp_path: Path, fault: Fault
) -> None:
    """Everything is created; what has been created, though the answer was lost, is not twice."""
    if fault.cut:
        lab.playbook("uninstall", inventory_of(tmp_path, 8)).succeeded()
        lab.kubectl("delete", "namespace", SPACE, "--wait", "--ignore-not-found")
    proxy.use(*every(fault, *KINDS, "namespaces"))  # clusterpolicies are Helm's here
    run = site(proxy.lab, inventory_of(tmp_path, 8))
    tell(f"install {fault}", run, proxy)
    run.succeeded()
    assert [each for each in proxy.faults if each.method == "POST"]
    check_done(lab, 8)


@pytest.fixture(scope="module")
def busy(lab: Lab) -> Lab:
    """With pods on all slots of dev, so that fewer need evictions."""
    converge(lab, wanted(8))
    start(lab, WORK)
    return lab


SORTS = (Fault(409), Fault(429, retry_after=1), Fault(500, late=True), Fault(cut="body"))


def spread(turn: int) -> list[Rule]:
    """One of the sorts for each kind of request; another turn gives each another one."""
    rules = []
    for number, (method, kind) in enumerate(product(METHODS, (*KINDS, *OTHERS))):
        fault = SORTS[(number + turn) % len(SORTS)]
        conflict = fault.status == 409 and method == "GET"
        rules += every(Fault(503) if conflict else fault, kind, methods=(method,))
    return rules


def alike(fault: Fault) -> list[Rule]:
    """The same for all kinds of requests."""
    methods = METHODS[1:] if fault.status == 409 else METHODS
    return every(fault, *KINDS, *OTHERS, methods=methods)


@pytest.mark.full("another fault")
@pytest.mark.parametrize(
    "rules",
    of(
        pytest.param(spread(0), id="of every sort"),
        more=[
            pytest.param(spread(2), id="of every sort, others"),
            *(
                pytest.param(alike(fault), id=str(fault))
                for fault in (
                    *SORTS,
                    Fault(500),
                    Fault(503),
                    Fault(cut="before"),
                    Fault(cut="after"),
                    Fault(delay=2),
                )
            ),
        ],
    ),
)
def test_single_faults_do_not_fail_a_run(
    busy: Lab, proxy: FaultProxy, tmp_path: Path, rules: Sequence[Rule]
) -> None:
    dev = 14 - dev_now(busy)
    proxy.use(*rules)
    with States(busy) as states:
        run = site(proxy.lab, inventory_of(tmp_path, dev))
    tell({str(rule.fault) for rule in rules}, run, proxy)
    run.succeeded()
    check_done(busy, dev)
    states.check()
    assert len(proxy.faults) >= 6
    met = {str(each.fault) for each in proxy.faults}
    assert len(met) >= min(len(SORTS), len({str(rule.fault) for rule in rules}))


@pytest.mark.full("another fault")
@pytest.mark.parametrize(
    "fault", of(Fault(500), more=[Fault(cut="body"), Fault(429, retry_after=1)]), ids=str
)
def test_versioned_mode_through_faults(busy: Lab, proxy: FaultProxy, fault: Fault) -> None:
    """Labels move, and pods are annotated so that they see the new key."""
    dev = 14 - dev_now(busy)
    proxy.use(*every(fault, *KINDS, *OTHERS))
    run = applied(proxy.lab, replace(wanted(dev), mode="versioned"))
    tell(f"versioned {fault}", run, proxy)
    run.succeeded()
    check_done(busy, dev)
    converge(busy, wanted(dev))  # back in place
    check_done(busy, dev)


@pytest.mark.full("another fault")
@pytest.mark.parametrize("seed", of(1, more=[2]))
def test_bad_weather(busy: Lab, tmp_path: Path, seed: int) -> None:
    """Every tenth request fails, one way or another: done, or a line that says what."""
    dev = 14 - dev_now(busy)
    kinds = (Fault(429, retry_after=1), Fault(500), Fault(cut="after"), Fault(cut="body"))
    rules = [Rule(fault, probability=0.025) for fault in kinds]
    folder = inventory_of(tmp_path, dev)
    with FaultProxy(busy, tmp_path / "proxy", *rules, seed=seed) as proxy, States(busy) as states:
        run = site(proxy.lab, folder)
    tell(f"weather {seed}", run, proxy)
    if run.rc != 0:
        assert proxy.faults
        fails_in_words(run)
        finish(busy, folder)
    check_done(busy, dev)
    states.check()


def fails_in_words(run: Run) -> None:
    """A module's own message, and no traceback."""
    assert run.broken
    assert run.failure["msg"]
    assert "Traceback" not in run.output


def finish(lab: Lab, folder: Path, variables: Mapping[str, object] | None = None) -> Run:
    """The next plain run; where Helm has been interrupted, it waits for that."""
    return site(lab, folder, variables).succeeded()


@pytest.mark.full("another fault")
@pytest.mark.parametrize(
    ("method", "fault"),
    of(
        ("POST", Fault(cut="after")),
        ("PUT", Fault(500)),
        more=[
            ("GET", Fault(500)),
            ("GET", Fault(429, retry_after=1)),
            ("POST", Fault(500)),
            ("PUT", Fault(409)),
        ],
    ),
    ids=str,
)
def test_faults_of_helm(busy: Lab, proxy: FaultProxy, fault: Fault, method: str) -> None:
    """Helm repeats little. A task that fails says why, and the next one goes on."""
    driver = {"enabled": not helm_values(busy).get("driver", {}).get("enabled")}
    proxy.use(*every(fault, "secrets", methods=(method,)))
    found = turn(proxy.lab, driver)
    print(f"FAULT helm {method} {fault}: {found.get('msg', 'done')}")
    assert proxy.faults
    if found.get("failed"):
        assert found["msg"]
        assert "Traceback" not in str(found)
        assert not turn(busy, driver).get("failed")
    dev = dev_now(busy)
    last = call(busy, "rollout", {**wanted(dev).of_rollout(), "run": "helm"})  # ends the lease
    assert not last["changed"]
    check_done(busy, dev)
    assert helm_values(busy)["driver"] == driver


def turn(lab: Lab, driver: Mapping[str, bool]) -> dict[str, Any]:
    """Change a value of the release, by the task that keeps it."""
    task = {"chart_ref": lab.environ["GPULAB_CHART"], "timeout": HELM_TIMEOUT, "pointer": POINTER}
    values = {"driver": dict(driver)}
    return module_result(lab, "helm_release", {**task, "values": values, "run": "helm"})


def helm_values(lab: Lab) -> dict[str, Any]:
    command = ["helm", "get", "values", "gpu-operator", "-n", SPACE, "-o", "json"]
    done = subprocess.run(command, env=lab.environ, check=True, text=True, capture_output=True)
    return dict(json.loads(done.stdout))


def test_watches_that_break_are_resumed(busy: Lab, proxy: FaultProxy) -> None:
    dev = 14 - dev_now(busy)
    cuts = [Rule(Fault(cut="body"), ["GET"], "watch=1", times=6)]
    cuts.append(Rule(Fault(500), ["GET"], "watch=1", times=2))
    proxy.use(*cuts)
    applied(proxy.lab, wanted(dev)).succeeded()
    watches = [each for each in proxy.requests if "watch=1" in each.path]
    assert len(proxy.faults) >= 4
    assert len(watches) >= len(proxy.faults) + 2
    check_done(busy, dev)


@pytest.mark.full("another fault")
@pytest.mark.parametrize("write", of(6, more=[2, 9]))
def test_restart_of_the_server_in_mid_run(busy: Lab, tmp_path: Path, write: int) -> None:
    dev = 14 - dev_now(busy)
    folder = inventory_of(tmp_path, dev)
    patient = {"gpu_sharing_rollout_timeout": 180}  # controllers of the lab ask again ever later
    due = at_write(write)(Running(busy, "", time.monotonic()))
    ended = threading.Event()

    def restart() -> None:
        while not due() and not ended.is_set():
            time.sleep(0.02)
        busy.restart_apiserver()

    thread = threading.Thread(target=restart)
    thread.start()
    with States(busy) as states:
        run = site(busy, folder, patient)
        ended.set()
        thread.join()
        print(f"FAULT restart at write {write}: rc {run.rc}")
        if run.rc != 0:
            fails_in_words(run)
            run.fails_with(connected(busy).server)
            finish(busy, folder, patient)
    check_done(busy, dev)
    states.check()


@contextmanager
def running_site(lab: Lab, folder: Path, **variables: object) -> Iterator[subprocess.Popen[str]]:
    command = lab.command("site", folder, variables={**VARIABLES, **variables})
    process = subprocess.Popen(
        command,
        env=lab.ansible_environ(),
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def holder(lab: Lab) -> str:
    return str(lab.json(*LEASE)["spec"].get("holderIdentity") or "")


@pytest.mark.full("another fault")
def test_second_run_says_who_is_at_work_and_stops(busy: Lab, tmp_path: Path) -> None:
    dev = 14 - dev_now(busy)
    with running_site(busy, inventory_of(tmp_path, dev), gpu_nodes_pause=40) as process:
        busy.wait_for(lambda: len(moved(busy, dev)) == 1, 300)
        spec = busy.json(*LEASE)["spec"]
        since = spec["acquireTime"][:19].replace("T", " ")
        run = applied(busy, wanted(14 - dev)).failed()
        assert spec["holderIdentity"] in run.failure["msg"]
        assert since in run.failure["msg"]
        assert holder(busy) == spec["holderIdentity"]
        output, _errors = process.communicate()
        assert process.returncode == 0, output
    check_done(busy, dev)


@pytest.mark.full("another fault")
def test_run_that_lost_its_lease_stops_and_its_successor_is_waited_out(
    busy: Lab, tmp_path: Path
) -> None:
    dev = 14 - dev_now(busy)
    folder = inventory_of(tmp_path, dev)
    with running_site(busy, folder, gpu_nodes_pause=15) as process:
        busy.wait_for(lambda: len(finished(busy, dev)) == 1, 300)
        theirs = {"holderIdentity": "somebody", "acquireTime": "2026-01-02T03:04:05.000000Z"}
        busy.kubectl("patch", *LEASE, "--type", "merge", "-p", json.dumps({"spec": theirs}))
        busy.forget_requests()
        output, _errors = process.communicate()
    run = Run(process.returncode, output)
    run.fails_with("gpufleet-sharing", "somebody", "2026-01-02 03:04:05")
    assert run.broken == ["rollout"]
    assert [write for write in busy.writes() if "/leases/" not in write] == []
    assert len(moved(busy, dev)) == 1
    assert holder(busy) == "somebody"
    run = applied(busy, wanted(dev)).succeeded()
    assert len(run.naming("somebody", "2026-01-02 03:04:05")) == 2  # waited for, taken over
    check_done(busy, dev)


def moved(lab: Lab, dev: int) -> list[str]:
    slots = lab.allocatable()
    return [node for node in WORK.nodes if slots.get(node) == str(dev)]


def finished(lab: Lab, dev: int) -> list[str]:
    """Nodes with which a run is through: it writes nothing more of them."""
    digest = to_note(config_hash(files(dev)["dev"]))
    found = {node["metadata"]["name"]: node for node in lab.json("nodes")["items"]}
    return [
        name
        for name in moved(lab, dev)
        if found[name]["metadata"]["annotations"].get(HASH) == digest
        and MARK not in found[name]["metadata"]["annotations"]
        and not found[name]["spec"].get("unschedulable")
    ]
