# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of clusters that failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.gpufleet.sharing.plugins.plugin_utils._outcome import (
    MAX_LENGTH,
    RESULT,
    failed_clusters,
)

ROLES = Path(__file__).resolve().parents[2] / "roles"
ASSERT = "ansible.builtin.assert"
ABOVE = failed_clusters(["a"], {})[0].removeprefix("a: ")  # where no message is known


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"gpu_preflight_result": {"failed": True, "msg": "No.\nMore"}}, "No."),
        ({"gpu_nodes_result": {"failed": True, "msg": "a" * 999}}, "a" * MAX_LENGTH + "..."),
        ({"gpu_nodes_result": {"failed": False, "msg": "well"}}, ABOVE),
        ({"gpu_nodes_result": {"failed": True, "msg": ""}}, ABOVE),
        ({"other": {"failed": True, "msg": "not ours"}}, ABOVE),
        ({}, ABOVE),
        (None, ABOVE),
    ],
)
def test_failed_clusters(variables: object, expected: str) -> None:
    assert failed_clusters(["b", "a"], {"b": variables}) == [f"a: {ABOVE}", f"b: {expected}"]


def tasks_of(document: Any) -> Iterator[dict[str, Any]]:
    """The tasks of a file, those in blocks too."""
    for task in document or []:
        yield task
        for part in ("block", "rescue", "always"):
            yield from tasks_of(task.get(part))


TASKS = [
    (file, task)
    for file in sorted(ROLES.glob("*/tasks/*.yml"))
    for task in tasks_of(yaml.safe_load(file.read_text(encoding="utf-8")))
]


def test_tasks_that_can_fail_a_cluster_register_their_result() -> None:
    """Under a name that is theirs and that the summary finds."""
    wrong = [
        (file.parent.parent.name, task["name"])
        for file, task in TASKS
        if any(key.startswith("gpufleet.sharing.") or key == ASSERT for key in task)
        if not str(task.get("register")).endswith(RESULT)
    ]
    assert wrong == []


def test_nothing_else_has_such_a_name() -> None:
    wrong = [
        name
        for _file, task in TASKS
        for name in task.get("ansible.builtin.set_fact", {})
        if name.endswith(RESULT)
    ]
    assert wrong == []
