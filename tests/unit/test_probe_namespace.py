# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe's namespace: created, shared between runs, and removed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common import signals
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    ClusterError,
    RefusedError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.signals import (
    InterruptedRunError,
    interruptible,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._probe import manifests
from ansible_collections.gpufleet.sharing.plugins.module_utils._probe.manifests import PodSettings
from ansible_collections.gpufleet.sharing.plugins.module_utils._probe.namespace import (
    ProbeNamespace,
    Timing,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._probe.pods import Stage
from ansible_collections.gpufleet.sharing.tests.unit.fake_api import FakeApi

NAME = "probe-space"
NAMESPACE = f"/api/v1/namespaces/{NAME}"
JOBS = f"/apis/batch/v1/namespaces/{NAME}/jobs"
PODS = f"{NAMESPACE}/pods"
PRIORITY = f"/apis/scheduling.k8s.io/v1/priorityclasses/{NAME}"
MANAGED = {"app.kubernetes.io/managed-by": "gpufleet.sharing"}
OURS = {**MANAGED, "app.kubernetes.io/component": "probe"}
QUICK = Timing(heartbeat=0.02, silence=0.3, removal=0.5)
PATIENT = Timing(heartbeat=0.02, silence=10, removal=10)  # if the awaited state comes
BORN = "2026-01-02T03:04:05Z"
SETTINGS = PodSettings("image", look=("look",))


@dataclass
class Api(FakeApi):
    """With cluster-scoped objects, uids, and the removal of what a removed object owns."""

    momentary: list[str] = field(default_factory=list)  # errors for the next pods

    def put(self, path: str, document: dict[str, Any]) -> None:
        metadata = document.setdefault("metadata", {})
        metadata.setdefault("uid", f"uid-{self.version}")
        metadata.setdefault("creationTimestamp", BORN)
        super().put(path, document)

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path.endswith("/pods") and self.momentary:
            return 403, {"message": self.momentary.pop(0)}
        if path == "/api/v1/namespaces":
            self.namespaces.add(body["metadata"]["name"])
        if "/namespaces/" in path:
            return super().post(path, body)
        at = f"{path}/{body['metadata']['name']}"
        if at in self.objects:
            return 409, {"message": "already exists"}
        self.put(at, body)
        return 201, self.objects[at]

    def drop(self, path: str) -> None:
        uid = self.objects[path]["metadata"]["uid"]
        if path == NAMESPACE:
            self.namespaces.discard(NAME)
        super().drop(path)
        for at, item in list(self.objects.items()):
            owners = item["metadata"].get("ownerReferences", [])
            owned = uid in [owner["uid"] for owner in owners] or at.startswith(f"{path}/")
            if owned and at in self.objects:
                self.drop(at)


@pytest.fixture
def api() -> Iterator[Api]:
    found = Api()
    yield found
    found.hang_up()


def namespace(
    api: Api, run: str = "probe-a", *, prepared: bool = False, timing: Timing = QUICK
) -> ProbeNamespace:
    return ProbeNamespace(api.cluster, NAME, prepared=prepared, timing=timing, run=run)


def pod(name: str, run: str = "probe-a") -> dict[str, Any]:
    return manifests.pod(name, run, "n", {"nvidia.com/gpu": 1}, SETTINGS)


def left(api: Api) -> list[str]:
    return sorted(api.objects)


def test_run_leaves_nothing_behind(api: Api) -> None:
    one = namespace(api)
    assert one.sweep() == []
    one.open()
    assert one.create([pod("probe-a-1"), pod("probe-a-2")]) == {}
    assert left(api) == [
        NAMESPACE,
        f"{PODS}/probe-a-1",
        f"{PODS}/probe-a-2",
        f"{NAMESPACE}/resourcequotas/probe-a",
        f"{JOBS}/probe-a",
        PRIORITY,
    ]
    assert one.pod("probe-a-1").stage is Stage.PENDING
    assert not one.vanished(["probe-a-1"])
    assert one.vanished(["never-made"])
    assert one.close() == []
    assert left(api) == []


def test_pods_are_owned_and_give_way(api: Api) -> None:
    one = namespace(api)
    one.open()
    one.create([pod("probe-a-1")])
    made = api.objects[f"{PODS}/probe-a-1"]
    job = api.objects[f"{JOBS}/probe-a"]
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("Job", job["metadata"]["uid"])
    assert "controller" not in owner
    assert made["spec"]["priorityClassName"] == NAME
    assert api.objects[PRIORITY]["preemptionPolicy"] == "Never"
    assert job["spec"]["parallelism"] == 0
    one.close()


def test_changes_of_pods_are_reported(api: Api) -> None:
    one = namespace(api)
    one.open()
    one.create([pod("probe-a-1")])
    running = {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}
    made = api.objects[f"{PODS}/probe-a-1"]
    spec = {**made["spec"], "nodeName": "n"}
    api.put(f"{PODS}/probe-a-1", {**made, "spec": spec, "status": running})
    while one.pod("probe-a-1").stage is not Stage.RUNNING:
        one.wait(1)
    one.delete(["probe-a-1"])
    while not one.vanished(["probe-a-1"]):
        one.wait(1)
    assert one.pod("probe-a-1").stage is Stage.GONE
    one.close()


def test_server_that_is_not_ready_for_pods_yet_is_asked_again(api: Api) -> None:
    one = namespace(api)
    one.open()
    api.momentary += ["status unknown for quota: probe-a", "no PriorityClass with name probe-space"]
    assert one.create([pod("probe-a-1")]) == {}
    api.momentary += ["denied by policy"]
    assert "denied by policy" in one.create([pod("probe-a-2")])["probe-a-2"]
    one.close()
    assert left(api) == []


def test_deadline_is_moved_on_while_the_run_is_there(api: Api) -> None:
    api.date = "Fri, 02 Jan 2026 03:05:05 GMT"  # the Job is a minute old
    one = namespace(api)
    one.open()
    path = f"{JOBS}/probe-a"
    while api.objects[path]["spec"]["activeDeadlineSeconds"] != 120:
        threading.Event().wait(0.01)
    one.close()


def test_runs_beside_each_other(api: Api) -> None:
    """The first run to end removes only its own objects; the last one removes the namespace."""
    one, two = namespace(api), namespace(api, "probe-b")
    one.open()
    two.open()
    two.create([pod("probe-b-1", "probe-b")])
    assert one.close() == []
    assert left(api) == [
        NAMESPACE,
        f"{PODS}/probe-b-1",
        f"{NAMESPACE}/resourcequotas/probe-b",
        f"{JOBS}/probe-b",
        PRIORITY,
    ]
    assert two.close() == []
    assert left(api) == []


def test_namespace_is_not_removed_under_a_run_that_has_just_come(api: Api) -> None:
    one, two = namespace(api), namespace(api, "probe-b")
    one.open()

    def fault(method: str, path: str) -> int:
        if (method, path) == ("DELETE", NAMESPACE) and f"{JOBS}/probe-b" not in api.objects:
            two.open()
        return 0

    api.fault = fault
    one.close()
    assert f"{JOBS}/probe-b" in left(api)
    api.fault = lambda _method, _path: 0
    two.close()
    assert left(api) == []


def test_what_a_killed_run_left_is_removed(api: Api) -> None:
    dead = namespace(api, "probe-dead")
    dead.open()
    dead.create([pod("probe-dead-1", "probe-dead")])
    dead._closed.set()  # it says no more that it is there
    one = namespace(api)
    assert one.sweep() == ["probe-dead"]
    assert left(api) == [NAMESPACE, PRIORITY]
    one.close()
    assert left(api) == []


def test_run_at_work_is_not_taken_for_dead(api: Api) -> None:
    began = datetime(2026, 1, 2, 3, 5, 5, tzinfo=UTC)

    def fault(_method: str, _path: str) -> int:
        """Time goes on, so that each beat moves the deadline."""
        seconds = timedelta(seconds=len(api.requests))
        api.date = format_datetime(began + seconds, usegmt=True)
        return 0

    api.fault = fault
    other = namespace(api, "probe-b")
    other.open()
    assert namespace(api, timing=PATIENT).sweep() == []
    assert f"{JOBS}/probe-b" in left(api)
    other.close()


def test_leftover_namespace_is_used_and_its_priority_class_taken_over(api: Api) -> None:
    api.put(PRIORITY, {"metadata": {"labels": OURS, "ownerReferences": [{"uid": "gone"}]}})
    one = namespace(api)
    one.open()
    (owner,) = api.objects[PRIORITY]["metadata"]["ownerReferences"]
    assert owner["uid"] == api.objects[NAMESPACE]["metadata"]["uid"]
    one.close()
    assert left(api) == []


def test_namespace_on_its_way_out_is_waited_for(api: Api) -> None:
    api.put(NAMESPACE, {"metadata": {"labels": OURS, "deletionTimestamp": BORN}})
    threading.Timer(0.1, api.drop, [NAMESPACE]).start()
    one = namespace(api, timing=PATIENT)
    one.open()
    assert "deletionTimestamp" not in api.objects[NAMESPACE]["metadata"]
    one.close()


def test_namespace_that_does_not_go_is_an_error(api: Api) -> None:
    api.put(NAMESPACE, {"metadata": {"labels": OURS, "deletionTimestamp": BORN}})
    with pytest.raises(ClusterError, match=r"0\.5 s"):
        namespace(api).open()


@pytest.mark.parametrize("path", [NAMESPACE, PRIORITY])
def test_what_is_somebody_elses_is_refused(api: Api, path: str) -> None:
    api.put(path, {"metadata": {"labels": MANAGED}})  # such as that of the operator
    one = namespace(api)
    with pytest.raises(RefusedError, match=NAME):
        one.open()
    assert api.objects[path]["metadata"]["labels"] == MANAGED


def test_prepared_namespace_stays(api: Api) -> None:
    api.namespaces.add(NAME)
    api.put(PRIORITY, {"preemptionPolicy": "Never"})
    one = namespace(api, prepared=True)
    assert one.sweep() == []
    one.open()
    one.create([pod("probe-a-1")])
    one.close()
    assert left(api) == [PRIORITY]
    assert not [request for request in api.requests if request.endswith(NAMESPACE)]


def test_prepared_priority_class_has_to_spare_others(api: Api) -> None:
    api.namespaces.add(NAME)
    api.put(PRIORITY, {"preemptionPolicy": "PreemptLowerPriority"})
    with pytest.raises(RefusedError, match="preemptionPolicy: Never"):
        namespace(api, prepared=True).open()


@pytest.mark.parametrize(
    ("labels", "prepared", "cleaned"),
    [
        (OURS, False, [NAME]),
        ({}, False, []),
        (MANAGED, False, []),
        (None, False, []),
        (OURS, True, []),
    ],
)
def test_clean(api: Api, labels: dict[str, str] | None, prepared: bool, cleaned: list[str]) -> None:
    if labels is not None:
        api.put(NAMESPACE, {"metadata": {"labels": labels}})
    before = left(api)
    wanted = {"changed": bool(cleaned), "cleaned": cleaned}
    assert namespace(api, prepared=prepared).clean(check=True) == wanted
    assert left(api) == before
    assert namespace(api, prepared=prepared).clean(check=False) == wanted
    assert left(api) == ([] if cleaned else before)


def test_pods_meet_the_restricted_standard() -> None:
    spec: Any = pod("p")["spec"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65534,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for container in (*spec["containers"], *spec["initContainers"]):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"] == {"limits": {"nvidia.com/gpu": "1"}}
    assert spec["automountServiceAccountToken"] is False


def test_pods_are_made_as_asked_for() -> None:
    settings = PodSettings(
        "pause@sha256:0",
        labels={"team": "gpu", "gpufleet.sharing/probe": "mine"},
        tolerations=[{"operator": "Exists"}],
        runtime_class="nvidia",
        pull_secrets=("registry",),
        run_as_user=0,
    )
    made: Any = manifests.pod("p", "run", "n", {"nvidia.com/gpu": 2}, settings)
    assert made["metadata"]["labels"] == {**MANAGED, "team": "gpu", "gpufleet.sharing/probe": "run"}
    spec = made["spec"]
    assert "initContainers" not in spec
    assert "command" not in spec["containers"][0]
    assert "runAsUser" not in spec["securityContext"]
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert (spec["runtimeClassName"], spec["imagePullSecrets"]) == (
        "nvidia",
        [{"name": "registry"}],
    )
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}


def test_signals_interrupt_once() -> None:
    before = {one: signal.getsignal(one) for one in signals._SIGNALS}
    try:
        with (
            pytest.raises(InterruptedRunError, match="SIGTERM"),
            interruptible(),
        ):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)  # ignored while cleaning up
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
