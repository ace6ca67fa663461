# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: labels of GPU feature discovery, which are gone for up to a minute after it, or Node
Feature Discovery, has restarted. Nothing is judged without them.
"""

from __future__ import annotations

from collections.abc import Mapping

from .._kube.client import Cluster
from .._nodes.capacity import physical_devices
from .._nodes.state import NodeState
from .live import LiveNodes

LABELS_GONE = 75.0  # seconds


def wait_for_labels(
    cluster: Cluster,
    states: Mapping[str, NodeState],
    stated: Mapping[str, int],
    nodes: Mapping[str, object],
    seconds: float = LABELS_GONE,
) -> dict[str, NodeState]:
    """The states of a cluster's nodes, once the GPUs of all nodes are counted that are in service,
    or after some seconds. stated are GPUs as the inventory says, by node.
    """

    def uncounted(found: Mapping[str, NodeState]) -> bool:
        return any(
            _in_service(state) and not physical_devices(state, stated.get(name))
            for name, state in found.items()
            if name in nodes
        )

    if not uncounted(states):
        return dict(states)
    live = LiveNodes(cluster)
    live.start()
    try:
        until = live.now() + seconds
        while uncounted(live.nodes()) and (left := until - live.now()) > 0:
            live.wait(left)
        return live.nodes()
    finally:
        live.stop()


def _in_service(state: NodeState) -> bool:
    """Whether a node advertises GPUs, so that feature discovery has counted them before."""
    return state.ready and bool(state.gpu_slots)
