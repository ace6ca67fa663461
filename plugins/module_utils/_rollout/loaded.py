# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: which content a node's plugin has loaded.

Nothing in the cluster tells it, so a run notes it on the node, in two annotations:
gpufleet.sharing/config-hash is the hash of the content, and is there only while the node is
settled. gpufleet.sharing/loaded (LoadedNote) shows how that is known. Clocks of nodes and of the
controller play no part: a pod is known by its uid and the restarts of its containers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from .._common.names import CONFIG_HASH_ANNOTATION, LOADED_ANNOTATION
from .._nodes.capacity import judge
from .._nodes.operands import OperandPod
from .._nodes.state import NodeState
from .._profiles.config_map import ConfigMap
from .._profiles.hashing import from_note, to_note
from .._profiles.rendering import to_plugin_config
from .desired import Target


@dataclass(frozen=True)
class LoadedNote:
    """The key and the content that a node has loaded, or that it loads once the old pods have gone.

    written is the time in the ConfigMap's record of the key (KeyRecord.at): while it stays, the
    key has had no other content. pods are the restarts of each pod's containers, by uid.
    """

    key: str
    hash: str
    written: str = ""
    pods: Mapping[str, int] = field(default_factory=dict)
    old: Sequence[str] = ()  # uids of pods that a run was about to delete

    def __str__(self) -> str:
        known = {**asdict(self), "hash": to_note(self.hash)}
        return json.dumps({name: value for name, value in known.items() if value})


def read_note(node: NodeState | None) -> LoadedNote | None:
    """The note on a node; None where there is none, or where it is unreadable."""
    try:
        found = json.loads(node.annotations[LOADED_ANNOTATION]) if node else {}
        return LoadedNote(
            key=str(found["key"]),
            hash=from_note(str(found["hash"])),
            written=str(found.get("written", "")),
            pods={str(uid): int(count) for uid, count in found.get("pods", {}).items()},
            old=tuple(map(str, found.get("old", ()))),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def note_of(
    target: Target, config_map: ConfigMap | None, pods: Iterable[OperandPod], *, old: bool = False
) -> LoadedNote:
    """The note for a node whose pods have loaded the target's content; with old, for one whose
    pods are about to be deleted so that new ones load it.
    """
    written = _written(target, config_map)
    if old:
        return LoadedNote(target.key, target.hash, written, old=sorted(pod.uid for pod in pods))
    return LoadedNote(target.key, target.hash, written, _restarts(pods))


def recorded_hash(node: NodeState | None) -> str:
    """The hash of the content with which a node was last seen settled; empty when it is not."""
    return from_note(node.annotations.get(CONFIG_HASH_ANNOTATION, "")) if node else ""


def has_content(target: Target, config_map: ConfigMap | None) -> bool:
    """Whether the target's key holds its profile."""
    if config_map is None:
        return False
    return config_map.holds(target.key, to_plugin_config(target.profile))


def never_replaced(target: Target, config_map: ConfigMap | None) -> bool:
    """Whether the target's key never had other content, so that any plugin loads the right one."""
    if config_map is None or target.key not in config_map.data:
        return True
    record = config_map.written.get(target.key)
    return has_content(target, config_map) and record is not None and not record.replaced


def is_certain(node: NodeState, target: Target, config_map: ConfigMap | None) -> bool:
    """Whether a settled node still has the target's content, whatever its pods did since: its key
    has had no other content in the meantime.
    """
    if never_replaced(target, config_map):
        return True
    note = read_note(node)
    if note is None:  # annotated by a release that left no note
        return judge(node, target.profile, target.gpus).ok
    same = (note.key, note.written) == (target.key, _written(target, config_map))
    return same and has_content(target, config_map)


def has_loaded(
    node: NodeState, target: Target, pods: Sequence[OperandPod], config_map: ConfigMap | None
) -> bool:
    """Whether the pods of a node are known to have loaded the target's content."""
    note, content = read_note(node), has_content(target, config_map)
    since: set[str] = set()  # pods whose processes had loaded it, and are still running
    if note is not None and (note.key, note.hash) == (target.key, target.hash):
        if content and note.written == _written(target, config_map):
            return not any(pod.uid in note.old for pod in pods)
        since = {uid for uid, count in _restarts(pods).items() if note.pods.get(uid) == count}
        if pods and since == {pod.uid for pod in pods}:
            return True
    if config_map is None or not content:
        return False  # the content is still to be written
    written = config_map.written_at(target.key)
    if written is None:
        return False
    newer = [pod for pod in pods if pod.uid not in since]
    if target.key not in config_map.written:  # it is as old as the ConfigMap
        return all(pod.created is not None and pod.created >= written for pod in newer)
    return all(pod.created is not None and pod.created > written for pod in newer)


def _written(target: Target, config_map: ConfigMap | None) -> str:
    record = config_map.written.get(target.key) if config_map else None
    return record.at if record else ""


def _restarts(pods: Iterable[OperandPod]) -> dict[str, int]:
    return {pod.uid: sum(pod.restarts.values()) for pod in pods if not pod.leaving}
