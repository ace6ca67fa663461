# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is shown of a fleet's slots does not grow with the fleet."""

from __future__ import annotations

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.table import total
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.slots import (
    MOST_NODES,
    verdict_table,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import numbers


def rows(count: int, differing: int = 0, group: str = "dev_gpus") -> list[dict[str, object]]:
    return [
        {
            "node": f"{group}-{number:04}",
            "group": group,
            "profile": "dev",
            "physical": 2,
            "replicas": 8,
            "expected": 16,
            "actual": 4 if number < differing else 16,
            "problem": "has 4 slots" if number < differing else "",
        }
        for number in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, MOST_NODES])
def test_few_nodes_are_a_line_each(count: int) -> None:
    assert len(verdict_table(rows(count))) == 2 + count


def test_many_nodes_are_a_line_for_each_group() -> None:
    found = verdict_table([*rows(3000), *rows(2000, group="prod_gpus")])
    assert found[0].split() == [*("node", "group", "profile", "physical"), *found[0].split()[4:]]
    assert [line.split() for line in found[2:]] == [
        ["3,000", "nodes", "dev_gpus", "dev", "6000", "8", "48000", "48000"],
        ["2,000", "nodes", "prod_gpus", "dev", "4000", "8", "32000", "32000"],
    ]


def test_many_nodes_name_those_that_differ() -> None:
    found = verdict_table(rows(5000, differing=25))
    assert found[2].split() == [
        *("4,975", "nodes", "dev_gpus", "dev", "9950", "8", "79600", "79600")
    ]
    named = [line.split()[0] for line in found if line.startswith("dev_gpus-")]
    assert named == [f"dev_gpus-{number:04}" for number in range(MOST_NODES)]
    assert numbers(found[-1]) == [5]


def test_total_leaves_out_what_is_not_known() -> None:
    assert total([{"physical": None}, {"physical": 2}], "physical") == 2
