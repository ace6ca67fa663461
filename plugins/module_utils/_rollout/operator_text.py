# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: what happens to the GPU Operator, in words."""

from __future__ import annotations

from .._common.text import plural, some
from .operator_plan import OperatorPlan, Restart

_DONE = {
    "install": "is installed",
    "upgrade": "is upgraded",
    "downgrade": "is downgraded",
    "change": "gets another chart",
}


def operator_lines(plan: OperatorPlan, namespace: str) -> list[str]:
    """What happens to the operator; nothing where it stays as it is."""
    request, release = plan.request, plan.release
    if not plan.differs:
        said = "GPU Operator: it does not use the profiles yet. site waits until it does."
        return [] if plan.settled else [said]
    where = f"Helm release {request.release} in namespace {namespace}"
    if release and release.verb:
        newest = "" if request.chart_version else " (O(chart_version) is not set)"
        lines = [f"GPU Operator: {release.verb} chart {release.chart}{newest}, {where}"]
    elif release and not release.keys:
        lines = [f"GPU Operator: repeat the upgrade that failed, {where}"]
    elif release:
        lines = [f"GPU Operator: change values of {where}"]
    else:
        lines = [f"GPU Operator: patch ClusterPolicy {request.cluster_policy}"]
    if release and release.keys:
        lines.append(f"  values that change: {some(release.keys)}")
    if plan.changes_config:
        lines.append(f"  device plugin config: {plan.config} -> {request.wanted}")
    return [*lines, f"  device plugins: {_restarts(plan)}"]


def operator_phrase(plan: OperatorPlan) -> str:
    """What happens to the operator, as part of a sentence; empty where it stays as it is."""
    if plan.release and plan.release.verb:
        return f"the GPU Operator {_DONE[plan.release.verb]}"
    if plan.release and not plan.release.keys:
        return "the upgrade of the GPU Operator that failed is repeated"
    if plan.release:
        return "the GPU Operator gets other values"
    return "the GPU Operator gets another device plugin config" if plan.differs else ""


def _restarts(plan: OperatorPlan) -> str:
    nodes = plural(plan.plugins, "node")
    effect = "A node has no GPUs to allocate for about two seconds; running pods stay."
    return {
        Restart.NONE_RUNS: "none is running yet",
        Restart.NONE: f"none restarts ({nodes})",
        Restart.ALL: f"all restart ({nodes}), not in batches: the operator does it. {effect}",
        Restart.BY_HAND: f"all restart ({nodes}) when somebody deletes their pods, because the"
        f" update strategy is OnDelete. {effect}",
        Restart.UNKNOWN: f"all restart ({nodes}) if the values change their DaemonSet, else none."
        f" {effect}",
    }[plan.restart]
