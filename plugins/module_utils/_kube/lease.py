# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the Lease in the operator's namespace, which allows one writing run at a time.

The times in the Lease are for people. Clocks of controllers may differ, so each run measures on its
own clock, from its first observation of the Lease, whether the holder renews it.
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from threading import Event, Lock, Thread

from .._common.backoff import pauses
from .._common.clock import BOOT_CLOCK, Clock
from .._common.documents import dig, read_time, text_at
from .._common.errors import ClusterError, LeaseError
from .._common.names import MANAGED_BY, MANAGED_BY_LABEL
from .client import Cluster
from .objects import if_unchanged, namespaced, object_path, version_of
from .payloads import Json

LEASE = "gpufleet-sharing"
GROUP = "apis/coordination.k8s.io/v1"
DURATION = 30.0  # seconds
_MAX_NAME = 200
_STOPPED = "The run makes no more changes. Run again to finish."
_ATTEMPTS = 2


@dataclass(frozen=True)
class LeaseTiming:
    """How long a Lease lasts without renewal, in seconds, and the clock that measures it."""

    duration: float = DURATION
    clock: Clock = BOOT_CLOCK  # a Lease also expires while this machine is suspended


@dataclass(frozen=True)
class LeaseState:
    """The content of a Lease. An empty holder means that it is released."""

    holder: str
    since: str  # RFC 3339
    renewed: str
    duration: float  # seconds
    transitions: int


@dataclass(frozen=True)
class Observation:
    """The first observation of another holder, and when, in seconds of our own clock."""

    state: LeaseState
    at: float


class Decision(Enum):
    """What a run that wants the Lease does next."""

    TAKE = "take"  # create, take or renew it
    WAIT = "wait"
    REFUSE = "refuse"


def read_lease(document: object) -> LeaseState:
    duration = dig(document, "spec", "leaseDurationSeconds")
    transitions = dig(document, "spec", "leaseTransitions")
    return LeaseState(
        holder=text_at(document, "spec", "holderIdentity"),
        since=text_at(document, "spec", "acquireTime"),
        renewed=text_at(document, "spec", "renewTime"),
        duration=float(duration) if isinstance(duration, int) else DURATION,
        transitions=transitions if isinstance(transitions, int) else 0,
    )


def decide(seen: LeaseState | None, holder: str, first: Observation | None, now: float) -> Decision:
    """Decide from the Lease (None where it does not exist) and the first observation of its holder.

    A holder that has renewed the Lease, or has just taken it, is running. One that does neither
    while the Lease lasts is dead: by its own clock it has lost the Lease.
    """
    if seen is None or seen.holder in ("", holder):
        return Decision.TAKE
    if first is None:
        return Decision.WAIT
    if (seen.holder, seen.renewed) != (first.state.holder, first.state.renewed):
        return Decision.REFUSE
    return Decision.TAKE if now - first.at >= seen.duration else Decision.WAIT


def lease_spec(
    seen: LeaseState | None, holder: str, now: datetime, duration: float = DURATION
) -> dict[str, object]:
    """The spec of a Lease that holder takes, or renews where it holds it already."""
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
    """User, host and process of this run, and a random suffix: in containers all three may be the
    same.
    """
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # an arbitrary user id in a container
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()} pid {os.getpid()} ({secrets.token_hex(2)})"


def clean_holder(text: str) -> str:
    """A holder's name in one line of limited length."""
    return " ".join(text.split())[:_MAX_NAME].strip()


