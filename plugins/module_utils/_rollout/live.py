# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the current state of a cluster's nodes and device plugin pods."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from typing import Protocol

from .._common.errors import ClusterError
from .._kube.client import Cluster
from .._kube.objects import NODES, namespaced, object_path
from .._kube.reflector import Reflector
from .._nodes.operands import OPERAND_SELECTOR, OperandPod, operand_pod
from .._nodes.state import NodeState, node_state
from .._profiles.config_map import ConfigMap
from .desired import Observation
from .observed import Observed

BURST = 0.05  # seconds in which changes are collected before they are returned together


class Reflected(Protocol):
    """A reflector of any objects."""

    trouble: str
    refused: bool

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Live:
    """What reflectors show of a cluster: listed when made, watched from start to stop."""

    def __init__(self) -> None:
        self._changes = threading.Condition()
        self._changed: set[str] = set()  # nodes
        self._reflectors: list[Reflected] = []

    def start(self) -> None:
        for reflector in self._reflectors:
            reflector.start()

    def stop(self) -> None:
        for reflector in self._reflectors:
            reflector.stop()

    @property
    def trouble(self) -> str:
        """Why the state may be out of date, in words; empty when it is current."""
        return next((reflector.trouble for reflector in self._reflectors if reflector.trouble), "")

    def now(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float) -> Collection[str]:
        """Wait for a change, at most some seconds. Returns the nodes that changed. Raises
        ClusterError when the API server rejects a watch.
        """
        for reflector in self._reflectors:
            if reflector.refused:
                raise ClusterError(reflector.trouble)
        with self._changes:
            self._changes.wait_for(lambda: self._changed, max(0.0, seconds))
            until = self.now() + BURST if self._changed else 0
            while (left := until - self.now()) > 0:
                self._changes.wait(left)
            changed, self._changed = self._changed, set()
        return changed


class LiveNodes(Live):
    """The nodes of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self._nodes: dict[str, NodeState] = {}
        self._reflectors.append(Reflector(cluster, NODES, node_state, self._on_node))

    def nodes(self) -> dict[str, NodeState]:
        with self._changes:
            return dict(self._nodes)

    def _on_node(self, before: NodeState | None, after: NodeState | None) -> None:
        with self._changes:
            for state in (before, after):
                if state is not None:
                    self._changed.add(state.name)
            if after is not None:
                self._nodes[after.name] = after
            elif before is not None and self._nodes.get(before.name) == before:
                del self._nodes[before.name]  # unless a new node has the name
            self._changes.notify_all()


class LiveFleet(LiveNodes):
    """The cluster as a rollout sees it: nodes, the ConfigMap, and on demand the plugin's pods."""

    def __init__(self, cluster: Cluster, namespace: str, config_map: str) -> None:
        super().__init__(cluster)
        self._cluster = cluster
        self._observed = Observed(cluster, namespace, config_map)
        self._pods: dict[str, dict[str, OperandPod]] = {}
        self._pods_path = namespaced("pods", namespace)
        self._pods_are_read = False
        self._config_map = self._read_config_map()

    def read_pods(self) -> None:
        """List the plugin's pods, two or three for each node, unless that has been done."""
        if not self._pods_are_read:
            self._pods_are_read = True
            self._reflectors.append(
                Reflector(
                    self._cluster,
                    self._pods_path,
                    operand_pod,
                    self._on_pod,
                    labels=OPERAND_SELECTOR,
                )
            )

    def start(self) -> None:
        self.read_pods()
        super().start()

    def observe(self) -> Observation:
        with self._changes:
            pods = {node: tuple(found.values()) for node, found in self._pods.items()}
            return Observation(dict(self._nodes), pods, self._config_map)

    def refresh_config_map(self) -> None:
        """Read the ConfigMap again, as after a write of our own."""
        self._config_map = self._read_config_map()

    def _read_config_map(self) -> ConfigMap | None:
        observed = self._observed
        path = object_path(observed.config_maps_path, observed.config_map_name)
        document = self._cluster.find(path)
        return observed.read_config_map(document) if document else None

    def _on_pod(self, before: OperandPod | None, after: OperandPod | None) -> None:
        with self._changes:
            if before is not None:
                self._pods.get(before.node, {}).pop(before.uid, None)
                self._changed.add(before.node)
            if after is not None:
                self._pods.setdefault(after.node, {})[after.uid] = after
                self._changed.add(after.node)
            self._changes.notify_all()
