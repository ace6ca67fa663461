# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the Helm program, the state of a release in its Secrets, and who installed it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from .._common.documents import last_change, mapping_at, name_of, read_time, text_at
from .._common.errors import RefusedError
from .._common.links import MANIFESTS
from .._common.text import some
from .chart import CHECK_CHART, VERBOSE, chart_reason
from .release import FAILED

WITHOUT_HELM = "or set O(manage) to existing for an operator without Helm."
_HELM = "meta.helm.sh/"  # prefix of its annotations
UNINSTALLING = "uninstalling"  # the status of a release while Helm removes it
_SECRET_DRIVERS = ("", "secret", "secrets")


def check_program(answer: str | None, environ: Mapping[str, str]) -> None:
    """Raise RefusedError where Helm cannot be used.

    answer is the output of `helm version --short`, None where the program does not exist.
    """
    if answer is None:
        raise RefusedError(
            f"Helm is not in the PATH of the controller. Install Helm 3, {WITHOUT_HELM}"
        )
    found = re.search(r"v(\d+)\.\d+\S*", answer)
    if found is None:
        raise RefusedError(
            f"`helm version` prints '{' '.join(answer.split())[:200]}', which is not a version."
            f" Install Helm 3, {WITHOUT_HELM}"
        )
    if found[1] != "3":
        raise RefusedError(
            f"Helm {found[0]} is in the PATH of the controller, but the modules of kubernetes.core"
            f" support Helm 3. Put Helm 3 before it in the PATH, {WITHOUT_HELM}"
        )
    set_names = sorted(name for name, value in environ.items() if value)
    if diverting := [name for name in set_names if name.startswith("HELM_KUBE")]:
        raise RefusedError(
            f"The environment sets {some(diverting)}, so Helm would use another cluster or identity"
            " than the modules. Unset it."
        )
    driver = environ.get("HELM_DRIVER", "")
    if driver not in _SECRET_DRIVERS:
        raise RefusedError(
            f"HELM_DRIVER is '{driver}', but only releases in Secrets are supported. Unset it."
        )


@dataclass(frozen=True)
class HelmRevision:
    """One revision of a release, as Helm 3 stores it: a Secret with labels."""

    secret: str
    uid: str
    number: int
    status: str
    modified: datetime | None  # by the API server's clock

    @property
    def pending(self) -> bool:
        return self.status.startswith("pending-")

    @property
    def uninstalling(self) -> bool:
        return self.status == UNINSTALLING

    def age(self, now: datetime) -> int:
        """Seconds since Helm changed it, with the API server's time."""
        return max(0, int((now - self.modified).total_seconds())) if self.modified else 0

    def as_dict(self, now: datetime) -> dict[str, object]:
        return {"revision": self.number, "status": self.status, "age": self.age(now)}


def read_helm_revisions(secrets: Iterable[object]) -> list[HelmRevision]:
    """The revisions of a release, oldest first, from the Secrets labelled
    owner=helm,name=<release>.
    """
    return sorted((_revision(secret) for secret in secrets), key=lambda revision: revision.number)


def _revision(secret: object) -> HelmRevision:
    labels = mapping_at(secret, "metadata", "labels")
    number = labels.get("version", "")
    return HelmRevision(
        secret=name_of(secret),
        uid=text_at(secret, "metadata", "uid"),
        number=int(number) if number.isdecimal() else 0,
        status=labels.get("status", ""),
        modified=_last_write(secret),
    )


def _last_write(secret: object) -> datetime | None:
    """When a Secret was last written. Helm's own label modifiedAt has the time of the machine on
    which Helm runs.
    """
    texts = text_at(secret, "metadata", "creationTimestamp"), last_change(secret)
    return max((time for time in map(read_time, texts) if time), default=None)


def pending_revision(revisions: Sequence[HelmRevision]) -> HelmRevision | None:
    """The newest revision, where it is pending: Helm is running, or a killed run left it."""
    return revisions[-1] if revisions and revisions[-1].pending else None


def uninstalling_revision(revisions: Sequence[HelmRevision]) -> HelmRevision | None:
    """The newest revision, where Helm is removing the release, or a killed run was."""
    return revisions[-1] if revisions and revisions[-1].uninstalling else None


def failed_upgrade(revisions: Sequence[HelmRevision]) -> HelmRevision | None:
    """The newest revision, where Helm has failed to upgrade to it. A failed installation has
    created its objects, and is waited for.
    """
    failed = bool(revisions) and revisions[-1].status == FAILED and revisions[-1].number > 1
    return revisions[-1] if failed else None


def seconds_left(pending: HelmRevision | None, now: datetime, timeout: int) -> int:
    """The longest time that Helm may still work on a pending revision; 0 where it does not."""
    return max(0, timeout - pending.age(now)) if pending else 0


def foreign_policies(policies: Iterable[object], release: str, namespace: str) -> list[str]:
    """Names of the ClusterPolicies that are not part of a release: they are other operators'."""
    ours = {f"{_HELM}release-name": release, f"{_HELM}release-namespace": namespace}
    return sorted(
        name_of(policy)
        for policy in policies
        if not ours.items() <= mapping_at(policy, "metadata", "annotations").items()
    )


