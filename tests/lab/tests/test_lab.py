# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands of the lab."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from gpulab.process import Process
from labclient import Client, LabCommand, until

pytestmark = pytest.mark.lab


@pytest.mark.full("labs of its own")
def test_two_labs_side_by_side_and_nothing_left(lab_command: LabCommand, tmp_path: Path) -> None:
    one, two = lab_command.unique("one"), lab_command.unique("two")
    fleet = tmp_path / "fleet.yml"
    fleet.write_text("groups: {lone: {nodes: 1, gpus: 1}}\n")
    assert "2 nodes, 1 GPUs" in lab_command.run("up", "--name", one, "--fleet", str(fleet))
    lab_command.run("up", "--name", two)
    first, second = (Client(lab_command.environment_of(name)) for name in (one, two))
    assert len(first.get("/api/v1/nodes")["items"]) == 2
    assert len(second.get("/api/v1/nodes")["items"]) == 6
    _same_or_other_fleet(lab_command, one, fleet)
    _identities(first)
    processes = _processes(lab_command, one)
    _listed(lab_command, {one: "2", two: "6"})
    lab_command.run("down", "--name", one)
    assert not any(process.alive for process in processes)
    assert not (lab_command.state / "gpufleet-sharing" / "labs" / one).exists()
    assert one in lab_command.run("down", "--name", one)
    assert len(second.get("/api/v1/nodes")["items"]) == 6
    assert lab_command.attempt("status", "--name", one).returncode == 1
    lab_command.run("status", "--name", two)
    lab_command.run("down", "--name", two)


CLAIM = """\
from gpulab import state
state._PORTS = range(19000, 19002)  # where no lab is
print(*state._free_ports(["one"]).values(), flush=True)
input()
"""


