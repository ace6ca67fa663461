# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the plan of everything in lines of text, the last of which is its verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .._common.text import plural, some
from .._nodes.disruption import (
    Disruption,
    Hazard,
    disruption_table,
    missing_slots,
    on_nodes,
    pods_of,
)
from .content import ContentPlan
from .drain import unmovable, without_controller
from .mig_change import MigPlan
from .operator_plan import OperatorPlan
from .operator_text import operator_lines, operator_phrase
from .settings import EVICT, REFUSE, Settings
from .view import NodeCounts

ADVICE = "Move the pods, or set O(drain) to evict or ignore."
WHY_ALL = (
    "All pods that use the resource on a node go. Which of them hold the slots that disappear is"
    " not known: only the kubelet knows, and the Kubernetes API does not show it."
)


@dataclass(frozen=True)
class SitePlan:
    """All that site would do. going: keys that are removed at the end; problems: why nodes differ
    from their profile, by node; nodes: how many the inventory has; not_evicted: nodes that the
    operator changes, outside the batches, so that their pods stay.
    """

    content: ContentPlan
    operator: OperatorPlan
    mig: MigPlan
    counts: NodeCounts
    settings: Settings
    table: Sequence[str] = ()
    disruptions: Sequence[Disruption] = ()
    not_evicted: Collection[str] = ()
    notes: Sequence[str] = ()
    uncordoned: Sequence[str] = ()
    unfinished: bool = False
    going: Sequence[str] = ()
    new_namespace: bool = False
    problems: Mapping[str, str] = field(default_factory=dict)
    nodes: int = 0
    no_nodes: bool = False

    @property
    def evicted(self) -> list[Disruption]:
        """What would be evicted."""
        if self.settings.drain != EVICT:
            return []
        return [
            each
            for each in self.disruptions
            if each.hazard is Hazard.MIG or each.pod.node not in self.not_evicted
        ]

    @property
    def staying(self) -> list[Disruption]:
        """What would be disrupted and not evicted."""
        evicted = {each.pod.uid for each in self.evicted}
        return [each for each in self.disruptions if each.pod.uid not in evicted]


def summary_lines(plan: SitePlan) -> list[str]:
    """Keys, operator, nodes, disruptions and notes, as far as there is something to say, and the
    verdict.
    """
    return [
        *content_lines(plan),
        *operator_lines(plan.operator, plan.settings.namespace),
        *_mig_lines(plan.mig),
        *(plan.table if _changes_nodes(plan.counts) else []),
        *disruption_lines(plan),
        *plan.notes,
        verdict(plan),
    ]


def content_lines(plan: SitePlan) -> Iterator[str]:
    content, settings = plan.content, plan.settings
    if plan.new_namespace:
        yield f"Namespace {settings.namespace}: it is created"
    elif content.labels:
        yield f"Namespace {settings.namespace}: it gets the labels {some(sorted(content.labels))}"
    had = content.keys.before.data if content.keys.before else {}
    kinds = (
        ("new keys", [key for key in sorted(content.keys.put) if key not in had]),
        ("changed keys", [key for key in sorted(content.keys.put) if key in had]),
        ("keys removed at the end", list(plan.going)),
    )
    said = [f"{kind}: {some(keys)}" for kind, keys in kinds if keys]
    if content.keys and not said:
        said = ["only its annotation changes"]
    if said:
        yield f"ConfigMap {settings.config_map}: {'; '.join(said)}"


def _mig_lines(mig: MigPlan) -> Iterator[str]:
    if mig.changes:
        kinds = Counter(str(change.after) for change in mig.changes.values())
        shown = [f"{name} ({plural(count, 'node')})" for name, count in sorted(kinds.items())]
        sizes = ", ".join(str(len(batch)) for batch in mig.batches)
        yield f"MIG: {some(shown)}, in batches of {sizes}"
    if mig.waiting:
        yield f"MIG: {plural(len(mig.waiting), 'node')} changing already"


def _changes_nodes(counts: NodeCounts) -> bool:
    return bool(counts.batches or counts.by_operator or counts.waited or counts.recorded)


