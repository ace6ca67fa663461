# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: how GPUs are cut by MIG, where a profile says so.

NVIDIA's MIG manager acts on the label nvidia.com/mig.config and tells how far it is in
nvidia.com/mig.config.state. While it works, the node has no GPUs to give and its sharing profile
must not change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.names import (
    CONFIG_HASH_ANNOTATION,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.model import NO_MIG

MIG_LABEL = "nvidia.com/mig.config"
STATE_LABEL = "nvidia.com/mig.config.state"
CAPABLE_LABEL = "nvidia.com/mig.capable"
PREVIOUS_ANNOTATION = "gpufleet.sharing/previous-mig-config"
BUSY = ("pending", "rebooting")


@dataclass(frozen=True)
class MigChange:
    """One node's MIG configuration, None meaning no label."""

    node: str
    before: str | None
    after: str

    def patch(self, state: NodeState) -> dict[str, dict[str, str | None]]:
        """The metadata to merge. What was there before our first change is remembered for undo.

        The state goes, since it is that of the configuration before; and so does the note that the
        profile is loaded, since the node has to settle anew.
        """
        noted = read_note(state)
        before = self.before if noted is None else noted.before
        note = json.dumps({"before": before, "ours": self.after})
        return {
            "labels": {MIG_LABEL: self.after, STATE_LABEL: None},
            "annotations": {PREVIOUS_ANNOTATION: note, CONFIG_HASH_ANNOTATION: None},
        }


@dataclass(frozen=True)
class Note:
    """What the label said before us, and what we set."""

    before: str | None
    ours: str


def read_note(state: NodeState) -> Note | None:
    try:
        noted = json.loads(state.annotations[PREVIOUS_ANNOTATION])
        return Note(noted["before"] or None, str(noted["ours"]))
    except (KeyError, ValueError, TypeError):
        return None


def plan_mig(
    wanted: Mapping[str, str], states: Mapping[str, NodeState]
) -> tuple[list[MigChange], list[str]]:
    """Compare MIG configurations by node with labels.

    Returns the changes, and the nodes that have the right label but have not got there yet. Nodes
    that are not in the cluster, or NotReady, are left out; so are those without MIG that are to
    have none. A configuration that has failed is set anew.
    """
    changes = []
    waiting = []
    for node, config in sorted(wanted.items()):
        if node not in states or not states[node].ready or needless(states[node], config):
            continue
        before = states[node].labels.get(MIG_LABEL) or None
        if before != config or has_failed(states[node]):
            changes.append(MigChange(node, before, config))
        elif unfinished(states[node], config):
            waiting.append(node)
    return changes, waiting


def unfinished(state: NodeState | None, config: str) -> str:
    """Why a node is not cut as configured yet, in words; empty when it is."""
    if state is None:
        return "the node has left the cluster"
    label = state.labels.get(MIG_LABEL)
    if label != config:
        return f"{MIG_LABEL} is {label or 'none'}, not {config}: somebody changed it"
    told = state.labels.get(STATE_LABEL)
    return "" if told == "success" else f"{STATE_LABEL} is {told or 'not there'}"


def has_failed(state: NodeState | None) -> bool:
    """Whether waiting longer is in vain."""
    return state is not None and state.labels.get(STATE_LABEL) == "failed"


def incapable(state: NodeState, config: str) -> str:
    """Why a node can never be cut so, in words; empty when nothing is known."""
    if state.labels.get(CAPABLE_LABEL) == "false" and config != NO_MIG:
        return f"it is to be cut by MIG ({config}), and its GPUs know no MIG ({CAPABLE_LABEL})"
    return ""


def needless(state: NodeState, config: str) -> bool:
    """Whether a node has no MIG anyway, and is to have none."""
    return config == NO_MIG and state.labels.get(CAPABLE_LABEL) == "false"


def is_busy(state: NodeState) -> bool:
    """Whether NVIDIA's MIG manager is at work on a node."""
    return state.labels.get(STATE_LABEL) in BUSY


def undo_patch(state: NodeState) -> dict[str, dict[str, str | None]]:
    """The metadata to merge that brings back what was there before us; empty where we set nothing.

    A label that somebody has changed since stays.
    """
    note = read_note(state)
    if note is None:
        return {}
    forget: dict[str, dict[str, str | None]] = {"annotations": {PREVIOUS_ANNOTATION: None}}
    if state.labels.get(MIG_LABEL) != note.ours:
        return forget
    return {**forget, "labels": {MIG_LABEL: note.before}}
