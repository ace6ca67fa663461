# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback for tests: a line for each module that a playbook has run, beside the usual output.

RAN <host> <module> <ok|failed> <apply|check>, so that tests need not know the names of tasks.
"""

from __future__ import annotations

from typing import Protocol

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: modules_run
type: aggregate
short_description: Show which modules a playbook has run
description: For the integration tests of gpufleet.sharing.
"""


class Task(Protocol):
    action: str
    check_mode: bool


class Host(Protocol):
    name: str


class TaskResult(Protocol):
    """What Ansible hands to callbacks, as far as it is needed here."""

    _task: Task
    _host: Host


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "modules_run"
    CALLBACK_NEEDS_ENABLED = True

    def v2_runner_on_ok(self, result: TaskResult) -> None:
        self._show(result, "ok")

    def v2_runner_on_failed(self, result: TaskResult, **_more: object) -> None:
        self._show(result, "failed")

    def _show(self, result: TaskResult, status: str) -> None:
        task = result._task
        mode = "check" if task.check_mode else "apply"
        self._display.display(f"RAN {result._host.name} {task.action} {status} {mode}")
