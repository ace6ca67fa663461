#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout
short_description: Bring changed profiles to the nodes, batch by batch
version_added: 0.1.0
description:
  - A change of a profile's content is never picked up by a running device plugin. This module
    restarts the plugin and GPU
    feature discovery pods of the nodes that run on older content, in batches, and waits until each
    node advertises what its
    profile says.
  - Which content a node has loaded is kept in its annotation C(gpufleet.sharing/config-hash), so a
    run that was interrupted
    is simply run again. A node whose pods started after the content was written, and which shows
    the right numbers, is only
    annotated.
  - Nodes that are NotReady are skipped and listed.
options:
  assignments:
    description: >-
      The nodes to act on, each a Kubernetes node name and its profile, V(null) meaning the default
      profile.
    type: dict
    required: true
  gpus:
    description: Physical GPUs of nodes, where the inventory states them.
    type: dict
    default: {}
  profiles:
    description: The profiles, as of M(gpufleet.sharing.profiles).
    type: dict
    required: true
  default_profile:
    description: The profile of nodes without a label.
    type: str
    required: true
  config_map:
    description: Name of the ConfigMap.
    type: str
    default: device-plugin-config
  namespace:
    description: Namespace of the GPU Operator and the ConfigMap.
    type: str
    default: gpu-operator
  batches:
    description: >-
      Sizes of the batches in which pods are restarted, numbers of nodes or percentages, the last
      one repeated.
    type: list
    elements: str
    default: ["1", "25%"]
  timeout:
    description: How long one batch may take, in seconds.
    type: int
    default: 600
  stable:
    description:
      - How long a node must show the right numbers before it is believed, in seconds. A restarted
        plugin shows the default
        profile first, and the kubelet publishes every 10 seconds.
    type: int
    default: 20
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - gpufleet.sharing.common
seealso:
  - module: gpufleet.sharing.profiles
  - module: gpufleet.sharing.node_profiles
"""

EXAMPLES = r"""
- name: Roll out changed profiles, one node first
  gpufleet.sharing.rollout:
    assignments:
      dev-gpu-01: dev
      prod-gpu-01: null
    profiles:
      default: {replicas: 4}
      dev: {replicas: 8}
    default_profile: default
    batches: [1, 25%]
"""

RETURN = r"""
differs:
  description: Whether a node was not known to have its profile, so that it was changed or would be.
  type: bool
  returned: always
restarted:
  description: Nodes whose plugin pods were restarted, or would be in check mode.
  type: list
  elements: str
  returned: always
recorded:
  description: Nodes that had the right content already and were only annotated.
  type: list
  elements: str
  returned: always
waited:
  description: Nodes that were getting the right content by themselves.
  type: list
  elements: str
  returned: always
unavailable:
  description: Nodes that are NotReady or not in the cluster.
  type: list
  elements: str
  returned: always
unsettled:
  description: Why nodes do not have their profile, by node.
  type: dict
  returned: on failure
