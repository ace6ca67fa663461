# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: findings about the ConfigMap of profiles and its keys. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.engine import (
    Hit,
    Kind,
    Severity,
    at,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.snapshot import (
    CONFIG_MAP,
    POLICY,
    Chain,
    Scene,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.hashing import same_content
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rules import (
    Problem,
    Reader,
    Rule,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import read_text

_SITE = "ansible-playbook gpufleet.sharing.site -i inventory"
_NO_FILE = (Rule.NAME, Rule.FORM)


def _place(scene: Scene) -> dict[str, str]:
    return {"config_map": scene.place.config_map, "namespace": scene.place.namespace}


def _missing(scene: Scene) -> Iterator[Hit]:
    if scene.config_map is None and not scene.elsewhere:
        yield Hit(scene.names, _place(scene))


def _elsewhere(scene: Scene) -> Iterator[Hit]:
    if scene.config_map is None and scene.elsewhere:
        yield Hit(scene.names, {**_place(scene), "there": ", ".join(scene.elsewhere)})


def _ours(scene: Scene) -> bool:
    """Whether the plugins read the ConfigMap that was looked at."""
    return scene.config_map is not None and scene.pointer.name in ("", scene.place.config_map)


def _no_default_key(scene: Scene) -> Iterator[Hit]:
    key = scene.pointer.default
    if _ours(scene) and scene.config_map and key and key not in scene.config_map.data:
        yield Hit(scene.names, {**_place(scene), "key": key})


def _no_key(scene: Scene) -> Iterator[Hit]:
    if not _ours(scene) or scene.config_map is None:
        return
    for chain, _view in scene.present():
        if chain.label and chain.label not in scene.config_map.data:
            yield at(chain.node, key=chain.label, **_place(scene))


def _users(scene: Scene) -> dict[str, list[Chain]]:
    """The nodes that go by each key that is there."""
    users: dict[str, list[Chain]] = defaultdict(list)
    for chain, _view in scene.present():
        if chain.content is not None and _ours(scene):
            users[chain.key].append(chain)
    return users


def _problems(scene: Scene, key: str, text: str) -> list[Problem]:
    reader = Reader(f"key {key}", lenient=False)
    read_text(text, reader, scene.plugin)
    return [problem for problem in reader.problems if problem.rule not in _NO_FILE]


def _read(scene: Scene, *, taken: bool) -> Iterator[Hit]:
    """The keys in use that the plugin refuses, or (taken) of which it ignores something."""
    for key, chains in sorted(_users(scene).items()):
        problems = _problems(scene, key, chains[0].content or "")
        refused = [problem for problem in problems if not problem.rule.plugin_takes_it]
        if taken == (not refused) and problems:
            said = (refused or problems)[0].text
            nodes = tuple(chain.node for chain in chains)
            yield Hit(nodes, {**_place(scene), "key": key, "said": said})


def _refused(scene: Scene) -> Iterator[Hit]:
    yield from _read(scene, taken=False)


def _ignored(scene: Scene) -> Iterator[Hit]:
    yield from _read(scene, taken=True)


def _edited(scene: Scene) -> Iterator[Hit]:
    """Of the keys that nodes should go by."""
    if not _ours(scene) or scene.config_map is None:
        return
    data = scene.config_map.data
    files = scene.desired.files
    users: dict[str, list[str]] = defaultdict(list)
    for chain, _view in scene.present():
        users[chain.target.key].append(chain.node)
    for key, nodes in sorted(users.items()):
        if key in data and not same_content(data[key], files[key]):
            yield Hit(tuple(nodes), {**_place(scene), "key": key})


KINDS = (
    Kind(
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
    Kind(
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
    Kind(
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
    Kind(
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
    Kind(
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
    Kind(
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
    Kind(
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
