# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks as jobs of AWX, on execution nodes with an old and a new ansible-runner, in execution
environments with the oldest ansible-core and with that of the other tests.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.tests.integration.labtools import GROUPS, PROFILES, Lab
from ansible_collections.gpufleet.sharing.tests.integration.runner_job import Job, Node, programs

OLD_RUNNER, NEW_RUNNER = "runner-2.4.1", "runner-2.4.3"
OLD_CORE, NEW_CORE = "core-2.18", ""
FLEET = {
    "children": {"gpu_nodes": {"children": GROUPS}},
    "vars": {"gpu_sharing_profiles": PROFILES},
}


EXECUTIONS = [
    (runner, core) for runner in (OLD_RUNNER, NEW_RUNNER) for core in (OLD_CORE, NEW_CORE)
]


def node(runner: str, core: str = NEW_CORE) -> Node:
    return Node(programs(runner), programs(core) if core else Path(sys.executable).parent)


def of(dev: int) -> dict[str, Any]:
    """Extra variables with so many replicas for the profile dev."""
    return {"gpu_sharing_profiles": {**PROFILES, "dev": {"replicas": dev}}}


def credential(lab: Lab) -> dict[str, str]:
    return {"K8S_AUTH_KUBECONFIG": lab.environ["KUBECONFIG"]}


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
