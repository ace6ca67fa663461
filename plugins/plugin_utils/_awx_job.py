# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: what AWX does to the inventory of a job, by the variables that it gives the job.

Of an inventory, a job gets only the hosts that are switched on, and of these, each slice of a
sliced job gets a part. Nothing in the inventory shows it. See awx_meta_vars() and get_script_data()
in the source of AWX.
"""

from __future__ import annotations

from collections.abc import Mapping

from ansible.errors import AnsibleActionFail

from ..module_utils._common.values import to_whole_number

_PREFIXES = ("awx", "tower")
_SLICED = (
    "This is a slice of job template '{0}': AWX gives each slice a part of the hosts, so clusters"
    " are cut apart from their nodes. Set Job slicing of the template to 1, and use forks, or a job"
    " for each cluster with a limit. (AWX shows a slice as a part of a workflow job that is named"
    " after its job template. If '{0}' is a workflow of yours, give it another name.)"
)
_EXCLUSIVE = (
    "gpu_sharing_exclusive (or gpu_nodes_exclusive) is true in a job of AWX, which leaves out hosts"
    " that are switched off: their nodes would lose the label as if they were removed. Set it to"
    " false. To remove the label of a node, have it in gpu_nodes without gpu_sharing_profile."
)


def of_job(variables: Mapping[str, object], name: str) -> object:
    """A variable of the job, which older and commercial releases call tower_; None or empty where
    the run is not a job, or the job does not have it.
    """
    found = None
    for prefix in _PREFIXES:
        found = found or variables.get(f"{prefix}_{name}")
    return found


def refuse_slice(variables: Mapping[str, object]) -> None:
    """Raise AnsibleActionFail in a slice of a job. Its workflow job has the name of the job
    template; releases of AWX differ in whether they also give the number of slices.
    """
    for prefix in _PREFIXES:
        template = variables.get(f"{prefix}_job_template_name")
        workflow = variables.get(f"{prefix}_workflow_job_name")
        count = to_whole_number(variables.get(f"{prefix}_job_slice_count"), lenient=True) or 1
        if count > 1 or (workflow is not None and workflow == template):
            raise AnsibleActionFail(_SLICED.format(template))


def refuse_exclusive(variables: Mapping[str, object]) -> None:
    """Raise AnsibleActionFail in a job of AWX: no node is known to be absent from its inventory."""
    if of_job(variables, "job_id"):
        raise AnsibleActionFail(_EXCLUSIVE)
