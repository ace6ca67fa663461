# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for people: a row for each node, a line for nodes that change alike."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    parse_profile,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.desired import Target
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.plan import (
    Step,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.view import (
    NodeChange,
    NodeCounts,
    node_change,
    plan_table,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions, numbers

GPU = "nvidia.com/gpu"
COUNT = {"nvidia.com/gpu.count": "2"}
CHANGE = NodeChange("n1", "g", "dev", "dev", "dev", f"4 {GPU}", f"8 {GPU}", "restart", 1, 3, 2)


def change(
    definition: dict[str, object], state: NodeState, label: str | None, step: Step = Step.FLIP
) -> NodeChange:
    target = Target("n1", parse_profile("dev", definition), None, label, "dev", "g")
    return node_change(target, state, step, batch=2, pods=3, disrupted=1)


@pytest.mark.parametrize(
    ("definition", "labels", "allocatable", "label", "before", "after"),
    [
        pytest.param(
            {"replicas": 4}, COUNT, {GPU: 2}, "dev", f": 2 {GPU}", f"dev: 8 {GPU}", id="new"
        ),
        pytest.param(
            {"replicas": 4, "rename_by_default": True},
            {**COUNT, "nvidia.com/device-plugin.config": "dev"},
            {GPU: 8, f"{GPU}.shared": 0},
            "dev",
            f"dev: 8 {GPU}",
            f"dev: 8 {GPU}.shared",
            id="renamed",
        ),
        pytest.param(
            {"replicas": 1},
            {**COUNT, "nvidia.com/device-plugin.config": ""},
            {GPU: 2, "nvidia.com/mig-1g.5gb": 7},
            None,
            f": 2 {GPU}, 7 nvidia.com/mig-1g.5gb",
            f": 2 {GPU}",
            id="several resources",
        ),
        pytest.param({"replicas": 4}, {}, {}, "dev", "", "dev", id="not discovered yet"),
    ],
)
def test_node_change(
    definition: dict[str, object],
    labels: dict[str, str],
    allocatable: dict[str, int],
    label: str | None,
    before: str,
    after: str,
) -> None:
    found = change(definition, NodeState("n1", labels, {}, allocatable), label)
    # Without a profile's name there is no label.
    for text, expected in ((found.before, before), (found.after, after)):
        assert text.endswith(expected)
        assert text.startswith("dev") is expected.startswith("dev")
    assert (found.group, found.profile, found.step) == ("g", "dev", "flip")
    assert (found.batch, found.pods, found.disrupted) == (2, 3, 1)


def test_plan_table_of_nothing() -> None:
    assert len(plan_table([], NodeCounts())) == 1


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (NodeCounts(), []),
        (NodeCounts([1, 2, 2, 2], unchanged=4), [1, 2, 2, 2, 4, 7]),
        (NodeCounts([1]), [1]),
        (NodeCounts(waited=2, recorded=3, unchanged=1, left_out=5, unmanaged=6), [1, 2, 3, 5, 6]),
    ],
)
def test_counts_are_said(counts: NodeCounts, said: list[int]) -> None:
    assert numbers(counts) == said
    assert counts.as_dict()["changing"] == sum(counts.batches)


def test_plan_table_puts_alike_in_one_line() -> None:
    rows = [
        CHANGE,
        replace(CHANGE, node="n2"),
        replace(CHANGE, node="n3", step="wait", batch=None, pods=0),
    ]
    same = [
        replace(CHANGE, node=name, step="nothing", batch=None, pods=None) for name in ("n4", "n5")
    ]
    counts = NodeCounts([1, 1], waited=1, unchanged=2)
    lines = plan_table(rows, counts, same)
    assert numbers(lines[0]) == numbers(counts)
    cells = sorted(re.split(r" {2,}", line.strip()) for line in lines[3:])
    assert [row[:5] + row[6:] for row in cells] == [
        ["g", "dev", "1", "dev: 4 nvidia.com/gpu", "dev: 8 nvidia.com/gpu", "0", "2", "n3"],
        ["g", "dev", "2", "dev: 4 nvidia.com/gpu", "dev: 8 nvidia.com/gpu", "-", "4", "n4"],
        ["g", "dev", "2", "dev: 4 nvidia.com/gpu", "dev: 8 nvidia.com/gpu", "6", "4", "n1"],
    ]
    assert len({row[5] for row in cells}) == 3  # how: nodes that wait, restart, or need nothing


def test_pods_that_are_not_counted_have_no_column() -> None:
    assert mentions(plan_table([CHANGE], NodeCounts([1]))[1], "GPU pods")
    assert "GPU pods" not in plan_table([replace(CHANGE, pods=None)], NodeCounts([1]))[1]


def test_plan_table_is_cut() -> None:
    rows = [replace(CHANGE, group=f"g{number:02}") for number in range(42)]
    lines = plan_table(rows, NodeCounts())
    assert numbers(lines[-1]) == [2]
    assert lines[-2].startswith("g39 ")


@pytest.mark.parametrize("step", [step for step in Step if step not in (Step.NOTHING, Step.SKIP)])
def test_plan_table_says_how_for_each_step_that_changes(step: Step) -> None:
    found = change({"replicas": 4}, NodeState("n1", COUNT), "dev", step)
    assert len(plan_table([found], NodeCounts())) == 4
