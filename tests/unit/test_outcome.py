# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of clusters that failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.gpufleet.sharing.plugins.plugin_utils._outcome import (
    LONGEST,
    REGISTERED,
    failed_clusters,
)

ROLES = Path(__file__).resolve().parents[2] / "roles"
ABOVE = failed_clusters(["a"], {})[0].removeprefix("a: ")  # where no message is known


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"gpu_preflight_cluster": {"failed": True, "msg": "No.\nMore"}}, "No."),
        ({"gpu_nodes_rollout": {"failed": True, "msg": "a" * 999}}, "a" * LONGEST + "..."),
        ({"gpu_nodes_rollout": {"failed": False, "msg": "well"}}, ABOVE),
        ({"gpu_nodes_rollout": {"failed": True, "msg": ""}}, ABOVE),
        ({"other": {"failed": True, "msg": "not ours"}}, ABOVE),
        ({}, ABOVE),
        (None, ABOVE),
    ],
)
def test_failed_clusters(variables: object, expected: str) -> None:
    assert failed_clusters(["b", "a"], {"b": variables}) == [f"a: {ABOVE}", f"b: {expected}"]


def test_everything_is_registered_so() -> None:
    """Each name is one that a role registers."""
    tasks = "".join(file.read_text(encoding="utf-8") for file in ROLES.glob("*/tasks/*.yml"))
    assert [name for name in REGISTERED if f"register: {name}\n" not in tasks] == []
