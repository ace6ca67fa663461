# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module mig_config on an API server in memory: it refuses the same in check mode."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import SharingError
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube import objects
from ansible_collections.gpufleet.sharing.plugins.modules import mig_config
from ansible_collections.gpufleet.sharing.tests.unit.fake_api import FakeApi
from ansible_collections.gpufleet.sharing.tests.unit.fake_fleet import asked_node

READY = {"conditions": [{"type": "Ready", "status": "True"}]}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    found = FakeApi()
    found.put(f"{objects.NODES}/n1", {"metadata": {}, "status": READY})
    monkeypatch.setattr(mig_config, "connect", lambda _module: found.cluster)
    return found


def run(**given: Any) -> dict[str, Any]:
    defaults = {name: each.get("default") for name, each in mig_config.SPEC.items()}
    usual = {"profiles": PROFILES, "default_profile": "default"}
    params = {**defaults, **usual, **given}
    module: Any = SimpleNamespace(params=params, check_mode=True, warn=print)
    return mig_config.run(module)


PROFILES = {"default": {"replicas": 1}, "mig": {"replicas": 1, "mig": "all-1g.10gb"}}


def nodes(profile: str | None, **more: Any) -> list[dict[str, Any]]:
    return [asked_node("n1", profile, **more)]


@pytest.mark.parametrize(
    ("profile", "selected", "changes"),
    [("mig", True, 1), ("mig", False, 0), ("default", True, 0), (None, True, 0)],
)
def test_only_selected_nodes_whose_profile_has_a_configuration_change(
    api: FakeApi, profile: str | None, selected: bool, changes: int
) -> None:
    assert len(run(nodes=nodes(profile, selected=selected))["changes"]) == changes
    assert api.writes() == []


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    ("given", "facts"),
    [
        ({"nodes": nodes("mig") * 2}, ("n1", "2 times")),
        ({"nodes": nodes("mig", gpus=0)}, ("gpus", "n1", "0")),
        ({"batches": ["few"]}, ("O(batches)", "'few'")),
        ({"timeout": 0}, ("timeout", "0")),
        ({"profiles": {"default": {"replicas": 0}}}, ("default", "replicas", "0")),
    ],
)
def test_refused_in_check_mode_too(given: dict[str, Any], facts: tuple[str, ...]) -> None:
    with pytest.raises(SharingError) as caught:
        run(**{"nodes": nodes("mig"), **given})
    assert [fact for fact in facts if fact not in str(caught.value)] == []
