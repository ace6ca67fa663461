# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the history of rollouts, as revisions.

A revision is a ControllerRevision in the namespace of the ConfigMap. Its data, which is immutable
in Kubernetes, is the inventory's specification without credentials. Annotations hold the author,
the time, a summary of the changes, and the state.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from .._common.documents import dig, list_at, mapping_at, name_of, text_at
from .._common.errors import ClusterError, HistoryError, ProfileError
from .._common.names import MANAGED_BY, MANAGED_BY_LABEL
from .._common.text import plural, some
from .._kube.client import Cluster
from .._kube.objects import namespaced, object_path
from .._profiles.model import Profile
from .._profiles.validation import checked_profiles

GROUP = "apis/apps/v1"
HISTORY_LABEL = "gpufleet.sharing/history"
STATE, WHO, WHEN, WHAT = (f"gpufleet.sharing/{key}" for key in ("state", "who", "when", "what"))
KEEP = 10
KEEP_GOOD = 2  # the current one, and one to roll back to
IN_PLACE = "in_place"
AS_FOUND = "as found"
PREVIOUS_GOOD = "previous_good"
_LONGEST = 250
_ATTEMPTS = 5


class RevisionState(Enum):
    """How the rollout of a revision ended."""

    STARTED = "started"  # it is running, or was killed
    GOOD = "good"
    FAILED = "failed"


@dataclass(frozen=True)
class FleetSpec:
    """What the inventory specifies for one cluster."""

    mode: str
    default_profile: str
    profiles: Mapping[str, object]  # definitions, or rendered ones
    assignments: Mapping[str, str | None]  # node: profile; None is the default profile


@dataclass(frozen=True)
class Revision:
    number: int
    spec: FleetSpec
    state: RevisionState = RevisionState.STARTED
    who: str = ""
    when: str = ""  # RFC 3339, UTC
    what: str = ""  # one line: what changed against the revision before
    name: str = field(default="", compare=False)  # of the object


def history_label(config_map: str) -> str:
    """The value of the history label: the ConfigMap's name, or its hash where it is too long."""
    digest = hashlib.sha256(config_map.encode()).hexdigest()
    return config_map if len(config_map) <= 63 else digest[:63]


def to_document(revision: Revision, config_map: str) -> dict[str, object]:
    """The ControllerRevision of a revision. Nodes are grouped by profile to keep it small."""
    groups = defaultdict(list)
    for node, profile in sorted(revision.spec.assignments.items()):
        groups[profile or ""].append(node)
    labels = {MANAGED_BY_LABEL: MANAGED_BY, HISTORY_LABEL: history_label(config_map)}
    return {
        "metadata": {
            "name": f"{config_map}-{revision.number}",
            "labels": labels,
            "annotations": _annotations(revision),
        },
        "revision": revision.number,
        "data": {
            "mode": revision.spec.mode,
            "default_profile": revision.spec.default_profile,
            "profiles": dict(revision.spec.profiles),
            "assignments": groups,
        },
    }


def read_revision(document: object) -> Revision | None:
    """The revision of a ControllerRevision; None when its data has another form."""
    data = dig(document, "data")
    number = dig(document, "revision")
    profiles, groups = dig(data, "profiles"), dig(data, "assignments")
    if not (
        isinstance(number, int) and isinstance(profiles, Mapping) and isinstance(groups, Mapping)
    ):
        return None
    notes = mapping_at(document, "metadata", "annotations")
    states = {state.value: state for state in RevisionState}
    return Revision(
        number=number,
        spec=FleetSpec(
            mode=text_at(data, "mode") or IN_PLACE,
            default_profile=text_at(data, "default_profile"),
            profiles={str(name): definition for name, definition in profiles.items()},
            assignments={
                str(node): str(profile) or None
                for profile in groups
                for node in list_at(groups, profile)
            },
        ),
        state=states.get(notes.get(STATE, ""), RevisionState.STARTED),
        who=notes.get(WHO, ""),
        when=notes.get(WHEN, ""),
        what=notes.get(WHAT, ""),
        name=name_of(document),
    )


def same_spec(one: FleetSpec, other: FleetSpec) -> bool:
    """Whether two specifications mean the same, even when profiles are written differently."""
    compared = ("mode", "default_profile", "assignments")
    return all(getattr(one, name) == getattr(other, name) for name in compared) and not any(
        _changed_profiles(one.profiles, other.profiles)
    )


