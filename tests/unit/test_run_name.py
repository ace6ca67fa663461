# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who runs, by what AWX says about its jobs; and what a job passes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.plugin_utils._artifacts import plan_artifact
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._run_name import run_name


@pytest.mark.parametrize(
    ("given", "starter"),
    [
        ({"awx_user_name": "jane", "awx_schedule_name": "nightly"}, "jane"),
        ({"tower_user_name": "jane"}, "jane"),
        ({"awx_schedule_name": "nightly", "awx_job_launch_type": "scheduled"}, "schedule nightly"),
        (
            {
                "awx_job_launch_type": "workflow",
                "awx_workflow_job_name": "GPU change",
                "awx_parent_job_schedule_name": "weekly",
            },
            "schedule weekly",
        ),
        ({"awx_workflow_job_name": "GPU change"}, "workflow GPU change"),
        ({"awx_job_launch_type": "webhook"}, "launch type webhook"),
        ({}, "unknown"),
    ],
)
def test_who_has_started_a_job(given: dict[str, object], starter: str) -> None:
    prefix = "tower" if "tower_user_name" in given else "awx"
    _holder, job = run_name({f"{prefix}_job_id": 112, **given}).split(", ")
    assert job == f"AWX job 112 of {starter}"


def test_run_without_awx() -> None:
    assert "AWX" not in run_name({})


def planned(nodes: int) -> dict[str, Any]:
    row = {"group": "dev_gpus", "label_before": None, "label_after": "dev", "batch": 1, "pods": 3}
    shown = {"profile": "dev", "now": "4", "then": "8", "disrupted": 0}
    return {
        "verdict": "To do: much.",
        "todo": {"profiles": False, "rollout": nodes > 0},
        "rollout": {
            "counts": {"changing": nodes},
            "disruptions": [{"pod": "trainer"}, {"pod": "notebook"}],
            "nodes": [{"node": f"dev-gpu-{n}", **row, **shown} for n in range(nodes)],
        },
        "sharing": {"nodes": [row] * nodes},
    }


def test_plan_that_is_passed_on_is_small() -> None:
    """An artifact is kept with the job and given to the next ones as a variable."""
    stats = plan_artifact("prod-eu", planned(5000))["ansible_stats"]
    assert isinstance(stats, dict)
    passed = stats["data"]["gpu_sharing_plan"]["prod-eu"]
    assert (passed["verdict"], passed["changes"]) == ("To do: much.", True)
    assert (passed["counts"], passed["disrupted_pods"]) == ({"changing": 5000}, 2)
    assert [row["node"] for row in passed["nodes"]] == [f"dev-gpu-{n}" for n in range(20)]
    assert len(json.dumps(stats)) < 4000


def test_plan_without_changes_is_passed_on() -> None:
    stats = plan_artifact("prod-eu", planned(0))["ansible_stats"]
    assert isinstance(stats, dict)
    assert stats["data"]["gpu_sharing_plan"]["prod-eu"]["changes"] is False
    assert (stats["per_host"], stats["aggregate"]) == (False, True)  # clusters are merged
