# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the fleet from the inventory, on the controller and once for all clusters."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils._common.errors import SharingError
from ..module_utils._fleet.fleet import Fleet, misspelled_variables, read_fleet
from ..module_utils._fleet.nodes import NODE_OPTIONS
from ..plugin_utils._inventory import read_inventory, read_selection

SLICES = ("awx_job_slice_count", "tower_job_slice_count")
SLICED = (
    "AWX job slicing cuts clusters and their nodes apart, so parts of the fleet would be left out."
    " Use one job with forks, or one job for each cluster with a limit."
)


class ActionModule(ActionBase):  # type: ignore[misc]
    """Sets the fact gpu_sharing_fleet, or fails with what is wrong with the inventory or limit."""

    def run(
        self, tmp: str | None = None, task_vars: Mapping[str, object] | None = None
    ) -> dict[str, object]:
        result: dict[str, object] = super().run(tmp, task_vars)
        variables = self._templar.available_variables
        if any(int(str(variables.get(name) or 1)) > 1 for name in SLICES):
            raise AnsibleActionFail(SLICED)
        hostvars = variables["hostvars"]
        try:
            inventory = read_inventory(variables["groups"], hostvars)
            selection = read_selection(
                variables["ansible_play_hosts_all"],
                str(variables.get("ansible_limit") or ""),
                inventory,
                hostvars,
            )
            for said in misspelled_variables(inventory):
                self._display.warning(said)
            fleet = read_fleet(inventory, selection)
        except SharingError as error:
            raise AnsibleActionFail(str(error)) from None
        parts = {cluster: part_of(fleet, cluster) for cluster in fleet.clusters}
        return result | {"changed": False, "ansible_facts": {"gpu_sharing_fleet": parts}}


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