def latest(history: Sequence[Revision]) -> Revision | None:
    return max(history, key=lambda revision: revision.number, default=None)


def last_good(history: Sequence[Revision], before: int | None = None) -> Revision | None:
    """The newest good revision, or with before, the newest one with a lower number."""
    good = (each for each in history if each.state is RevisionState.GOOD)
    return latest([each for each in good if before is None or each.number < before])


def next_revision(history: Sequence[Revision], spec: FleetSpec, *, who: str, when: str) -> Revision:
    """The revision of a run that is about to write.

    It is the newest one when that has the same specification: an interrupted run is continued, and
    a good one is repaired and stays good. Otherwise it is a new one.
    """
    newest = latest(history)
    if newest and same_spec(newest.spec, spec):
        own = newest.state is RevisionState.STARTED and newest.who == _line(
            who
        )  # by an earlier task
        if own or newest.state is RevisionState.GOOD:
            return newest
        return replace(newest, state=RevisionState.STARTED, who=_line(who), when=when)
    return Revision(
        number=newest.number + 1 if newest else 1,
        spec=spec,
        who=_line(who),
        when=when,
        what=summary(history, spec),
    )


def prunable(history: Sequence[Revision], keep: int = KEEP) -> list[Revision]:
    """Revisions to remove: all but the newest ones and the newest good ones."""
    newest = sorted(history, key=lambda revision: revision.number, reverse=True)
    good = [each for each in newest if each.state is RevisionState.GOOD][:KEEP_GOOD]
    kept = {each.number for each in (*newest[: max(1, keep)], *good)}
    return [each for each in newest if each.number not in kept]


def merge_assignments(
    previous: FleetSpec | None, selected: Mapping[str, str | None]
) -> dict[str, str | None]:
    """The assignments of a run with --limit: nodes outside it keep their previous assignment."""
    return {**(previous.assignments if previous else {}), **selected}


def spec_as_found(
    data: Mapping[str, str], labels: Mapping[str, str | None], default: str
) -> FleetSpec | None:
    """The specification of a fleet as it is found, from the ConfigMap's data, the labels of GPU
    nodes, and the operator's default key.

    None when the ConfigMap does not have the default key, so that no profile is in use. Nodes whose
    label names a missing key are left out, since a rollback could not restore them.
    """
    if default not in data:
        return None
    found = {node: key or None for node, key in labels.items() if not key or key in data}
    return FleetSpec(IN_PLACE, default, dict(data), found)


def find_revision(history: Sequence[Revision], wanted: str) -> Revision:
    """The revision of a number, or the last good one before the newest. Raises HistoryError."""
    newest = latest(history)
    if wanted == PREVIOUS_GOOD:
        found = last_good(history, newest.number) if newest else None
        problem = "There is no good revision before the newest one"
    else:
        found = next((each for each in history if str(each.number) == wanted), None)
        problem = f"There is no revision '{wanted}'"
    if found is None:
        existing = [f"{each.number} ({each.state.value})" for each in history]
        raise HistoryError(f"{problem}. Revisions are: {some(existing) or 'none'}.")
    return found


def summary(history: Sequence[Revision], spec: FleetSpec) -> str:
    """What a new revision changes, in one line."""
    newest = latest(history)
    if newest is None:
        return "first revision"
    again = latest([each for each in history if same_spec(each.spec, spec)])
    back = [f"back to revision {again.number}"] if again else []
    return _line("; ".join([*back, *_changes(newest.spec, spec)]))


def _changes(before: FleetSpec, after: FleetSpec) -> Iterator[str]:
    if before.mode != after.mode:
        yield f"mode {before.mode} -> {after.mode}"
    if before.default_profile != after.default_profile:
        yield f"default profile {before.default_profile} -> {after.default_profile}"
    yield from _changed_profiles(before.profiles, after.profiles)
    had, has = before.assignments, after.assignments
    moved = Counter(has[node] for node in has if had.get(node, "") != has[node])
    for profile, count in sorted(moved.items(), key=lambda entry: entry[0] or ""):
        yield f"{plural(count, 'node')} to {profile or 'the default profile'}"
    if gone := len(had.keys() - has.keys()):
        yield f"{plural(gone, 'node')} no longer in it"


