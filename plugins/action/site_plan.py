# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans in the action's own process: see plugin_utils/_in_process.py."""

from __future__ import annotations

from ..module_utils._common.versions import check_versions

check_versions()

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils._common.errors import SharingError
from ..modules import site_plan
from ..plugin_utils._artifacts import plan_artifact
from ..plugin_utils._in_process import run_here
from ..plugin_utils._secret_arguments import take_arguments
from ..plugin_utils._servers import check_server


class ActionModule(ActionBase):  # type: ignore[misc]
    """The module site_plan, which reads only."""

    def run(
        self, tmp: str | None = None, task_vars: Mapping[str, Any] | None = None
    ) -> dict[str, object]:
        result: dict[str, object] = super().run(tmp, task_vars)
        given, folder = take_arguments(self), self._loader.get_basedir()
        found = run_here(site_plan.SPEC, site_plan.run, given, folder, check_mode=True)
        try:  # by now, those that run at the same time have theirs
            host = str((task_vars or {}).get("inventory_hostname"))
            check_server(self._task.get_play()._uuid, host)
        except SharingError as error:
            raise AnsibleActionFail(str(error)) from None
        drift = found.get("drift")
        if isinstance(drift, Mapping) and not drift["findings"]:
            target = (task_vars or {}).get("gpu_preflight_result", {})
            return result | _clean([*target.get("about", ()), *drift["table"]])
        if found.get("failed") or drift is not None:
            return result | found
        host = str((task_vars or {}).get("inventory_hostname", ""))
        return result | found | plan_artifact(host, found)


def _clean(lines: list[str]) -> dict[str, object]:
    """What is shown of a comparison without findings: one line, and no task has to follow."""
    return {"changed": False, "msg": ". ".join(lines), "_ansible_verbose_always": True}
