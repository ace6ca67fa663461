# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict of a plan: its counts, and what site does besides changing nodes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.disruption import (
    Disruption,
    Hazard,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.mig import MigChange
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.pods import GpuPod
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.config_map import (
    ConfigMapPlan,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._provider.cluster_policy import (
    DevicePluginConfig,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.content import ContentPlan
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.mig_change import MigPlan
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.operator_plan import (
    OperatorPlan,
    OperatorRequest,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.settings import (
    DRAINS,
    EVICT,
    Settings,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.settle import WaitTimes
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.summary import (
    SitePlan,
    summary_lines,
    verdict,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.view import NodeCounts
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions, numbers

OURS = DevicePluginConfig("device-plugin-config", "default")
OPERATOR = OperatorPlan(OperatorRequest(OURS), None, True, {}, OURS)
UNCHANGED = ContentPlan(ConfigMapPlan(None, {}, (), (), {}), {})
SETTINGS = Settings("gpus", "device-plugin-config", ["1"], WaitTimes(60, 5))
NOTHING = SitePlan(
    content=UNCHANGED,
    operator=OPERATOR,
    mig=MigPlan(),
    counts=NodeCounts(unchanged=11),
    settings=SETTINGS,
    nodes=11,
)


def plan(**changes: Any) -> SitePlan:
    return replace(NOTHING, **changes)


def keys(*put: str) -> ContentPlan:
    return replace(UNCHANGED, keys=replace(UNCHANGED.keys, put=dict.fromkeys(put, "x")))


def disruption(name: str, node: str, owner: str = "Job/train", missing: int = 0) -> Disruption:
    pod = GpuPod("work", name, name, node, owner, False, False, {}, "Running", False)
    return Disruption(pod, Hazard.ABOVE_CAPACITY, "too many", missing)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (plan(), [11]),
        (plan(counts=NodeCounts(unchanged=9, left_out=2, unmanaged=3)), [2, 3, 9]),
        (plan(no_nodes=True, counts=NodeCounts(left_out=11)), []),
        (plan(problems={"n2": "has 3", "n1": "has 4"}), [2, 4, 11]),
    ],
    ids=["all are right", "others are counted", "no nodes", "wrong slots"],
)
def test_nothing_to_do(found: SitePlan, said: list[int]) -> None:
    assert verdict(found).startswith("Nothing to do")
    assert numbers(verdict(found)) == said
    assert summary_lines(found) == [verdict(found)]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (plan(content=keys("a", "b")), [2, 11]),
        (plan(counts=NodeCounts([1, 2, 2, 2], unchanged=4)), [1, 2, 2, 2, 4, 7]),
        (plan(uncordoned=["n1", "n2"]), [2, 11]),
        (plan(going=["old"]), [1, 11]),
        (plan(unfinished=True), [11]),
        (plan(operator=replace(OPERATOR, settled=False)), []),
        (plan(mig=MigPlan(waiting=["n1", "n2", "n3"])), [3, 11]),
    ],
    ids=["keys", "nodes", "cordons", "pruning", "history", "waiting", "MIG"],
)
def test_something_to_do(found: SitePlan, said: list[int]) -> None:
    assert verdict(found).startswith("To do")
    assert numbers(verdict(found)) == said


def test_namespace_and_mig_are_lines() -> None:
    change = MigChange("n1", None, "all-1g.5gb")
    found = plan(
        content=replace(keys("dev"), labels={"a": "b"}),
        new_namespace=True,
        mig=MigPlan({"n1": change}, [["n1"]]),
    )
    namespace, config_map, mig, _verdict = summary_lines(found)
    assert mentions(namespace, "gpus")
    assert mentions(config_map, "device-plugin-config", "dev")
    assert mentions(mig, "all-1g.5gb (1 node)")


@pytest.mark.parametrize("drain", DRAINS)
def test_disruptions_are_counted_by_pod(drain: str) -> None:
    """A pod may be disrupted in two ways."""
    found = plan(
        disruptions=[disruption("a", "n1"), disruption("a", "n1"), disruption("b", "n2")],
        settings=replace(SETTINGS, drain=drain),
        counts=NodeCounts([2], unchanged=9),
    )
    assert numbers(verdict(found)).count(2) >= 2  # pods, and nodes
    assert verdict(found).startswith("site would refuse") == (drain == "refuse")
    assert ("evicted" in verdict(found)) == (drain == EVICT)


def test_cost_of_evictions() -> None:
    found = plan(
        disruptions=[
            disruption("a", "n1", missing=2),
            disruption("b", "n1", missing=2),
            disruption("c", "n2", owner=""),
        ],
        settings=replace(SETTINGS, drain=EVICT),
        counts=NodeCounts([2], unchanged=9),
    )
    text = "\n".join(summary_lines(found))
    assert mentions(text, "n1 (2)", "5 s", "60 s", "work/c")
    assert "n2 (" not in text
