# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans and drains in the action's own process: see plugin_utils/_in_process.py."""

from __future__ import annotations

from ..module_utils._common.versions import check_versions

check_versions()

from collections.abc import Mapping
from functools import partial

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils._common.errors import SharingError
from ..modules import uninstall_guard
from ..plugin_utils._display import show
from ..plugin_utils._in_process import run_here
from ..plugin_utils._servers import check_server


class ActionModule(ActionBase):  # type: ignore[misc]
    """The module uninstall_guard. It shows which pods are evicted while it waits for them."""

    def run(
        self, tmp: str | None = None, task_vars: Mapping[str, object] | None = None
    ) -> dict[str, object]:
        result: dict[str, object] = super().run(tmp, task_vars)
        host = (task_vars or {}).get("inventory_hostname", "")
        work = partial(uninstall_guard.run, report=lambda line: show(f"{host}: {line}"))
        try:  # by now, those that run at the same time have theirs
            check_server(self._task.get_play()._uuid, str(host))
        except SharingError as error:
            raise AnsibleActionFail(str(error)) from None
        return result | run_here(
            uninstall_guard.SPEC,
            work,
            self._task.args,
            self._loader.get_basedir(),
            check_mode=self._task.check_mode,
        )
