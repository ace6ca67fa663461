# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: who runs this, and as which job of AWX, for the Lease and the history."""

from __future__ import annotations

from collections.abc import Mapping

from ..module_utils._kube.lease import default_holder
from ._awx_job import of_job

# Who has started a job, by variables that AWX gives it (awx_meta_vars in its source): a job has no
# user where a schedule, a webhook or a workflow of one of these has started it.
_STARTERS = (
    ("user_name", "{}"),
    ("schedule_name", "schedule {}"),
    ("parent_job_schedule_name", "schedule {}"),
    ("workflow_job_name", "workflow {}"),
    ("job_launch_type", "launch type {}"),
)


def run_name(variables: Mapping[str, object]) -> str:
    """The name of a run, in one line."""
    job = of_job(variables, "job_id")
    if not job:
        return default_holder()
    found = ((text, of_job(variables, name)) for name, text in _STARTERS)
    starter = next((text.format(value) for text, value in found if value), "unknown")
    return f"{default_holder()}, AWX job {job} of {starter}"
