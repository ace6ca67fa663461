# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the namespace of the probe, and the state of its pods.

A run has a Job in it that owns everything else. Kubernetes removes the Job within a minute if the
run stops extending its deadline, so pods go away even if the controller was killed. The last run
that ends removes the namespace.
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

from .._common.backoff import pauses
from .._common.documents import dig, list_at, mapping_at, name_of, read_time, text_at
from .._common.errors import ClusterError, RefusedError
from .._common.text import some
from .._kube.client import Cluster
from .._kube.objects import NAMESPACES, namespaced, object_path, version_of
from .._kube.payloads import Json
from .._kube.reflector import Reflector
from . import manifests
from .manifests import LIFETIME, PROBE_LABELS, RUN_LABEL, owner_of, priority_class, quota, run_job
from .pods import ProbePod, gone, read_pod

PRIORITY_CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
# Errors for a pod while Kubernetes still prepares the namespace.
_TRANSIENT = ("status unknown for quota", "serviceaccount", "no PriorityClass")
_TRIES = 12


@dataclass(frozen=True)
class Timing:
    """In seconds: how often a run extends its deadline; how long to watch whether another run does;
    how long to wait for removals.
    """

    heartbeat: float = 3.0
    silence: float = 10.0
    removal: float = 60.0


@dataclass(frozen=True)
class RunJob:
    """The Job of a run, whose deadline the run extends."""

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

    prepared: an administrator created namespace and PriorityClass, and they stay.
    """

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        *,
        prepared: bool = False,
        timing: Timing = Timing(),
        run: str = "",
    ) -> None:
        self.cluster, self.name, self.run = cluster, name, run or run_name()
        self._prepared, self._timing = prepared, timing
        self._path = object_path(NAMESPACES, name)
        self._jobs = namespaced("jobs", name, "apis/batch/v1")
        self._pods_path = namespaced("pods", name)
        self._uid = ""  # of the namespace
        self._job: Json = {}
        self._pods: dict[str, ProbePod] = {}
        self._vanished: set[str] = set()
        self._changes = Condition()
        self._changed = False
        self._reflector: Reflector[ProbePod] | None = None
        self._closed = Event()

    def now(self) -> float:
        return time.monotonic()

    # Opening and closing

    def sweep(self) -> list[str]:
        """Remove what killed runs have left, and return their names. An active run extends its
        deadline. Raises RefusedError if the namespace is not ours.
        """
        if not self._prepared and self._find() is None:
            return []
        jobs = [read_run_job(job) for job in self.cluster.items(self._jobs, labels=RUN_LABEL)]
        dead = self._silent(jobs) if jobs else []
        for job in dead:
            labels = f"{RUN_LABEL}={job.run}"
            pods = self.cluster.items(self._pods_path, labels=labels, metadata_only=True)
            self.delete([name_of(pod) for pod in pods])
            self._delete_job(job)
            self._wait_until_gone(self._pods_path, labels=labels)
        return [job.run for job in dead]

    def clean(self, *, check: bool) -> dict[str, object]:
        """Remove the namespace and everything in it, active runs included; a prepared one stays.
        Returns whether it existed, and its name.
        """
        document = None if self._prepared else self.cluster.find(self._path)
        if document is None or not _is_ours(document) or _is_terminating(document):
            return {"changed": False, "cleaned": []}
        if not check:
            self.cluster.delete(self._path, uid=text_at(document, "metadata", "uid"))
        return {"changed": True, "cleaned": [self.name]}

    def open(self) -> None:
        """Create the namespace if needed, and what a run needs in it."""
        until = self.now() + self._timing.removal
        while not self._create_all():
            if self.now() >= until:
                raise ClusterError(
                    f"Namespace {self.name} on {self.cluster.server} is still terminating after"
                    f" {self._timing.removal:g} s. Its status shows what blocks the deletion."
                )
            fields = f"metadata.name={self.name}"
            self._wait_until_gone(NAMESPACES, fields=fields)
        owner = owner_of(self._job)
        quotas = namespaced("resourcequotas", self.name)
        self._once(quotas, quota(self.run, owner))
        labels = f"{RUN_LABEL}={self.run}"
        self._reflector = Reflector(
            self.cluster, self._pods_path, read_pod, self._note, labels=labels
        )
        self._reflector.start()
        Thread(target=self._send_heartbeats, daemon=True, name="probe").start()

    def close(self) -> list[str]:
        """Remove everything of this run, and the namespace unless another run is active. Returns
        pods that are still terminating.
        """
        self._closed.set()
        if not self._job:
            self._remove_namespace()
            return []
        if self._reflector:
            self._reflector.stop()
        self.delete([name for name in self._pods if name not in self._vanished])
        self._delete_job(read_run_job(self._job))
        left = self._wait_until_gone(self._pods_path, labels=f"{RUN_LABEL}={self.run}")
        self._remove_namespace()
        return left

    def _create_all(self) -> bool:
        """Create namespace, PriorityClass and Job. False if the namespace is terminating.

        A run creates its Job before it updates the namespace, and a run that removes the namespace
        reads it before it lists Jobs. So no run removes the namespace of another one.
        """
        if not self._prepared:
            document = self._find() or self._create_namespace()
            if document is None or _is_terminating(document):
                self._uid = text_at(document, "metadata", "uid")
                return False
            self._uid = text_at(document, "metadata", "uid")
        self._set_priority_class()
        try:
            self._job = self._once(self._jobs, run_job(self.run))
            if self._prepared:
                return True
            # so that another run detects this one
            mark = {"metadata": {"annotations": {RUN_LABEL: self.run}}}
            return not _is_terminating(self.cluster.patch(self._path, mark))
        except ClusterError as error:
            if self._prepared or not (error.status == 404 or "being terminated" in error.detail):
                raise
            return False

    def _find(self) -> Json | None:
        document = self.cluster.find(self._path)
        if document is not None and not _is_ours(document):
            raise RefusedError(
                f"Namespace {self.name} on {self.cluster.server} was not created by a probe. Set"
                " another namespace, or set prepared if it is meant for the probe."
            )
        return document

    def _create_namespace(self) -> Json | None:
        """Create the namespace, or return the one that another run has just created."""
        try:
            return self.cluster.create(NAMESPACES, manifests.namespace(self.name))
        except ClusterError as error:
            if error.status != 409:
                raise
            return self._find()

    def _remove_namespace(self) -> None:
        """Remove the namespace, unless it is prepared or another run uses it."""
        while not self._prepared:
            document = self._find()
            if document is None or _is_terminating(document):
                return
            others = self.cluster.items(self._jobs, labels=RUN_LABEL, metadata_only=True)
            if any(name_of(job) != self.run and not _is_terminating(job) for job in others):
                return
            uid, version = text_at(document, "metadata", "uid"), version_of(document)
            try:
                self.cluster.delete(self._path, uid=uid, resource_version=version)
            except ClusterError as error:
                if (
                    error.status != 409
                ):  # another run has just started, or the namespace was changed
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
                    " value below that of all workloads, or let the probe create its own."
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
        """Make this namespace the owner of a PriorityClass whose namespace is gone."""
        found = self.cluster.find(path)
        if found is not None and not _is_ours(found):
            raise RefusedError(
                f"PriorityClass {self.name} on {self.cluster.server} was not created by a probe."
                " Set another namespace for the probe; its PriorityClass has the same name."
            )
        owners = list_at(found, "metadata", "ownerReferences")
        if self._uid in [text_at(owner, "uid") for owner in owners]:
            return
        change = {"metadata": {"ownerReferences": dig(body, "metadata", "ownerReferences")}}
        self.cluster.patch_if_exists(path, change)

    def _once(self, path: str, body: Mapping[str, object]) -> Json:
        """Create an object whose name belongs to this run; if it exists, this run created it."""
        try:
            return self.cluster.create(path, body)
        except ClusterError as error:
            if error.status != 409:
                raise
            return self.cluster.get(object_path(path, name_of(body)))

    # Heartbeats of this run and of others

    def _send_heartbeats(self) -> None:
        """Extend the deadline of the Job until the run ends."""
        path = object_path(self._jobs, self.run)
        born = read_time(text_at(self._job, "metadata", "creationTimestamp"))
        while not self._closed.wait(self._timing.heartbeat):
            seconds = _age(born, self.cluster.now()) + LIFETIME
            try:
                self.cluster.patch_if_exists(path, {"spec": {"activeDeadlineSeconds": seconds}})
            except ClusterError:
                continue  # if this goes on, the pods are removed, which the probe reports

    def _silent(self, jobs: Sequence[RunJob]) -> list[RunJob]:
        """Jobs of other runs whose deadline no run extends."""
        known = {job.uid: job for job in jobs}
        active: set[str] = set()
        changes = Condition()

        def note(before: RunJob | None, after: RunJob | None) -> None:
            job = after or before
            with changes:
                if job and (after is None or job.uid not in known or job != known[job.uid]):
                    active.add(job.uid)
                changes.notify_all()

        reflector = Reflector(self.cluster, self._jobs, read_run_job, note, labels=RUN_LABEL)
        reflector.start()
        with changes:
            changes.wait_for(lambda: known.keys() <= active, self._timing.silence)
        reflector.stop()
        return [job for uid, job in known.items() if uid not in active]

    # Pods

    def create(self, pods: Iterable[Mapping[str, object]]) -> dict[str, str]:
        """Create pods in parallel. Returns the failures: {name: message}."""
        bodies = {name_of(pod): self._completed(pod) for pod in pods}
        return self.cluster.for_each(list(bodies), lambda name: self._create_pod(bodies[name]))

    def _completed(self, pod: Mapping[str, object]) -> Json:
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
                if error.status != 403 or not any(text in error.detail for text in _TRANSIENT):
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
        """The state of a created pod."""
        with self._changes:
            return self._pods[name]

    def delete(self, names: Sequence[str]) -> None:
        """Request the deletion of pods. Raises ClusterError if that is rejected."""
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
        """Whether pods are gone, or could not be created."""
        with self._changes:
            return all(name in self._vanished or name not in self._pods for name in names)

    def wait(self, seconds: float) -> None:
        """Wait until a pod of this run changes, at most so long. Raises ClusterError if the
        identity may not watch pods.
        """
        if self._reflector and self._reflector.refused:
            raise ClusterError(self._reflector.trouble)
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
        """Wait until a list is empty. Returns the names of the objects that remain."""
        there: dict[str, str] = {}
        changes = Condition()

        def note(before: tuple[str, str] | None, after: tuple[str, str] | None) -> None:
            with changes:
                if before is not None:
                    there.pop(before[0], None)
                if after is not None:
                    there[after[0]] = after[1]
                changes.notify_all()

        reflector = Reflector(self.cluster, path, _identity, note, labels=labels, fields=fields)
        reflector.start()
        with changes:
            changes.wait_for(lambda: not there, self._timing.removal)
        reflector.stop()
        return sorted(there.values())


def _identity(document: object) -> tuple[str, str]:
    return text_at(document, "metadata", "uid"), name_of(document)


def _is_ours(document: object) -> bool:
    return PROBE_LABELS.items() <= mapping_at(document, "metadata", "labels").items()


def _is_terminating(document: object) -> bool:
    return bool(text_at(document, "metadata", "deletionTimestamp"))


def _age(born: datetime | None, now: datetime) -> int:
    return max(0, round((now - born).total_seconds())) if born else 0