def test_labs_that_boot_at_the_same_time_get_different_ports(tmp_path: Path) -> None:
    """Though neither knows of the other, and neither's programs listen yet."""
    ports = []
    with ExitStack() as stack:
        for folder in ("one", "two"):
            given = {"XDG_STATE_HOME": str(tmp_path / folder), "XDG_CACHE_HOME": str(tmp_path)}
            process = subprocess.Popen(
                [sys.executable, "-c", CLAIM],
                env={**os.environ, **given},
                cwd=Path(__file__).resolve().parents[1],
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout
            ports.append(process.stdout.readline().strip())
    assert sorted(ports) == ["19000", "19001"]


def _same_or_other_fleet(lab_command: LabCommand, name: str, fleet: Path) -> None:
    before = _processes(lab_command, name)
    lab_command.run("up", "--name", name, "--fleet", str(fleet))
    assert _processes(lab_command, name) == before
    refused = lab_command.attempt("up", "--name", name)
    assert refused.returncode == 1
    assert name in refused.stderr


def _identities(client: Client) -> None:
    client.program("kubectl", "create", "namespace", "mine")
    text = Path(client.environment["GPULAB_AUDIT_LOG"]).read_text()
    entries = [json.loads(line) for line in text[: text.rfind("\n")].splitlines()]  # the whole ones
    users = {entry["user"]["username"] for entry in entries}
    assert {"lab-admin", "lab-setup", "system:kube-controller-manager"} <= users
    mine = [e for e in entries if e["user"]["username"] == "lab-admin" and e["verb"] == "create"]
    assert [entry["objectRef"]["name"] for entry in mine] == ["mine"]
    token = client.program("kubectl", "create", "token", "default", "-n", "default")
    assert token.count(".") == 2


def _listed(lab_command: LabCommand, nodes: dict[str, str]) -> None:
    """They are listed with what is known of them, from another state folder too."""
    elsewhere = LabCommand(lab_command.state / "elsewhere")
    for command in (lab_command, elsewhere):
        rows = [line.split() for line in command.attempt("status").stdout.splitlines()]
        assert rows[0] == ["NAME", "STATE", "PORT", "NODES", "AGE", "FOLDER"]
        found = {name: each for name, *each in rows[1:] if name in nodes}
        for name, (state, port, count, age, folder) in found.items():
            assert (state, count) == ("running", nodes[name])
            assert port in Path(folder, "kubeconfig").read_text()
            assert re.fullmatch(r"\d+m\d+s", age)
        assert found.keys() == nodes.keys()


def _processes(lab_command: LabCommand, name: str) -> list[Process]:
    record = lab_command.state / "gpufleet-sharing" / "labs" / name / "lab.json"
    return [Process(**process) for process in json.loads(record.read_text())["processes"]]


def test_a_lab_whose_program_died_is_broken_and_is_replaced(lab_command: LabCommand) -> None:
    name = lab_command.unique("broken")
    lab_command.run("up", "--name", name)
    victim = _processes(lab_command, name)[-1]
    victim.signal(signal.SIGKILL)
    until(lambda: lab_command.attempt("status", "--name", name).returncode == 1, "it is noticed")
    assert "gpusim" in lab_command.attempt("status", "--name", name).stdout
    lab_command.run("up", "--name", name)
    assert _processes(lab_command, name)[-1] != victim
    assert all(process.alive for process in _processes(lab_command, name))
    lab_command.run("down", "--name", name)


def test_a_failed_boot_tells_the_program_and_leaves_nothing(lab_command: LabCommand) -> None:
    name = lab_command.unique("failing")
    failed = lab_command.attempt("up", "--name", name, "--set", "publish=9999999999h")
    assert failed.returncode == 1
    assert "gpusim ended" in failed.stderr
    assert "-publish" in failed.stderr  # in the end of its log, which lists its options
    assert not (lab_command.state / "gpufleet-sharing" / "labs" / name).exists()


@pytest.mark.full("a lab of its own")
def test_restart_breaks_watches_and_loses_nothing(lab_command: LabCommand) -> None:
    name = lab_command.unique("again")
    lab_command.run("up", "--name", name)
    client = Client(lab_command.environment_of(name))
    client.install_operator()
    client.settle("prod-gpu-01", 8)
    before = {process.name: process for process in _processes(lab_command, name)}
    watch = subprocess.Popen(
        ["kubectl", "get", "--raw", "/api/v1/nodes?watch=true"],
        env=dict(client.environment),
        stdout=subprocess.PIPE,
    )
    assert watch.stdout
    assert watch.stdout.readline()
    printed = lab_command.run("restart", "--name", name, "apiserver")
    watch.communicate(timeout=60)
    assert "apiserver" in printed
    assert name in printed
    assert "prod-gpu-01" in client.program("kubectl", "get", "nodes")
    after = {process.name: process for process in _processes(lab_command, name)}
    assert {program for program in after if after[program] != before[program]} == {"apiserver"}
    client = Client(lab_command.environment_of(name))  # its connection was cut as well
    client.label("prod-gpu-01", "dev")
    until(lambda: client.allocatable("prod-gpu-01") == 16, "the simulator goes on", 60)
    client.restart("prod-gpu-01")
    client.settle("prod-gpu-01", 16)
    lab_command.run("down", "--name", name)


@pytest.mark.full("a lab of its own")
def test_padded_nodes_fairness_and_a_stopped_simulator(
    lab_command: LabCommand, tmp_path: Path
) -> None:
    name, fleet = lab_command.unique("padded"), tmp_path / "fleet.yml"
    group = "{nodes: 2, gpus: 1, object_size: 15KB}"
    fleet.write_text(f"fairness: true\ngroups: {{gpu: {group}}}\n")
    lab_command.run("up", "--name", name, "--fleet", str(fleet))
    client = Client(lab_command.environment_of(name))
    assert _size_of(client, "gpu-01") == pytest.approx(15000, rel=0.03)
    client.install_operator()
    client.settle("gpu-01", 4)
    client.labelled("gpu-01", {"gpu.replicas": "4"})  # the labels count as well
    assert _size_of(client, "gpu-01") == pytest.approx(17500, rel=0.06)
    flow = client.program(
        "kubectl", "get", "--raw", "/debug/api_priority_and_fairness/dump_priority_levels"
    )
    assert "workload-low" in flow
    stopped = lab_command.run("stop", "--name", name, "gpusim")
    assert "gpusim" in stopped
    assert name in stopped
    lab_command.run("restart", "--name", name)
    lab_command.run("status", "--name", name)
    client = Client(lab_command.environment_of(name))
    client.label("gpu-01", "dev")
    client.keeps("gpu-01", 4, 2)
    assert len(client.node("gpu-01")["status"]["images"]) > 10
    lab_command.run("down", "--name", name)


def _size_of(client: Client, node: str) -> int:
    return len(client.program("kubectl", "get", "--raw", f"/api/v1/nodes/{node}"))


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (["env", "--name", "none"], "lab up --name none"),
        (["restart", "--name", "none"], "lab none"),
        (["restart", "etcd"], "invalid choice"),
        (["stop", "--name", "none", "gpusim"], "lab none"),
        (["up", "--name", "A b"], "a-z, 0-9"),
        (["up", "--set", "publish"], "KEY=VALUE"),
        (["up", "--set", "speed=1s"], "'speed'"),
        (["up", "--fleet", "/none.yml"], "/none.yml"),
    ],
)
def test_errors(lab_command: LabCommand, arguments: list[str], fact: str) -> None:
    done = lab_command.attempt(*arguments)
    assert done.returncode
    assert fact in done.stderr


@pytest.mark.full("the chart is used unpackaged")
def test_chart_can_be_packaged(client: Client, tmp_path: Path) -> None:
    chart = client.environment["GPULAB_CHART"]
    client.program("helm", "package", chart, "-d", str(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["gpu-operator-v26.7.0.tgz"]


def test_misspelt_values_disappear(client: Client) -> None:
    path = "/apis/nvidia.com/v1/clusterpolicies/cluster-policy"
    stored = client.patch(path, {"spec": {"devicePlugin": {"confg": {"name": "x"}}}})
    assert "confg" not in stored["spec"]["devicePlugin"]
