# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the plan of an uninstall in words: what goes, what that does, and what stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from .._common.errors import RefusedError
from .._common.names import PROFILE_LABEL
from .._common.table import alike, format_first_rows, total
from .._common.text import plural, some
from .._nodes.capacity import expected_allocatable
from .._nodes.disruption import disruption_table, pods_of, problems_of
from .drain import left_cordoned
from .uninstall import NodeEffect, UninstallPlan
from .view import slots_text

COLUMNS = ("label", "nodes", "now", "then", "GPU pods", "disrupted", "first")
MOST_LINES = 20
MOST_NAMES = 10
PAST = {
    "Evict": "Evicted",
    "Remove": "Removed",
    "Restore": "Restored",
    "Uncordon": "Uncordoned",
}
NOTHING = "Nothing changes on nodes, operator or ConfigMap."
UNKNOWN, NONE = "unknown", "none"


@dataclass(frozen=True)
class UninstallStep:
    """A change in words: the verb, its object, and what follows from it."""

    verb: str
    what: str
    effect: str = ""

    @property
    def planned(self) -> str:
        return f"{self.verb}s {self.what}{f': {self.effect}' if self.effect else ''}."

    @property
    def done(self) -> str:
        return f"{PAST[self.verb]} {self.what}."


@dataclass(frozen=True)
class NodeRow:
    """What changes on one node."""

    node: str
    label: str
    now: str
    then: str
    pods: int
    disrupted: int


def steps(plan: UninstallPlan, *, evicts: bool) -> list[UninstallStep]:
    """What goes and what is restored, in the order in which it is done."""
    evicted = UninstallStep("Evict", f"{_users(plan)} ({_owners(plan)})") if evicts else None
    return [
        *([evicted] if evicted else []),
        *_node_steps(plan),
        *_operator_steps(plan),
        *_config_map_steps(plan),
    ]


def _node_steps(plan: UninstallPlan) -> Iterator[UninstallStep]:
    if nodes := [change.node for change in plan.labels.changes]:
        yield UninstallStep("Remove", f"the profile label of {_named(nodes)}")
    if plan.annotated:
        yield UninstallStep("Remove", f"our annotations of {plural(len(plan.annotated), 'node')}")
    if plan.mig:
        yield UninstallStep("Restore", f"the earlier MIG configuration of {_named(list(plan.mig))}")
    if plan.cordoned:
        yield UninstallStep(
            "Uncordon", f"{_named(plan.cordoned)}, which a killed run left cordoned"
        )


def _operator_steps(plan: UninstallPlan) -> Iterator[UninstallStep]:
    operator = plan.operator
    if operator.removed:
        yield UninstallStep("Remove", operator.name, effect(plan))
    elif operator.restored:
        change = f"{operator.before} -> {operator.after}"
        what = f"the device plugin config of {operator.name}, {change}"
        yield UninstallStep("Restore", what)
    if plan.removes_crds:
        yield UninstallStep("Remove", "the operator's CustomResourceDefinitions")


def _config_map_steps(plan: UninstallPlan) -> Iterator[UninstallStep]:
    content, name = plan.content, plan.observed.config_map_name
    if content.delete:
        yield UninstallStep("Remove", f"ConfigMap {name}")
    elif content.remove:
        keys = "key" if len(content.remove) == 1 else "keys"
        yield UninstallStep("Remove", f"{keys} {some(content.remove)} of ConfigMap {name}")


def effect(plan: UninstallPlan) -> str:
    """What all that does to nodes and running pods, in one line; empty where it does nothing."""
    pods = pods_of(plan.disruptions)
    if plan.operator.removed:
        held = {pod.node for pod in pods}
        lost = [n for n, each in plan.effects.items() if each.state.gpu_slots or n in held]
        if not lost:
            return ""
        verb = "loses its" if len(lost) == 1 else "lose their"
        said = f"{plural(len(lost), 'node')} {verb} GPUs; "
        if not pods:
            return f"{said}no running pod uses them"
        return f"{said}{_users(plan)} {'uses' if len(pods) == 1 else 'use'} them: {_owners(plan)}"
    changing = [row for row in node_rows(plan) if row.now != row.then]
    if not changing and not pods:
        return ""
    verb = "gets" if len(changing) == 1 else "get"
    said = f"{plural(len(changing), 'node')} {verb} other slots"
    if not pods:
        return f"{said}; no running pod is disrupted"
    return f"{said}; {_users(plan)} would be disrupted: {_owners(plan)}"


def plan_lines(plan: UninstallPlan, *, evicts: bool) -> list[str]:
    """The whole plan: what goes, what that does to nodes and pods, and what stays."""
    found = [step.planned for step in steps(plan, evicts=evicts)] or [NOTHING]
    if not plan.operator.removed and (said := effect(plan)):
        found.append(f"{said}.")
    if rows := node_rows(plan):
        found += node_table(rows)
    return [*found, *(f"Stays: {text}" for text in stays(plan))]


