# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of the plugin's pods."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.operands import (
    OperandPod,
    operand_pod,
)

RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
CRASHED = {"terminated": {"exitCode": 1}}
BACK_OFF = {"waiting": {"reason": "CrashLoopBackOff"}}


def pod(
    *containers: tuple[str, dict[str, Any], object], init: tuple[str, dict[str, Any], object]
) -> OperandPod:
    def status(name: str, state: dict[str, Any], restarts: object) -> dict[str, Any]:
        return {"name": name, "state": state, "restartCount": restarts}

    return operand_pod(
        {
            "status": {
                "initContainerStatuses": [status(*init)],
                "containerStatuses": [status(*each) for each in containers],
            }
        }
    )


@pytest.mark.parametrize(
    ("plugin", "side", "init", "crashing", "crashes", "waits_for"),
    [
        ((RUNNING, 7), (RUNNING, 0), (CRASHED, 0), "", 0, ""),
        ((CRASHED, 7), (RUNNING, 0), (CRASHED, 0), "", 0, ""),
        ((BACK_OFF, 7), (BACK_OFF, 2), (CRASHED, 0), "plugin", 7, "CrashLoopBackOff"),
        ((RUNNING, 7), (BACK_OFF, 2), (CRASHED, 0), "side", 2, "CrashLoopBackOff"),
        (
            ({"waiting": {"reason": "PodInitializing"}}, 0),
            ({"waiting": {"reason": "PodInitializing"}}, 0),
            (BACK_OFF, 4),
            "init",
            4,
            "CrashLoopBackOff",
        ),
        (({"waiting": {}}, "many"), (RUNNING, None), (CRASHED, 0), "", 0, ""),
    ],
)
def test_operand_pod_waits(
    plugin: tuple[dict[str, Any], object],
    side: tuple[dict[str, Any], object],
    init: tuple[dict[str, Any], object],
    crashing: str,
    crashes: int,
    waits_for: str,
) -> None:
    read = pod(("plugin", *plugin), ("side", *side), init=("init", *init))
    assert (read.crashing, read.crashes, read.waits_for) == (crashing, crashes, waits_for)
    counts = {"plugin": plugin[1], "side": side[1], "init": init[1]}
    assert read.restarts == {
        name: count if isinstance(count, int) else 0 for name, count in counts.items()
    }
