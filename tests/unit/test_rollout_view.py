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
    node_change,
    plan_table,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import numbers

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
    assert len(plan_table([], [])) == 1


@pytest.mark.parametrize(
    ("batches", "head"),
    [
        ([1, 2], [1, 2, 3]),
        ([], [3]),
    ],
)
def test_plan_table_puts_alike_in_one_line(batches: list[int], head: list[float]) -> None:
    rows = [
        CHANGE,
        replace(CHANGE, node="n2"),
        replace(CHANGE, node="n3", step="wait", batch=None, pods=0),
    ]
    lines = plan_table(rows, batches)
    assert numbers(lines[0]) == head
    cells = sorted(re.split(r" {2,}", line.strip()) for line in lines[3:])
    assert [row[:5] + row[6:] for row in cells] == [
        ["g", "dev", "1", "dev: 4 nvidia.com/gpu", "dev: 8 nvidia.com/gpu", "0", "2", "n3"],
        ["g", "dev", "2", "dev: 4 nvidia.com/gpu", "dev: 8 nvidia.com/gpu", "6", "4", "n1"],
    ]
    assert len({row[5] for row in cells}) == 2  # how: a node that waits, nodes that restart


def test_plan_table_of_one_node() -> None:
    assert numbers(plan_table([CHANGE], [1])[0]) == [1, 1]


def test_plan_table_is_cut() -> None:
    rows = [replace(CHANGE, group=f"g{number:02}") for number in range(42)]
    lines = plan_table(rows, [])
    assert numbers(lines[-1]) == [2]
    assert lines[-2].startswith("g39 ")


@pytest.mark.parametrize("step", [step for step in Step if step not in (Step.NOTHING, Step.SKIP)])
def test_plan_table_says_how_for_each_step_that_changes(step: Step) -> None:
    found = change({"replicas": 4}, NodeState("n1", COUNT), "dev", step)
    assert len(plan_table([found], [])) == 4