def done_lines(plan: UninstallPlan, *, evicts: bool) -> list[str]:
    """What went and what stays, for the end of a run that has carried the plan out."""
    found = [step.done for step in steps(plan, evicts=evicts)] or [NOTHING]
    return [*found, *(f"Stays: {text}" for text in stays(plan))]


def stays(plan: UninstallPlan) -> list[str]:
    """What is left afterwards, and why."""
    if plan.limited:
        outside = _named(plan.request.nodes.outside)
        return [f"operator, ConfigMap and {outside}, outside the limit"]
    return [
        *_stays_of_operator(plan),
        *_stays_of_config_map(plan),
        *_stays_of_nodes(plan),
        *([f"namespace {plan.observed.place}"] if plan.observed.namespace else []),
    ]


def _stays_of_operator(plan: UninstallPlan) -> Iterator[str]:
    operator = plan.operator
    if operator.name and not operator.removed:
        yield f"{operator.name}, which site did not install"
    if operator.foreign:
        others = ", ".join(operator.foreign)
        yield f"ClusterPolicy {others}, of another operator"
    if operator.removed and not plan.removes_crds:
        advice = "" if operator.foreign else "; O(remove_crds) removes them"
        yield f"the operator's CustomResourceDefinitions{advice}"
    if operator.removed:
        yield "what the operator set on nodes, such as the labels nvidia.com/gpu.deploy.*"


def _stays_of_config_map(plan: UninstallPlan) -> Iterator[str]:
    content, name = plan.content, plan.observed.config_map_name
    if content.before is None or content.delete:
        return
    used = set(content.in_use)
    others = sorted(content.before.data.keys() - set(content.remove) - used)
    reasons = []
    if used:
        reasons.append(f"still in use: {some(sorted(used))}")
    if others:
        reasons.append(f"not written by site: {some(others)}")
    yield f"ConfigMap {name}" + (f", keys {'; '.join(reasons)}" if reasons else "")


def _stays_of_nodes(plan: UninstallPlan) -> Iterator[str]:
    states = plan.observed.nodes
    others = [node for node in plan.labels.unmanaged if PROFILE_LABEL in states[node].labels]
    if others:
        yield f"the profile label of {_named(others)}, not in the inventory"


def node_rows(plan: UninstallPlan) -> list[NodeRow]:
    """The nodes on which label or slots change."""
    pods = Counter(pod.node for pod in plan.pods)
    disrupted = Counter(pod.node for pod in pods_of(plan.disruptions))
    gone = {change.node for change in plan.labels.changes}
    rows = []
    for name, each in sorted(plan.effects.items()):
        label = f"{each.label} -> {NONE}" if name in gone else each.label or NONE
        now, then = slots_text(each.state.gpu_slots) or NONE, _then(plan, each)
        if name in gone or now != then or disrupted[name]:
            rows.append(NodeRow(name, label, now, then, pods[name], disrupted[name]))
    return rows


def node_table(rows: list[NodeRow]) -> list[str]:
    """Lines of a table, one for all nodes with the same change."""
    entries: list[dict[str, object]] = [
        {
            "label": row.label,
            "now": row.now,
            "then": row.then,
            "GPU pods": row.pods,
            "disrupted": row.disrupted,
            "first": row.node,
        }
        for row in rows
    ]
    lines = [
        {
            **same[0],
            "nodes": len(same),
            "GPU pods": total(same, "GPU pods"),
            "disrupted": total(same, "disrupted"),
        }
        for same in alike(entries, ("label", "now", "then"))
    ]
    return format_first_rows(COLUMNS, lines, MOST_LINES, "lines")


def refusal(plan: UninstallPlan) -> RefusedError:
    """The error for an uninstall that would take GPUs or slots from running pods."""
    whose = f"{plan.operator.name} goes: " if plan.operator.removed else ""
    advice = (
        "Nothing was changed. Stop these pods, or set O(drain) to evict (they are evicted first,"
        " as their PodDisruptionBudgets allow, and stay Pending while no node has slots for them)"
        " or to ignore (they keep running, with the effect that the table shows)."
    )
    if left := left_cordoned(plan.observed.nodes.values()):
        advice += f" A killed run left {_named(left)} cordoned, until a run is not refused."
    lines = [f"Uninstall is refused. {whose}{effect(plan)}.", *disruption_table(plan.disruptions)]
    return RefusedError("\n".join([*lines, advice]), problems_of(plan.disruptions))


def _then(plan: UninstallPlan, each: NodeEffect) -> str:
    if plan.operator.removed:
        return NONE
    if each.after is None or each.state.name in plan.mig:
        return UNKNOWN
    return slots_text(expected_allocatable(each.after, plan.devices(each))) or NONE


def _named(nodes: list[str]) -> str:
    return f"{plural(len(nodes), 'node')} ({some(sorted(nodes), MOST_NAMES)})"


def _users(plan: UninstallPlan) -> str:
    return plural(len(pods_of(plan.disruptions)), "running pod")


def _owners(plan: UninstallPlan) -> str:
    found = pods_of(plan.disruptions)
    names = {f"{pod.namespace} {pod.owner or f'Pod/{pod.name}'}" for pod in found}
    return some(sorted(names), MOST_NAMES)
