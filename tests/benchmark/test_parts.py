# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the benchmark that need no lab."""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path

import pytest
import yaml

from ansible_collections.gpufleet.sharing.tests.benchmark.clusters import ended, said_of
from ansible_collections.gpufleet.sharing.tests.benchmark.fleet import (
    PROFILES,
    Fleet,
    all_with,
    clusters_inventory,
    unused,
)
from ansible_collections.gpufleet.sharing.tests.benchmark.main import parse
from ansible_collections.gpufleet.sharing.tests.benchmark.measured import Failed, Runner
from ansible_collections.gpufleet.sharing.tests.benchmark.relay import Relay


@pytest.mark.parametrize("nodes", [10, 21, 200, 5000])
def test_fleet_has_so_many_nodes(nodes: int, tmp_path: Path) -> None:
    fleet = Fleet.of(nodes)
    assert len(set(fleet.names)) == nodes
    written = yaml.safe_load(fleet.write_lab(tmp_path / "fleet.yml").read_text())
    assert sum(group["nodes"] for group in written["groups"].values()) == nodes
    assert written["fairness"] is True
    assert set(fleet.assignments.values()) <= {*PROFILES, None}


def test_names_are_those_of_the_lab_and_of_the_inventory() -> None:
    dev = Fleet.of(200).groups[0]
    assert (dev.names[0], dev.names[-1], dev.range) == (
        "dev-gpu-001",
        "dev-gpu-100",
        "dev-gpu-[001:100]",
    )


def test_inventory_of_clusters(tmp_path: Path) -> None:
    paths = {"c01": tmp_path / "one", "c02": tmp_path / "two"}
    folder = clusters_inventory(tmp_path / "inventory", Fleet.of(10), paths)
    children = yaml.safe_load((folder / "hosts.yml").read_text())["all"]["children"]
    assert children["gpu_clusters"]["hosts"]["c02"] == {"gpu_sharing_kubeconfig": str(paths["c02"])}
    second = children["gpu_nodes"]["children"]["c02"]
    assert second["vars"] == {"gpu_sharing_cluster": "c02"}
    hosts = second["children"]["c02_dev_gpu"]["hosts"]
    assert hosts["c02-dev-gpu-01"] == {"gpu_sharing_node_name": "dev-gpu-01"}


OUTPUT = """
TASK [Settle] ******
ok: [c01]
fatal: [c02]: FAILED! => {
    "msg": "cannot be reached"
}

TASK [Other] ******
PLAY RECAP ******
c01                        : ok=29   changed=0    unreachable=0    failed=0    skipped=12
c02                        : ok=2    changed=0    unreachable=0    failed=1    skipped=0
localhost                  : ok=1    changed=0    unreachable=0    failed=0    skipped=0
"""


def test_clusters_that_failed() -> None:
    assert ended(OUTPUT) == (["c01"], ["c02"])
    assert said_of(OUTPUT, "c02") == [
        "fatal: [c02]: FAILED! => {",
        '    "msg": "cannot be reached"',
        "}",
    ]


def test_every_tenth_node_gets_the_other_profile() -> None:
    names = [str(number) for number in range(20)]
    assert set(all_with(names, "a").values()) == {"a"}
    changed = all_with(names, "a", "b")
    assert [name for name, profile in changed.items() if profile == "b"] == ["0", "10"]


def test_unused() -> None:
    assert unused(set()) == "dev"
    assert unused({"dev", "edge"}) not in ("dev", "edge", "default")


def test_runner_tells_seconds_memory_and_output(tmp_path: Path) -> None:
    runner = Runner(tmp_path / "runs", dict(os.environ))
    code = "import time; kept = bytearray(60_000_000); time.sleep(0.2); print('done')"
    finished = runner.run([sys.executable, "-c", code])
    assert finished.output == "done\n"
    assert 0.2 <= finished.seconds < 20
    assert 0 < finished.processor < finished.seconds
    assert 60e6 < finished.memory < 90e6
    small = runner.run([sys.executable, "-c", ""])
    assert small.memory < 40e6
    both = finished + small
    assert both.memory == finished.memory
    assert both.seconds == finished.seconds + small.seconds
    assert both.processor == finished.processor + small.processor


def test_runner_fails_with_what_the_program_said(tmp_path: Path) -> None:
    runner = Runner(tmp_path, dict(os.environ))
    bad = [sys.executable, "-c", "import sys; print('the reason'); sys.exit(3)"]
    with pytest.raises(Failed, match="ended with 3:\nthe reason"):
        runner.run(bad)
    assert "the reason" in runner.run(bad, fails=True).output


def test_relay_passes_bytes_on_and_counts_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as target:

        def serve() -> None:
            connection, _address = target.accept()
            with connection:
                assert connection.recv(100) == b"ping"
                connection.sendall(b"x" * 100_000)

        server = threading.Thread(target=serve)
        server.start()
        with (
            Relay(target.getsockname()[1]) as relay,
            socket.create_connection(("127.0.0.1", relay.port)) as client,
        ):
            client.sendall(b"ping")
            found = 0
            while chunk := client.recv(65536):
                found += len(chunk)
            assert found == relay.received == 100_000
        server.join()


def test_too_few_nodes_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--nodes", "5"])
    assert "--nodes must be 20 or more" in capsys.readouterr().err
    assert parse([]).nodes == 200