def _changed_profiles(before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[str]:
    """The differences between two sets of definitions, one text for each profile."""
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            yield f"profile {name} added"
        elif name not in after:
            yield f"profile {name} removed"
        elif before[name] != after[name]:
            was, now = _profile(name, before[name]), _profile(name, after[name])
            if was is None or now is None:
                yield f"profile {name} changed"
            elif was.replicas != now.replicas:
                yield f"profile {name} {was.replicas} -> {now.replicas} replicas"
            elif was != now:
                yield f"profile {name} changed"


def _profile(name: str, definition: object) -> Profile | None:
    """The profile of a definition; None for an invalid one, such as a file that was found."""
    try:
        return checked_profiles({name: definition})[name]
    except ProfileError:
        return None


def _line(text: str) -> str:
    """A text as one line of limited length."""
    flat = " ".join(text.split())
    return flat if len(flat) <= _LONGEST else f"{flat[: _LONGEST - 3]}..."


def _annotations(revision: Revision) -> dict[str, str]:
    return {
        STATE: revision.state.value,
        WHO: revision.who,
        WHEN: revision.when,
        WHAT: revision.what,
    }


@dataclass(frozen=True)
class History:
    """The revisions of one ConfigMap on a cluster."""

    cluster: Cluster
    namespace: str
    config_map: str

    def load(self) -> list[Revision]:
        """All revisions, newest first."""
        selector = f"{HISTORY_LABEL}={history_label(self.config_map)}"
        read = map(read_revision, self.cluster.items(self._list, labels=selector))
        found = [each for each in read if each]
        return sorted(found, key=lambda revision: revision.number, reverse=True)

    def begin(self, spec: FleetSpec, who: str) -> Revision:
        """Record the revision of a run that is about to write."""
        for _attempt in range(_ATTEMPTS):
            history = self.load()
            revision = next_revision(history, spec, who=who, when=self._now())
            known = next((each for each in history if each.number == revision.number), None)
            if known is None:
                if not self._create(revision):
                    continue
            elif known != revision:
                self._annotate(revision)
            for each in history:
                if each.state is RevisionState.STARTED and each.number < revision.number:
                    self._annotate(replace(each, state=RevisionState.FAILED))  # it was killed
            return revision
        raise ClusterError(
            f"A revision of ConfigMap {self.config_map} could not be added in namespace"
            f" {self.namespace} on {self.cluster.server}: a ControllerRevision with its number"
            " already exists. Run again; if that does not help, remove those that history_info"
            " does not list."
        )

    def record_found(self, found: FleetSpec, who: str) -> None:
        """Record the fleet as it is found as the first revision, so that a run can roll back."""
        self._create(Revision(1, found, RevisionState.GOOD, _line(who), self._now(), AS_FOUND))

    def _now(self) -> str:
        return self.cluster.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def finish(self, revision: Revision, state: RevisionState) -> Revision:
        """Record how a run ended. A good revision stays good, whatever fails later."""
        if revision.state in (state, RevisionState.GOOD):
            return revision
        ended = replace(revision, state=state)
        self._annotate(ended)
        return ended

    def prune(self, keep: int = KEEP) -> list[int]:
        """Remove the oldest revisions. Returns their numbers."""
        old = prunable(self.load(), keep)
        self._remove(old)
        return [each.number for each in old]

    def remove(self) -> list[int]:
        """Remove all revisions. Returns their numbers."""
        everything = self.load()
        self._remove(everything)
        return [each.number for each in everything]

    @property
    def _list(self) -> str:
        return namespaced("controllerrevisions", self.namespace, GROUP)

    def _path(self, revision: Revision) -> str:
        name = revision.name or f"{self.config_map}-{revision.number}"
        return object_path(self._list, name)

    def _create(self, revision: Revision) -> bool:
        """False when a revision with the number already exists."""
        try:
            self.cluster.create(self._list, to_document(revision, self.config_map))
        except ClusterError as error:
            if error.status == 409:
                return False
            raise
        return True

    def _annotate(self, revision: Revision) -> None:
        patch = {"metadata": {"annotations": _annotations(revision)}}
        self.cluster.patch(self._path(revision), patch)

    def _remove(self, revisions: Sequence[Revision]) -> None:
        for revision in revisions:
            self.cluster.delete(self._path(revision))
