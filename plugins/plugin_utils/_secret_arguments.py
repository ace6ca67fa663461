# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: arguments of tasks that contain secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..module_utils._common.secrets import hidden

if TYPE_CHECKING:
    from ansible.plugins.action import ActionBase

_KEPT = "_gpufleet_arguments"  # on the action, which runs again where a task has retries


def take_arguments(action: ActionBase) -> dict[str, Any]:
    """The arguments of an action's task. In the task, secrets are hidden from here on: Ansible
    hands the arguments on with the result, and AWX puts them into the events of the job.
    """
    given: dict[str, Any] = vars(action).setdefault(_KEPT, dict(action._task.args))
    action._task.args = hidden(given)
    return given
