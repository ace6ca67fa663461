# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lease: who may take it and when, how it is kept, lost and released."""

from __future__ import annotations

import getpass
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import enumerate as all_threads
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.clock import Clock
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    ClusterError,
    LeaseError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.lease import (
    LEASE,
    Decision,
    Lease,
    LeaseState,
    LeaseTiming,
    Observation,
    clean_holder,
    decide,
    default_holder,
    hold_lease,
    lease_spec,
    read_lease,
    release_kept_lease,
    remove_lease,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions
from ansible_collections.gpufleet.sharing.tests.unit.fake_api import SERVER, FakeApi

NAMESPACE = "gpu-operator"
PATH = "/apis/coordination.k8s.io/v1/namespaces/gpu-operator/leases/gpufleet-sharing"
WHERE = ("gpufleet-sharing", "gpu-operator", SERVER)  # messages say which lease is meant
NOW = datetime(2026, 1, 2, 3, 4, 5, 600000, tzinfo=UTC)
STAMP = "2026-01-02T03:04:05.600000Z"
OTHER = LeaseState("other", "2026-01-02T03:00:00.000000Z", "r1", 30.0, 4)


@dataclass
class FakeClock:
    """Time that passes when somebody waits; events happen on the way."""

    time: float = 100.0
    events: list[tuple[float, Callable[[], object]]] = field(default_factory=list)

    def now(self) -> float:
        return self.time

    def pause(self, seconds: float) -> None:
        self.time += seconds
        for event in [each for each in self.events if each[0] <= self.time]:
            self.events.remove(event)
            event[1]()

    @property
    def timing(self) -> LeaseTiming:
        return LeaseTiming(30.0, Clock(self.now, self.pause))


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def lease_of(holder: str, renewed: str = "r1", **spec: object) -> dict[str, Any]:
    known = {"holderIdentity": holder, "renewTime": renewed, "acquireTime": OTHER.since}
    return {"spec": {**known, "leaseDurationSeconds": 30, "leaseTransitions": 4, **spec}}


def spec_of(api: FakeApi) -> dict[str, Any]:
    return dict(api.objects[PATH]["spec"])


def ignore(_text: str) -> None:
    pass


def taken_by_us(api: FakeApi, clock: FakeClock) -> Lease:
    lease = Lease(api.cluster, NAMESPACE, "me", clock.timing)
    lease.take(ignore)
    return lease


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (lease_of("other"), OTHER),
        (None, LeaseState("", "", "", 30.0, 0)),
        (
            {"spec": {"holderIdentity": None, "leaseDurationSeconds": 7}},
            LeaseState("", "", "", 7, 0),
        ),
    ],
)
def test_read_lease(document: object, expected: LeaseState) -> None:
    assert read_lease(document) == expected


RENEWED = LeaseState("other", OTHER.since, "r2", 30.0, 4)
FREE = LeaseState("", OTHER.since, "r2", 30.0, 4)
MINE = LeaseState("me", OTHER.since, "r2", 30.0, 4)
THIRD = LeaseState("third", OTHER.since, "r1", 30.0, 5)
FIRST = Observation(OTHER, 100.0)


@pytest.mark.parametrize(
    ("seen", "first", "now", "expected"),
    [
        pytest.param(None, None, 100, Decision.TAKE, id="none"),
        pytest.param(FREE, None, 100, Decision.TAKE, id="released"),
        pytest.param(MINE, None, 100, Decision.TAKE, id="ours"),
        pytest.param(OTHER, None, 100, Decision.WAIT, id="seen first"),
        pytest.param(OTHER, FIRST, 129.9, Decision.WAIT, id="not over"),
        pytest.param(OTHER, FIRST, 130, Decision.TAKE, id="over"),
        pytest.param(RENEWED, FIRST, 140, Decision.REFUSE, id="renewed"),
        pytest.param(THIRD, FIRST, 140, Decision.REFUSE, id="taken by a third"),
        pytest.param(FREE, FIRST, 101, Decision.TAKE, id="released while waited for"),
        pytest.param(None, FIRST, 101, Decision.TAKE, id="deleted while waited for"),
    ],
)
def test_decide(
    seen: LeaseState | None, first: Observation | None, now: float, expected: Decision
) -> None:
    assert decide(seen, "me", first, now) is expected


