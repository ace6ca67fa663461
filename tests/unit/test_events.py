# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why pods of the operator could not be created."""

from __future__ import annotations

from typing import Any

from ansible_collections.gpufleet.sharing.plugins.module_utils._provider.events import (
    creation_failures,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions


def failed_create(name: str, message: str, at: str) -> dict[str, Any]:
    involved = {"kind": "ReplicaSet", "name": name}
    return {"involvedObject": involved, "message": message, "lastTimestamp": at}


def test_causes_are_the_newest_first_and_each_once() -> None:
    quota = (
        "Error creating: insufficient quota to match these scopes: [{PriorityClass In"
        " [system-node-critical system-cluster-critical]}]"
    )
    found = creation_failures(
        [
            failed_create("old", 'Error creating: pods "old-1" is forbidden: a', "2026-01-01"),
            failed_create("old", 'Error creating: pods "old-2" is forbidden: a', "2026-01-02"),
            failed_create("gpu-operator-1", quota, "2026-01-03"),
        ]
    )
    assert len(found) == 2
    assert mentions(found[0], "ReplicaSet gpu-operator-1", "system-node-critical", "ResourceQuota")
    assert mentions(found[1], "ReplicaSet old", "old-2")
    assert "ResourceQuota" not in found[1]
