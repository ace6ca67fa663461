# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the fleet from the inventory, on the controller and once for all clusters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ansible import context
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils._common.errors import SharingError
from ..module_utils._fleet.fleet import Fleet, misspelled_variables, read_fleet
from ..module_utils._fleet.nodes import NODE_OPTIONS
from ..plugin_utils._inventory import read_inventory, read_selection
from ..plugin_utils._sources import check_sources
from ..plugin_utils._this_run import RUN_FACT, given_tags, leaves_out_work, this_run
from ..plugin_utils._unread import unread_variables

if TYPE_CHECKING:
    from ansible.playbook.play import Play
    from ansible.vars.hostvars import HostVars

SLICES = ("awx_job_slice_count", "tower_job_slice_count")
SLICED = (
    "AWX job slicing cuts clusters and their nodes apart, so parts of the fleet would be left out."
    " Use one job with forks, or one job for each cluster with a limit."
)
LEFT_OUT = (
    "{0}: leaves out the work of this playbook, so nothing would be read or changed. Run it without"
    " these options; the playbook has no tags. To select it with a tag in a playbook of your own,"
    " set tags on its import_playbook."
)


class ActionModule(ActionBase):  # type: ignore[misc]
    """Sets the fact gpu_sharing_fleet, or fails with what is wrong with the inventory or limit."""

    def run(
        self, tmp: str | None = None, task_vars: Mapping[str, object] | None = None
    ) -> dict[str, object]:
        result: dict[str, object] = super().run(tmp, task_vars)
        variables = self._templar.available_variables
        play = self._task.get_play()
        if leaves_out_work(play, variables):
            return result | {"changed": False, "ansible_facts": self._left_out(play, variables)}
        if any(int(str(variables.get(name) or 1)) > 1 for name in SLICES):
            raise AnsibleActionFail(SLICED)
        hostvars = variables["hostvars"]
        try:
            check_sources(hostvars._inventory)
            inventory = read_inventory(variables["groups"], hostvars)
            selection = read_selection(
                variables["ansible_play_hosts_all"],
                str(variables.get("ansible_limit") or ""),
                inventory,
                hostvars,
            )
            for said in (*misspelled_variables(inventory), *self._unread(hostvars)):
                self._display.warning(said)
            fleet = read_fleet(inventory, selection)
        except SharingError as error:
            raise AnsibleActionFail(str(error)) from None
        parts = {cluster: part_of(fleet, cluster) for cluster in fleet.clusters}
        facts = {"gpu_sharing_fleet": parts, RUN_FACT: this_run()}
        return result | {"changed": False, "ansible_facts": facts}

    def _unread(self, hostvars: HostVars) -> list[str]:
        manager = hostvars._inventory
        return list(unread_variables(manager, self._loader, context.CLIARGS.get("args") or ()))

    def _left_out(self, play: Play, variables: Mapping[str, object]) -> dict[str, object]:
        """The facts of a run whose tags leave out a whole playbook that has tags of its own.
        Raises AnsibleActionFail for one that has none: no tag could select it.
        """
        tags = given_tags(variables)
        if not play.tags:
            raise AnsibleActionFail(LEFT_OUT.format(tags))
        self._display.warning(
            f"{tags}: leaves out a playbook of gpufleet.sharing, which has the tags"
            f" {', '.join(map(str, play.tags))}. Its work is not done."
        )
        return {"gpu_sharing_fleet": {}, RUN_FACT: this_run()}


def part_of(fleet: Fleet, cluster: str) -> dict[str, object]:
    """The part of one cluster: its nodes, and whether the limit leaves some of them out.

    The nodes are JSON, since Ansible would visit each of the thousands of values in a structure
    whenever it is used.
    """
    nodes = fleet.of(cluster)
    rows = [{name: getattr(node, name) for name in NODE_OPTIONS} for node in nodes]
    return {
        "nodes": json.dumps(rows, separators=(",", ":")),
        "limited": any(not node.selected for node in nodes),
    }
