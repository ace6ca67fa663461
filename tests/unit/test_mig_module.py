# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module mig_config on an API server in memory: it refuses the same in check mode."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    LeaseError,
    SharingError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube import objects
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.mig_change import (
    MigError,
    MigRun,
    plan_change,
)
from ansible_collections.gpufleet.sharing.plugins.modules import mig_config
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions
from ansible_collections.gpufleet.sharing.tests.unit.fake_api import FakeApi
from ansible_collections.gpufleet.sharing.tests.unit.fake_fleet import asked_node

NODE, GPU = f"{objects.NODES}/n1", "nvidia.com/gpu"
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


def running(*, waits: float = 0, pods: int = 0) -> FakeApi:
    """A node that gets its configuration after some seconds, and pods that use its GPUs."""
    api = FakeApi()
    node = {"metadata": {"uid": "u"}, "spec": {}, "status": READY}
    api.put(NODE, node)
    for number in range(pods):
        spec = {"nodeName": "n1", "containers": [{"resources": {"requests": {GPU: "1"}}}]}
        metadata = {"uid": f"p{number}", "namespace": "work", "name": f"p{number}"}
        api.put(f"/api/v1/namespaces/work/pods/p{number}", {"metadata": metadata, "spec": spec})
    if waits:
        state = {"metadata": {"labels": {"nvidia.com/mig.config.state": "success"}}}
        threading.Timer(waits, api.patch, [NODE, state]).start()
    return api


def carry_out(api: FakeApi, drain: str, *, timeout: float = 10, **more: Any) -> None:
    wanted = {"n1": "all-1g.10gb"}
    ready = MigRun(api.cluster, wanted, timeout, 10, **more)
    ready.carry_out(plan_change(wanted, ready.states(), ["1"]), drain)


def test_nodes_that_others_work_on_are_left_alone_and_named() -> None:
    """A change to another MIG configuration, a driver upgrade; a change to ours is waited for."""
    ours, state = {"nvidia.com/mig.config": "all-1g.10gb"}, "nvidia.com/mig.config.state"
    labels = {
        "ours": {**ours, state: "pending"},
        "other": {"nvidia.com/mig.config": "all-disabled", state: "rebooting"},
        "upgrading": {"nvidia.com/gpu-driver-upgrade-state": "drain-required"},
        "free": {},
    }
    nodes = {name: NodeState(name, found, ready=True) for name, found in labels.items()}
    plan = plan_change(dict.fromkeys(nodes, "all-1g.10gb"), nodes, ["1"])
    assert (list(plan.changes), list(plan.waiting)) == (["free"], ["ours"])
    assert plan.result()["maintenance"] == plan.left_alone
    assert list(plan.left_alone) == ["other", "upgrading"]
    assert mentions(plan.left_alone["other"], state, "rebooting")
    assert mentions(plan.left_alone["upgrading"], "drain-required")


def test_change_is_watched_not_listed_again() -> None:
    """A list for the plan, one for the change and one to watch from, however long it takes."""
    api = running(waits=1.5)
    carry_out(api, "ignore")
    assert api.requests.count(f"GET {objects.NODES}") == 3 + 1  # and the watch
    assert api.objects[NODE]["metadata"]["labels"]["nvidia.com/mig.config"] == "all-1g.10gb"


def test_change_that_fails_names_the_node() -> None:
    api = running()
    with pytest.raises(MigError, match=r"n1: nvidia.com/mig.config.state is missing"):
        carry_out(api, "ignore", timeout=0.2)


@pytest.mark.parametrize("lost_at", [1, 2, 3])
def test_run_that_has_lost_its_lease_leaves_the_cordon(lost_at: int) -> None:
    """Before the evictions, before the label, and after it: the other run's cordon has the same
    annotation.
    """
    api = running(pods=1, waits=0.3)
    checks = []

    def check() -> None:
        checks.append(1)
        if len(checks) > lost_at:
            raise LeaseError("lost")

    with pytest.raises(LeaseError):
        carry_out(api, "evict", check=check)
    node = api.objects[NODE]
    assert node["spec"]["unschedulable"] is True
    assert ("nvidia.com/mig.config" in node["metadata"].get("labels", {})) is (lost_at == 3)
    assert ("/api/v1/namespaces/work/pods/p0" in api.objects) is (lost_at == 1)


def test_change_with_evictions_uncordons() -> None:
    api = running(pods=2, waits=1)
    carry_out(api, "evict")
    assert "unschedulable" not in api.objects[NODE]["spec"]
    assert list(api.objects) == [NODE]
