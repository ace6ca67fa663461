# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What helm_release records before and after Helm, and what it tells of a failure."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.modules import helm_release
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions
from ansible_collections.gpufleet.sharing.tests.unit.fake_api import FakeApi

NAMESPACE = "/api/v1/namespaces/gpu-operator"
POINTER = {"name": "device-plugin-config", "default": "default"}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    found = FakeApi()
    monkeypatch.setattr(helm_release, "connect", lambda _module: found.cluster)
    found.put(NAMESPACE, {})
    return found


def ran(api: FakeApi, *, check_mode: bool = False, **given: Any) -> dict[str, Any]:
    params = {name: option.get("default") for name, option in helm_release.SPEC.items()}
    module: Any = SimpleNamespace(
        params=params | {"pointer": POINTER} | given, check_mode=check_mode
    )
    return helm_release.run(module)


def note(api: FakeApi) -> dict[str, Any] | None:
    annotations = api.objects[NAMESPACE]["metadata"].get("annotations") or {}
    text = annotations.get("gpufleet.sharing/helm-gpu-operator")
    return json.loads(text) if text else None


def installed(api: FakeApi, uid: str, status: str = "deployed") -> None:
    """A first revision, as Helm writes it."""
    labels = {"owner": "helm", "name": "gpu-operator", "version": "1", "status": status}
    path = f"{NAMESPACE}/secrets/sh.helm.release.v1.gpu-operator.v1"
    metadata = {"labels": labels, "uid": uid, "creationTimestamp": "2025-12-31T00:00:00Z"}
    api.put(path, {"metadata": metadata})


def test_release_is_ours_once_helm_has_succeeded(api: FakeApi) -> None:
    assert ran(api)["exists"] is False
    assert note(api) == {"installed": False, "installing": True, "pointer": POINTER, "first": ""}
    installed(api, "ours")
    ran(api, outcome="succeeded")
    assert note(api) == {"installed": True, "installing": False, "pointer": {}, "first": "ours"}
    installed(api, "theirs")
    assert ran(api, state="absent")["note"] == {}


def test_failed_install_that_has_left_nothing_is_not_noted(api: FakeApi) -> None:
    ran(api)
    assert ran(api, outcome="failed")["causes"] == ""
    assert note(api) is None
    installed(api, "theirs")
    assert ran(api, state="absent")["note"] == {}


def test_failed_install_that_has_left_objects_is_ours(api: FakeApi) -> None:
    ran(api)
    installed(api, "ours", "failed")
    ran(api, outcome="failed")
    assert ran(api, state="absent")["note"]["installing"] is True
    installed(api, "theirs", "failed")
    assert ran(api, state="absent")["note"] == {}


def test_killed_install_is_ours_only_while_it_is_pending_or_has_our_pointer(api: FakeApi) -> None:
    ran(api)
    installed(api, "ours", "pending-install")
    assert ran(api, state="absent")["note"]["installing"] is True
    installed(api, "ours")
    assert ran(api, state="absent", previous_pointer=POINTER)["note"]["installing"] is True
    assert ran(api, state="absent")["note"] == {}


def test_release_of_others_stays_theirs(api: FakeApi) -> None:
    installed(api, "theirs")
    ran(api, previous_pointer={"name": "theirs"})
    expected = {"installed": False, "installing": False, "pointer": {"name": "theirs"}}
    assert note(api) == {**expected, "first": "theirs"}
    ran(api, outcome="failed")
    assert note(api) == {**expected, "first": "theirs"}


def test_check_mode_notes_nothing(api: FakeApi) -> None:
    assert ran(api, check_mode=True)["exists"] is False
    assert note(api) is None


@pytest.mark.parametrize("status", [0, 403])
def test_quota_that_keeps_pods_away_is_told(api: FakeApi, status: int) -> None:
    ran(api)
    event = {
        "reason": "FailedCreate",
        "involvedObject": {"kind": "ReplicaSet", "name": "gpu-operator-7d"},
        "message": "Error creating: insufficient quota to match these scopes: [{PriorityClass In"
        " [system-node-critical system-cluster-critical]}]",
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }
    api.put(f"{NAMESPACE}/events/a", event)
    api.put(f"{NAMESPACE}/events/b", {**event, "reason": "Scheduled", "message": "fine"})
    api.fault = lambda _method, path: status if path.endswith("/events") else 0
    causes = ran(api, outcome="failed")["causes"]
    assert bool(causes) is not bool(status)
    assert mentions(causes, *(() if status else ("gpu-operator-7d", "ResourceQuota")))
