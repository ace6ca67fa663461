# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: checks the Helm program of the controller."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ansible.errors import AnsibleActionFail

from ..module_utils._common.errors import RefusedError
from ..module_utils._common.options import OPTION_NAMES, with_names
from ..module_utils._provider.helm import check_program

if TYPE_CHECKING:
    from ansible.plugins.action import ActionBase

NOT_FOUND = 127


def require_helm(action: ActionBase) -> None:
    """Fail in one line where the controller has no Helm that the Helm modules support."""
    done = action._low_level_execute_command("helm version --short", sudoable=False)
    output = f"{done['stdout']} {done['stderr']}".strip()
    try:
        check_program(None if done["rc"] == NOT_FOUND else output, os.environ)
    except RefusedError as error:
        raise AnsibleActionFail(
            with_names(str(error), action._task.args.get(OPTION_NAMES))
        ) from None
