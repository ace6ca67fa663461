#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout
short_description: Roll profiles out to nodes, batch by batch
version_added: 0.1.0
description:
  - Brings each node to its profile, batch by batch, and waits until it advertises what the
    profile defines. If a node's label C(nvidia.com/device-plugin.config) names another key, it
    moves the label. If only the content of the key has changed, which a running device plugin
    never notices, it restarts the pods of the plugin, of GPU feature discovery and of the MPS
    daemon.
  - The annotation C(gpufleet.sharing/config-hash) of a node records the content that it has
    loaded, and C(gpufleet.sharing/loaded) how that is known, so you can run an interrupted run
    again. A node whose pods have loaded the content, and whose allocatable matches, is only
    annotated.
  - Nodes that are NotReady, or that another controller is working on (a driver upgrade, MIG, any
    C(nvidia.com/gpu.deploy) label that is C(paused-for-)), are skipped and listed.
  - Before it changes anything, it finds the running pods that the change would disrupt
    (O(drain)).
  - When a batch fails, the rollout stops, and changed nodes go back to the last good revision
    (O(on_failure)). Revisions are ControllerRevision objects beside the ConfigMap
    (M(gpufleet.sharing.history_info)).
  - One run at a time may change a cluster. A run holds the Lease C(gpufleet-sharing) in
    O(namespace) while it writes.
