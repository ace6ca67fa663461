# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the report, on the controller and once for all clusters."""

from __future__ import annotations

from ..module_utils._common.versions import check_versions

check_versions()

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils._common.errors import SharingError
from ..modules.report import OPTIONS
from ..plugin_utils._report.files import plan_files, write
from ..plugin_utils._report.model import make_report, totals


class ActionModule(ActionBase):  # type: ignore[misc]
    """Plans the three files, and writes them but in check mode."""

    def run(
        self, tmp: str | None = None, task_vars: Mapping[str, object] | None = None
    ) -> dict[str, object]:
        result: dict[str, object] = super().run(tmp, task_vars)
        _validated, options = self.validate_argument_spec(OPTIONS)
        report = make_report(options["names"], options["clusters"], options["limit"] or "")
        try:
            files = plan_files(report, Path(options["path"]).absolute(), datetime.now(UTC))
            if not self._task.check_mode:
                write(files)
        except SharingError as error:
            raise AnsibleActionFail(str(error)) from None
        shown = {"diff": files.diff()} if self._task.diff else {}
        return result | {
            **shown,
            "changed": files.changed,
            "files": [str(file.path) for file in files.each],
            "verdict": report.verdict,
            "status": report.status,
            "totals": totals(report),
            "missing": report.missing,
        }
