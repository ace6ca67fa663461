# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taints and tolerations."""

from __future__ import annotations

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.taints import (
    Taint,
    taints_of,
    tolerates,
)

TAINT = Taint("nvidia.com/gpu", "present", "NoSchedule")


@pytest.mark.parametrize(
    ("toleration", "fits"),
    [
        ({"key": "nvidia.com/gpu", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "nvidia.com/gpu", "value": "present"}, True),
        ({"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}, True),
        ({"key": "nvidia.com/gpu", "operator": "Equal", "value": "absent"}, False),
        ({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_tolerates_matches_like_the_scheduler(toleration: dict[str, object], fits: bool) -> None:
    assert tolerates(toleration, TAINT) is fits


def test_taints_are_read_from_a_node() -> None:
    taints = [{"key": "a", "effect": "NoExecute"}, {"key": "b", "effect": "PreferNoSchedule"}]
    read = taints_of({"spec": {"taints": taints}})
    assert [(str(taint), taint.repels) for taint in read] == [
        ("a:NoExecute", True),
        ("b:PreferNoSchedule", False),
    ]
    assert str(TAINT) == "nvidia.com/gpu=present:NoSchedule"
