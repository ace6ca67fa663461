# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback for tests: what AWX stores of a job, as the callback of ansible-runner gives it.

Each event is a line of JSON in the file $GPUFLEET_JOB_EVENTS: results, and arguments of tasks
without no_log.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Protocol

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: job_events
type: aggregate
short_description: Write the events of a job as AWX stores them
description: For the integration tests of gpufleet.sharing.
"""


class Task(Protocol):
    action: str
    args: dict[str, object]
    no_log: object

    def get_name(self) -> str: ...


class TaskResult(Protocol):
    """What Ansible hands to callbacks, as far as it is needed here."""

    _task: Task
    _result: dict[str, object]


class Stats(Protocol):
    custom: dict[str, object]


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "job_events"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_task_start(self, task: Task, is_conditional: bool) -> None:  # noqa: ARG002
        self._write("task", task)

    def v2_runner_on_ok(self, result: TaskResult) -> None:
        self._write("ok", result._task, result._result)

    def v2_runner_on_failed(self, result: TaskResult, **_more: object) -> None:
        self._write("failed", result._task, result._result)

    def v2_runner_on_skipped(self, result: TaskResult) -> None:
        self._write("skipped", result._task, result._result)

    def v2_runner_on_unreachable(self, result: TaskResult) -> None:
        self._write("unreachable", result._task, result._result)

    def v2_runner_item_on_ok(self, result: TaskResult) -> None:
        self._write("item_ok", result._task, result._result)

    def v2_runner_item_on_failed(self, result: TaskResult) -> None:
        self._write("item_failed", result._task, result._result)

    def v2_playbook_on_stats(self, stats: Stats) -> None:
        self._append({"event": "stats", "artifacts": stats.custom})

    def _write(self, event: str, task: Task, result: dict[str, object] | None = None) -> None:
        shown = "" if task.no_log else ", ".join(f"{n}={value}" for n, value in task.args.items())
        self._append(
            {
                "event": event,
                "task": task.get_name(),
                "action": task.action,
                "task_args": shown,
                "res": result,
            }
        )

    def _append(self, event: dict[str, object]) -> None:
        with Path(os.environ["GPUFLEET_JOB_EVENTS"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(event, default=str) + "\n")