"""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.gpufleet.sharing.plugins.module_utils import (
    _kube,
    _observed,
    _profiles,
    _rollout,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._capacity import (
    CONFIG_HASH_ANNOTATION,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._config_map import read_config_map
from ansible_collections.gpufleet.sharing.plugins.module_utils._entry import Spec, run_module
from ansible_collections.gpufleet.sharing.plugins.module_utils._errors import (
    ClusterError,
    FleetError,
    SharingError,
    some,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout import Step

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC: Spec = {
    "assignments": {"type": "dict", "required": True},
    "gpus": {"type": "dict", "default": {}},
    "profiles": {"type": "dict", "required": True},
    "default_profile": {"type": "str", "required": True},
    "config_map": {"type": "str", "default": "device-plugin-config"},
    "namespace": {"type": "str", "default": "gpu-operator"},
    "batches": {"type": "list", "elements": "str", "default": ["1", "25%"]},
    "timeout": {"type": "int", "default": 600},
    "stable": {"type": "int", "default": 20},
}
CLOCK = _rollout.Clock(time.monotonic, time.sleep)


class RolloutError(SharingError):
    """Some nodes did not get their profile in time."""

    def __init__(self, message: str, unsettled: dict[str, str]) -> None:
        super().__init__(
            message, [f"{node}: {reason}" for node, reason in sorted(unsettled.items())]
        )


@dataclass(frozen=True)
class Rollout:
    """Carries a plan out on one cluster."""

    cluster: _kube.Cluster
    targets: dict[str, _rollout.Target]
    namespace: str
    config_map: str
    patience: _rollout.Patience

    def observe(self) -> _rollout.Observation:
        states = [_observed.node_state(item) for item in self.cluster.items(_kube.NODES)]
        pods = defaultdict(list)
        selector = f"app in ({','.join(_observed.OPERAND_APPS)})"
        documents = self.cluster.items(_kube.namespaced("pods", self.namespace), labels=selector)
        for pod in _observed.operand_pods(documents):
            pods[pod.node].append(pod)
        document = self.cluster.find(
            _kube.object_path(_kube.namespaced("configmaps", self.namespace), self.config_map)
        )
        return _rollout.Observation(
            {state.name: state for state in states if state.name in self.targets},
            pods,
            read_config_map(document) if document else None,
        )

    def for_each(self, names: list[str], action: Callable[[str], object]) -> None:
        """Do something to each. Raises ClusterError naming those where it failed."""
        if failures := self.cluster.for_each(names, action):
            raise ClusterError(
                f"{some(sorted(failures))}: {min(failures.values())} Run again to finish."
            )

    def record(self, nodes: list[str]) -> None:
        """Write on the nodes which content they have loaded."""
        self.for_each(
            nodes,
            lambda node: self.cluster.patch(
                _kube.object_path(_kube.NODES, node),
                {"metadata": {"annotations": {CONFIG_HASH_ANNOTATION: self.targets[node].hash}}},
            ),
        )

    def restart(self, nodes: list[str]) -> list[str]:
        """Delete the plugin's pods of some nodes. Returns their uids."""
        seen = self.observe().pods
        pods = {pod.name: pod for node in nodes for pod in seen.get(node, ())}
        path = _kube.namespaced("pods", self.namespace)
        self.for_each(
            list(pods),
            lambda name: self.cluster.delete(_kube.object_path(path, name), uid=pods[name].uid),
        )
        return [pod.uid for pod in pods.values()]

    def settle(self, nodes: list[str], old_pods: list[str], what: str) -> None:
        """Wait for nodes and annotate those that have got there. Raises RolloutError naming the
        others.
        """
        targets = [self.targets[node] for node in nodes]
        wrong = _rollout.wait_until_settled(targets, self.observe, self.patience, CLOCK, old_pods)
        self.record([node for node in nodes if node not in wrong])
        if wrong:
            lines = "\n".join(f"- {node}: {wrong[node]}" for node in sorted(wrong)[:20])
            raise RolloutError(
                f"{len(wrong)} of {len(nodes)} nodes ({what}) did not get their profile within"
                f" {self.patience.timeout:g} s:\n{lines}\nNothing else was restarted. Run again"
                " when the cause is mended.",
                wrong,
            )

    def carry_out(self, plan: _rollout.RolloutPlan, batches: list[list[str]]) -> None:
        self.record(plan.nodes(Step.RECORD))
        for number, batch in enumerate(batches, start=1):
            self.settle(batch, self.restart(batch), f"batch {number} of {len(batches)}")
        if waiting := plan.nodes(Step.WAIT):
            self.settle(waiting, [], "with a changed label or new pods")


def read_targets(module: AnsibleModule) -> dict[str, _rollout.Target]:
    profiles = _profiles.known_profiles(module.params["profiles"])
    targets = {}
    for node, name in module.params["assignments"].items():
        profile = profiles.get(name or module.params["default_profile"])
        if profile is None:
            raise FleetError(
                f"{node}: its profile '{name or module.params['default_profile']}' is not defined;"
                f" defined are: {some(list(profiles))}."
            )
        gpus = module.params["gpus"].get(node)
        targets[node] = _rollout.Target(node, profile, None if gpus is None else int(gpus))
    return targets


def run(module: AnsibleModule) -> dict[str, object]:
    rollout = Rollout(
        cluster=_kube.connect(module),
        targets=read_targets(module),
        namespace=module.params["namespace"],
        config_map=module.params["config_map"],
        patience=_rollout.Patience(module.params["timeout"], module.params["stable"]),
    )
    plan = _rollout.plan_rollout(rollout.targets.values(), rollout.observe())
    batches = _rollout.cut(plan.nodes(Step.RESTART), module.params["batches"])
    if plan and not module.check_mode:
        rollout.carry_out(plan, batches)
    return {
        "changed": bool(plan),
        "differs": bool(plan),
        "diff": plan.diff(),
        "restarted": plan.nodes(Step.RESTART),
        "recorded": plan.nodes(Step.RECORD),
        "waited": plan.nodes(Step.WAIT),
        "unavailable": plan.nodes(Step.SKIP),
    }


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
