# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: which of several clusters a run has not done, told at its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

LONGEST = 300
REGISTERED = (
    "gpu_preflight_cluster",
    "gpu_profiles_result",
    "gpu_profiles_pruned",
    "__gpu_operator_release",
    "__gpu_operator_pointer",
    "__gpu_operator_removed",
    "gpu_nodes_mig",
    "gpu_nodes_rollout",
    "gpu_verify_result",
    "gpu_verify_history",
)


def failed_clusters(hosts: Iterable[str], variables: Mapping[str, object]) -> list[str]:
    """A line for each cluster that failed: its name, and what its failed task said."""
    return [f"{host}: {_reason(variables.get(host))}" for host in sorted(hosts)]


def _reason(variables: object) -> str:
    if isinstance(variables, Mapping):
        for name in REGISTERED:
            result = variables.get(name)
            if isinstance(result, Mapping) and result.get("failed") is True:
                first = str(result.get("msg") or "").strip().partition("\n")[0]
                if first:
                    return first if len(first) <= LONGEST else f"{first[:LONGEST]}..."
    return "see its message above"