@given(
    holder=st.sampled_from(["other", "third"]),
    renewed=st.sampled_from(["r1", "r2"]),
    waited=st.floats(0, 29.999),
)
def test_nobody_loses_a_lease_before_its_time(holder: str, renewed: str, waited: float) -> None:
    seen = LeaseState(holder, "", renewed, 30.0, 0)
    assert decide(seen, "me", FIRST, 100.0) is not Decision.TAKE
    assert decide(seen, "me", None, 1e9) is Decision.WAIT
    assert decide(seen, "me", Observation(seen, 100.0), 100.0 + waited) is Decision.WAIT


@pytest.mark.parametrize(
    ("seen", "more"),
    [
        (None, {"acquireTime": STAMP, "leaseTransitions": 0}),
        (OTHER, {"acquireTime": STAMP, "leaseTransitions": 5}),
        (FREE, {"acquireTime": STAMP, "leaseTransitions": 5}),
        (MINE, {}),
    ],
)
def test_taken(seen: LeaseState | None, more: dict[str, object]) -> None:
    spec = {"holderIdentity": "me", "leaseDurationSeconds": 30, "renewTime": STAMP}
    assert lease_spec(seen, "me", NOW) == spec | more


def test_lease_of_less_than_a_second_says_one() -> None:
    assert lease_spec(None, "me", NOW, 0.2)["leaseDurationSeconds"] == 1


def test_default_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.fullmatch(r"\S+@\S+ pid \d+ \([0-9a-f]{4}\)", default_holder())

    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert re.fullmatch(r"uid \d+@\S+ pid \d+ \([0-9a-f]{4}\)", default_holder())


@pytest.mark.parametrize(
    ("text", "expected"), [(" a\n b ", "a b"), ("", ""), ("x" * 999, "x" * 200)]
)
def test_clean_holder(text: str, expected: str) -> None:
    assert clean_holder(text) == expected


def test_take_creates(api: FakeApi, clock: FakeClock) -> None:
    lease = taken_by_us(api, clock)
    assert lease.held
    metadata = api.objects[PATH]["metadata"]
    assert metadata["labels"] == {"app.kubernetes.io/managed-by": "gpufleet.sharing"}
    assert spec_of(api) == {
        "holderIdentity": "me",
        "leaseDurationSeconds": 30,
        "acquireTime": "2026-01-02T03:04:05.000000Z",  # the server's time
        "renewTime": "2026-01-02T03:04:05.000000Z",
        "leaseTransitions": 0,
    }
    assert len(api.writes()) == 1


def test_take_renews_ours_and_keeps_since_when(api: FakeApi, clock: FakeClock) -> None:
    api.put(PATH, lease_of("me"))
    taken_by_us(api, clock)
    expected = lease_of("me", "2026-01-02T03:04:05.000000Z")["spec"]
    assert spec_of(api) == expected


def test_take_of_a_released_one_leaves_labels_of_others(api: FakeApi, clock: FakeClock) -> None:
    api.put(PATH, {"metadata": {"labels": {"theirs": "1"}}, **lease_of("")})
    taken_by_us(api, clock)
    assert spec_of(api)["holderIdentity"] == "me"
    assert spec_of(api)["leaseTransitions"] == 5
    assert api.objects[PATH]["metadata"]["labels"] == {"theirs": "1"}


def test_take_without_a_namespace_holds_nothing(api: FakeApi, clock: FakeClock) -> None:
    api.namespaces.clear()
    lease = taken_by_us(api, clock)
    assert not lease.held
    clock.time += 1000
    lease.renew()
    lease.check()
    lease.release(ignore)
    assert len(api.writes()) == 1  # the one that said that there is no namespace


def test_take_says_who_renews_and_since_when(api: FakeApi, clock: FakeClock) -> None:
    api.put(PATH, lease_of("root@awx\njob 42"))
    clock.events.append((105, lambda: api.put(PATH, lease_of("root@awx\njob 42", "r2"))))
    said: list[str] = []
    with pytest.raises(LeaseError) as caught:
        Lease(api.cluster, NAMESPACE, "me", clock.timing).take(said.append)
    facts = ("root@awx job 42", "2026-01-02 03:00:00 UTC", *WHERE)
    assert mentions(caught.value, *facts)
    assert len(said) == 1
    assert mentions(said[0], *facts, "30 s")
    assert clock.time < 107
    assert api.writes() == []


