# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes compared with their profiles: which differ, and which are only not there for now."""

from __future__ import annotations

from typing import cast

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.comparison import (
    compare,
    comparison,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    checked_profiles,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.desired import Desired
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

GPU = "nvidia.com/gpu"
UPGRADE = "nvidia.com/gpu-driver-upgrade-state"
DESIRED = Desired(checked_profiles({"default": {"replicas": 4}}), "default", {"n": None})


@pytest.mark.parametrize(
    ("labels", "slots", "ready", "all_needed", "differing", "unavailable"),
    [
        pytest.param({}, 4, True, False, [], [], id="right"),
        pytest.param({}, 0, True, False, ["n"], [], id="no slots"),
        pytest.param({}, 0, False, False, [], ["n"], id="NotReady"),
        pytest.param({}, 0, False, True, ["n"], [], id="NotReady, and needed"),
        pytest.param({UPGRADE: "drain-required"}, 0, True, False, [], ["n"], id="upgrade"),
        pytest.param({UPGRADE: "drain-required"}, 4, True, False, [], [], id="upgrade, right"),
        pytest.param({UPGRADE: "drain-required"}, 0, True, True, [], ["n"], id="and needed"),
        pytest.param({UPGRADE: "upgrade-failed"}, 0, True, False, ["n"], [], id="upgrade failed"),
        pytest.param({UPGRADE: "upgrade-required"}, 0, True, False, ["n"], [], id="not begun"),
    ],
)
def test_comparison(
    labels: dict[str, str],
    slots: int,
    ready: bool,
    all_needed: bool,
    differing: list[str],
    unavailable: list[str],
) -> None:
    counted = {"nvidia.com/gpu.count": "1", **labels}
    state = NodeState("n", counted, {}, {GPU: slots}, ready=ready)
    found = comparison(compare(DESIRED, {"n": state}), all_needed=all_needed)
    problems = cast("dict[str, dict[str, str]]", found)
    assert list(problems["differing"]) == differing
    assert list(problems["unavailable"]) == unavailable
    for text in problems["unavailable"].values():
        assert not ready or mentions(text, UPGRADE, "drain-required", 0, 4)
