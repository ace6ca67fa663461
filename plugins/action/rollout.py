# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of rollout: shows how far the module is while it runs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from threading import Event, Thread

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

MODULE = "gpufleet.sharing.rollout"
LOOK_EVERY = 0.5  # seconds
Result = dict[str, object]


class ActionModule(ActionBase):  # type: ignore[misc]
    """One module, and a thread that shows the lines it writes."""

    def run(self, tmp: str | None = None, task_vars: Mapping[str, object] | None = None) -> Result:
        result: Result = super().run(tmp, task_vars)
        variables = dict(task_vars or {})
        descriptor, path = tempfile.mkstemp(
            prefix="gpufleet-progress-", dir=constants.DEFAULT_LOCAL_TMP
        )
        os.close(descriptor)
        stop = Event()
        host = str(variables.get("inventory_hostname") or "")
        thread = Thread(target=_follow, args=(Path(path), host, stop), daemon=True)
        thread.start()
        try:
            arguments = {**self._task.args, "progress": path}
            found: Result = self._execute_module(MODULE, module_args=arguments, task_vars=variables)
        finally:
            stop.set()
            thread.join()
            Path(path).unlink(missing_ok=True)
        found.pop("invocation", None)
        return result | found


def _follow(path: Path, host: str, stop: Event) -> None:
    """Show each line that is added to a file, until stopped; what came last too."""
    display = Display()
    with path.open(encoding="utf-8") as lines:
        while True:
            last = stop.wait(LOOK_EVERY)
            for line in lines:
                display.display(f"{host}: {line.rstrip()}")
            if last:
                return
