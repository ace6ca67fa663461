# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: findings about the ConfigMap of profiles and its keys. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.engine import (
    Check,
    Match,
    Severity,
    match_on,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.snapshot import (
    CONFIG_MAP,
    POLICY,
    NodeTrace,
    Snapshot,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.hashing import same_content
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.reader import ProfileReader
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rules import Problem, Rule
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import read_text

_SITE = "ansible-playbook gpufleet.sharing.site -i inventory"
_NO_FILE = (Rule.NAME, Rule.FORM)


def _place(snapshot: Snapshot) -> dict[str, str]:
    return {"config_map": snapshot.location.config_map, "namespace": snapshot.location.namespace}


def _missing(snapshot: Snapshot) -> Iterator[Match]:
    if snapshot.config_map is None and not snapshot.elsewhere:
        yield Match(snapshot.names, _place(snapshot))


def _elsewhere(snapshot: Snapshot) -> Iterator[Match]:
    if snapshot.config_map is None and snapshot.elsewhere:
        yield Match(snapshot.names, {**_place(snapshot), "there": ", ".join(snapshot.elsewhere)})


def _ours(snapshot: Snapshot) -> bool:
    """Whether the plugins read the ConfigMap that was looked at."""
    return snapshot.config_map is not None and snapshot.pointer.name in (
        "",
        snapshot.location.config_map,
    )


def _no_default_key(snapshot: Snapshot) -> Iterator[Match]:
    key = snapshot.pointer.default
    if _ours(snapshot) and snapshot.config_map and key and key not in snapshot.config_map.data:
        yield Match(snapshot.names, {**_place(snapshot), "key": key})


def _no_key(snapshot: Snapshot) -> Iterator[Match]:
    if not _ours(snapshot) or snapshot.config_map is None:
        return
    for trace, _view in snapshot.present():
        if trace.label and trace.label not in snapshot.config_map.data:
            yield match_on(trace.node, key=trace.label, **_place(snapshot))


def _users(snapshot: Snapshot) -> dict[str, list[NodeTrace]]:
    """The nodes that go by each key that is there."""
    users: dict[str, list[NodeTrace]] = defaultdict(list)
    for trace, _view in snapshot.present():
        if trace.content is not None and _ours(snapshot):
            users[trace.key].append(trace)
    return users


def _problems(snapshot: Snapshot, key: str, text: str) -> list[Problem]:
    reader = ProfileReader(f"key {key}", lenient=False)
    read_text(text, reader, snapshot.plugin)
    return [problem for problem in reader.problems if problem.rule not in _NO_FILE]


def _read(snapshot: Snapshot, *, taken: bool) -> Iterator[Match]:
    """The keys in use that the plugin refuses, or (taken) of which it ignores something."""
    for key, traces in sorted(_users(snapshot).items()):
        problems = _problems(snapshot, key, traces[0].content or "")
        refused = [problem for problem in problems if not problem.rule.plugin_takes_it]
        if taken == (not refused) and problems:
            said = (refused or problems)[0].text
            nodes = tuple(trace.node for trace in traces)
            yield Match(nodes, {**_place(snapshot), "key": key, "said": said})


def _refused(snapshot: Snapshot) -> Iterator[Match]:
    yield from _read(snapshot, taken=False)


def _ignored(snapshot: Snapshot) -> Iterator[Match]:
    yield from _read(snapshot, taken=True)


def _edited(snapshot: Snapshot) -> Iterator[Match]:
    """Of the keys that nodes should go by."""
    if not _ours(snapshot) or snapshot.config_map is None:
        return
    data = snapshot.config_map.data
    files = snapshot.desired.files
    users: dict[str, list[str]] = defaultdict(list)
    for trace, _view in snapshot.present():
        users[trace.target.key].append(trace.node)
    for key, nodes in sorted(users.items()):
        if key in data and not same_content(data[key], files[key]):
            yield Match(tuple(nodes), {**_place(snapshot), "key": key})


CHECKS = (
    Check(
        code="GS012",
        severity=Severity.ERROR,
        title="The ConfigMap of profiles is missing",
        cause="ConfigMap {config_map} is missing",
        seen="There is no ConfigMap {config_map} in namespace {namespace}.",
        why="Plugins that run keep what they have. Each that restarts waits for the ConfigMap to be"
        " mounted, and its node has no GPUs meanwhile.",
        fix=_SITE + " writes it.",
        find=_missing,
        follows=("GS001", "GS004"),
        reads=(CONFIG_MAP,),
    ),
    Check(
        code="GS013",
        severity=Severity.ERROR,
        title="The ConfigMap is in another namespace",
        cause="ConfigMap {config_map} is in {there}",
        seen="There is no ConfigMap {config_map} in namespace {namespace}, but in {there}.",
        why="The device plugin mounts the ConfigMap of its own namespace and of no other.",
        fix=_SITE + " writes it to {namespace}; then delete the other:"
        " kubectl delete configmap {config_map} -n {there}",
        find=_elsewhere,
        follows=("GS001", "GS004"),
        reads=(CONFIG_MAP,),
    ),
    Check(
        code="GS014",
        severity=Severity.ERROR,
        title="The default key is missing",
        cause="key {key} is missing, which is the default",
        seen="ConfigMap {config_map} in {namespace} has no key {key}, to which"
        " devicePlugin.config.default points.",
        why="A plugin that starts always loads the default first, whatever the label of its node"
        " says. Without the key it does not start: each node whose plugin restarts loses its GPUs.",
        fix=_SITE + " writes it.",
        find=_no_default_key,
        follows=("GS009",),
        reads=(CONFIG_MAP, POLICY),
    ),
    Check(
        code="GS015",
        severity=Severity.ERROR,
        title="The label names a key that is missing",
        cause="key {key} is missing",
        seen="{nodes}: the label is {key}, and ConfigMap {config_map} in {namespace} has no such"
        " key.",
        why="config-manager crash-loops. Until the plugin restarts the node keeps what it had; then"
        " it serves the default profile, silently.",
        fix=_SITE + " writes the key of every profile, and sets the labels.",
        find=_no_key,
        follows=("GS001", "GS004", "GS024"),
        reads=(CONFIG_MAP, POLICY),
    ),
    Check(
        code="GS016",
        severity=Severity.ERROR,
        title="The plugin refuses the file of a profile",
        cause="the plugin refuses key {key}",
        seen="Key {key} of ConfigMap {config_map}: {said}",
        why="A plugin that reads this file stops serving and exits: its node loses its GPUs, now or"
        " at its next restart.",
        fix=_SITE + " writes a file that the plugin takes; validate tells beforehand whether a"
        " profile is right.",
        find=_refused,
        follows=("GS001", "GS024"),
        reads=(CONFIG_MAP, POLICY),
    ),
    Check(
        code="GS017",
        severity=Severity.WARNING,
        title="The plugin ignores a part of the file",
        cause="the plugin ignores a part of key {key}",
        seen="Key {key} of ConfigMap {config_map}: {said}",
        why="The plugin takes the file and does something else than it seems to say: unknown or"
        " misplaced settings, rename, devices and replicas of single GPUs have no effect.",
        fix=_SITE + " writes what the profile says; validate tells what is wrong with a profile.",
        find=_ignored,
        follows=("GS001", "GS024"),
        reads=(CONFIG_MAP, POLICY),
    ),
    Check(
        code="GS018",
        severity=Severity.ERROR,
        title="A key is not what its profile says",
        cause="key {key} was changed",
        seen="Key {key} of ConfigMap {config_map} says something else than profile {key} of the"
        " inventory.",
        why="Plugins do not read a changed file by themselves, but at their next restart, whatever"
        " the cause: the slots of {count} nodes change unasked then.",
        fix=_SITE + " writes it back; or change gpu_sharing_profiles, and run it.",
        find=_edited,
        follows=("GS001", "GS016", "GS017"),
        reads=(CONFIG_MAP, POLICY),
    ),
)
