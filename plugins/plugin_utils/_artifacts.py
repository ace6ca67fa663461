# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: what a job passes on to the next jobs of a workflow, as set_stats does. AWX keeps these
artifacts with each job, so they are small: counts, and the first of long lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIRST = 20  # entries of a list
_NODE = ("node", "profile", "now", "then", "disrupted")


def plan_artifact(host: str, planned: Mapping[str, Any]) -> dict[str, object]:
    """The part of an action's result that passes on the plan of a cluster. planned is the result of
    the module site_plan.
    """
    todo, rollout = planned["todo"], planned["rollout"]
    passed = {
        "verdict": planned["verdict"],
        "changes": True in todo.values(),
        "counts": rollout["counts"],
        "disrupted_pods": len(rollout["disruptions"]),
        "nodes": [{name: row[name] for name in _NODE} for row in rollout["nodes"][:FIRST]],
    }
    return {
        "ansible_stats": {
            "data": {"gpu_sharing_plan": {host: passed}},
            "per_host": False,
            "aggregate": True,
        }
    }
