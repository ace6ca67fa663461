# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is tried again and what is not, and what a run leaves to others."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import ClusterError
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.lease import release_kept_lease
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.objects import if_unchanged
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.payloads import read_date
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.history import (
    FleetSpec,
    History,
    RevisionState,
)
from ansible_collections.gpufleet.sharing.tests.unit.fake_api import FakeApi

POD = "/api/v1/namespaces/gpu-operator/pods/a"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/gpu-operator/leases/gpufleet-sharing"


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    found = FakeApi()
    found.put(POD, {"metadata": {"uid": "u"}})
    return found


def conflicts(api: FakeApi, number: int) -> None:
    """The next writes end in a conflict."""
    left = [409] * number

    def fault(method: str, _path: str) -> int:
        return left.pop() if left and method != "GET" else 0

    api.fault = fault


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fri, 02 Jan 2026 03:04:05 GMT", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (
            "Fri, 02 Jan 2026 03:04:05 GMT, Fri, 02 Jan 2026 03:04:06 GMT",
            datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        ),
        ("", None),
        ("soon", None),
    ],
)
def test_date_of_an_answer(text: str, expected: datetime | None) -> None:
    assert read_date(text) == expected


def test_unguarded_writes_are_tried_again_after_a_conflict(api: FakeApi) -> None:
    conflicts(api, 4)
    assert api.cluster.patch(POD, {"metadata": {"labels": {"a": "b"}}})
    conflicts(api, 4)
    api.cluster.delete(POD, uid="u")
    assert POD not in api.objects


def test_creation_is_tried_again_where_a_quota_was_in_the_way(api: FakeApi) -> None:
    """And not where there is such an object."""
    pods = POD.rpartition("/")[0]
    conflicts(api, 4)
    assert api.cluster.create(pods, {"metadata": {"name": "b"}})
    assert len(api.writes()) == 5
    with pytest.raises(ClusterError, match="already exists"):
        api.cluster.create(pods, {"metadata": {"name": "b"}})
    assert len(api.writes()) == 6


def test_conflicts_without_end_are_told(api: FakeApi) -> None:
    conflicts(api, 5)
    with pytest.raises(ClusterError, match="injected 409"):
        api.cluster.patch(POD, {"metadata": {"labels": {"a": "b"}}})


@pytest.mark.parametrize("version", ["1"])
def test_guarded_writes_are_not(api: FakeApi, version: str) -> None:
    conflicts(api, 1)
    with pytest.raises(ClusterError):
        api.cluster.patch(POD, if_unchanged({}, {"metadata": {"resourceVersion": version}}))
    conflicts(api, 1)
    with pytest.raises(ClusterError):
        api.cluster.delete(POD, resource_version=version)
    assert len(api.writes()) == 2


@pytest.mark.parametrize(
    ("holder", "run", "left"),
    [("me", "me", ""), ("other", "me", "other"), ("", "me", ""), ("me", "", "me")],
)
def test_let_go(api: FakeApi, holder: str, run: str, left: str) -> None:
    api.put(LEASE, {"spec": {"holderIdentity": holder}})
    release_kept_lease(api.cluster, "gpu-operator", run)
    assert api.objects[LEASE]["spec"]["holderIdentity"] == left
    assert len(api.writes()) == int(holder != left)


@pytest.mark.parametrize("status", [409, 403])
def test_let_go_that_somebody_takes(api: FakeApi, status: int) -> None:
    api.put(LEASE, {"spec": {"holderIdentity": "me"}})
    api.fault = lambda method, _path: status if method == "PATCH" else 0
    if status == 409:
        release_kept_lease(api.cluster, "gpu-operator", "me")
    else:
        with pytest.raises(ClusterError):
            release_kept_lease(api.cluster, "gpu-operator", "me")


def test_let_go_without_a_lease(api: FakeApi) -> None:
    release_kept_lease(api.cluster, "gpu-operator", "me")
    assert api.writes() == []


def test_revision_of_a_killed_run_ends_as_failed_when_another_begins(api: FakeApi) -> None:
    def asked(replicas: int) -> FleetSpec:
        profiles: dict[str, Any] = {"default": {"replicas": replicas}}
        return FleetSpec("in_place", "default", profiles, {"n1": None})

    history = History(api.cluster, "gpu-operator", "profiles")
    history.finish(history.begin(asked(2), "one"), RevisionState.GOOD)
    history.begin(asked(3), "killed")
    history.begin(asked(4), "two")
    states = {each.number: each.state.value for each in history.load()}
    assert states == {1: "good", 2: "failed", 3: "started"}
    assert next(each for each in history.load() if each.number == 2).who == "killed"
