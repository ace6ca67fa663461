#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mig_config
short_description: Apply the MIG configurations of profiles to nodes
version_added: 0.1.0
description:
  - Sets the label C(nvidia.com/mig.config) of nodes whose profile has a MIG configuration (its
    setting C(mig)), batch by batch, and waits until C(nvidia.com/mig.config.state) is V(success).
    NVIDIA's MIG manager, a part of the GPU Operator, applies it.
  - A GPU cannot be used while it changes, and the MIG manager fails if a pod uses it. A failed
    batch ends the run, and the following nodes are not changed.
  - The earlier value of the label is stored on the node, and restored when
    M(gpufleet.sharing.node_profiles) removes the profile label.
  - Nodes that are not selected, not in the cluster, or NotReady are skipped, and so are nodes that
    another controller is working on (RV(maintenance)).
options:
  profiles:
    description: >-
      The profiles, as for M(gpufleet.sharing.profiles), or in the form in which the role
      P(gpufleet.sharing.gpu_plan#role) passes them on.
    type: dict
    required: true
  default_profile:
    description: The profile of nodes without one of their own.
    type: str
    required: true
  batches:
    description:
      - Sizes of the batches, as numbers of nodes or percentages. The last one repeats.
    type: list
    elements: str
    default: ["1", "25%"]
  timeout:
    description: Seconds that a batch may take.
    type: int
    default: 900
  namespace:
    description: Namespace of the GPU Operator.
    type: str
    default: gpu-operator
  drain:
    description:
      - What to do with running pods that use GPUs of the nodes to change. These GPUs cannot
        change.
      - With V(refuse), the run fails before anything is written, and lists them. With V(evict),
        they are evicted batch by batch, as by M(gpufleet.sharing.rollout). With V(ignore), they
        are left running, and the MIG manager fails.
    type: str
    choices: [refuse, evict, ignore]
    default: refuse
  drain_timeout:
    description: Seconds that the evictions of one batch may take.
    type: int
    default: 300
  explain:
    description: Whether check mode succeeds although O(drain) would refuse the change.
    type: bool
    default: false
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - gpufleet.sharing.common
  - gpufleet.sharing.run
  - gpufleet.sharing.nodes
seealso:
  - module: gpufleet.sharing.node_profiles
"""

EXAMPLES = r"""
- name: Seven devices on each GPU of a node, and another node as it is
  gpufleet.sharing.mig_config:
    nodes:
      - {name: train-gpu-01, profile: sliced}
      - {name: prod-gpu-01}
    profiles:
      default: {replicas: 4}
      sliced: {replicas: 1, mig: all-1g.10gb}
    default_profile: default
"""

RETURN = r"""
server:
  description: URL of the API server, for which the nodes are counted in AAP.
  type: str
  returned: always
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
  description: Nodes that had the right label, and that the module waited for.
  type: list
  elements: str
  returned: always
maintenance:
  description: >-
    Nodes that were left alone, since something else is working on them (a driver upgrade, another
    change of MIG), each with the label that says so.
  type: dict
  returned: always
  sample: {train-gpu-01: nvidia.com/gpu-driver-upgrade-state is drain-required}
differs:
  description: Whether a node differed, so that it was changed or would be.
  type: bool
  returned: always
"""

from ..module_utils._common.versions import check_versions

check_versions()

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ..module_utils._common.module_entry import Spec, run_module, warn
from ..module_utils._common.values import check_minimums
from ..module_utils._fleet.nodes import NODES_OPTION, read_nodes
from ..module_utils._kube.client import connect
from ..module_utils._kube.lease import hold_lease
from ..module_utils._profiles.rendered import take_profiles
from ..module_utils._rollout.mig_change import MigRun, configurations, plan_change
from ..module_utils._rollout.settings import DRAINS, REFUSE

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC: Spec = {
    "nodes": NODES_OPTION,
    "profiles": {"type": "dict", "required": True},
    "default_profile": {"type": "str", "required": True},
    "batches": {"type": "list", "elements": "str", "default": ["1", "25%"]},
    "timeout": {"type": "int", "default": 900},
    "namespace": {"type": "str", "default": "gpu-operator"},
    "drain": {"type": "str", "choices": list(DRAINS), "default": "refuse"},
    "drain_timeout": {"type": "int", "default": 300},
    "explain": {"type": "bool", "default": False},
    "run": {"type": "str", "default": ""},
}


def run(module: AnsibleModule) -> dict[str, object]:
    given = module.params
    check_minimums(given, {"timeout": 1, "drain_timeout": 1})
    nodes, profiles = read_nodes(given["nodes"]), take_profiles(given["profiles"])
    wanted = configurations(nodes.assignments, profiles, given["default_profile"])
    cluster = connect(module)
    ready = MigRun(cluster, wanted, given["timeout"], given["drain_timeout"])
    plan = plan_change(wanted, ready.states() if wanted else {}, given["batches"])
    if given["drain"] == REFUSE and not (given["explain"] and module.check_mode):
        ready.free(list(plan.changes), REFUSE)
    if plan and not module.check_mode:
        with hold_lease(
            cluster,
            given["namespace"],
            given["run"],
            keep=True,
            log=partial(warn, module),
        ) as lease:
            replace(ready, check=lease.check).carry_out(plan, given["drain"])
    return plan.result() | {"server": cluster.server}


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
