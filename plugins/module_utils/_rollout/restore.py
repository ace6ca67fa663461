# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: rolling back to the last good revision."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from .._common.text import plural
from .._kube.objects import if_unchanged, namespaced, object_path
from .._kube.retry import retry_on_conflict
from .._nodes.maintenance import maintenance
from .._profiles.config_map import plan_config_map, read_config_map
from .batches import ordered_nodes
from .desired import Desired, Target
from .live import LiveFleet
from .outcome import Outcome, format_duration, unsettled_table
from .plan import Step, plan_rollout
from .settle import NotSettled
from .write import Writer

RunBatches = Callable[[Mapping[str, Target], Sequence[Sequence[str]]], Mapping[str, NotSettled]]


@dataclass(frozen=True)
class Restorer:
    """Restores the previous revision after targets failed. bring_back changes nodes to targets,
    batch by batch, and returns those that did not settle.
    """

    writer: Writer
    config_map: str
    report: Callable[[str], None]
    previous: Desired
    targets: Mapping[str, Target]
    bring_back: RunBatches

    @property
    def _live(self) -> LiveFleet:
        return self.writer.live

    def restore(self, outcome: Outcome, batch_size: int) -> list[str]:
        """Restore content and labels, and restart what needs it, failed nodes first. Returns lines
        for the error message.
        """
        started = self._live.now()
        before = {node: self.previous.target(node) for node in self.previous.assignments}
        self._restore_content()
        changed = {*outcome.touched, *self._changed_by_others(before)}
        targets = {node: before[node] for node in sorted(changed) if node in before}
        observed = self._live.observe()
        plan = plan_rollout(targets.values(), observed)
        work = sorted(ordered_nodes(plan, targets), key=lambda node: node not in outcome.failed)
        work += plan.nodes(Step.WAIT, Step.RECORD)  # these only have to be waited for
        self.report(f"rollback: {plural(len(work), 'node')}")
        batches = [work[start : start + batch_size] for start in range(0, len(work), batch_size)]
        failed = self.bring_back(targets, batches)
        unready = [node for node in plan.nodes(Step.SKIP) if node in observed.nodes]
        self.writer.relabel(unready, targets)  # for when they come back
        failed = {**failed, **{node: self._why_unready(node) for node in unready}}
        took = format_duration(self._live.now() - started)
        lines = [f"Rolled {plural(len(work), 'node')} back to the previous profiles in {took}."]
        if failed:
            lines = [
                f"{len(failed)} of {len(work) + len(unready)} nodes are not rolled back yet after"
                f" {took}:",
                *unsettled_table(failed),
            ]
        if unknown := sorted(set(outcome.touched) - targets.keys()):
            lines.append(f"Unchanged, since they had no profile before: {', '.join(unknown)}.")
        return [*lines, "Correct the profile or the cause, and run again."]

    def _why_unready(self, node: str) -> NotSettled:
        why = maintenance(self._live.observe().nodes[node])
        return NotSettled("node", why or "node is NotReady")

    def _changed_by_others(self, before: Mapping[str, Target]) -> list[str]:
        """Nodes that have the failed content although this run did not touch them: an earlier run
        that was killed changed them, or their plugin restarted and loaded it.
        """
        observed = self._live.observe()
        both = self.targets.keys() & before.keys() & observed.nodes.keys()
        plan = plan_rollout([before[node] for node in both], observed)
        loaded, previous = plan.before, plan.after
        return [
            node
            for node in both
            if loaded[node] == self.targets[node].hash != previous[node]
            or (loaded[node] == previous[node] and plan.steps[node] is Step.RESTART)
        ]

    def _restore_content(self) -> None:
        """Restore all keys of the ConfigMap: any restart of a plugin would load the new content."""
        cluster, files = self.writer.cluster, self.previous.files
        config_maps = namespaced("configmaps", self.writer.namespace)
        path = object_path(config_maps, self.config_map)

        def restore() -> None:
            document = cluster.find(path)
            if document is None or not files:
                return
            found = read_config_map(document)
            if known := self._live.observe().config_map:
                found = replace(found, shadowed=known.shadowed)
            if plan := plan_config_map(found, files, now=cluster.now()):
                self.writer.check()
                cluster.patch(path, if_unchanged(plan.patch(), document))

        retry_on_conflict(restore)
        self._live.refresh_config_map()
