# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: one writing run at a time, by a Lease in the operator's namespace.

Times that runs write into the Lease are for people. Whether it is renewed is judged by each run on
its own clock, from when it first saw the Lease: clocks of controllers may differ.
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from threading import Event, Lock, Thread

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.backoff import pauses
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.clock import Clock
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.documents import (
    dig,
    read_time,
    text_at,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    ClusterError,
    LeaseError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.names import (
    MANAGED_BY,
    MANAGED_BY_LABEL,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import Cluster, Json
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.objects import (
    guarded,
    namespaced,
    object_path,
    version_of,
)

LEASE = "gpufleet-sharing"
GROUP = "apis/coordination.k8s.io/v1"
DURATION = 30.0  # seconds
CLOCK = Clock(time.monotonic, time.sleep)
_LONGEST_NAME = 200
_STOPPED = "Nothing more is changed; run again to finish."
_ATTEMPTS = 2


@dataclass(frozen=True)
class Pace:
    """How long a Lease lasts without renewal, in seconds, and the clock that says so."""

    duration: float = DURATION
    clock: Clock = CLOCK


@dataclass(frozen=True)
class Holding:
    """What a Lease says. An empty holder has released it."""

    holder: str
    since: str  # RFC 3339
    renewed: str
    duration: float  # seconds
    transitions: int


@dataclass(frozen=True)
class Sight:
    """What was seen of another holder first, and when, in seconds of our own clock."""

    holding: Holding
    at: float


class Act(Enum):
    """What to do about a Lease that is wanted."""

    TAKE = "take"  # create, take or renew it
    WAIT = "wait"
    REFUSE = "refuse"


def read_lease(document: object) -> Holding:
    duration = dig(document, "spec", "leaseDurationSeconds")
    transitions = dig(document, "spec", "leaseTransitions")
    return Holding(
        holder=text_at(document, "spec", "holderIdentity"),
        since=text_at(document, "spec", "acquireTime"),
        renewed=text_at(document, "spec", "renewTime"),
        duration=float(duration) if isinstance(duration, int) else DURATION,
        transitions=transitions if isinstance(transitions, int) else 0,
    )


def decide(seen: Holding | None, holder: str, first: Sight | None, now: float) -> Act:
    """What to do, given the Lease (None: there is none) and what was seen of its holder first.

    A holder that renews it, or has just taken it, is at work. One that does neither for as long as
    the Lease lasts is dead: it has noticed itself that its time is over.
    """
    if seen is None or seen.holder in ("", holder):
        return Act.TAKE
    if first is None:
        return Act.WAIT
    if (seen.holder, seen.renewed) != (first.holding.holder, first.holding.renewed):
        return Act.REFUSE
    return Act.TAKE if now - first.at >= seen.duration else Act.WAIT


def taken(
    seen: Holding | None, holder: str, now: datetime, duration: float = DURATION
) -> dict[str, object]:
    """The spec of a Lease that holder takes, or renews when it has it already."""
    spec: dict[str, object] = {
        "holderIdentity": holder,
        "leaseDurationSeconds": max(1, round(duration)),
        "renewTime": _micro_time(now),
    }
    if seen is None or seen.holder != holder:
        transitions = seen.transitions + 1 if seen else 0
        spec |= {"acquireTime": _micro_time(now), "leaseTransitions": transitions}
    return spec


def default_holder() -> str:
    """Who is running: user, host and process; and a word of chance, since all three may be alike in
    containers.
    """
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # an arbitrary user id in a container
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()} pid {os.getpid()} ({secrets.token_hex(2)})"


def clean_holder(text: str) -> str:
    """A holder's name in one line of bearable length."""
    return " ".join(text.split())[:_LONGEST_NAME].strip()


class Lease:
    """The Lease of one run. check() and renew() may be called from any thread."""

    def __init__(self, cluster: Cluster, namespace: str, holder: str, pace: Pace) -> None:
        self._cluster = cluster
        self._list = namespaced("leases", namespace, GROUP)
        self._path = object_path(self._list, LEASE)
        self._where = f"the lease {LEASE} in namespace {namespace} on {cluster.server}"
        self._holder = clean_holder(holder) or default_holder()
        self._clock = pace.clock
        self._duration = pace.duration
        self._lock = Lock()
        self._document: Json = {}  # empty until it is held
        self._renewed = 0.0  # when the last good renewal was sent
        self._start: datetime | None = None  # the server's time when our clock was at zero
        self.waited = False  # for another run, which may have changed what was seen before
        self._lost = ""
        self._trouble = ""  # why the last renewal failed

    @property
    def held(self) -> bool:
        """False where there is no namespace yet, so that there can be no Lease in it."""
        return bool(self._document)

    @property
    def pause(self) -> float:
        """Seconds until the next renewal: sooner after one that failed."""
        return self._duration / (15 if self._trouble else 3)

    def take(self, said: Callable[[str], None]) -> None:
        """Take the Lease, after the end of a dead holder's time. Raises LeaseError when another
        run is at work.
        """
        first: Sight | None = None
        waits = pauses()
        while True:
            document = self._cluster.find(self._path)
            now = self._clock.now()
            seen = read_lease(document) if document else None
            act = decide(seen, self._holder, first, now)
            if act is Act.REFUSE and seen:
                raise LeaseError(
                    f"Another run is at work: {_who(seen)} holds {self._where} and renews it."
                    " Nothing is changed beside it; run again when it has ended."
                )
            if act is Act.WAIT and seen and first is None:
                first, self.waited = Sight(seen, now), True
                said(
                    f"{_who(seen)} holds {self._where}. Waiting up to {seen.duration:g} s to see"
                    " whether that run still renews it; if not, it is taken over."
                )
            if act is Act.TAKE and self._write(document, seen):
                if first and seen and seen.holder:
                    said(f"{_who(seen)} has not renewed {self._where}: it is taken over.")
                return
            self._clock.pause(min(next(waits), self._duration / 10))

    def check(self) -> None:
        """To be called before each write. Raises LeaseError once the Lease is lost.

        It may be lost after two thirds of its time, so that a write begun now ends within it.
        Before that is said, it is renewed at once if possible.
        """
        with self._lock:
            if self._overdue():
                self._renew()
        if self._lost:
            raise LeaseError(f"This run has lost {self._where}: {self._why()} {_STOPPED}")
        if self._overdue():
            waited = self._clock.now() - self._renewed
            raise LeaseError(
                f"This run could not renew {self._where} for {waited:.0f} s: {self._why()}"
                f" {_STOPPED}"
            )

    def renew(self) -> None:
        """Renew the Lease once. What goes wrong is told by check()."""
        with self._lock:
            self._renew()

    def release(self, said: Callable[[str], None]) -> None:
        """Let the next run take the Lease at once. Without an answer it ends by itself."""
        with self._lock:
            if not self.held or self._lost:
                return
            if not self._put({"holderIdentity": "", "renewTime": _micro_time(self._now())}):
                said(f"This run did not release {self._where}, which ends by itself: {self._why()}")
            self._document = {}

    def _why(self) -> str:
        return f"{self._lost}." if self._lost else self._trouble

    def _overdue(self) -> bool:
        return self.held and self._clock.now() - self._renewed > self._duration * 2 / 3

    def _renew(self) -> None:
        if self.held and not self._lost:
            seen = read_lease(self._document)
            self._put(taken(seen, self._holder, self._now(), self._duration))

    def _now(self) -> datetime:
        """The server's time to a second or so, as fine as our clock, so that renewals differ."""
        now = self._clock.now()
        if self._start is None:  # in full seconds, as the server tells it; our clock adds the rest
            self._start = self._cluster.now() - timedelta(seconds=int(now))
        return self._start + timedelta(seconds=now)

    def _write(self, document: Json | None, seen: Holding | None) -> bool:
        """Create or take the Lease, as it was seen. False when somebody else was faster."""
        spec = taken(seen, self._holder, self._now(), self._duration)
        sent = self._clock.now()
        try:
            if document:
                self._document = self._cluster.patch(self._path, guarded({"spec": spec}, document))
            else:
                labels = {MANAGED_BY_LABEL: MANAGED_BY}
                metadata = {"name": LEASE, "labels": labels}
                self._document = self._cluster.create(
                    self._list, {"metadata": metadata, "spec": spec}
                )
        except ClusterError as error:
            if error.status == 404 and not document:
                return True  # no namespace
            if error.status in (404, 409):
                return False
            raise
        self._renewed = sent
        return True

    def _put(self, spec: Json) -> bool:
        """Change the Lease while it is ours, also after somebody put a label on it."""
        for _attempt in range(_ATTEMPTS):
            sent = self._clock.now()
            try:
                self._document = self._cluster.patch(
                    self._path, guarded({"spec": spec}, self._document)
                )
            except ClusterError as error:
                self._trouble = str(error)
                if error.status not in (404, 409) or not self._look():
                    return False
            else:
                self._renewed, self._trouble = sent, ""
                return True
        return False

    def _look(self) -> bool:
        """Read the Lease again. False when it is not known to be ours."""
        try:
            document = self._cluster.find(self._path)
        except ClusterError as error:
            self._trouble = str(error)
            return False
        seen = read_lease(document)
        if document is None:
            self._lost = "somebody deleted it"
        elif seen.holder != self._holder:
            self._lost = f"{_who(seen)} holds it" if seen.holder else "somebody released it"
        else:
            self._document = document
        return not self._lost


@contextmanager
def held(
    cluster: Cluster,
    namespace: str,
    holder: str,
    *,
    keep: bool = False,
    said: Callable[[str], None] = lambda _text: None,
    pace: Pace = Pace(),
) -> Iterator[Lease]:
    """Hold the Lease of a namespace, renewed by a thread of its own. holder names the run; empty
    for the process.

    At the end it is released; with keep and without an exception it stays the run's for one more
    duration, for its next module. Without the namespace there is no Lease, and held is False.
    Raises LeaseError when another run holds it.
    """
    lease = Lease(cluster, namespace, holder, pace)
    lease.take(said)
    stop = Event()
    thread = Thread(target=_renew_until, args=(lease, stop), name=LEASE, daemon=True)
    thread.start()
    stays = False
    try:
        yield lease
        stays = keep
    finally:
        stop.set()
        thread.join()
        if not stays:
            lease.release(said)


def let_go(cluster: Cluster, namespace: str, holder: str) -> None:
    """Release the Lease that an earlier module of this run has kept, if it is still the run's."""
    path, document = _find(cluster, namespace)
    name = clean_holder(holder)
    if document is None or not name or read_lease(document).holder != name:
        return
    try:
        cluster.patch(path, guarded({"spec": {"holderIdentity": ""}}, document))
    except ClusterError as error:
        if error.status not in (404, 409):  # a run has just taken it
            raise


def remove_lease(
    cluster: Cluster,
    namespace: str,
    holder: str = "",
    *,
    said: Callable[[str], None] = lambda _text: None,
    pace: Pace = Pace(),
) -> None:
    """Remove the Lease, unless another run than holder is at work. That of a run that was killed,
    or has failed, is waited out first.
    """
    path, document = _find(cluster, namespace)
    if document and read_lease(document).holder not in ("", clean_holder(holder)):
        lease = Lease(cluster, namespace, holder, pace)
        try:
            lease.take(said)
        except LeaseError:
            return
        path, document = _find(cluster, namespace)
    if document is None:
        return
    try:
        cluster.delete(path, resource_version=version_of(document))
    except ClusterError as error:
        if error.status != 409:  # a run has just taken it
            raise


def _find(cluster: Cluster, namespace: str) -> tuple[str, Json | None]:
    path = object_path(namespaced("leases", namespace, GROUP), LEASE)
    return path, cluster.find(path)


def _renew_until(lease: Lease, stop: Event) -> None:
    while not stop.wait(lease.pause):
        lease.renew()


def _micro_time(time_: datetime) -> str:
    """Kubernetes' MicroTime."""
    return time_.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _who(seen: Holding) -> str:
    since = read_time(seen.since)
    started = f", since {since:%Y-%m-%d %H:%M:%S} UTC," if since else ""
    return f"{clean_holder(seen.holder)}{started}"
