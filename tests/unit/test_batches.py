# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of nodes and the sizes of batches."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    SharingError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.batches import (
    batch_sizes,
    split_into_batches,
    spread,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions


@pytest.mark.parametrize(
    ("groups", "order"),
    [
        ({}, ["a", "b", "c", "d"]),
        ({"a": "x", "b": "x", "c": "y", "d": "y"}, ["a", "c", "b", "d"]),
        ({"a": "x", "b": "x", "c": "x", "d": "y"}, ["a", "b", "d", "c"]),
    ],
)
def test_spread(groups: dict[str, str], order: list[str]) -> None:
    assert spread(["d", "c", "b", "a"], groups) == order


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    spec=st.lists(st.sampled_from(["1", "3", "5%", "25%", "100%"]), min_size=1, max_size=4),
)
def test_spread_keeps_all_nodes_and_proportions(sizes: list[int], spec: list[str]) -> None:
    """In each stretch from the first node on, so at the end of each batch, each group has its
    share, give or take one node.
    """
    groups = {
        f"n{number}-{group}": f"g{group}"
        for group, size in enumerate(sizes)
        for number in range(size)
    }
    order = spread(groups, groups)
    assert sorted(order) == sorted(groups)
    batches = split_into_batches(order, spec)
    assert [node for batch in batches for node in batch] == order
    assert all(batches)
    for length in range(1, len(order) + 1):
        counts = Counter(groups[node] for node in order[:length])
        for group, size in enumerate(sizes):
            assert abs(counts[f"g{group}"] - size * length / len(order)) <= len(sizes) / 2 + 1


@pytest.mark.parametrize(
    ("spec", "total", "expected"),
    [
        (["1", "25%"], 10, [1, 3, 3, 3]),
        ([], 7, [7]),
        ([2], 5, [2, 2, 1]),
        (["100%"], 3, [3]),
        (["1%"], 3, [1, 1, 1]),
        ([10], 3, [3]),
        ([1, 2, 3], 10, [1, 2, 3, 3, 1]),
        ([1], 0, []),
        ([], 0, []),
    ],
)
def test_batch_sizes_cuts(spec: list[object], total: int, expected: list[int]) -> None:
    assert batch_sizes(spec, total) == expected


@pytest.mark.parametrize("entry", [0, "0", "0%", "101%", "-1", "1.5", "all", "", None, "%", True])
def test_batch_sizes_refuses(entry: object) -> None:
    with pytest.raises(SharingError) as caught:
        batch_sizes([entry], 4)
    assert mentions(caught.value, "batches", f"'{entry}'", "1%", "100%")


def test_split_into_batches_keeps_order() -> None:
    assert split_into_batches(["a", "b", "c", "d"], [1, "50%"]) == [["a"], ["b", "c"], ["d"]]