options:
  exclusive:
    description: >-
      Whether GPU nodes of the cluster that are not in O(nodes) lose the label. They keep it if a
      node of O(nodes) is not selected, for example with a limit.
    type: bool
    default: false
  unavailable_nodes:
    description: >-
      What to do if a selected node is not in the cluster; V(fail) before anything is written, or
      V(report).
    type: str
    choices: [fail, report]
    default: report
  profiles:
    description: >-
      The profiles, as for M(gpufleet.sharing.profiles), or in the form in which the role
      P(gpufleet.sharing.gpu_plan#role) passes them on.
    type: dict
    required: true
  default_profile:
    description: The profile of nodes without a label.
    type: str
    required: true
  mode:
    description:
      - With V(in_place), the key of a profile is its name, and a change of content restarts
        plugins.
      - With V(versioned), the key is the name and a hash of the content, such as C(dev.3f8a0c1d),
        and is never edited, and every node has a label. A change of content moves labels.
    type: str
    choices: [in_place, versioned]
    default: in_place
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
      Sizes of the batches, as numbers of nodes or percentages. The last one repeats. The first
      batch is the canary.
    type: list
    elements: str
    default: ["1", "25%"]
  pause:
    description: Seconds between a settled batch and the next one.
    type: int
    default: 0
  max_failures:
    description: Number of nodes that may fail before the rollout stops. They are listed as
      RV(unsettled).
    type: int
    default: 0
  on_failure:
    description: >-
      Whether to go back to the last good revision when the rollout stops, or to leave everything
      as it is.
    type: str
    choices: [rollback, stop]
    default: rollback
  drain:
    description:
      - What to do with running pods that the change would disrupt. These are pods above the
        node's new capacity or on a resource that disappears, which a kubelet restart or a reboot
        then ends, and pods on a shared GPU that becomes exclusive.
      - With V(refuse), the run fails before anything is written, and lists them.
      - With V(evict), their nodes are cordoned, exactly these pods are evicted through the
        eviction API, so PodDisruptionBudgets apply, and the nodes are uncordoned.
      - With V(ignore), they are listed and left running.
    type: str
    choices: [refuse, evict, ignore]
    default: refuse
  drain_timeout:
    description: Seconds that the evictions of one batch may take.
    type: int
    default: 300
  timeout:
    description: Seconds that a node may take to settle.
    type: int
    default: 600
  stable_seconds:
    description:
      - Seconds that a node's numbers must stay correct before it counts as settled. A restarted
        plugin shows the default profile first, and the kubelet publishes every 10 seconds.
    type: int
    default: 20
  explain:
    description: >-
      Whether to explain instead of refusing. In check mode, what O(drain) would refuse is only
      returned (RV(disruptions)), and GPU pods of the nodes that change are counted.
    type: bool
    default: false
  run:
    description: >-
      Name of the run, for the Lease and the history. By default user, host and process.
    type: str
    default: ""
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - gpufleet.sharing.common
  - gpufleet.sharing.nodes
seealso:
  - module: gpufleet.sharing.profiles
  - module: gpufleet.sharing.node_profiles
"""

EXAMPLES = r"""
- name: Roll out changed profiles, one node first
  gpufleet.sharing.rollout:
    nodes:
      - {name: dev-gpu-01, profile: dev, group: dev_gpus}
      - {name: prod-gpu-01}
    profiles:
      default: {replicas: 4}
      dev: {replicas: 8}
    default_profile: default
    batches: [1, 25%]
    drain: evict
"""

RETURN = r"""
server:
  description: URL of the API server, for which the nodes are counted in AAP.
  type: str
  returned: always
differs:
  description: Whether a node did not have its profile for certain, so that it was changed or
    would be.
  type: bool
  returned: always
changes:
  description: The labels that were changed, or would be in check mode.
  type: list
  elements: dict
  returned: always
  contains:
    node: {description: Name of the node., type: str}
    before: {description: The label before; null for none., type: str}
    after: {description: The label after; null for none., type: str}
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
  description: Nodes that are NotReady, not in the cluster, or do not have their MIG configuration
    yet, or that another controller is working on.
  type: list
  elements: str
  returned: always
maintenance:
  description: Those of RV(unavailable) that another controller is working on, such as a driver
    upgrade or the MIG manager, each with what it is doing. They are left alone, and make no other
    node fail.
  type: dict
  returned: always
unmanaged:
  description: GPU nodes of the cluster that are not in the inventory.
  type: list
  elements: str
  returned: always
missing:
  description: Selected nodes that are not in the cluster.
  type: list
  elements: str
  returned: always
batches:
  description: The nodes, batch by batch.
  type: list
  elements: list
  returned: always
disruptions:
  description: The running pods that the change would disrupt.
  type: list
  elements: dict
  returned: always
  contains:
    node: {description: Its node., type: str}
    namespace: {description: Its namespace., type: str}
    pod: {description: Its name., type: str}
    owner: {description: Its controller; empty for none., type: str}
    hazard: {description: The kind of disruption., type: str}
    text: {description: What would happen., type: str}
disruption_table:
  description: The same as a table, line by line.
  type: list
  elements: str
  returned: always
evicted:
  description: The pods that were evicted, as namespace/name.
  type: list
  elements: str
  returned: always
pending:
  description: Pods of the evicted pods' controllers that have no node after the rollout.
  type: list
  elements: dict
  returned: always
  contains:
    namespace: {description: Their namespace., type: str}
    owner: {description: Their controller., type: str}
    pods: {description: How many there are., type: int}
    reason: {description: What the scheduler says about one of them., type: str}
uncordoned:
  description: Nodes that a killed run left cordoned.
  type: list
  elements: str
  returned: always
unfinished:
  description: Whether the newest revision differs from the request, or its run did not end well.
  type: bool
  returned: always
quotas:
  description: ResourceQuotas on a resource that gets another name, line by line.
  type: list
  elements: str
  returned: always
nodes:
  description: What changes on each node.
  type: list
  elements: dict
  returned: always
  contains:
    node: {description: Its name., type: str}
    group: {description: Its group., type: str}
    profile: {description: The profile that it gets., type: str}
    label_before: {description: Its label now; null for none., type: str}
    label_after: {description: Its label then; null for none., type: str}
    now: {description: Its slots now., type: str}
    then: {description: Its slots then., type: str}
    step: {description: "V(flip), V(restart), V(wait) or V(record).", type: str}
    batch: {description: Its batch; null if it needs none., type: int}
    pods: {description: "Its GPU pods, with O(explain), else null.", type: int}
    disrupted: {description: How many of them would be disrupted., type: int}
counts:
  description: How many nodes are changed, batch by batch, and how many are not.
  type: dict
  returned: always
  contains:
    changing: {description: Nodes in RV(batches)., type: int}
    batches: {description: Sizes of RV(batches)., type: list, elements: int}
    waited: {description: Nodes that are changing already., type: int}
    recorded: {description: Nodes that are only annotated., type: int}
    unchanged: {description: Nodes that need nothing., type: int}
    left_out: {description: "Nodes that are NotReady, missing or in maintenance.", type: int}
    unmanaged: {description: GPU nodes that are not in the inventory., type: int}
table:
  description: The same as a table; nodes of a group with the same change share a line.
  type: list
  elements: str
  returned: always
unsettled:
  description: Reasons of nodes that did not settle although the rollout continued, by node.
  type: dict
  returned: always
notes:
  description: >-
    Lines about nodes that are missing, unknown, skipped or not settled, about quotas, and about
    pods that are Pending after evictions.
  type: list
  elements: str
  returned: always
revision:
  description: The number of the current revision.
  type: int
  returned: when something was changed
"""

from ..module_utils._common.versions import check_versions

check_versions()

from typing import TYPE_CHECKING

from ..module_utils._common.module_entry import Spec, run_module, warn
from ..module_utils._fleet.nodes import NODES_OPTION, read_nodes
from ..module_utils._kube.client import connect
from ..module_utils._profiles.keys import IN_PLACE, MODES
from ..module_utils._profiles.rendered import take_profiles
from ..module_utils._rollout.request import OPTIONS, read_desired, read_settings
from ..module_utils._rollout.run import Request, RolloutRun

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible.module_utils.basic import AnsibleModule

SPEC: Spec = {
    "nodes": NODES_OPTION,
    "profiles": {"type": "dict", "required": True},
    "default_profile": {"type": "str", "required": True},
    "mode": {"type": "str", "choices": list(MODES), "default": IN_PLACE},
    "config_map": {"type": "str", "default": "device-plugin-config"},
    "namespace": {"type": "str", "default": "gpu-operator"},
    **OPTIONS,
    "explain": {"type": "bool", "default": False},
    "run": {"type": "str", "default": ""},
}


def read_request(module: AnsibleModule) -> Request:
    given = module.params
    settings = read_settings(given, given["namespace"], given["config_map"])
    profiles = take_profiles(given["profiles"])
    nodes = read_nodes(given["nodes"])
    return Request(
        desired=read_desired(nodes, profiles, given["default_profile"], given["mode"]),
        definitions=given["profiles"],
        known_nodes=nodes.known,
        exclusive=given["exclusive"],
        needs_all=given["unavailable_nodes"] == "fail",
        settings=settings,
        explain=given["explain"],
        run=given["run"],
        planning=module.check_mode,
    )


def ignore(_line: str) -> None:
    """Progress that nobody sees: a module can only return."""


def run(module: AnsibleModule, report: Callable[[str], None] = ignore) -> dict[str, object]:
    """report gets each line of progress, in one line, from the thread that calls this."""
    cluster = connect(module)
    found = RolloutRun(cluster, read_request(module), report)
    if not module.check_mode:
        found.execute()
    for text in found.warnings:
        warn(module, text)
    return found.result() | {"server": cluster.server}


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
