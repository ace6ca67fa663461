# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs of AWX that see a part of the inventory only."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import FleetError
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.assignments import plan_labels
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._awx_job import (
    refuse_exclusive,
    refuse_slice,
)
from ansible_collections.gpufleet.sharing.tests.unit.ansible_runs import (
    group,
    run_playbook,
    write_hosts,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

JOB = {"awx_job_id": 112, "awx_job_template_name": "GPU sharing", "awx_job_launch_type": "manual"}
IN_WORKFLOW = JOB | {"awx_job_launch_type": "workflow", "awx_workflow_job_id": 111}
SLICE = IN_WORKFLOW | {"awx_workflow_job_name": "GPU sharing"}
TOWER = {name.replace("awx_", "tower_"): value for name, value in SLICE.items()}


@pytest.mark.parametrize(
    ("variables", "refused"),
    [
        ({}, False),
        (JOB, False),
        (IN_WORKFLOW | {"awx_workflow_job_name": "Change and approve"}, False),
        (SLICE, True),
        (TOWER, True),
        (JOB | {"awx_job_slice_count": 2}, True),
        (JOB | {"awx_job_slice_count": "2"}, True),
        (JOB | {"awx_job_slice_count": 1}, False),
        (JOB | {"awx_job_slice_count": ""}, False),
        (JOB | {"tower_job_slice_count": "2"}, True),
    ],
)
def test_slices_are_refused(variables: dict[str, object], refused: bool) -> None:
    with pytest.raises(AnsibleActionFail) if refused else nullcontext() as failure:
        refuse_slice(variables)
    assert not failure or mentions(failure.value, "slic")


@pytest.mark.parametrize(
    ("variables", "refused"), [({}, False), (JOB, True), (SLICE, True), (TOWER, True)]
)
def test_exclusive_is_refused_in_a_job(variables: dict[str, object], refused: bool) -> None:
    with pytest.raises(AnsibleActionFail) if refused else nullcontext() as failure:
        refuse_exclusive(variables)
    assert not failure or mentions(failure.value, "gpu_sharing_exclusive", "gpu_nodes")


@pytest.mark.parametrize("playbook", ["validate", "site", "uninstall"])
def test_slice_fails_before_a_connection(playbook: str, tmp_path: Path) -> None:
    inventory = write_hosts(tmp_path, {"dev_gpus": group("n1")}, **SLICE)
    run = run_playbook(f"gpufleet.sharing.{playbook}", inventory)
    assert run.code != 0
    assert mentions(run.text, "GPU sharing", "slice")


@pytest.mark.parametrize(
    ("playbook", "name", "value"),
    [
        ("site", "gpu_sharing_exclusive", "yes"),
        ("plan", "gpu_nodes_exclusive", True),
        ("drift", "gpu_sharing_exclusive", True),
        ("rollback", "gpu_sharing_exclusive", True),
    ],
)
def test_exclusive_fails_in_a_job(playbook: str, value: object, name: str, tmp_path: Path) -> None:
    variables = {name: value, "gpu_sharing_host": "https://127.0.0.1:1", **JOB}
    inventory = write_hosts(tmp_path, {"dev_gpus": group("n1")}, **variables)
    run = run_playbook(f"gpufleet.sharing.{playbook}", inventory)
    assert run.code != 0
    assert mentions(run.text, "gpu_sharing_exclusive", "AWX")
    assert "127.0.0.1" not in run.text


def test_exclusive_needs_nodes() -> None:
    observed = {"n1": "dev"}
    with pytest.raises(FleetError):
        plan_labels({}, observed, known=(), exclusive=True)
    assert not plan_labels({}, observed, known=(), exclusive=False)
    assert plan_labels({"n2": None}, observed, known=("n2",), exclusive=True)
