# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: what the fleet was asked to be, revision by revision.

A revision is a ControllerRevision beside the ConfigMap. Its data, which Kubernetes does not let
anybody change, is what the inventory said; annotations say who, when, what changed, and how it
ended. Credentials are no part of it.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.documents import (
    dig,
    list_at,
    mapping_at,
    name_of,
    text_at,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    ClusterError,
    HistoryError,
    ProfileError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.names import (
    MANAGED_BY,
    MANAGED_BY_LABEL,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import some
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import Cluster
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.objects import (
    namespaced,
    object_path,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.model import Profile
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    checked_profiles,
)

GROUP = "apis/apps/v1"
HISTORY_LABEL = "gpufleet.sharing/history"
STATE, WHO, WHEN, WHAT = (f"gpufleet.sharing/{key}" for key in ("state", "who", "when", "what"))
KEEP = 10
KEEP_GOOD = 2  # the one in force, and one to go back to
IN_PLACE = "in_place"
AS_FOUND = "as found"
PREVIOUS_GOOD = "previous_good"
_LONGEST = 250
_ATTEMPTS = 5


class State(Enum):
    """How a revision ended."""

    STARTED = "started"  # it has not ended, or its run was killed
    GOOD = "good"
    FAILED = "failed"


@dataclass(frozen=True)
class Desired:
    """What the inventory says of one cluster."""

    mode: str
    default_profile: str
    profiles: Mapping[str, object]  # definitions, or rendered ones
    assignments: Mapping[str, str | None]  # node: profile; None is the default profile


@dataclass(frozen=True)
class Revision:
    number: int
    desired: Desired
    state: State = State.STARTED
    who: str = ""
    when: str = ""  # RFC 3339, UTC
    what: str = ""  # one line: what changed against the revision before
    name: str = field(default="", compare=False)  # of the object


def label_of(config_map: str) -> str:
    """The value of the history label: the ConfigMap's name, or its hash where it is too long."""
    digest = hashlib.sha256(config_map.encode()).hexdigest()
    return config_map if len(config_map) <= 63 else digest[:63]


def to_document(revision: Revision, config_map: str) -> dict[str, object]:
    """The ControllerRevision of a revision. Nodes are grouped by profile: there are thousands."""
    groups = defaultdict(list)
    for node, profile in sorted(revision.desired.assignments.items()):
        groups[profile or ""].append(node)
    labels = {MANAGED_BY_LABEL: MANAGED_BY, HISTORY_LABEL: label_of(config_map)}
    return {
        "metadata": {
            "name": f"{config_map}-{revision.number}",
            "labels": labels,
            "annotations": _notes(revision),
        },
        "revision": revision.number,
        "data": {
            "mode": revision.desired.mode,
            "default_profile": revision.desired.default_profile,
            "profiles": dict(revision.desired.profiles),
            "assignments": groups,
        },
    }


def read_revision(document: object) -> Revision | None:
    """A ControllerRevision -> the revision; None for one that is not written as ours are."""
    data = dig(document, "data")
    number = dig(document, "revision")
    profiles, groups = dig(data, "profiles"), dig(data, "assignments")
    if not (
        isinstance(number, int) and isinstance(profiles, Mapping) and isinstance(groups, Mapping)
    ):
        return None
    notes = mapping_at(document, "metadata", "annotations")
    states = {state.value: state for state in State}
    return Revision(
        number=number,
        desired=Desired(
            mode=text_at(data, "mode") or IN_PLACE,
            default_profile=text_at(data, "default_profile"),
            profiles={str(name): definition for name, definition in profiles.items()},
            assignments={
                str(node): str(profile) or None
                for profile in groups
                for node in list_at(groups, profile)
            },
        ),
        state=states.get(notes.get(STATE, ""), State.STARTED),
        who=notes.get(WHO, ""),
        when=notes.get(WHEN, ""),
        what=notes.get(WHAT, ""),
        name=name_of(document),
    )


def same_desired(one: Desired, other: Desired) -> bool:
    """Whether two revisions ask for the same; profiles may be said in different words."""
    settled = ("mode", "default_profile", "assignments")
    return all(getattr(one, name) == getattr(other, name) for name in settled) and not any(
        _changed_profiles(one.profiles, other.profiles)
    )


def latest(history: Sequence[Revision]) -> Revision | None:
    return max(history, key=lambda revision: revision.number, default=None)


def last_good(history: Sequence[Revision], before: int | None = None) -> Revision | None:
    """The newest good revision, with before the newest that is older than that number."""
    good = (each for each in history if each.state is State.GOOD)
    return latest([each for each in good if before is None or each.number < before])


def next_revision(
    history: Sequence[Revision], desired: Desired, *, who: str, when: str
) -> Revision:
    """The revision of a run that is about to write.

    It is the newest one where that asks for the same, so that a run which was interrupted is
    continued, and a good one is repaired and stays good. Otherwise it is a new one.
    """
    newest = latest(history)
    if newest and same_desired(newest.desired, desired):
        own = newest.state is State.STARTED and newest.who == _line(who)  # by an earlier module
        if own or newest.state is State.GOOD:
            return newest
        return replace(newest, state=State.STARTED, who=_line(who), when=when)
    return Revision(
        number=newest.number + 1 if newest else 1,
        desired=desired,
        who=_line(who),
        when=when,
        what=summary(history, desired),
    )


def too_old(history: Sequence[Revision], keep: int = KEEP) -> list[Revision]:
    """Revisions that may go: all but the newest ones, and never the newest good ones."""
    newest = sorted(history, key=lambda revision: revision.number, reverse=True)
    good = [each for each in newest if each.state is State.GOOD][:KEEP_GOOD]
    kept = {each.number for each in (*newest[: max(1, keep)], *good)}
    return [each for each in newest if each.number not in kept]


def merge_assignments(
    previous: Desired | None, selected: Mapping[str, str | None]
) -> dict[str, str | None]:
    """The assignments of a run with --limit: nodes outside it stay as they were asked for."""
    return {**(previous.assignments if previous else {}), **selected}


def baseline(
    data: Mapping[str, str], labels: Mapping[str, str | None], default: str
) -> Desired | None:
    """The fleet as it is found: the ConfigMap's files, each GPU node's label, the operator's
    default.

    None where the operator has no default of that ConfigMap, so that nothing is in force. Nodes
    whose label names no key are left out: that is nothing to go back to.
    """
    if default not in data:
        return None
    found = {node: key or None for node, key in labels.items() if not key or key in data}
    return Desired(IN_PLACE, default, dict(data), found)


def choose(history: Sequence[Revision], wanted: str) -> Revision:
    """The revision of a number, or the last good one before the newest. Raises HistoryError."""
    newest = latest(history)
    if wanted == PREVIOUS_GOOD:
        found = last_good(history, newest.number) if newest else None
        said = "There is no good revision before the newest one"
    else:
        found = next((each for each in history if str(each.number) == wanted), None)
        said = f"There is no revision '{wanted}'"
    if found is None:
        there = [f"{each.number} ({each.state.value})" for each in history]
        raise HistoryError(f"{said}; there are: {some(there)}." if there else f"{said}, nor any.")
    return found


def summary(history: Sequence[Revision], desired: Desired) -> str:
    """What a new revision changes against the newest one, in one line."""
    newest = latest(history)
    if newest is None:
        return "first revision"
    again = latest([each for each in history if same_desired(each.desired, desired)])
    back = [f"back to revision {again.number}"] if again else []
    return _line("; ".join([*back, *_changes(newest.desired, desired)]))


def _changes(before: Desired, after: Desired) -> Iterator[str]:
    if before.mode != after.mode:
        yield f"mode {before.mode} -> {after.mode}"
    if before.default_profile != after.default_profile:
        yield f"default profile {before.default_profile} -> {after.default_profile}"
    yield from _changed_profiles(before.profiles, after.profiles)
    had, has = before.assignments, after.assignments
    moved = Counter(has[node] for node in has if had.get(node, "") != has[node])
    for profile, count in sorted(moved.items(), key=lambda entry: entry[0] or ""):
        yield f"{_nodes(count)} to {profile or 'the default profile'}"
    if gone := len(had.keys() - has.keys()):
        yield f"{_nodes(gone)} no longer in it"


def _changed_profiles(before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[str]:
    """What differs between the definitions of two revisions, a text for each profile."""
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
    """A definition's meaning; None for one that is refused today, such as a file that was found."""
    try:
        return checked_profiles({name: definition})[name]
    except ProfileError:
        return None


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"


def _line(text: str) -> str:
    """A text in one line of bearable length."""
    flat = " ".join(text.split())
    return flat if len(flat) <= _LONGEST else f"{flat[: _LONGEST - 3]}..."


def _notes(revision: Revision) -> dict[str, str]:
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
        selector = f"{HISTORY_LABEL}={label_of(self.config_map)}"
        read = map(read_revision, self.cluster.items(self._list, labels=selector))
        found = [each for each in read if each]
        return sorted(found, key=lambda revision: revision.number, reverse=True)

    def open(self, desired: Desired, who: str, found: Desired | None = None) -> Revision:
        """The revision of a run that is about to write, written down before anything else is.

        found is the fleet as it is; where there is no history yet and it is not what is asked for,
        it becomes the first revision, so that there is something to go back to.
        """
        for _attempt in range(_ATTEMPTS):
            history = self.load()
            when = self.cluster.now().strftime("%Y-%m-%dT%H:%M:%SZ")
            if not history and found and not same_desired(found, desired):
                first = Revision(1, found, State.GOOD, _line(who), when, AS_FOUND)
                if not self._create(first):
                    continue
                history = [first]
            revision = next_revision(history, desired, who=who, when=when)
            known = next((each for each in history if each.number == revision.number), None)
            if known is None:
                if not self._create(revision):
                    continue
            elif known != revision:
                self._note(revision)
            for each in history:
                if each.state is State.STARTED and each.number < revision.number:
                    self._note(replace(each, state=State.FAILED))  # its run was killed
            return revision
        raise ClusterError(
            f"A revision of ConfigMap {self.config_map} could not be added in namespace"
            f" {self.namespace} on {self.cluster.server}: a ControllerRevision of that number is"
            " there already. Run again; if that does not help, remove those that history_info"
            " does not list."
        )

    def found(self, found: Desired, who: str) -> None:
        """Note the fleet as it is found, where there is no history yet."""
        when = self.cluster.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        self._create(Revision(1, found, State.GOOD, _line(who), when, AS_FOUND))

    def close(self, revision: Revision, state: State) -> Revision:
        """Write down how a run ended. A revision that has been good stays so: what fails later is
        not its fault.
        """
        if revision.state in (state, State.GOOD):
            return revision
        ended = replace(revision, state=state)
        self._note(ended)
        return ended

    def prune(self, keep: int = KEEP) -> list[int]:
        """Remove the oldest revisions. Returns their numbers."""
        old = too_old(self.load(), keep)
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
        """False when there is one of that number already."""
        try:
            self.cluster.create(self._list, to_document(revision, self.config_map))
        except ClusterError as error:
            if error.status == 409:
                return False
            raise
        return True

    def _note(self, revision: Revision) -> None:
        notes = {"metadata": {"annotations": _notes(revision)}}
        self.cluster.patch(self._path(revision), notes)

    def _remove(self, revisions: Sequence[Revision]) -> None:
        for revision in revisions:
            self.cluster.delete(self._path(revision))
