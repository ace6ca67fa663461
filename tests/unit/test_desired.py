# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each node should have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    FleetError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.desired import (
    Desired,
    Target,
)
from ansible_collections.gpufleet.sharing.tests.unit.rollout_values import (
    PROFILE,
    TARGET,
)


@pytest.mark.parametrize(
    ("versioned", "assigned", "label", "key"),
    [
        (False, "p", "p", "p"),
        (False, None, None, "d"),
        (True, "p", "p.{}", "p.{}"),
        (True, None, "d.{}", "d.{}"),
    ],
)
def test_desired_target(versioned: bool, assigned: str | None, label: str | None, key: str) -> None:
    profiles = {"p": PROFILE, "d": replace(PROFILE, name="d")}
    desired = Desired(profiles, "d", {"n1": assigned}, versioned, {"n1": 2}, {"n1": "rack"})
    digits = TARGET.hash[:8]
    expected = Target(
        "n1",
        profiles[assigned or "d"],
        2,
        label and label.format(digits),
        key.format(digits),
        "rack",
    )
    assert desired.target("n1") == expected
    assert desired.targets() == {"n1": expected}
    assert replace(desired, groups={}, gpus={}).target("n1").group == (assigned or "d")


def test_desired_target_of_an_undefined_profile() -> None:
    desired = Desired({"p": PROFILE}, "p", {"n1": "q"})
    with pytest.raises(FleetError, match=r"O\(profile\).*n1.*'q'"):
        desired.targets()
