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
  - Brings each node to its profile, batch by batch, and waits until it advertises what the profile
    says. A node's label C(nvidia.com/device-plugin.config) is moved where it names another key;
    where only the content of its key has changed, which a running device plugin never notices,
    the pods of the plugin, of GPU feature discovery and of the MPS daemon are restarted.
  - Which content a node has loaded is kept in its annotation C(gpufleet.sharing/config-hash), so a
    run that was interrupted is simply run again. A node whose pods started after the content was
    written, and which shows the right numbers, is only annotated.
  - Nodes that are NotReady are skipped and listed.
  - Before anything is changed, the running pods that would be hurt are looked for (O(drain)).
  - When a batch fails, the rollout stops, and what was touched goes back to the last good revision
    (O(on_failure)). Revisions are kept as ControllerRevision objects beside the ConfigMap
    (M(gpufleet.sharing.history_info)).
  - One run at a time may change a cluster. A run holds the Lease C(gpufleet-sharing) in
    O(namespace) while it writes.
options:
  exclusive:
    description: >-
      Whether GPU nodes of the cluster that are not in O(nodes) lose the label. They keep it where a
      node of O(nodes) is not selected, as with a limit.
    type: bool
    default: false
  unavailable_nodes:
    description: >-
      What to do when a selected node is not in the cluster, V(fail) before anything is written, or
      V(report).
    type: str
    choices: [fail, report]
    default: report
  profiles:
    description: >-
      The profiles, as of M(gpufleet.sharing.profiles), or in the form in which the role
      P(gpufleet.sharing.gpu_plan#role) hands them on.
    type: dict
    required: true
  default_profile:
    description: The profile of nodes without a label.
    type: str
    required: true
  mode:
    description:
      - With V(in_place) the ConfigMap's key of a profile is its name, and a change of content
        restarts plugins.
      - With V(versioned) it is the name and what it says, such as C(dev.3f8a0c1d), which is never
        edited, and every node carries a label. A change of content moves labels.
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
      Sizes of the batches, numbers of nodes or percentages, the last one repeated. The first is the
      canary.
    type: list
    elements: str
    default: ["1", "25%"]
  pause:
    description: Seconds between a batch that has settled and the next one.
    type: int
    default: 0
  max_failures:
    description: How many nodes may fail before the rollout stops. They are listed as RV(unsettled).
    type: int
    default: 0
  on_failure:
    description: >-
      Whether to go back to the last good revision where the rollout stops, or to leave everything
      as it is.
    type: str
    choices: [rollback, stop]
    default: rollback
  drain:
    description:
      - What to do with running pods that the change would hurt. They are those that would be
        left above the node's new capacity, or on a resource that goes, which a restart of the
        kubelet or a reboot then kills; and those on a shared GPU that is to be exclusive.
      - With V(refuse) the run ends before anything is written, and names them.
      - With V(evict) their nodes are cordoned, and they, and no others, are evicted through the
        eviction API, so that PodDisruptionBudgets hold; then the nodes are uncordoned.
      - With V(ignore) they are named, and left to their fate.
    type: str
    choices: [refuse, evict, ignore]
    default: refuse
  drain_timeout:
    description: How long evictions of one batch may take, in seconds.
    type: int
    default: 300
  timeout:
    description: How long a node may take, in seconds.
    type: int
    default: 600
  stable_seconds:
    description:
      - How long a node must show the right numbers before it is believed, in seconds. A restarted
        plugin shows the default profile first, and the kubelet publishes every 10 seconds.
    type: int
    default: 20
  explain:
    description: >-
      Whether to explain rather than to refuse. In check mode what O(drain) would refuse is only
      told (RV(disruptions)), and GPU pods of the nodes that change are counted.
    type: bool
    default: false
  run:
    description: >-
      The name of the run, for the Lease and the history. By default user, host and process.
    type: str
    default: ""
  progress:
    description: >-
      A file to which lines on progress are added while the module runs. The action plugin of this
      name sets it, and shows them.
    type: path
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
differs:
  description: Whether a node was not known to have its profile, so that it was changed or would be.
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
  description: Nodes that are NotReady, not in the cluster, or not cut by MIG yet.
  type: list
  elements: str
  returned: always
unmanaged:
  description: GPU nodes of the cluster that the inventory does not know.
  type: list
  elements: str
  returned: always
missing:
  description: Selected nodes that the cluster does not have.
  type: list
  elements: str
  returned: always
batches:
  description: The nodes in the batches in which they are changed.
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
    owner: {description: What would make it again; empty for nothing., type: str}
    hazard: {description: What kind of harm., type: str}
    text: {description: What would happen., type: str}
disruption_table:
  description: The same for people, a line each.
  type: list
  elements: str
  returned: always
evicted:
  description: The pods that were evicted, as namespace/name.
  type: list
  elements: str
  returned: always
uncordoned:
  description: Nodes that a run which was killed had left cordoned.
  type: list
  elements: str
  returned: always
unfinished:
  description: Whether the newest revision was not what is asked for, or its run had not ended well.
  type: bool
  returned: always
quotas:
  description: ResourceQuotas that limit a resource which gets another name, a line each.
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
    batch: {description: The number of its batch; null where it needs none., type: int}
    pods: {description: "Its GPU pods, with O(explain).", type: int}
    disrupted: {description: How many of them would be disrupted., type: int}
table:
  description: The same for people, nodes that change alike in one line.
  type: list
  elements: str
  returned: always
unsettled:
  description: Why nodes do not have their profile though the rollout went on, by node.
  type: dict
  returned: always
notes:
  description: >-
    Lines about nodes that are missing, unknown, left out or not settled, and about quotas. Empty
    where all is well.
  type: list
  elements: str
  returned: always
revision:
  description: The number of the revision that the fleet is on.
  type: int
  returned: when something was changed
"""

from typing import TYPE_CHECKING

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.module_entry import (
    Spec,
    run_module,
    warn,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.progress import Progress
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.nodes import (
    NODES_OPTION,
    read_nodes,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import connect
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.keys import IN_PLACE, MODES
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rendered import (
    take_profiles,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.request import (
    OPTIONS,
    read_desired,
    read_settings,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.run import (
    Request,
    RolloutRun,
)

if TYPE_CHECKING:
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
    "progress": {"type": "path"},
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


def run(module: AnsibleModule) -> dict[str, object]:
    with Progress(module.params["progress"]) as report:
        request = read_request(module)
        found = RolloutRun(connect(module), request, report)
        if not module.check_mode:
            found.execute()
        for text in found.warnings:
            warn(module, text)
        return found.result()


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