def disruption_lines(plan: SitePlan) -> list[str]:
    """The running pods that would be disrupted or evicted."""
    refuses = plan.settings.drain == REFUSE
    lines = []
    if staying := plan.staying:
        what = "so site refuses the change" if refuses else "and site does not evict them"
        lines += [f"{on_nodes(staying)} would be disrupted, {what}:", *disruption_table(staying)]
    if evicted := plan.evicted:
        head = f"{on_nodes(evicted)} would be evicted. What would happen to them otherwise:"
        lines += [head, *disruption_table(evicted), *_cost(evicted, plan.settings)]
    return lines


def _cost(evicted: Sequence[Disruption], settings: Settings) -> Iterator[str]:
    """What an eviction costs."""
    yield WHY_ALL
    yield (
        "A pod is down until another node has a free slot for it, or until its own node has"
        f" settled, which takes {settings.wait.stable:g} s at least and {settings.wait.timeout:g} s"
        " at most after the evictions of its batch. On a node of a later batch it is evicted again."
    )
    if missing := missing_slots(evicted):
        where = some([f"{node} ({count})" for node, count in sorted(missing.items())])
        total = plural(sum(missing.values()), "slot")
        yield (
            f"Afterwards these nodes lack {total} for these pods: {where}. Pods that no other node"
            " has room for stay Pending; site lists them at its end."
        )
    if lost := without_controller(pods_of(evicted)):
        names = some(list(map(str, lost)))
        yield f"Nothing recreates these pods, because they have no controller: {names}"


def verdict(plan: SitePlan) -> str:
    """What site would do, in one line."""
    work = list(_work(plan))
    if reason := _refused(plan):
        return f"site would refuse this: {reason} To do then: {'; '.join(work)}."
    if work:
        return f"To do: {'; '.join([*work, *_effect(plan)])}."
    if plan.no_nodes:
        return "Nothing to do: the cluster has none of the selected nodes."
    ending = "".join(f"; {text}" for text in plan.counts.others)
    if plan.problems:
        node, reason = min(plan.problems.items())
        return (
            f"Nothing to do, but {len(plan.problems)} of {plural(plan.nodes, 'node')} would fail"
            f" verification, such as {node}: {reason}{ending}. Run doctor to find the cause."
        )
    return f"Nothing to do: {plural(plan.counts.unchanged, 'node')} as the inventory says{ending}."


def _refused(plan: SitePlan) -> str:
    """Why site would refuse the plan, and what to do; empty where it would not."""
    if not plan.disruptions:
        return ""
    if plan.settings.drain == REFUSE:
        return f"{on_nodes(plan.disruptions)} would be disrupted. {ADVICE}"
    pods = pods_of(plan.evicted)
    stuck = unmovable(pods)
    names = [f"{pod} on {pod.node}" for pod in pods if pod.uid in stuck]
    if not names:
        return ""
    return (
        f"evictions would not move {len(names)} of {plural(len(pods), 'pod')} ({some(names, 5)}),"
        f" because {min(stuck.values())}. Delete or move them."
    )


def _work(plan: SitePlan) -> Iterator[str]:
    """Everything that is to do, each as part of a sentence."""
    content, counts = plan.content, plan.counts
    if plan.new_namespace:
        yield "the namespace is created"
    if content.keys.put:
        count = len(content.keys.put)
        yield f"{plural(count, 'key')} of the ConfigMap {'is' if count == 1 else 'are'} written"
    elif content:
        yield "annotations and labels are written"
    if phrase := operator_phrase(plan.operator):
        yield phrase
    elif not plan.operator.settled:
        yield "site waits until the operator uses the profiles"
    if plan.mig:
        yield f"MIG changes on {plural(len(plan.mig.changes) or len(plan.mig.waiting), 'node')}"
    more = list(_more(plan))
    if content or plan.operator.differs or plan.mig or _changes_nodes(counts) or more:
        yield str(counts)
    yield from more


def _more(plan: SitePlan) -> Iterator[str]:
    if plan.uncordoned:
        left = plural(len(plan.uncordoned), "node")
        yield f"{left} that a killed run left cordoned can be scheduled again"
    if plan.unfinished and not _changes_nodes(plan.counts):
        yield "a revision is recorded"
    if plan.going:
        yield f"{plural(len(plan.going), 'key')} of the ConfigMap removed at the end"


def _effect(plan: SitePlan) -> Iterator[str]:
    if evicted := pods_of(plan.evicted):
        yield f"{plural(len(evicted), 'pod')} would be evicted"
    if staying := pods_of(plan.staying):
        yield f"{plural(len(staying), 'pod')} would be disrupted"
