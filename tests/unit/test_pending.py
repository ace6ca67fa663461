# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods that stay Pending after evictions are counted by controller, once the scheduler had time."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.clock import Clock
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.pods import (
    GpuPod,
    PendingPod,
    pending_pod,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.pending import (
    SCHEDULING,
    Pending,
    left_pending,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions, numbers

GPU = "nvidia.com/gpu"
WHY = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."


def document(status: dict[str, Any], *, node: str = "", slots: int = 1) -> dict[str, Any]:
    requests = {GPU: str(slots)} if slots else {}
    owner = {"kind": "StatefulSet", "name": "train", "controller": True}
    return {
        "metadata": {"namespace": "work", "name": "p", "ownerReferences": [owner]},
        "spec": {"nodeName": node, "containers": [{"resources": {"limits": requests}}]},
        "status": status,
    }


def unscheduled(status: str = "False") -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": status, "message": WHY}
    return {"phase": "Pending", "conditions": [condition]}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (document(unscheduled()), WHY),
        (document(unscheduled("True")), ""),
        (document({"phase": "Pending"}), ""),
        (document(unscheduled(), node="n1"), None),
        (document(unscheduled(), slots=0), None),
        (document({"phase": "Failed"}), None),
    ],
    ids=["no slot", "being bound", "not looked at yet", "bound", "no GPU", "ended"],
)
def test_pending_pod(given: dict[str, Any], reason: str | None) -> None:
    found = pending_pod(given)
    assert (found.reason if found else None) == reason
    if found:
        assert (found.namespace, found.name, found.owner) == ("work", "p", "StatefulSet/train")


def evicted(namespace: str, owner: str) -> GpuPod:
    return GpuPod(namespace, "old", "uid", "n1", owner, False, False, {GPU: 1}, "Running", False)


def waits(namespace: str, name: str, owner: str, reason: str = "") -> PendingPod:
    return PendingPod(namespace, name, owner, reason)


@dataclass
class Watched:
    """Pods, some of which the scheduler binds at a time."""

    waiting: list[PendingPod]
    bound_at: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    running: bool = False

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def pods(self) -> list[PendingPod]:
        return [p for p in self.waiting if self.bound_at.get(p.name, 1e9) > self.seconds]

    def wait(self, seconds: float) -> Collection[str]:
        assert self.running
        self.seconds += min(1.0, seconds)
        return []


def left(live: Watched, *gone: GpuPod) -> list[Pending]:
    found = left_pending(live, gone, Clock(lambda: live.seconds, lambda _seconds: None))
    assert not live.running
    return found


def test_pods_that_nobody_evicted_are_not_waited_for() -> None:
    others = [waits("work", "a", "Deployment/other"), waits("team", "b", "Deployment/web")]
    live = Watched([*others, waits("work", "c", "")])
    assert left(live, evicted("work", "Deployment/web"), evicted("work", "")) == []
    assert live.seconds == 0


def test_pods_that_the_scheduler_places_are_not_pending() -> None:
    live = Watched([waits("work", "a", "Deployment/web")], {"a": 3.0})
    assert left(live, evicted("work", "Deployment/web")) == []
    assert live.seconds == 3


def test_pods_that_stay_are_counted_by_controller() -> None:
    web = [waits("work", "a", "Deployment/web", WHY), waits("work", "b", "Deployment/web")]
    live = Watched([*web, waits("work", "c", "Deployment/web")], {"c": 2.0})
    found = left(live, *[evicted("work", "Deployment/web")] * 3)
    assert found == [Pending("work", "Deployment/web", 2, WHY)]
    assert live.seconds == SCHEDULING
    assert mentions(found[0], "work", "Deployment/web", WHY)
    assert numbers(Pending("work", "Deployment/web", 2, "")) == [2]