class Lease:
    """The Lease of one run. check() and renew() may be called from any thread."""

    def __init__(self, cluster: Cluster, namespace: str, holder: str, timing: LeaseTiming) -> None:
        self._cluster = cluster
        self._list = namespaced("leases", namespace, GROUP)
        self._path = object_path(self._list, LEASE)
        self._where = f"the lease {LEASE} in namespace {namespace} on {cluster.server}"
        self._holder = clean_holder(holder) or default_holder()
        self._clock = timing.clock
        self._duration = timing.duration
        self._lock = Lock()
        self._document: Json = {}  # empty while the run does not hold it
        self._renewed = 0.0  # when the last successful renewal was sent
        self._start: datetime | None = None  # the server's time at zero of our clock
        self.waited = False  # for another run, which may have changed the cluster
        self._lost = ""
        self._parent = os.getppid()
        self._trouble = ""  # why the last renewal failed

    @property
    def held(self) -> bool:
        """False where the namespace does not exist yet, so that it cannot contain a Lease."""
        return bool(self._document)

    @property
    def pause(self) -> float:
        """Seconds until the next renewal; fewer after a failed one."""
        return self._duration / (15 if self._trouble else 3)

    def take(self, log: Callable[[str], None]) -> None:
        """Take the Lease, from a dead holder once its time has passed. Raises LeaseError while
        another run is running.
        """
        first: Observation | None = None
        waits = pauses()
        while True:
            document = self._cluster.find(self._path)
            now = self._clock.now()
            seen = read_lease(document) if document else None
            act = decide(seen, self._holder, first, now)
            if act is Decision.REFUSE and seen:
                raise LeaseError(
                    f"Another run is in progress: {_who(seen)} holds {self._where} and renews it."
                    " This run makes no changes. Run again when the other one has ended."
                )
            if act is Decision.WAIT and seen and first is None:
                first, self.waited = Observation(seen, now), True
                log(
                    f"{_who(seen)} holds {self._where}. Waiting up to {seen.duration:g} s for a"
                    " renewal. Without one this run takes the lease over."
                )
            if act is Decision.TAKE and self._write(document, seen):
                if first and seen and seen.holder:
                    log(f"{_who(seen)} has not renewed {self._where}. This run takes it over.")
                return
            self._clock.pause(min(next(waits), self._duration / 10))

    def check(self) -> None:
        """Called before each write. Raises LeaseError once the Lease is lost.

        If two thirds of the duration have passed since the last renewal, this renews the Lease once
        more, and raises if that fails. The rest of the duration is for the write that follows.
        """
        with self._lock:
            if self._overdue() or os.getppid() != self._parent:
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
        """Renew the Lease once. check() reports a failure."""
        with self._lock:
            self._renew()

    def release(self, log: Callable[[str], None]) -> None:
        """Let the next run take the Lease at once. Where this fails, it expires."""
        with self._lock:
            if not self.held or self._lost:
                return
            if not self._put({"holderIdentity": "", "renewTime": _micro_time(self._now())}):
                log(f"This run could not release {self._where}. It will expire. {self._why()}")
            self._document = {}

    def _why(self) -> str:
        return f"{self._lost}." if self._lost else self._trouble

    def _overdue(self) -> bool:
        return self.held and self._clock.now() - self._renewed > self._duration * 2 / 3

    def _renew(self) -> None:
        if os.getppid() != self._parent:  # a killed Ansible does not end its forks
            self._lost = self._lost or "the process that started this one has ended"
        if self.held and not self._lost:
            seen = read_lease(self._document)
            self._put(lease_spec(seen, self._holder, self._now(), self._duration))

    def _now(self) -> datetime:
        """The server's time to about a second, in steps of our clock, so that renewals differ."""
        now = self._clock.now()
        if self._start is None:  # the server's is in full seconds; our clock adds the rest
            self._start = self._cluster.now() - timedelta(seconds=int(now))
        return self._start + timedelta(seconds=now)

    def _write(self, document: Json | None, seen: LeaseState | None) -> bool:
        """Create or take the Lease as observed. False when another run was faster."""
        spec = lease_spec(seen, self._holder, self._now(), self._duration)
        sent = self._clock.now()
        try:
            if document:
                self._document = self._cluster.patch(
                    self._path, if_unchanged({"spec": spec}, document)
                )
            else:
                labels = {MANAGED_BY_LABEL: MANAGED_BY}
                metadata = {"name": LEASE, "labels": labels}
                self._document = self._cluster.create(
                    self._list, {"metadata": metadata, "spec": spec}
                )
        except ClusterError as error:
            if error.status == 404 and not document:
                return True  # the namespace does not exist
            if error.status in (404, 409):
                return False
            raise
        self._renewed = sent
        return True

    def _put(self, spec: Json) -> bool:
        """Change the Lease while we hold it, also after somebody has labelled it."""
        for _attempt in range(_ATTEMPTS):
            sent = self._clock.now()
            try:
                self._document = self._cluster.patch(
                    self._path, if_unchanged({"spec": spec}, self._document)
                )
            except ClusterError as error:
                self._trouble = str(error)
                if error.status not in (404, 409) or not self._read_again():
                    return False
            else:
                self._renewed, self._trouble = sent, ""
                return True
        return False

    def _read_again(self) -> bool:
        """Read the Lease again. False unless we are known to hold it."""
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
def hold_lease(
    cluster: Cluster,
    namespace: str,
    holder: str,
    *,
    keep: bool = False,
    log: Callable[[str], None] = lambda _text: None,
    timing: LeaseTiming = LeaseTiming(),
) -> Iterator[Lease]:
    """Hold the Lease of a namespace and renew it in a thread. holder identifies the run; empty
    for this process.

    The Lease is released at the end. With keep and without an exception the run keeps it for one
    more duration, for its next module. Without the namespace there is no Lease, and held is False.
    Raises LeaseError while another run holds it.
    """
    lease = Lease(cluster, namespace, holder, timing)
    lease.take(log)
    stop = Event()
    thread = Thread(target=_renew_until, args=(lease, stop), name=LEASE, daemon=True)
    thread.start()
    kept = False
    try:
        yield lease
        kept = keep
    finally:
        stop.set()
        thread.join()
        if not kept:
            lease.release(log)


