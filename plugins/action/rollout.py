# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rolls out in the action's own process (see plugin_utils/_in_process.py), so that each line of
progress is displayed at once by the main thread of Ansible's fork: no other one may display.
"""

from __future__ import annotations

from ..module_utils._common.versions import check_versions

check_versions()

from collections.abc import Mapping
from functools import partial

from ansible.plugins.action import ActionBase

from ..modules import rollout
from ..plugin_utils._display import show
from ..plugin_utils._in_process import run_here

MODULE = "gpufleet.sharing.rollout"
Result = dict[str, object]


class ActionModule(ActionBase):  # type: ignore[misc]
    """The module rollout. It shows its progress where it runs as the user of the controller."""

    def run(self, tmp: str | None = None, task_vars: Mapping[str, object] | None = None) -> Result:
        result: Result = super().run(tmp, task_vars)
        if self._elsewhere():
            found: Result = self._execute_module(MODULE, task_vars=task_vars)
            found.pop("invocation", None)
            return result | found
        host = (task_vars or {}).get("inventory_hostname", "")
        work = partial(rollout.run, report=lambda line: show(f"{host}: {line}"))
        return result | run_here(
            rollout.SPEC,
            work,
            self._task.args,
            self._loader.get_basedir(),
            check_mode=self._task.check_mode,
        )

    def _elsewhere(self) -> bool:
        """Whether the module has another host, user or environment than this process."""
        connection = self._connection
        return bool(
            connection.transport != "local" or connection.become or any(self._task.environment)
        )
