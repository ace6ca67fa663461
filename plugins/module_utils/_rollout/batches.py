# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the order of nodes and the sizes of batches."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .._common.errors import SharingError
from .desired import Target
from .plan import RolloutPlan, Step

_PERCENT = re.compile(r"([0-9]{1,3})%")


def ordered_nodes(plan: RolloutPlan, targets: Mapping[str, Target]) -> list[str]:
    """The nodes that change, in the order of the rollout."""
    groups = {node: target.group for node, target in targets.items()}
    return spread(plan.nodes(Step.FLIP, Step.RESTART), groups)


def spread(nodes: Iterable[str], groups: Mapping[str, str]) -> list[str]:
    """The nodes in an order in which every stretch has the groups in proportion, so that a batch,
    and first of all the canary, represents the fleet.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for node in sorted(nodes):
        members[groups.get(node, "")].append(node)
    placed = [
        ((place + 0.5) / len(group), name, node)
        for name, group in members.items()
        for place, node in enumerate(group)
    ]
    return [node for _fraction, _name, node in sorted(placed)]


def batch_sizes(spec: Sequence[object], total: int) -> list[int]:
    """The sizes of batches of total nodes, like Ansible's serial: numbers or percentages, the last
    one repeated.

    Raises SharingError for anything else. ["1", "25%"] of 10 nodes gives 1, 3, 3, 3.
    """
    steps = [_batch_size(entry, total) for entry in spec] or [total]
    sizes: list[int] = []
    while (left := total - sum(sizes)) > 0:
        sizes.append(min(left, steps[min(len(sizes), len(steps) - 1)]))
    return sizes


def _batch_size(entry: object, total: int) -> int:
    text = str(entry)
    if match := _PERCENT.fullmatch(text):
        if 1 <= int(match[1]) <= 100:
            return max(1, -(-total * int(match[1]) // 100))
    elif text.isdecimal() and int(text) >= 1:
        return int(text)
    raise SharingError(
        f"O(batches) has the entry '{entry}'; allowed: a number of nodes, 1 or more, or a"
        " percentage from 1% to 100%, for example [1, '25%']."
    )


def split_into_batches(nodes: Sequence[str], spec: Sequence[object]) -> list[list[str]]:
    remaining: Iterator[str] = iter(nodes)
    return [[next(remaining) for _place in range(size)] for size in batch_sizes(spec, len(nodes))]
