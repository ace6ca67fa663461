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
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions
from ansible_collections.gpufleet.sharing.tests.unit.fake_api import FakeApi

READY = {"conditions": [{"type": "Ready", "status": "True"}]}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    found = FakeApi()
    found.put(f"{objects.NODES}/n1", {"metadata": {}, "status": READY})
    monkeypatch.setattr(mig_config, "connect", lambda _module: found.cluster)
    return found


def run(**given: Any) -> dict[str, Any]:
    defaults = {name: each.get("default") for name, each in mig_config.SPEC.items()}
    module: Any = SimpleNamespace(params={**defaults, **given}, check_mode=True, warn=print)
    return mig_config.run(module)


def test_null_leaves_a_node_alone(api: FakeApi) -> None:
    assert run(nodes={"n1": None})["changes"] == []
    assert len(run(nodes={"n1": "all-1g.10gb"})["changes"]) == 1
    assert api.writes() == []


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    ("given", "facts"),
    [
        ({"nodes": {"n1": 4}}, ("n1", "4")),
        ({"nodes": {"n1": "all-1g.10gb"}, "batches": ["few"]}, ("batches", "'few'")),
        ({"nodes": {"n1": "all-1g.10gb"}, "timeout": 0}, ("timeout", "0", "1")),
    ],
)
def test_refused_in_check_mode_too(given: dict[str, Any], facts: tuple[str, ...]) -> None:
    with pytest.raises(SharingError) as caught:
        run(**given)
    assert mentions(caught.value, *facts)
