# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: the namespace that the probe works in, and its pods as they change.

A run has a Job there that owns all else and that Kubernetes removes within a minute when nobody
moves its deadline on: so pods vanish also where the controller was killed. The last run that leaves
takes the namespace with it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from threading import Condition, Event, Thread
from typing import cast

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.backoff import pauses
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.documents import (
    dig,
    list_at,
    mapping_at,
    name_of,
    read_time,
    text_at,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    ClusterError,
    RefusedError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import some
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import Cluster
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.objects import (
    NAMESPACES,
    namespaced,
    object_path,
    version_of,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.payloads import Json
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.reflector import Reflector
from ansible_collections.gpufleet.sharing.plugins.module_utils._probe import manifests
from ansible_collections.gpufleet.sharing.plugins.module_utils._probe.manifests import (
    LIFETIME,
    PROBE_LABELS,
    RUN_LABEL,
    owner_of,
    priority_class,
    quota,
    run_job,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._probe.pods import (
    ProbePod,
    gone,
    read_pod,
)

PRIORITY_CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
# What the API server says of a pod while its namespace is being made ready.
_MOMENTARY = ("status unknown for quota", "serviceaccount", "no PriorityClass")
_TRIES = 12


@dataclass(frozen=True)
class Timing:
    """In seconds: how often a run tells that it is there; how long another one may be silent; how
    long removals are waited for.
    """

    beat: float = 3.0
    silence: float = 10.0
    removal: float = 60.0


@dataclass(frozen=True)
class RunJob:
    """The Job of a run, which moves its deadline on."""

    run: str
    uid: str
    deadline: str


def read_run_job(document: object) -> RunJob:
    deadline = text_at(document, "spec", "activeDeadlineSeconds")
    return RunJob(name_of(document), text_at(document, "metadata", "uid"), deadline)


def run_name() -> str:
    return f"probe-{uuid.uuid4().hex[:8]}"


class ProbeNamespace:
    """The namespace of the probe, for one run.

    prepared: namespace and PriorityClass are an administrator's, and stay.
    """

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        *,
        prepared: bool = False,
        times: Timing = Timing(),
        run: str = "",
    ) -> None:
        self.cluster, self.name, self.run = cluster, name, run or run_name()
        self._prepared, self._times = prepared, times
        self._path = object_path(NAMESPACES, name)
        self._jobs = namespaced("jobs", name, "apis/batch/v1")
        self._pods_path = namespaced("pods", name)
        self._uid = ""  # of the namespace
        self._job: Json = {}
        self._pods: dict[str, ProbePod] = {}
        self._vanished: set[str] = set()
        self._changes = Condition()
        self._changed = False
        self._mirror: Reflector[ProbePod] | None = None
        self._left = Event()

    def now(self) -> float:
        return time.monotonic()

    # Coming and going

    def sweep(self) -> list[str]:
        """Remove what runs that were killed have left, and return their names. A run that is at
        work is seen to move its deadline on. Raises RefusedError where the namespace is not ours.
        """
        if not self._prepared and self._find() is None:
            return []
        jobs = [read_run_job(job) for job in self.cluster.items(self._jobs, labels=RUN_LABEL)]
        dead = self._silent(jobs) if jobs else []
        for one in dead:
            labels = f"{RUN_LABEL}={one.run}"
            pods = self.cluster.items(self._pods_path, labels=labels, metadata_only=True)
            self.delete([name_of(pod) for pod in pods])
            self._delete_job(one)
            self._wait_until_gone(self._pods_path, labels=labels)
        return [one.run for one in dead]

    def clean(self, *, check: bool) -> dict[str, object]:
        """Remove the namespace with all that is in it, whoever is at work there; one that is
        prepared stays. Returns whether there was something, and what.
        """
        document = None if self._prepared else self.cluster.find(self._path)
        if document is None or not _is_ours(document) or _is_leaving(document):
            return {"changed": False, "cleaned": []}
        if not check:
            self.cluster.delete(self._path, uid=text_at(document, "metadata", "uid"))
        return {"changed": True, "cleaned": [self.name]}

    def open(self) -> None:
        """Make the namespace, if need be, and what a run needs in it."""
        until = self.now() + self._times.removal
        while not self._enter():
            if self.now() >= until:
                raise ClusterError(
                    f"The namespace {self.name} on {self.cluster.server} has been on its way"
                    f" out for {self._times.removal:g} s. Look at its status for what holds it."
                )
            fields = f"metadata.name={self.name}"
            self._wait_until_gone(NAMESPACES, fields=fields)
        owner = owner_of(self._job)
        quotas = namespaced("resourcequotas", self.name)
        self._once(quotas, quota(self.run, owner))
        labels = f"{RUN_LABEL}={self.run}"
        self._mirror = Reflector(self.cluster, self._pods_path, read_pod, self._note, labels=labels)
        self._mirror.start()
        Thread(target=self._beat, daemon=True, name="probe").start()

    def close(self) -> list[str]:
        """Remove all of it; the namespace too, unless another run is at work there. Returns pods
        that are still on their way out.
        """
        self._left.set()
        if not self._job:
            self._leave()
            return []
        if self._mirror:
            self._mirror.stop()
        self.delete([name for name in self._pods if name not in self._vanished])
        self._delete_job(read_run_job(self._job))
        left = self._wait_until_gone(self._pods_path, labels=f"{RUN_LABEL}={self.run}")
        self._leave()
        return left

    def _enter(self) -> bool:
        """Create namespace, PriorityClass and Job. False when the namespace is on its way out.

        The Job is there before the namespace is touched, and who removes the namespace has read it
        before listing Jobs: so nobody removes it under a run.
        """
        if not self._prepared:
            document = self._find() or self._made()
            if document is None or _is_leaving(document):
                self._uid = text_at(document, "metadata", "uid")
                return False
            self._uid = text_at(document, "metadata", "uid")
        self._set_priority_class()
        try:
            self._job = self._once(self._jobs, run_job(self.run))
            if self._prepared:
                return True
            # so that another run sees that somebody has come
            mark = {"metadata": {"annotations": {RUN_LABEL: self.run}}}
            return not _is_leaving(self.cluster.patch(self._path, mark))
        except ClusterError as error:
            if self._prepared or not (error.status == 404 or "being terminated" in error.detail):
                raise
            return False

    def _find(self) -> Json | None:
        document = self.cluster.find(self._path)
        if document is not None and not _is_ours(document):
            raise RefusedError(
                f"The namespace {self.name} on {self.cluster.server} is somebody else's: it"
                " was not made by a probe. Name another one, or say that it is prepared for it."
            )
        return document

    def _made(self) -> Json | None:
        """A new namespace; None when somebody else has just made it."""
        try:
            return self.cluster.create(NAMESPACES, manifests.namespace(self.name))
        except ClusterError as error:
            if error.status != 409:
                raise
            return self._find()

    def _leave(self) -> None:
        """Remove the namespace, unless it is an administrator's or another run is there."""
        while not self._prepared:
            document = self._find()
            if document is None or _is_leaving(document):
                return
            others = self.cluster.items(self._jobs, labels=RUN_LABEL, metadata_only=True)
            if any(name_of(job) != self.run and not _is_leaving(job) for job in others):
                return
            uid, version = text_at(document, "metadata", "uid"), version_of(document)
            try:
                self.cluster.delete(self._path, uid=uid, resource_version=version)
            except ClusterError as error:
                if error.status != 409:  # a run has just come, or it was written to
                    raise
            else:
                return

    def _set_priority_class(self) -> None:
        path = object_path(PRIORITY_CLASSES, self.name)
        if self._prepared:
            found = self.cluster.find(path)
            if text_at(found, "preemptionPolicy") != "Never":
                raise RefusedError(
                    f"The probe needs a PriorityClass {self.name} with preemptionPolicy: Never"
                    f" on {self.cluster.server}, so that its pods evict nobody. Create it with a"
                    " value below that of all work, or let the probe make its own."
                )
            return
        body = priority_class(self.name, self._uid)
        try:
            self.cluster.create(PRIORITY_CLASSES, body)
        except ClusterError as error:
            if error.status != 409:
                raise
            self._take_over(path, body)

    def _take_over(self, path: str, body: Json) -> None:
        """The PriorityClass of a namespace that is there no more becomes that of this one."""
        found = self.cluster.find(path)
        if found is not None and not _is_ours(found):
            raise RefusedError(
                f"The PriorityClass {self.name} on {self.cluster.server} is somebody else's."
                " Name another namespace for the probe, after which its PriorityClass is named too."
            )
        owners = list_at(found, "metadata", "ownerReferences")
        if self._uid in [text_at(owner, "uid") for owner in owners]:
            return
        change = {"metadata": {"ownerReferences": dig(body, "metadata", "ownerReferences")}}
        self.cluster.patch_if_exists(path, change)

    def _once(self, path: str, body: Mapping[str, object]) -> Json:
        """Create an object with a name of this run's own: one that is there, we have made."""
        try:
            return self.cluster.create(path, body)
        except ClusterError as error:
            if error.status != 409:
                raise
            return self.cluster.get(object_path(path, name_of(body)))

    # Telling that the run is there, and seeing who is

    def _beat(self) -> None:
        """Move the deadline of the Job on, until the run leaves."""
        path = object_path(self._jobs, self.run)
        born = read_time(text_at(self._job, "metadata", "creationTimestamp"))
        while not self._left.wait(self._times.beat):
            seconds = _age(born, self.cluster.now()) + LIFETIME
            try:
                self.cluster.patch_if_exists(path, {"spec": {"activeDeadlineSeconds": seconds}})
            except ClusterError:
                continue  # without it, pods go, and that is told

    def _silent(self, jobs: Sequence[RunJob]) -> list[RunJob]:
        """Those of other runs whose deadline nobody moves on."""
        known = {one.uid: one for one in jobs}
        heard: set[str] = set()
        changes = Condition()

        def note(before: RunJob | None, after: RunJob | None) -> None:
            one = after or before
            with changes:
                if one and (after is None or one.uid not in known or one != known[one.uid]):
                    heard.add(one.uid)
                changes.notify_all()

        mirror = Reflector(self.cluster, self._jobs, read_run_job, note, labels=RUN_LABEL)
        mirror.start()
        with changes:
            changes.wait_for(lambda: known.keys() <= heard, self._times.silence)
        mirror.stop()
        return [one for uid, one in known.items() if uid not in heard]

    # Pods

    def create(self, pods: Iterable[Mapping[str, object]]) -> dict[str, str]:
        """Create pods, some at a time. Returns the failures: {name: message}."""
        bodies = {name_of(pod): self._filled(pod) for pod in pods}
        return self.cluster.for_each(list(bodies), lambda name: self._create_pod(bodies[name]))

    def _filled(self, pod: Mapping[str, object]) -> Json:
        metadata, spec = (cast("Json", pod[part]) for part in ("metadata", "spec"))
        owners = [owner_of(self._job)]
        return {
            **pod,
            "metadata": {**metadata, "ownerReferences": owners},
            "spec": {**spec, "priorityClassName": self.name},
        }

    def _create_pod(self, body: Json) -> None:
        for pause in islice(pauses(), _TRIES):
            try:
                made = self._once(self._pods_path, body)
            except ClusterError as error:
                if error.status != 403 or not any(text in error.detail for text in _MOMENTARY):
                    raise
                if "PriorityClass" in error.detail:
                    self._set_priority_class()
                time.sleep(pause)
            else:
                break
        else:
            made = self._once(self._pods_path, body)
        with self._changes:
            self._pods.setdefault(name_of(body), read_pod(made))

    def pod(self, name: str) -> ProbePod:
        """A pod that has been created."""
        with self._changes:
            return self._pods[name]

    def delete(self, names: Sequence[str]) -> None:
        """Ask for pods to be deleted. Raises ClusterError when that is refused."""
        path = self._pods_path
        failures = self.cluster.for_each(
            list(names), lambda name: self.cluster.delete(object_path(path, name))
        )
        if failures:
            raise ClusterError(
                f"Pods of the probe in namespace {self.name} could not be deleted"
                f" ({some(sorted(failures))}): {min(failures.values())} Kubernetes removes them"
                f" within {LIFETIME} s."
            )

    def vanished(self, names: Iterable[str]) -> bool:
        """Whether pods are there no more; those that could not be created never were."""
        with self._changes:
            return all(name in self._vanished or name not in self._pods for name in names)

    def wait(self, seconds: float) -> None:
        """Wait until a pod of this run changes, at most so long. Raises ClusterError where the API
        server does not let us watch.
        """
        if self._mirror and self._mirror.refused:
            raise ClusterError(self._mirror.trouble)
        with self._changes:
            self._changes.wait_for(lambda: self._changed, seconds)
            self._changed = False

    def events(self, pod: ProbePod) -> list[object]:
        path = namespaced("events", self.name)
        return list(self.cluster.items(path, fields=f"involvedObject.uid={pod.uid}"))

    def _note(self, before: ProbePod | None, after: ProbePod | None) -> None:
        with self._changes:
            if after is not None:
                self._pods[after.name] = after
            elif before is not None:
                self._pods[before.name] = gone(before)
                self._vanished.add(before.name)
            self._changed = True
            self._changes.notify_all()

    # Removing

    def _delete_job(self, job: RunJob) -> None:
        path = object_path(self._jobs, job.run)
        self.cluster.delete(path, uid=job.uid, propagation="Background")

    def _wait_until_gone(self, path: str, *, labels: str = "", fields: str = "") -> list[str]:
        """Wait until a list is empty. Returns the names of what is still there after all."""
        there: dict[str, str] = {}
        changes = Condition()

        def note(before: tuple[str, str] | None, after: tuple[str, str] | None) -> None:
            with changes:
                if before is not None:
                    there.pop(before[0], None)
                if after is not None:
                    there[after[0]] = after[1]
                changes.notify_all()

        mirror = Reflector(self.cluster, path, _identity, note, labels=labels, fields=fields)
        mirror.start()
        with changes:
            changes.wait_for(lambda: not there, self._times.removal)
        mirror.stop()
        return sorted(there.values())


def _identity(document: object) -> tuple[str, str]:
    return text_at(document, "metadata", "uid"), name_of(document)


def _is_ours(document: object) -> bool:
    return PROBE_LABELS.items() <= mapping_at(document, "metadata", "labels").items()


def _is_leaving(document: object) -> bool:
    return bool(text_at(document, "metadata", "deletionTimestamp"))


def _age(born: datetime | None, now: datetime) -> int:
    return max(0, round((now - born).total_seconds())) if born else 0
