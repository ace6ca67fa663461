# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module profiles on an API server in memory, beside another run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._kube import objects
from ansible_collections.gpufleet.sharing.plugins.modules import profiles
from ansible_collections.gpufleet.sharing.tests.unit.fake_api import FakeApi

MAP = "/api/v1/namespaces/gpu-operator/configmaps/device-plugin-config"
LABEL = "nvidia.com/device-plugin.config"


@pytest.mark.parametrize("state", ["present", "absent"])
def test_key_that_comes_into_use_before_the_lease_is_held_stays(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run moves a label to it after the plan was made; the ConfigMap is not written to."""
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    api = FakeApi()
    file = "version: v1\n"
    note = '{"old": {"hash": "x", "at": "2026-01-01T00:00:00Z"}}'
    annotations = {"gpufleet.sharing/profiles": note}
    api.put(f"{objects.NAMESPACES}/gpu-operator", {})
    api.put(MAP, {"metadata": {"annotations": annotations}, "data": {"old": file, "more": file}})

    def move(method: str, path: str) -> int:
        if method == "POST" and path.endswith("/leases"):
            api.put(f"{objects.NODES}/n", {"metadata": {"labels": {LABEL: "old"}}, "status": {}})
        return 0

    api.fault = move
    defaults = {name: each.get("default") for name, each in profiles.SPEC.items()}
    given = {"state": state, "profiles": {"default": {"replicas": 2}}, "prune": True}
    module: Any = SimpleNamespace(
        params={**defaults, **given, "create_namespace": False}, check_mode=False, warn=print
    )
    monkeypatch.setattr(profiles, "connect", lambda _module: api.cluster)
    found = profiles.run(module)
    assert "old" in api.objects[MAP]["data"]
    assert found["kept_in_use"] == ["old"]
