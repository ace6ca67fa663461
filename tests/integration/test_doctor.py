# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook doctor on 200 nodes: it writes nothing, says little where all is well, and fails
where it should. What it can find is in the gallery (test_gallery_*.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.catalog import CHECKS
from ansible_collections.gpufleet.sharing.tests.integration.answers import (
    mentions,
    naming,
)
from ansible_collections.gpufleet.sharing.tests.integration.fleettools import LABEL
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    PROFILES,
    ROLLOUT,
    Lab,
    Run,
    boot,
    shut_down,
    write_inventory,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import (
    Wanted,
    call,
    converge,
)

NAMES = {"dev-gpu": 80, "edge-gpu": 40, "prod-gpu": 50, "train-gpu": 30}
ASSIGNED = {"dev-gpu": "dev", "train-gpu": "no-sharing"}
GROUPS: dict[str, Any] = {
    f"{prefix.replace('-', '_')}s": {
        "hosts": {f"{prefix}-{number:02}": {} for number in range(1, count + 1)},
        "vars": {"gpu_sharing_profile": ASSIGNED[prefix]} if prefix in ASSIGNED else {},
    }
    for prefix, count in NAMES.items()
}
STATS = {"ANSIBLE_SHOW_CUSTOM_STATS": "true"}
FAST = ("publish=100ms", "restart=200ms", "switch_delay=200ms", "label_lag=200ms")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    booted = boot(f"test-doctor-{os.getpid()}", ROLLOUT, *FAST)
    yield booted
    shut_down(booted)


@pytest.fixture(scope="module")
def inventory(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_inventory(tmp_path_factory.mktemp("doctor") / "inventory", groups=GROUPS)
    converge(lab, Wanted(groups=GROUPS))
    return folder


def doctor(lab: Lab, inventory: Path, *arguments: str, **variables: Any) -> Run:
    """Run it; it never writes."""
    lab.forget_requests()
    run = lab.playbook("doctor", inventory, *arguments, variables=variables, environ=STATS)
    assert lab.writes(dry_run=True) == []
    return run


def told(run: Run) -> dict[str, Any]:
    """What it hands on to other jobs."""
    found: dict[str, Any] = run.stats("gpu_sharing_doctor")["localhost"]
    return found


def slots_of(lab: Lab, nodes: list[str]) -> set[str]:
    """Those of nodes with one GPU, and what the labels of GPU feature discovery say of them."""
    found, labels = lab.allocatable(), lab.labels("nvidia.com/gpu.replicas")
    return {found[node] for node in nodes} | {labels[node] for node in nodes}


@pytest.fixture(scope="module")
def broken(lab: Lab, inventory: Path) -> Iterator[Path]:
    """Half of the dev nodes have another label, and a node is cordoned."""
    run = doctor(lab, inventory).succeeded().names("localhost", 200)
    assert told(run)["findings"] == []
    nodes = [f"dev-gpu-{number:02}" for number in range(1, 41)]
    lab.kubectl("label", "node", *nodes, f"{LABEL}=default", "--overwrite")
    lab.kubectl("cordon", "prod-gpu-01")
    lab.wait_for(lambda: slots_of(lab, nodes) == {"4"})
    yield inventory
    lab.kubectl("label", "node", *nodes, f"{LABEL}=dev", "--overwrite")
    lab.kubectl("uncordon", "prod-gpu-01")
    lab.wait_for(lambda: slots_of(lab, nodes) == {"8"})


def test_fleet_tells_causes_and_fails(lab: Lab, broken: Path) -> None:
    run = doctor(lab, broken).failed()
    run.names("localhost", 1, 200, 41)  # errors and warnings, nodes, and those concerned
    run.names("GS024", "error", 40).names("GS043").names("kubectl uncordon prod-gpu-01")
    found = told(run)
    assert mentions(found["verdict"], 1, 200, 41)
    lines = run.failure["msg"].splitlines()
    assert lines[-1] == found["verdict"]
    assert naming(lines, "GS024", 40)
    codes = [(each["code"], each["count"], each["follows"]) for each in found["findings"]]
    assert codes == [("GS024", 40, ""), ("GS043", 40, "GS024"), ("GS022", 1, "")]


@pytest.mark.parametrize(
    ("fail_on", "fails"), [("error", False), ("warning", True), ("never", False)]
)
def test_severity_decides_about_the_exit(lab: Lab, broken: Path, fail_on: str, fails: bool) -> None:
    """On a node where there is a warning alone."""
    run = doctor(
        lab, broken, gpu_sharing_doctor_node="prod-gpu-01", gpu_sharing_doctor_fail_on=fail_on
    )
    assert (run.rc != 0) == fails, run.output
    assert [(each["code"], each["nodes"]) for each in told(run)["findings"]] == [
        ("GS022", ["prod-gpu-01"])
    ]


def test_what_is_accepted_does_not_count(lab: Lab, broken: Path) -> None:
    """Nor does what follows from it."""
    run = doctor(lab, broken, gpu_sharing_doctor_accept=["GS024"]).succeeded()
    run.names("localhost", 1, 200, "GS024")
    assert [each["code"] for each in told(run)["findings"]] == ["GS022"]


def examined(lab: Lab, selected: str = "", **options: object) -> dict[str, Any]:
    """What the doctor's module finds in the fleet, or in its nodes of one kind."""
    nodes = [
        {
            "name": f"{kind}-{number:02}",
            "profile": ASSIGNED.get(kind),
            "group": kind,
            "selected": kind.startswith(selected),
        }
        for kind, count in NAMES.items()
        for number in range(1, count + 1)
    ]
    given = {"nodes": nodes, "profiles": PROFILES, "default_profile": "default", "findings": True}
    return call(lab, "sharing_info", given | options)


def test_code_that_there_is_not(lab: Lab, broken: Path) -> None:
    answer = examined(lab, accept=["GS999", "GS024"])
    assert answer["failed"]
    assert mentions(answer["msg"], "GS999", CHECKS[0].code, CHECKS[-1].code)


def test_nodes_outside_the_limit_are_left_out(lab: Lab, broken: Path) -> None:
    answer = examined(lab, "train")
    assert (len(answer["nodes"]), answer["findings"]) == (NAMES["train-gpu"], [])


def test_one_node_and_one_that_is_not_there(lab: Lab, broken: Path) -> None:
    answer = examined(lab, node="dev-gpu-01")
    assert [each["nodes"] for each in answer["findings"]] == [["dev-gpu-01"]] * 2
    answer = examined(lab, node="dev-gpu-99")
    assert answer["failed"]
    assert mentions(answer["msg"], "dev-gpu-99")


def test_module_without_findings_lists_nodes_only(lab: Lab, inventory: Path) -> None:
    nodes = [{"name": "train-gpu-01", "profile": "no-sharing", "group": "train"}]
    given = {"nodes": nodes, "profiles": PROFILES, "default_profile": "default"}
    lab.forget_requests()
    result = call(lab, "sharing_info", given)
    (row,) = result["nodes"]
    assert (row["ready"], row["product"]) == (True, "NVIDIA-H100-80GB-HBM3")
    assert (row["used"], row["free"], row["trace"]) == (None, None, None)
    assert "findings" not in result


def test_module_with_findings_tells_the_chain(lab: Lab, inventory: Path) -> None:
    nodes = [{"name": "train-gpu-01", "profile": "no-sharing"}, {"name": "dev-gpu-80"}]
    given = {"nodes": nodes, "profiles": PROFILES, "default_profile": "default"}
    one = {"findings": True, "node": "train-gpu-01"}
    result = call(lab, "sharing_info", {**given, **one})
    (row,) = result["nodes"]
    assert (row["used"], row["free"], row["problem"]) == (0, 8, "")
    trace = row["trace"]
    assert trace.pop("hash") == trace.pop("loaded_hash") != ""
    assert trace == {
        "label": "no-sharing",
        "key": "no-sharing",
        "key_exists": True,
        "plugin_pod": "Ready",
        "config_manager": True,
        "capacity": 8,
        "gfd": "8 x 1",
    }
    assert result["findings"] == []
    assert mentions(result["verdict"], 1)
