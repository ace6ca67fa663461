# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: the Helm program, what its Secrets tell about a release, and whose
release that is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.documents import (
    mapping_at,
    name_of,
    read_time,
    text_at,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import RefusedError
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import some

WITHOUT_HELM = "or set O(manage) to existing for an operator that is there, which needs no Helm."
_HELM = "meta.helm.sh/"  # its annotations of what it keeps
_SECRET_DRIVERS = ("", "secret", "secrets")


def check_program(answer: str | None, environ: Mapping[str, str]) -> None:
    """Raise RefusedError where Helm cannot be used as it has to.

    answer is what `helm version --short` printed, None when there is no such program.
    """
    if answer is None:
        raise RefusedError(
            f"Helm is not in the PATH of the controller. Install Helm 3, {WITHOUT_HELM}"
        )
    found = re.search(r"v(\d+)\.\d+\S*", answer)
    if found is None:
        raise RefusedError(
            f"`helm version` answers '{' '.join(answer.split())[:200]}', which is no version."
            f" Install Helm 3, {WITHOUT_HELM}"
        )
    if found[1] != "3":
        raise RefusedError(
            f"Helm {found[0]} is in the PATH of the controller, but Helm 3 is what the modules of"
            f" kubernetes.core know. Put Helm 3 before it in the PATH, {WITHOUT_HELM}"
        )
    set_names = sorted(name for name, value in environ.items() if value)
    if diverting := [name for name in set_names if name.startswith("HELM_KUBE")]:
        raise RefusedError(
            f"The environment has {some(diverting)}, which would send Helm another way, or as"
            " somebody else, than the modules. Unset it."
        )
    driver = environ.get("HELM_DRIVER", "")
    if driver not in _SECRET_DRIVERS:
        raise RefusedError(
            f"HELM_DRIVER is '{driver}', but releases are looked for in Secrets only. Unset it."
        )


@dataclass(frozen=True)
class HelmRevision:
    """One revision of a release, as Helm 3 stores it: a Secret with labels."""

    secret: str
    uid: str
    number: int
    status: str
    modified: datetime

    @property
    def pending(self) -> bool:
        return self.status.startswith("pending-")

    def age(self, now: datetime) -> int:
        """Seconds since Helm touched it."""
        return max(0, int((now - self.modified).total_seconds()))

    def as_dict(self, now: datetime) -> dict[str, object]:
        return {"revision": self.number, "status": self.status, "age": self.age(now)}


def read_helm_revisions(secrets: Iterable[object]) -> list[HelmRevision]:
    """The revisions of a release, oldest first, from the Secrets labelled
    owner=helm,name=<release>.
    """
    return sorted((_revision(secret) for secret in secrets), key=lambda revision: revision.number)


def _revision(secret: object) -> HelmRevision:
    labels = mapping_at(secret, "metadata", "labels")
    stamp, number = labels.get("modifiedAt", ""), labels.get("version", "")
    created = read_time(text_at(secret, "metadata", "creationTimestamp"))
    modified = datetime.fromtimestamp(int(stamp), UTC) if stamp.isdecimal() else created
    return HelmRevision(
        secret=name_of(secret),
        uid=text_at(secret, "metadata", "uid"),
        number=int(number) if number.isdecimal() else 0,
        status=labels.get("status", ""),
        modified=modified or datetime.now(UTC),
    )


def pending_revision(revisions: Sequence[HelmRevision]) -> HelmRevision | None:
    """The newest revision, where it is pending: Helm is at work on it, or a killed run left it."""
    return revisions[-1] if revisions and revisions[-1].pending else None


def seconds_left(pending: HelmRevision | None, now: datetime, timeout: int) -> int:
    """How long Helm may still be at work on a pending revision, at most; 0 where it is not."""
    return max(0, timeout - pending.age(now)) if pending else 0


def foreign_policies(policies: Iterable[object], release: str, namespace: str) -> list[str]:
    """Names of the ClusterPolicies that Helm does not keep for a release: other operators'."""
    ours = {f"{_HELM}release-name": release, f"{_HELM}release-namespace": namespace}
    return sorted(
        name_of(policy)
        for policy in policies
        if not ours.items() <= mapping_at(policy, "metadata", "annotations").items()
    )


@dataclass(frozen=True)
class ReleaseRecord:
    """Whose release it is: installed by us, or there before with this pointer in its values; and
    the uid of the Secret of its first revision, by which it is known. Empty: not known yet.
    """

    installed: bool
    pointer: Mapping[str, object]
    first: str = ""


def record_annotation(release: str) -> str:
    return f"gpufleet.sharing/helm-{release}"


def read_record(namespace: object, release: str) -> ReleaseRecord | None:
    text = mapping_at(namespace, "metadata", "annotations").get(record_annotation(release))
    try:
        noted = json.loads(text or "null")
        return ReleaseRecord(
            bool(noted["installed"]), dict(noted["pointer"]), str(noted.get("first") or "")
        )
    except (ValueError, TypeError, KeyError):
        return None


def first_secret(revisions: Iterable[HelmRevision]) -> str:
    """The uid of the Secret of the first revision; empty where Helm has dropped it."""
    return next((revision.uid for revision in revisions if revision.number == 1), "")


def record_of(first: str, note: ReleaseRecord | None) -> ReleaseRecord | None:
    """The note, if it is of the release with this first Secret: ours may have gone, and somebody
    have installed another one under its name.
    """
    return None if note and note.first and first and note.first != first else note


def updated_record(
    note: ReleaseRecord | None, pointer: Mapping[str, object], *, exists: bool, first: str
) -> ReleaseRecord:
    """The note to keep: the first one stays as long as the release does."""
    if not exists:
        return ReleaseRecord(installed=True, pointer={})
    if note is None:
        return ReleaseRecord(installed=False, pointer=dict(pointer), first=first)
    return replace(note, first=note.first or first)
