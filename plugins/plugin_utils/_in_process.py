# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: running a module in the process of its action plugin.

These modules run on the controller anyway. A separate process would cost a second of CPU time to
start Python and import packages, ten times as much as the module itself needs. Ansible imports an
action plugin before it forks, so once for all clusters.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values

from ..module_utils._common.errors import SharingError
from ..module_utils._common.module_entry import Spec, failure, options_with
from ..module_utils._common.options import OPTION_NAMES
from ..module_utils._common.secrets import secrets_of_options, without_userinfo
from ._connection.files import private_temporary_files
from ._display import show

Result = dict[str, object]


class _Module:
    """The part of AnsibleModule that the modules use."""

    def __init__(self, params: dict[str, Any], folder: str, *, check_mode: bool) -> None:
        self.params, self.check_mode, self._folder = params, check_mode, folder
        self.warnings: list[str] = []

    def warn(self, warning: str) -> None:
        self.warnings.append(warning)

    def log(self, msg: str) -> None:
        """What -v shows, as other programs print it."""
        show(without_userinfo(msg), "v")

    def run_command(self, args: Sequence[str]) -> tuple[int, str, str]:
        try:
            completed = subprocess.run(
                list(args), capture_output=True, check=False, text=True, cwd=self._folder
            )
        except OSError as error:
            return 127, "", str(error)
        return completed.returncode, completed.stdout, completed.stderr


def run_here(
    spec: Spec,
    work: Callable[[Any], Mapping[str, object]],
    arguments: Mapping[str, object],
    folder: str,
    *,
    check_mode: bool,
) -> Result:
    """Run a module. Returns its result, or a failed result with its message, without the secrets
    of the arguments. Raises AnsibleActionFail for arguments that the module does not accept.

    folder is that of the playbook, where Ansible runs modules on the controller: Helm reads a
    relative chart, or a local one of the same name, from where it runs.
    """
    validated = ArgumentSpecValidator(options_with(spec)).validate(dict(arguments))
    secrets = validated._no_log_values | set(secrets_of_options(arguments))
    if validated.error_messages:
        raise AnsibleActionFail(remove_values("; ".join(validated.error_messages), secrets))
    module = _Module(validated.validated_parameters, folder, check_mode=check_mode)
    names = module.params[OPTION_NAMES]
    try:
        with private_temporary_files(Path(constants.DEFAULT_LOCAL_TMP)):
            result = dict(work(module))
    except SharingError as error:
        result = {"failed": True, **failure(error, names)}
    if module.warnings:
        result["warnings"] = module.warnings
    return dict(remove_values(result, secrets)) if secrets else result
