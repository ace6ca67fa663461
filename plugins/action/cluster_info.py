# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of cluster_info: finds the cluster's part of the inventory, checks the
variables of roles, reads credentials where they lie and writes the one kubeconfig for Helm and the
modules.
"""

from __future__ import annotations

from ..module_utils._common.versions import check_versions

check_versions()

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from ..module_utils._common.errors import SharingError
from ..module_utils._common.options import OPTION_NAMES, with_names
from ..module_utils._kube.permissions import HELM, PLAN, SITE, UNINSTALL
from ..modules import cluster_info
from ..modules.cluster_info import INVENTORY
from ..plugin_utils._awx_job import refuse_exclusive, refuse_slice
from ..plugin_utils._connection.files import private_folder, remove_remains, write_kubeconfig
from ..plugin_utils._connection.kubeconfig import Surroundings, parse
from ..plugin_utils._connection.resolve import ENVIRONMENT, Connection, resolve_connection
from ..plugin_utils._display import show
from ..plugin_utils._helm_program import require_helm
from ..plugin_utils._in_process import run_here
from ..plugin_utils._results import add_warnings
from ..plugin_utils._role_inputs import check_inputs
from ..plugin_utils._run_name import run_name
from ..plugin_utils._secret_arguments import take_arguments
from ..plugin_utils._servers import claim_server
from ..plugin_utils._this_run import Part, given_tags, leaves_out_work, read_once, read_parts

CHANGES = (SITE, PLAN)  # change labels, or show the change
WITH_HELM = (SITE, UNINSTALL, PLAN)
LEFT_OUT = (
    "{0}: leaves out the work of this playbook, so nothing would be read or changed. Run it without"
    " these options; the playbook has no tags. To select it with a tag in a playbook of your own,"
    " set tags on its import_playbook."
)


class ActionModule(ActionBase):  # type: ignore[misc]
    """Find the nodes, resolve the connection, then ask the API server, as the module does."""

    def run(
        self, tmp: str | None = None, task_vars: Mapping[str, object] | None = None
    ) -> dict[str, object]:
        result: dict[str, object] = super().run(tmp, task_vars)
        variables = self._templar.available_variables
        given = take_arguments(self)
        if boolean(given.get("fleet", False)):
            play = self._task.get_play()
            if leaves_out_work(play, variables):
                self._leave_out(play.tags, given_tags(variables))
                return result
            refuse_slice(variables)
            result.update(_part(play._uuid, variables, given))
            check_inputs(self._templar)
            if given.get("purpose") in CHANGES and _is_set(given, "exclusive"):
                refuse_exclusive(variables)
        if given.get("purpose") == INVENTORY:
            return result
        connected = self._connect(given, task_vars or {})
        return connected if connected.get("failed") else result | connected

    def _leave_out(self, tags: Sequence[object], given: str) -> None:
        """Warn that the run's tags leave out a playbook that has tags of its own. Raises
        AnsibleActionFail for one that has none: no tag could select it.
        """
        if not tags:
            raise AnsibleActionFail(LEFT_OUT.format(given))
        show(
            f"{given}: leaves out a playbook of gpufleet.sharing, which has the tags"
            f" {', '.join(map(str, tags))}. Its work is not done.",
            "warning",
        )

    def _claim_server(self, cluster: str, options: Mapping[str, object]) -> None:
        """Raise AnsibleActionFail if another cluster of the play is the same."""
        folder = self._loader.get_basedir()
        work = cluster_info.server_identity
        found = run_here(cluster_info.SPEC, work, options, folder, check_mode=True)
        if found.get("failed"):
            raise AnsibleActionFail(str(found["msg"]))
        try:
            claim_server(self._task.get_play()._uuid, cluster, str(found["identity"]))
        except SharingError as error:
            raise AnsibleActionFail(str(error)) from None

    def _connect(self, given: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, object]:
        """Resolve the connection and ask the API server with it."""
        result: dict[str, object] = {}
        arguments = {name: value for name, value in given.items() if name not in ENVIRONMENT}
        options = {name: given.get(name) for name in ENVIRONMENT}
        names = given.get(OPTION_NAMES)
        try:
            connection = resolve_connection(options, Surroundings(os.environ, parse))
            if arguments.get("purpose") in WITH_HELM and arguments.get("manage", HELM) == HELM:
                require_helm(self)
            helm_auth = {"kubeconfig": _write_kubeconfig(connection)}
        except SharingError as error:
            raise AnsibleActionFail(with_names(str(error), names)) from None
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
        if result.get("failed"):
            return result
        if boolean(given.get("fleet", False)) and len(variables["ansible_play_hosts_all"]) > 1:
            self._claim_server(str(variables["inventory_hostname"]), arguments | auth)
        result |= {
            "auth": auth,
            "helm_auth": helm_auth,
            "source": connection.source,
            "run": run_name(variables),
        }
        host = variables.get("inventory_hostname", "")
        return result | {"about": [with_names(line, names) for line in _about(host, result)]}


def _part(play: str, variables: Mapping[str, Any], options: Mapping[str, object]) -> Part:
    """The nodes of the cluster of a task. Raises AnsibleActionFail where there is none, unless the
    options allow it.
    """
    host = str(variables["inventory_hostname"])
    try:
        part = dict(read_once(play, host, lambda: read_parts(variables))[host])
    except SharingError as error:
        raise AnsibleActionFail(str(error)) from None
    if (reason := part.pop("empty", "")) and not _is_set(options, "allow_empty"):
        raise AnsibleActionFail(str(reason))
    return part


def _is_set(options: Mapping[str, object], name: str) -> bool:
    return bool(boolean(options.get(name) or False, strict=False))


def _about(host: object, found: Mapping[str, object]) -> list[str]:
    """The lines that say where a run acts, and by which identity."""
    lines = [
        f"{host}: {found['server']} ({found['version']}) as {found['user']}, credentials from"
        f" {found['source']}"
    ]
    if found["found"]:
        lines.append(
            f"{host}: manages Helm release {found['release']} in namespace {found['namespace']},"
            " the one of the GPU Operator that the cluster has (O(release) and O(namespace) are not"
            " both set)"
        )
    return lines


def _write_kubeconfig(connection: Connection) -> str:
    """Write the kubeconfig where only we can read it; Ansible removes the folder when it ends.
    Returns its path.
    """
    base = Path(constants.DEFAULT_LOCAL_TMP)
    remove_remains(base)
    return str(write_kubeconfig(connection.kubeconfig, private_folder(base, os.getppid())))


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
