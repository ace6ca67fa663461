# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What helm_release records before and after Helm, and what it tells of a failure."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._provider.release import (
    read_release,
)
from ansible_collections.gpufleet.sharing.plugins.modules import helm_release
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions
from ansible_collections.gpufleet.sharing.tests.unit.fake_api import FakeApi

NAMESPACE = "/api/v1/namespaces/gpu-operator"
SECRET = f"{NAMESPACE}/secrets/sh.helm.release.v1.gpu-operator.v1"
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
    metadata = {"labels": labels, "uid": uid, "creationTimestamp": "2025-12-31T00:00:00Z"}
    api.put(SECRET, {"metadata": metadata})


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


def uninstalling(api: FakeApi, age: int) -> None:
    """Our release, of which Helm has begun to remove the objects so many seconds ago."""
    info = {"info": {"status": "uninstalling"}, "chart": {"metadata": {"name": "gpu-operator"}}}
    packed = base64.b64encode(gzip.compress(json.dumps(info).encode())).decode()
    installed(api, "ours", "uninstalling")
    document = api.objects[SECRET]
    document["data"] = {"release": base64.b64encode(packed.encode()).decode()}
    begun = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC) - timedelta(seconds=age)  # by the API's clock
    document["metadata"]["creationTimestamp"] = f"{begun:%Y-%m-%dT%H:%M:%SZ}"
    text = json.dumps({"installed": True, "pointer": {}, "first": "ours"})
    annotations = {"gpufleet.sharing/helm-gpu-operator": text}
    api.patch(NAMESPACE, {"metadata": {"annotations": annotations}})


@pytest.mark.parametrize("state", ["present", "absent"])
def test_release_that_a_killed_uninstall_left_can_be_removed_or_upgraded(
    api: FakeApi, state: str
) -> None:
    """The modules of kubernetes.core leave one alone that is uninstalling; one that failed not."""
    uninstalling(api, age=700)
    assert ran(api, state=state)["exists"]
    found = read_release(api.objects[SECRET])
    assert found is not None
    assert (found.status, found.chart.name) == ("failed", "gpu-operator")
    assert api.objects[SECRET]["metadata"]["labels"]["status"] == "failed"


def test_release_that_helm_may_still_be_removing_is_waited_for(api: FakeApi) -> None:
    uninstalling(api, age=20)
    found = ran(api, state="absent")
    assert (found["pending"]["status"], found["seconds_left"]) == ("uninstalling", 580)
    assert api.writes() == []
    assert "seconds_left" not in ran(api, state="absent", check_mode=True)
    assert api.writes() == []


def test_release_of_others_that_is_uninstalling_is_left_alone(api: FakeApi) -> None:
    uninstalling(api, age=700)
    api.patch(NAMESPACE, {"metadata": {"annotations": None}})
    assert ran(api, state="absent")["note"] == {}
    assert api.writes() == []


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