def test_take_waits_a_dead_holder_out(api: FakeApi, clock: FakeClock) -> None:
    api.put(PATH, lease_of("dead", acquireTime=None))
    said: list[str] = []
    Lease(api.cluster, NAMESPACE, "me", clock.timing).take(said.append)
    assert 130 <= clock.time < 132
    assert len(said) == 2
    assert mentions(said[1], "dead", *WHERE)
    assert spec_of(api)["holderIdentity"] == "me"


def test_take_over_that_somebody_else_was_faster_with(api: FakeApi, clock: FakeClock) -> None:
    """The conflict is seen, and then that the other one is alive."""
    api.put(PATH, lease_of("dead"))

    def faster(method: str, _path: str) -> int:
        if method == "PATCH":
            api.put(PATH, lease_of("faster", "r9"))
        return 0

    api.fault = faster
    with pytest.raises(LeaseError, match="faster"):
        taken_by_us(api, clock)
    assert spec_of(api)["holderIdentity"] == "faster"
    assert len(api.writes()) == 1


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        pytest.param(None, ["POST", "PATCH"], id="created by somebody"),
        pytest.param(lease_of(""), ["PATCH", "POST"], id="deleted by somebody"),
    ],
)
def test_take_starts_over(
    api: FakeApi, clock: FakeClock, before: dict[str, Any] | None, expected: list[str]
) -> None:
    if before:
        api.put(PATH, before)

    def once(method: str, _path: str) -> int:
        if method == "GET":
            return 0
        api.fault = lambda _method, _path: 0
        if before:
            del api.objects[PATH]
        else:
            api.put(PATH, lease_of(""))
        return 0

    api.fault = once
    assert taken_by_us(api, clock).held
    assert [request.split()[0] for request in api.writes()] == expected


def test_take_that_is_forbidden_says_so(api: FakeApi, clock: FakeClock) -> None:
    api.fault = lambda method, _path: 403 if method == "POST" else 0
    with pytest.raises(ClusterError, match=SERVER) as caught:
        taken_by_us(api, clock)
    assert caught.value.status == 403


def test_renewals_differ_and_count_from_the_last_good_one(api: FakeApi, clock: FakeClock) -> None:
    lease = taken_by_us(api, clock)
    since = spec_of(api)["acquireTime"]
    stamps = {spec_of(api)["renewTime"]}
    for _round in range(5):
        clock.time += 10
        lease.renew()
        lease.check()
        stamps.add(spec_of(api)["renewTime"])
    assert len(stamps) == 6
    assert spec_of(api)["acquireTime"] == since
    assert lease.pause == 10


def test_renewal_outlives_labels_that_somebody_puts(api: FakeApi, clock: FakeClock) -> None:
    lease = taken_by_us(api, clock)
    api.put(PATH, {**api.objects[PATH], "metadata": {"labels": {"theirs": "1"}}})
    lease.renew()
    lease.check()
    assert api.objects[PATH]["metadata"]["labels"] == {"theirs": "1"}


def test_renewal_that_never_gets_through_for_changes_by_others(
    api: FakeApi, clock: FakeClock
) -> None:
    lease = taken_by_us(api, clock)
    api.fault = lambda method, _path: 409 if method == "PATCH" else 0
    lease.renew()
    lease.check()
    clock.time += 21
    with pytest.raises(LeaseError, match="injected 409"):
        lease.check()


@pytest.mark.parametrize(
    ("after", "facts"),
    [
        (lease_of("faster"), ("faster", "2026-01-02 03:00:00 UTC")),
        (lease_of(""), ("released",)),
        (None, ("deleted",)),
    ],
)
def test_lost_lease_stops_the_next_write(
    api: FakeApi, clock: FakeClock, after: dict[str, Any] | None, facts: tuple[str, ...]
) -> None:
    lease = taken_by_us(api, clock)
    if after:
        api.put(PATH, after)
    else:
        del api.objects[PATH]
    lease.check()  # not known yet
    lease.renew()
    with pytest.raises(LeaseError) as caught:
        lease.check()
    assert mentions(caught.value, *WHERE, *facts)
    before = api.objects.get(PATH)
    lease.renew()
    lease.release(ignore)
    assert api.objects.get(PATH) == before


