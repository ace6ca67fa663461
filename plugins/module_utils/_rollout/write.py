# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: every write of a rollout to nodes and to the pods of the device plugin."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from .._common.errors import ClusterError
from .._common.names import CONFIG_HASH_ANNOTATION, LOADED_ANNOTATION, PROFILE_LABEL
from .._kube.client import Cluster
from .._kube.objects import namespaced, object_path
from .._profiles.hashing import to_note
from .desired import Target
from .live import LiveFleet
from .loaded import note_of
from .plan import RolloutPlan, Step
from .settle import pause_for

REFRESH_ANNOTATION = "gpufleet.sharing/refreshed"  # on pods: makes the kubelet update their files
REFRESH = 2.0  # seconds; a kubelet takes 0.1 to 0.9, and nothing reports the end


@dataclass(frozen=True)
class Writer:
    """Changes nodes of one cluster. check is called before each write, and raises LeaseError when
    another run has taken over.
    """

    cluster: Cluster
    live: LiveFleet
    namespace: str
    check: Callable[[], None]

    def record(self, nodes: Collection[str], targets: Mapping[str, Target]) -> None:
        """Annotate nodes with the content that they have loaded."""
        if not nodes:
            return
        observed = self.live.observe()
        patches = {}
        for node in nodes:
            note = note_of(targets[node], observed.config_map, observed.pods.get(node, ()))
            digest = to_note(targets[node].hash)
            hashes = {CONFIG_HASH_ANNOTATION: digest, LOADED_ANNOTATION: str(note)}
            patches[node] = {"annotations": hashes}
        self._patch_nodes(patches)

    def relabel(self, nodes: Collection[str], targets: Mapping[str, Target]) -> None:
        """Set the labels of nodes that nobody waits for; it is unknown what they will load."""
        if nodes:
            self._patch_nodes(
                {
                    node: {
                        "labels": {PROFILE_LABEL: targets[node].label},
                        "annotations": {CONFIG_HASH_ANNOTATION: None, LOADED_ANNOTATION: None},
                    }
                    for node in nodes
                }
            )

    def apply(
        self, nodes: Sequence[str], plan: RolloutPlan, targets: Mapping[str, Target]
    ) -> list[str]:
        """Change labels and restart pods. Returns the uids of the deleted pods.

        Before a node loads other content, its annotations show which, and which pods have to go
        first: then a run that follows a killed one knows what was done.
        """
        observed = self.live.observe()
        going = {
            node: observed.pods.get(node, ()) if plan.steps[node] is Step.RESTART else ()
            for node in nodes
        }
        pods = {pod.name: pod for of_node in going.values() for pod in of_node}
        patches: dict[str, dict[str, object]] = {}
        for node in nodes:
            if plan.steps[node] not in (Step.FLIP, Step.RESTART):
                continue
            note = note_of(targets[node], observed.config_map, going[node], old=True)
            hashes = {CONFIG_HASH_ANNOTATION: None, LOADED_ANNOTATION: str(note)}
            patches[node] = {"annotations": hashes}
            if change := plan.labels.get(node):
                patches[node]["labels"] = {PROFILE_LABEL: change.after}
        self._patch_nodes(patches)
        self._each_pod(list(pods), lambda name, path: self.cluster.delete(path, uid=pods[name].uid))
        return [pod.uid for pod in pods.values()]

    def refresh(self, nodes: Collection[str]) -> None:
        """Make the kubelets update the files of the plugin's pods, so that a new key is there
        before a label names it. Without it, the side-car crashes until the file arrives.
        """
        observed = self.live.observe().pods
        mark = {"metadata": {"annotations": {REFRESH_ANNOTATION: self.cluster.now().isoformat()}}}
        self._each_pod(
            [pod.name for node in sorted(nodes) for pod in observed.get(node, ())],
            lambda _name, path: self.cluster.patch_if_exists(path, mark),
        )
        pause_for(self.live, REFRESH)

    def _patch_nodes(self, patches: Mapping[str, Mapping[str, object]]) -> None:
        self.check()
        self.cluster.patch_nodes(patches)

    def _each_pod(self, names: list[str], write: Callable[[str, str], object]) -> None:
        """Call write with the name and the path of each pod of the plugin."""
        pods = namespaced("pods", self.namespace)
        self.check()
        failures = self.cluster.for_each(names, lambda name: write(name, object_path(pods, name)))
        if failures:
            raise ClusterError(
                f"{len(failures)} of {len(names)} pods could not be written:"
                f" {min(failures.values())} Run again to finish."
            )
