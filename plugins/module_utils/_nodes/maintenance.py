# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: nodes that another controller is working on: a driver upgrade, a change of MIG, or
anything else that pauses pods of the operator. They are left alone until it has finished.

k8s-driver-manager and the MIG manager set labels nvidia.com/gpu.deploy.<operand> to
paused-for-<reason>, and put true back themselves. Setting it earlier breaks what they do.
"""

from __future__ import annotations

from .mig import MIG_LABEL, is_busy
from .mig import STATE_LABEL as MIG_STATE_LABEL
from .state import NodeState

UPGRADE_LABEL = "nvidia.com/gpu-driver-upgrade-state"
UPGRADE_FAILED = "upgrade-failed"
UPGRADE_REQUIRED = "upgrade-required"  # nothing has been touched yet
DEPLOY_PREFIX = "nvidia.com/gpu.deploy."
PAUSED_PREFIX = "paused-for-"
PAUSED_FOR_MIG = "paused-for-mig-change"
_NOT_UPGRADING = ("", "unknown", "upgrade-done", UPGRADE_REQUIRED)


def upgrade_state(state: NodeState) -> str:
    """The state of a driver upgrade that has begun; empty when none has."""
    found = state.labels.get(UPGRADE_LABEL, "")
    return "" if found in _NOT_UPGRADING else found


def paused_label(state: NodeState) -> str:
    """The first label by which another controller keeps pods of the operator away."""
    labels = sorted(state.labels.items())
    return next(
        (
            label
            for label, value in labels
            if label.startswith(DEPLOY_PREFIX) and value.startswith(PAUSED_PREFIX)
        ),
        "",
    )


def maintenance(state: NodeState, *, mig: str | None = None) -> str:
    """Why a node has to be left alone; empty when nobody is working on it. mig: the MIG
    configuration that the node is to have; a change to this one is waited for elsewhere.
    """
    own_mig = mig is not None and state.labels.get(MIG_LABEL) == mig
    if upgrade := upgrade_state(state):
        return f"{UPGRADE_LABEL} is {upgrade}"
    if is_busy(state) and not own_mig:
        return f"{MIG_STATE_LABEL} is {state.labels[MIG_STATE_LABEL]}"
    label = paused_label(state)
    if not label or (own_mig and state.labels[label] == PAUSED_FOR_MIG):
        return ""
    return f"{label} is {state.labels[label]}"


def passes_by_itself(reason: str) -> bool:
    """Whether what maintenance() gives ends without anybody's help."""
    return bool(reason) and not reason.endswith(UPGRADE_FAILED)