@dataclass(frozen=True)
class ReleaseRecord:
    """Who installed a release: we (installed), or somebody before us, with this device plugin
    config (pointer) in its values. first is the uid of the Secret of its first revision, which
    identifies the release; empty where it is not known yet. installing: our Helm has begun to
    install it with this pointer, and has not succeeded so far.
    """

    installed: bool
    pointer: Mapping[str, object]
    first: str = ""
    installing: bool = False

    @property
    def ours(self) -> bool:
        return self.installed or self.installing


def record_annotation(release: str) -> str:
    return f"gpufleet.sharing/helm-{release}"


def read_record(namespace: object, release: str) -> ReleaseRecord | None:
    text = mapping_at(namespace, "metadata", "annotations").get(record_annotation(release))
    try:
        found = json.loads(text or "null")
        return ReleaseRecord(
            bool(found["installed"]),
            dict(found["pointer"]),
            str(found.get("first") or ""),
            bool(found.get("installing")),
        )
    except (ValueError, TypeError, KeyError):
        return None


def first_secret(revisions: Iterable[HelmRevision]) -> str:
    """The uid of the Secret of the first revision; empty where Helm has deleted it."""
    return next((revision.uid for revision in revisions if revision.number == 1), "")


def record_of(
    revisions: Sequence[HelmRevision],
    record: ReleaseRecord | None,
    pointer: Mapping[str, object],
) -> ReleaseRecord | None:
    """The record, if it belongs to the release with these revisions, and with this pointer in its
    values: ours may be gone, and another release installed under its name.
    """
    first = first_secret(revisions)
    if record is None or (record.first and first and record.first != first):
        return None
    if not record.installing or record.first or not revisions:
        return record
    killed = revisions[-1].status == "pending-install"
    same = bool(pointer) and dict(pointer) == dict(record.pointer)
    return record if killed or same else None


def updated_record(
    record: ReleaseRecord | None,
    pointer: Mapping[str, object],
    wanted: Mapping[str, object],
    revisions: Sequence[HelmRevision],
) -> ReleaseRecord:
    """The record to store before Helm runs, with wanted as its device plugin config: the first
    record stays as long as the release exists.
    """
    if not revisions:
        return ReleaseRecord(installed=False, pointer=dict(wanted), installing=True)
    pending = pending_revision(revisions)  # it is removed
    first = first_secret(revision for revision in revisions if revision != pending)
    if record is None:
        return ReleaseRecord(installed=False, pointer=dict(pointer), first=first)
    if record.installing and revisions[-1].status == "deployed":  # its run was killed afterwards
        return ReleaseRecord(installed=True, pointer={}, first=first)
    return replace(record, first=record.first or first)


def record_after_helm(
    record: ReleaseRecord | None, revisions: Sequence[HelmRevision], *, succeeded: bool
) -> ReleaseRecord | None:
    """The record to store after Helm has run; None where there is nothing to record."""
    if record is None:
        return None
    first = record.first or first_secret(revisions)
    if record.installing and succeeded:
        return ReleaseRecord(installed=True, pointer={}, first=first)
    if record.installing and not revisions:
        return None
    return replace(record, first=first)


# What Helm says -> what to do.
_HINTS = (
    (
        "cannot be imported|ownership metadata|already exists",
        "Objects of another installation are in the way: remove them, or set O(manage): existing.",
    ),
    ("another operation", "Run again when the other Helm run has ended."),
    (
        "timed out|deadline exceeded|not ready",
        "Find out why pods of the operator are not ready (kubectl get pods,events -n {namespace}),"
        " or set a larger O(timeout).",
    ),
    (
        "template:|unmarshal|specifications of the schema|YAML|validating|invalid value"
        "|unsupported value",
        "Correct O(values).",
    ),
    ("forbidden|unauthorized", f"Grant the missing permission to this identity: {MANIFESTS}"),
    (
        "no such host|dial tcp|connection refused|failed to (fetch|download|do request)|no chart"
        "|repo|not a valid chart|no such file|not found",
        CHECK_CHART,
    ),
)
_MOST = 400  # characters of Helm's own message


def failure_message(release: str, namespace: str, text: str) -> str:
    """One line for a failed Helm run: what Helm says, and what to do. text is all its output,
    without secrets.
    """
    error = re.search(r"Error: (?:\w+ FAILED: )?(.*)", text, re.DOTALL)
    said = " ".join((error[1] if error else text).split()).rstrip(".")
    hints = (hint for words, hint in _HINTS if re.search(words, said, re.IGNORECASE))
    hint = next(hints, "").format(namespace=namespace)
    said = (hint == CHECK_CHART and chart_reason(said)) or said
    shown = said if len(said) <= _MOST else f"{said[:_MOST]}..."
    return f"Helm release {release} in namespace {namespace}: {shown} ({VERBOSE}). {hint}".strip()
