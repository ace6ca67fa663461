# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: MIG configurations of nodes, as their profiles specify them.

NVIDIA's MIG manager follows the label nvidia.com/mig.config and shows its progress in
nvidia.com/mig.config.state. While it partitions GPUs, the node advertises none, and its sharing
profile must not change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from .._common.names import CONFIG_HASH_ANNOTATION
from .._profiles.model import NO_MIG
from .state import NodeMetadata, NodeState

MIG_LABEL = "nvidia.com/mig.config"
STATE_LABEL = "nvidia.com/mig.config.state"
CAPABLE_LABEL = "nvidia.com/mig.capable"
PREVIOUS_ANNOTATION = "gpufleet.sharing/previous-mig-config"
BUSY = ("pending", "rebooting")


@dataclass(frozen=True)
class MigChange:
    """The change of one node's MIG configuration; None means no label."""

    node: str
    before: str | None
    after: str

    def patch(self, state: NodeMetadata) -> dict[str, dict[str, str | None]]:
        """The metadata to merge. It keeps the configuration before our first change for undo.

        It removes the state, which belongs to the configuration before, and the config hash, since
        the node has to settle again.
        """
        previous = read_previous(state)
        before = self.before if previous is None else previous.before
        note = json.dumps({"before": before, "ours": self.after})
        return {
            "labels": {MIG_LABEL: self.after, STATE_LABEL: None},
            "annotations": {PREVIOUS_ANNOTATION: note, CONFIG_HASH_ANNOTATION: None},
        }


@dataclass(frozen=True)
class PreviousConfig:
    """The label before our first change, and the one that we set."""

    before: str | None
    ours: str


def read_previous(state: NodeMetadata) -> PreviousConfig | None:
    try:
        noted = json.loads(state.annotations[PREVIOUS_ANNOTATION])
        return PreviousConfig(noted["before"] or None, str(noted["ours"]))
    except (KeyError, ValueError, TypeError):
        return None


def plan_mig(
    wanted: Mapping[str, str], states: Mapping[str, NodeState]
) -> tuple[list[MigChange], list[str]]:
    """Compare MIG configurations by node with labels.

    Returns the changes, and the nodes that have the right label but are still being partitioned.
    Omits nodes that are NotReady or not in the cluster, and nodes without MIG that should have
    none. A configuration that has failed is set again.
    """
    changes = []
    waiting = []
    for node, config in sorted(wanted.items()):
        if node not in states or not states[node].ready or stays_without_mig(states[node], config):
            continue
        before = states[node].labels.get(MIG_LABEL) or None
        if before != config or has_failed(states[node]):
            changes.append(MigChange(node, before, config))
        elif why_not_partitioned(states[node], config):
            waiting.append(node)
    return changes, waiting


def why_not_partitioned(state: NodeMetadata | None, config: str) -> str:
    """Why a node does not have its MIG configuration yet; empty when it has."""
    if state is None:
        return "the node has left the cluster"
    label = state.labels.get(MIG_LABEL)
    if label != config:
        return f"the label {MIG_LABEL} was changed to {label or 'none'}, expected {config}"
    progress = state.labels.get(STATE_LABEL)
    return "" if progress == "success" else f"{STATE_LABEL} is {progress or 'missing'}"


def has_failed(state: NodeMetadata | None) -> bool:
    """Whether waiting longer does not help."""
    return state is not None and state.labels.get(STATE_LABEL) == "failed"


def why_not_capable(state: NodeMetadata, config: str) -> str:
    """Why a node cannot have a MIG configuration; empty when no reason is known."""
    if state.labels.get(CAPABLE_LABEL) == "false" and config != NO_MIG:
        return f"its GPUs do not support MIG ({CAPABLE_LABEL}), so it cannot have {config}"
    return ""


def stays_without_mig(state: NodeMetadata, config: str) -> bool:
    """Whether a node does not support MIG, and should have none."""
    return config == NO_MIG and state.labels.get(CAPABLE_LABEL) == "false"


def is_busy(state: NodeMetadata) -> bool:
    """Whether NVIDIA's MIG manager is partitioning a node's GPUs."""
    return state.labels.get(STATE_LABEL) in BUSY


def undo_patch(state: NodeMetadata) -> dict[str, dict[str, str | None]]:
    """The metadata to merge to restore the configuration before our first change; empty when there
    was none. A label that others have changed since stays.
    """
    previous = read_previous(state)
    if previous is None:
        return {}
    forget: dict[str, dict[str, str | None]] = {"annotations": {PREVIOUS_ANNOTATION: None}}
    if state.labels.get(MIG_LABEL) != previous.ours:
        return forget
    return {**forget, "labels": {MIG_LABEL: previous.before}}