def test_lease_of_a_process_that_is_left_behind_is_lost(
    api: FakeApi, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job of AWX that is cancelled is killed, but not the forks of Ansible, which would go on and
    keep the next job away.
    """
    lease = taken_by_us(api, clock)
    lease.renew()
    renewed = spec_of(api)["renewTime"]
    lease.check()
    clock.time += 10
    monkeypatch.setattr("os.getppid", lambda: 1)
    lease.renew()
    with pytest.raises(LeaseError):
        lease.check()
    lease.release(ignore)
    assert (spec_of(api)["holderIdentity"], spec_of(api)["renewTime"]) == ("me", renewed)


def test_overdue_lease_is_renewed_at_once_before_a_write(api: FakeApi, clock: FakeClock) -> None:
    """As after an API server's restart, or when the process was stopped for a while."""
    lease = taken_by_us(api, clock)
    clock.time += 300
    lease.check()
    assert len(api.writes()) == 2
    lease.check()
    assert len(api.writes()) == 2


def test_lease_expires_while_the_machine_is_suspended(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default it counts on a clock that goes on then, unlike CLOCK_MONOTONIC."""
    slept = [0.0]
    clock_gettime = time.clock_gettime

    def with_sleep(which: int) -> float:
        return clock_gettime(which) + (slept[0] if which == time.CLOCK_BOOTTIME else 0)

    monkeypatch.setattr(time, "clock_gettime", with_sleep)
    lease = Lease(api.cluster, NAMESPACE, "me", LeaseTiming())
    lease.take(ignore)
    api.put(PATH, lease_of("other"))
    lease.check()  # not known yet
    slept[0] = 3600
    with pytest.raises(LeaseError, match="other"):
        lease.check()


def test_lease_that_cannot_be_renewed_stops_the_next_write(api: FakeApi, clock: FakeClock) -> None:
    lease = taken_by_us(api, clock)
    api.fault = lambda _method, _path: 500
    clock.time += 10
    lease.renew()
    assert lease.pause == 2  # sooner
    clock.time += 9
    lease.check()
    clock.time += 2
    with pytest.raises(LeaseError) as caught:
        lease.check()
    assert mentions(caught.value, *WHERE, "21 s", f"PATCH {PATH}", "injected 500")
    api.fault = lambda _method, _path: 0
    lease.check()  # nobody has taken it: it goes on
    assert lease.pause == 10


def test_lease_whose_conflict_cannot_be_looked_into(api: FakeApi, clock: FakeClock) -> None:
    lease = taken_by_us(api, clock)
    api.fault = lambda method, _path: 409 if method == "PATCH" else 500
    clock.time += 21
    with pytest.raises(LeaseError, match=r"GET .*500"):
        lease.check()


def test_release(api: FakeApi, clock: FakeClock) -> None:
    lease = taken_by_us(api, clock)
    lease.release(ignore)
    assert spec_of(api)["holderIdentity"] == ""
    assert not lease.held
    lease.check()
    Lease(api.cluster, NAMESPACE, "next", clock.timing).take(ignore)
    assert clock.time == 100  # without waiting


@pytest.mark.parametrize(
    ("status", "facts"), [(500, (f"PATCH {PATH}", "injected 500")), (0, ("deleted",))]
)
def test_release_that_fails_is_said(
    api: FakeApi, clock: FakeClock, status: int, facts: tuple[str, ...]
) -> None:
    lease = taken_by_us(api, clock)
    del api.objects[PATH]
    api.fault = lambda _method, _path: status
    said: list[str] = []
    lease.release(said.append)
    assert len(said) == 1
    assert mentions(said[0], *WHERE, *facts)


def renewing() -> bool:
    return any(thread.name == LEASE for thread in all_threads())


@pytest.mark.parametrize(("keep", "holder"), [(False, ""), (True, "me")])
def test_held_renews_in_the_background_until_the_end(api: FakeApi, keep: bool, holder: str) -> None:
    with hold_lease(api.cluster, NAMESPACE, "me", keep=keep, timing=LeaseTiming(0.9)) as lease:
        first = spec_of(api)["renewTime"]
        deadline = time.monotonic() + 5
        while spec_of(api)["renewTime"] == first:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        lease.check()
    assert not renewing()
    assert spec_of(api)["holderIdentity"] == holder


def test_held_releases_after_an_exception_also_with_keep(api: FakeApi) -> None:
    with suppress(ZeroDivisionError), hold_lease(api.cluster, NAMESPACE, "me", keep=True) as lease:
        assert lease.held
        raise ZeroDivisionError
    assert spec_of(api)["holderIdentity"] == ""
    assert not renewing()


def test_held_by_default_names_the_process(api: FakeApi) -> None:
    with hold_lease(api.cluster, NAMESPACE, " "):
        assert f"pid {os.getpid()} (" in spec_of(api)["holderIdentity"]


def test_runs_whose_user_host_and_process_are_alike_are_two(api: FakeApi, clock: FakeClock) -> None:
    """As in two containers that were given the same hostname."""
    first, second = (Lease(api.cluster, NAMESPACE, "", clock.timing) for _run in range(2))
    first.take(print)
    clock.events = [(clock.time + 5, first.renew)]
    with pytest.raises(LeaseError):
        second.take(print)
    assert first.held
    assert not second.held


@pytest.mark.parametrize(
    ("before", "holder", "after"),
    [
        (None, "me", None),
        (lease_of("me"), " me ", ""),
        (lease_of("me"), "", "me"),
        (lease_of(""), "", ""),
        (lease_of("somebody"), "me", "somebody"),
    ],
)
def test_let_go_of_a_lease_that_was_kept(
    api: FakeApi, before: dict[str, Any] | None, holder: str, after: str | None
) -> None:
    if before:
        api.put(PATH, deepcopy(before))
    release_kept_lease(api.cluster, NAMESPACE, holder)
    assert (spec_of(api)["holderIdentity"] if PATH in api.objects else None) == after
    assert len(api.writes()) == (1 if after == "" and holder else 0)


@pytest.mark.parametrize("status", [409, 403])
def test_let_go_of_a_lease_that_somebody_takes(api: FakeApi, status: int) -> None:
    api.put(PATH, lease_of("me"))
    api.fault = lambda method, _path: status if method == "PATCH" else 0
    if status == 409:
        release_kept_lease(api.cluster, NAMESPACE, "me")
    else:
        with pytest.raises(ClusterError):
            release_kept_lease(api.cluster, NAMESPACE, "me")


@pytest.mark.parametrize(
    ("before", "holder", "left"),
    [
        (None, "me", False),
        (lease_of(""), "", False),
        (lease_of(""), "me", False),
        (lease_of("me"), "me", False),
        (lease_of("me"), "", True),
        (lease_of("somebody"), "me", True),
    ],
)
@pytest.mark.parametrize("alive", [True, False])
def test_remove_lease(
    api: FakeApi,
    clock: FakeClock,
    before: dict[str, Any] | None,
    holder: str,
    left: bool,
    alive: bool,
) -> None:
    """One that another run renews is left; one that nobody does is waited out."""
    if before:
        api.put(PATH, before)
        if alive and left:
            renewed = lease_of(before["spec"]["holderIdentity"], "r2")
            clock.events.append((110.0, lambda: api.put(PATH, renewed)))
    said: list[str] = []
    remove_lease(api.cluster, NAMESPACE, holder, log=said.append, timing=clock.timing)
    assert (PATH in api.objects) is (left and alive)
    assert bool(said) is left


@pytest.mark.parametrize("status", [409, 403])
def test_remove_lease_that_somebody_takes(api: FakeApi, status: int) -> None:
    api.put(PATH, lease_of(""))
    api.fault = lambda method, _path: status if method == "DELETE" else 0
    if status == 409:
        remove_lease(api.cluster, NAMESPACE)
    else:
        with pytest.raises(ClusterError):
            remove_lease(api.cluster, NAMESPACE)
    assert PATH in api.objects
