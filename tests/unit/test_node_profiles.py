# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module node_profiles on an API server in memory: it tells what it does, and no more."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._kube import objects
from ansible_collections.gpufleet.sharing.plugins.modules import node_profiles
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions
from ansible_collections.gpufleet.sharing.tests.unit.fake_api import FakeApi
from ansible_collections.gpufleet.sharing.tests.unit.fake_fleet import asked_node

LABEL = "nvidia.com/device-plugin.config"
MIG, STATE = "nvidia.com/mig.config", "nvidia.com/mig.config.state"
GPU_NODE = {"nvidia.com/gpu.present": "true", MIG: "all-1g.10gb"}


def run(monkeypatch: pytest.MonkeyPatch, api: FakeApi, **given: Any) -> dict[str, Any]:
    """What the module returns, with what it warns of."""
    defaults = {name: each.get("default") for name, each in node_profiles.SPEC.items()}
    warned: list[str] = []
    module: Any = SimpleNamespace(
        params={**defaults, **given}, check_mode=False, warn=warned.append
    )
    monkeypatch.setattr(node_profiles, "connect", lambda _module: api.cluster)
    return {**node_profiles.run(module), "warned": warned}


def test_label_that_waits_for_mig_is_not_told_as_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi()
    api.put(f"{objects.NODES}/cut", {"metadata": {"labels": {**GPU_NODE, STATE: "success"}}})
    api.put(f"{objects.NODES}/whole", {"metadata": {"labels": {**GPU_NODE, STATE: "failed"}}})
    given = {
        "nodes": [asked_node("cut", "sliced"), asked_node("whole", "sliced")],
        "profiles": {"sliced": {"replicas": 2, "mig": "all-1g.10gb"}},
        "default_profile": "sliced",
    }
    found = run(monkeypatch, api, **given)
    assert [change["node"] for change in found["changes"]] == ["cut"]
    assert found["diff"] == {"before": {"cut": None}, "after": {"cut": "sliced"}}
    assert len(found["warned"]) == 1
    assert mentions(found["warned"][0], "MIG", "whole")
    nodes = {name: api.objects[f"{objects.NODES}/{name}"] for name in ("cut", "whole")}
    assert {n: node["metadata"]["labels"].get(LABEL) for n, node in nodes.items()} == {
        "cut": "sliced",
        "whole": None,
    }
    again = run(monkeypatch, api, **given)
    assert (again["changed"], again["changes"]) == (False, [])