def release_kept_lease(cluster: Cluster, namespace: str, holder: str) -> None:
    """Release the Lease that an earlier module of this run has kept, if the run still holds it."""
    path, document = _find(cluster, namespace)
    name = clean_holder(holder)
    if document is None or not name or read_lease(document).holder != name:
        return
    try:
        cluster.patch(path, if_unchanged({"spec": {"holderIdentity": ""}}, document))
    except ClusterError as error:
        if error.status not in (404, 409):  # another run has just taken it
            raise


def remove_lease(
    cluster: Cluster,
    namespace: str,
    holder: str = "",
    *,
    log: Callable[[str], None] = lambda _text: None,
    timing: LeaseTiming = LeaseTiming(),
) -> None:
    """Remove the Lease, unless another run than holder is running. The Lease of a run that was
    killed or has failed must expire first.
    """
    path, document = _find(cluster, namespace)
    if document and read_lease(document).holder not in ("", clean_holder(holder)):
        lease = Lease(cluster, namespace, holder, timing)
        try:
            lease.take(log)
        except LeaseError:
            return
        path, document = _find(cluster, namespace)
    if document is None:
        return
    try:
        cluster.delete(path, resource_version=version_of(document))
    except ClusterError as error:
        if error.status != 409:  # another run has just taken it
            raise


def _find(cluster: Cluster, namespace: str) -> tuple[str, Json | None]:
    path = object_path(namespaced("leases", namespace, GROUP), LEASE)
    return path, cluster.find(path)


def _renew_until(lease: Lease, stop: Event) -> None:
    while not stop.wait(lease.pause):
        lease.renew()


def _micro_time(moment: datetime) -> str:
    """A MicroTime of the API."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _who(seen: LeaseState) -> str:
    since = read_time(seen.since)
    started = f", since {since:%Y-%m-%d %H:%M:%S} UTC," if since else ""
    return f"{clean_holder(seen.holder)}{started}"
