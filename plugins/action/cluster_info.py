# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of cluster_info: reads credentials where they lie and writes the one
kubeconfig for both worlds.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping

import yaml
from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils._common.errors import SharingError
from ..module_utils._common.options import OPTION_NAMES, with_names
from ..module_utils._kube.lease import default_holder
from ..module_utils._kube.permissions import HELM, PLAN, SITE, UNINSTALL
from ..modules import cluster_info
from ..plugin_utils._connection.kubeconfig import Surroundings
from ..plugin_utils._connection.resolve import ENVIRONMENT, Connection, resolve_connection
from ..plugin_utils._helm_program import require_helm
from ..plugin_utils._in_process import run_here
from ..plugin_utils._results import add_warnings

WITH_HELM = (SITE, UNINSTALL, PLAN)


class ActionModule(ActionBase):  # type: ignore[misc]
    """Resolve the connection, then ask the API server with it, as the module does."""

    def run(
        self, tmp: str | None = None, task_vars: Mapping[str, object] | None = None
    ) -> dict[str, object]:
        result: dict[str, object] = super().run(tmp, task_vars)
        arguments = {
            name: value for name, value in self._task.args.items() if name not in ENVIRONMENT
        }
        options = {name: self._task.args.get(name) for name in ENVIRONMENT}
        names = self._task.args.get(OPTION_NAMES)
        try:
            connection = resolve_connection(options, Surroundings(os.environ, _parse))
        except SharingError as error:
            raise AnsibleActionFail(with_names(str(error), names)) from None
        if arguments.get("purpose") in WITH_HELM and arguments.get("manage", HELM) == HELM:
            require_helm(self)
        helm_auth = {"kubeconfig": write_kubeconfig(connection)}
        auth = {**helm_auth, **_proxy(connection), **_impersonation(connection)}
        result.update(
            run_here(
                cluster_info.SPEC,
                cluster_info.run,
                arguments | auth,
                self._loader.get_basedir(),
                check_mode=True,
            )
        )
        add_warnings(result, [with_names(text, names) for text in connection.warnings])
        return result | {
            "auth": auth,
            "helm_auth": helm_auth,
            "source": connection.source,
            "run": _run_name(task_vars or {}),
        }


def _run_name(variables: Mapping[str, object]) -> str:
    """Who runs this, and as which job of AWX, for the Lease and the history."""
    job = variables.get("awx_job_id") or variables.get("tower_job_id")
    if not job:
        return default_holder()
    user = variables.get("awx_user_name") or variables.get("tower_user_name") or "nobody"
    return f"{default_holder()}, AWX job {job} of {user}"


def write_kubeconfig(connection: Connection) -> str:
    """Write the kubeconfig where only we can read it; Ansible removes the folder when it ends.
    Returns its path.
    """
    descriptor, path = tempfile.mkstemp(
        prefix="gpufleet-sharing-", suffix=".kubeconfig", dir=constants.DEFAULT_LOCAL_TMP
    )
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        # Not as YAML, which refuses the tagged texts of a kubeconfig that is a variable
        json.dump(connection.kubeconfig, file, default=str)
    return path


def _proxy(connection: Connection) -> dict[str, object]:
    """Said also where there is none: releases of the Python client differ in what they take from
    the environment.
    """
    return {"proxy": connection.proxy, "no_proxy": ""}


def _impersonation(connection: Connection) -> dict[str, object]:
    found = {
        "impersonate_user": connection.impersonate_user,
        "impersonate_groups": list(connection.impersonate_groups),
    }
    return {name: value for name, value in found.items() if value}


def _parse(text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None
