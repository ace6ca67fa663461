# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes, pods and a ConfigMap in a state that is right, for tests of rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.operands import (
    GFD_APP,
    PLUGIN_APP,
    OperandPod,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.config_map import (
    ConfigMap,
    KeyRecord,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rendering import (
    to_plugin_config,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    parse_profile,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.desired import (
    Observation,
    Target,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.loaded import LoadedNote

GPU = "nvidia.com/gpu"
LABEL = "nvidia.com/device-plugin.config"
HASH = "gpufleet.sharing/config-hash"
LOADED = "gpufleet.sharing/loaded"
PROFILE = parse_profile("p", {"replicas": 4})
OTHER = parse_profile("p", {"replicas": 6})
TARGET = Target("n1", PROFILE, key="p")
LABELLED = replace(TARGET, label="p")
TEXT = to_plugin_config(PROFILE)
WRITTEN = datetime(2026, 1, 1, tzinfo=UTC)
AFTER, BEFORE = WRITTEN + timedelta(seconds=5), WRITTEN - timedelta(seconds=1)
NOTED = KeyRecord(TARGET.hash, "2026-01-01T00:00:00Z")
MAP = ConfigMap({"p": TEXT}, {"p": NOTED}, changed=NOTED.at)
NEW_KEY = replace(MAP, written={"p": replace(NOTED, replaced=False)})
OLD_LABELS = {"nvidia.com/gpu.count": "2", "nvidia.com/gpu.replicas": "1"}
GOOD = NodeState(
    "n1",
    {
        "nvidia.com/gpu.count": "2",
        "nvidia.com/gpu.replicas": "4",
        "nvidia.com/gpu.sharing-strategy": "time-slicing",
    },
    {},
    {GPU: 8},
)
UNSHARED = replace(
    GOOD,
    labels=OLD_LABELS,
    allocatable={GPU: 2},
)
RESTARTS = {"u1": 0, "u2": 0}  # of PODS
DONE = replace(
    GOOD,
    annotations={
        HASH: TARGET.hash,
        LOADED: str(LoadedNote("p", TARGET.hash, NOTED.at, RESTARTS)),
    },
)
PLUGIN = OperandPod("plugin", "gpu-operator", "u1", "n1", PLUGIN_APP, True, False, AFTER, True)
GFD = replace(PLUGIN, name="gfd", uid="u2", app=GFD_APP)
PODS = (PLUGIN, GFD)


def labelled(label: str, node: NodeState = GOOD) -> NodeState:
    return replace(node, labels={**node.labels, LABEL: label})


def observation(
    node: NodeState | None = GOOD,
    pods: Sequence[OperandPod] = PODS,
    config_map: ConfigMap | None = MAP,
) -> Observation:
    nodes = {} if node is None else {"n1": node}
    return Observation(nodes, {"n1": pods}, config_map)
