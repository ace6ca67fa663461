#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mig_config
short_description: Keep how NVIDIA's MIG manager cuts the GPUs of nodes
version_added: 0.1.0
description:
  - Keeps the node label C(nvidia.com/mig.config), batch by batch, and waits until
    C(nvidia.com/mig.config.state) is V(success). NVIDIA's MIG manager, a part of the GPU Operator,
    does the work.
  - While a GPU is cut anew it gives nothing to anybody, and the MIG manager fails where a pod uses
    it. A batch that fails ends the run, and the nodes after it are not touched.
  - What the label said before is remembered on the node, and brought back when
    M(gpufleet.sharing.node_profiles) takes its label away.
options:
  nodes:
    description:
      - The nodes to act on, each a Kubernetes node name and the name of a configuration of the MIG
        manager, such as V(all-1g.10gb). V(null) leaves the node alone. The filter
        P(gpufleet.sharing.mig_configs#filter) gives it.
      - Nodes that the cluster does not have, or that are NotReady, are left out.
    type: dict
    required: true
  batches:
    description:
      - Nodes cut at a time, numbers or percentages, the last one repeated.
    type: list
    elements: str
    default: ["1", "25%"]
  timeout:
    description: How long a batch may take, in seconds.
    type: int
    default: 900
  namespace:
    description: Namespace of the GPU Operator.
    type: str
    default: gpu-operator
  drain:
    description:
      - What to do with running pods that use GPUs of the nodes to cut, which then cannot be cut.
      - With V(refuse) the run ends before anything is written, and names them; with V(evict) they
        are evicted, batch by batch, as of M(gpufleet.sharing.rollout); with V(ignore) it is left to
        the MIG manager, which fails.
    type: str
    choices: [refuse, evict, ignore]
    default: refuse
  drain_timeout:
    description: How long evictions of one batch may take, in seconds.
    type: int
    default: 300
  explain:
    description: Whether what O(drain) would refuse is passed over in check mode.
    type: bool
    default: false
  run:
    description: >-
      The name of the run, for the Lease that one writing run at a time holds. By default user, host
      and process.
    type: str
    default: ""
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - gpufleet.sharing.common
seealso:
  - module: gpufleet.sharing.node_profiles
"""

EXAMPLES = r"""
- name: Seven devices on each GPU of two nodes
  gpufleet.sharing.mig_config:
    nodes:
      train-gpu-01: all-1g.10gb
      train-gpu-02: all-1g.10gb
"""

RETURN = r"""
changes:
  description: The labels that were changed, or would be in check mode.
  type: list
  elements: dict
  returned: always
  contains:
    node: {description: Name of the node., type: str}
    before: {description: The label before; null for none., type: str}
    after: {description: The label after., type: str}
waited:
  description: Nodes that had the right label and were waited for.
  type: list
  elements: str
  returned: always
differs:
  description: Whether a node was not as asked for, so that it was changed or would be.
  type: bool
  returned: always
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.backoff import pauses
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    FleetError,
    RefusedError,
    SharingError,
    joined,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.module_entry import (
    Spec,
    run_module,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import some
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.values import (
    check_minimums,
    read_strings,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import Cluster, connect
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.lease import hold_lease
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.objects import NODES
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.disruption import (
    mig_disruptions,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.mig import (
    MIG_LABEL,
    MigChange,
    has_failed,
    is_busy,
    plan_mig,
    why_not_capable,
    why_not_partitioned,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import node_state
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.batches import (
    split_into_batches,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.drain import (
    Drainer,
    gpu_pods_on,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.guard import (
    disruption_error,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.settings import (
    DRAINS,
    IGNORE,
    REFUSE,
)

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

    from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState

SPEC: Spec = {
    "nodes": {"type": "dict", "required": True},
    "batches": {"type": "list", "elements": "str", "default": ["1", "25%"]},
    "timeout": {"type": "int", "default": 900},
    "namespace": {"type": "str", "default": "gpu-operator"},
    "drain": {"type": "str", "choices": list(DRAINS), "default": "refuse"},
    "drain_timeout": {"type": "int", "default": 300},
    "explain": {"type": "bool", "default": False},
    "run": {"type": "str", "default": ""},
}
HINT = (
    "The log of the pod nvidia-mig-manager on the node says why; GPUs that a pod uses cannot be"
    " cut. Sharing profiles of these nodes were not changed. Run again when the cause is mended."
)


class MigError(SharingError):
    """Some nodes were not cut as configured."""


@dataclass(frozen=True)
class Cutter:
    """Carries changes out on one cluster."""

    cluster: Cluster
    wanted: dict[str, str]
    timeout: int
    drainer: Drainer
    check: Callable[[], None] = lambda: None

    def states(self) -> dict[str, NodeState]:
        found = (node_state(item) for item in self.cluster.items(NODES))
        return {state.name: state for state in found if state.name in self.wanted}

    def free(self, nodes: list[str], drain: str) -> bool:
        """See to the pods that use GPUs which are to be cut. Whether nodes were cordoned."""
        if drain == IGNORE or not (found := mig_disruptions(gpu_pods_on(self.cluster, nodes))):
            return False
        if drain == REFUSE:
            raise disruption_error(found)
        self.drainer.drain(nodes, lambda pods: pods)
        return True

    def change(self, changes: list[MigChange]) -> None:
        states = self.states()
        patches = {c.node: c.patch(states[c.node]) for c in changes if c.node in states}
        again = [change.node for change in changes if change.before == change.after]
        self.check()
        gone = {node: {"labels": {MIG_LABEL: None}} for node in again}
        self.cluster.patch_nodes(gone)  # so that the MIG manager notices
        self.cluster.patch_nodes(patches)

    def wait(self, nodes: list[str], what: str) -> None:
        """Wait until nodes are cut as configured. Raises MigError naming those that are not."""
        deadline = time.monotonic() + self.timeout
        for pause in pauses():
            states = self.states()
            reasons = {
                node: why_not_partitioned(states.get(node), self.wanted[node]) for node in nodes
            }
            wrong = {node: reason for node, reason in reasons.items() if reason}
            hopeless = all(has_failed(states.get(node)) for node in wrong)
            if not wrong:
                return
            if hopeless or time.monotonic() >= deadline:
                lines = [f"- {node}: {reason}" for node, reason in sorted(wrong.items())[:20]]
                said = (
                    f"{len(wrong)} of {len(nodes)} nodes ({what}) were not cut by MIG (waited up to"
                )
                raise MigError("\n".join([f"{said} {self.timeout} s):", *lines, HINT]))
            time.sleep(pause)


def run(module: AnsibleModule) -> dict[str, object]:
    check_minimums(module.params, {"timeout": 1, "drain_timeout": 1})
    named = read_strings("the configuration", module.params["nodes"], "the name of one, or null")
    wanted = {node: config for node, config in named.items() if config}
    cluster = connect(module)
    drainer = Drainer(cluster, module.params["drain_timeout"], lambda _line: None)
    cutter = Cutter(cluster, wanted, module.params["timeout"], drainer)
    states = cutter.states()
    reasons = {node: why_not_capable(state, wanted[node]) for node, state in states.items()}
    if problems := [f"{node}: {reason}." for node, reason in sorted(reasons.items()) if reason]:
        raise joined(FleetError, problems)
    changes, waiting = plan_mig(wanted, states)
    batches = split_into_batches([change.node for change in changes], module.params["batches"])
    busy = [change.node for change in changes if is_busy(states[change.node])]
    if busy:
        raise RefusedError(
            f"NVIDIA's MIG manager is at work on {some(busy)} with another configuration. Run again"
            " when it has finished."
        )
    by_node = {change.node: change for change in changes}
    if module.params["drain"] == REFUSE and not (module.params["explain"] and module.check_mode):
        cutter.free(list(by_node), REFUSE)
    if (changes or waiting) and not module.check_mode:
        namespace = module.params["namespace"]
        name, said = module.params["run"], module.warn
        with hold_lease(cutter.cluster, namespace, name, keep=True, log=said) as lease:
            ready = replace(cutter, check=lease.check)
            carry_out(module, ready, by_node, batches, waiting)
    return {
        "changed": bool(changes),
        "differs": bool(changes or waiting),
        "changes": [vars(change) for change in changes],
        "waited": waiting,
        "diff": {
            "before": {change.node: change.before for change in changes},
            "after": {change.node: change.after for change in changes},
        },
    }


def carry_out(
    module: AnsibleModule,
    cutter: Cutter,
    changes: dict[str, MigChange],
    batches: list[list[str]],
    waiting: list[str],
) -> None:
    """Wait for what others have begun; then free, cut and wait, batch by batch."""
    if waiting:
        cutter.wait(waiting, "that were being cut")
    for number, batch in enumerate(batches, start=1):
        cordoned = cutter.free(batch, module.params["drain"])
        try:
            cutter.change([changes[node] for node in batch])
            cutter.wait(batch, f"batch {number} of {len(batches)}")
        finally:
            if cordoned:
                cutter.drainer.uncordon(batch)


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
