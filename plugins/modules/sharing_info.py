#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sharing_info
short_description: Compare the GPU slots of nodes with their profiles, and explain differences
version_added: 0.1.0
description:
  - Compares, for each node, the expected number of slots (physical GPUs times replicas) with the
    actual number (allocatable).
  - The number of physical GPUs comes from the inventory, or else from GPU feature discovery.
  - With O(findings=true) it also checks everything between the inventory and the slots. Each
    problem has a stable code, a cause and advice; C(docs/findings.md) describes all codes. What
    the identity may not read is skipped and reported.
  - This module only reads.
options:
  profiles:
    description: The profiles, as for M(gpufleet.sharing.profiles).
    type: dict
    required: true
  default_profile:
    description: Profile of nodes that have no profile of their own.
    type: str
    required: true
  unavailable_nodes:
    description:
      - How to treat nodes that are not in the cluster or are NotReady. V(fail) lists them in
        RV(differing), V(report) in RV(unavailable).
    type: str
    choices: [fail, report]
    default: fail
  findings:
    description:
      - Whether to run the doctor, which also reads pods and quotas of all namespaces, DaemonSets,
        ClusterPolicies and the ConfigMap. Without it, the module reads only nodes.
    type: bool
    default: false
  accept:
    description:
      - Codes of findings to accept. These findings, and those that only follow from them, are in
        RV(accepted) instead of RV(findings) and are not counted.
    type: list
    elements: str
    default: []
  node:
    description: Checks only this one of O(nodes), and what concerns the whole cluster.
    type: str
  mode:
    description: Rollout mode, which determines labels and keys.
    type: str
    choices: [in_place, versioned]
    default: in_place
  config_map:
    description: Name of the ConfigMap of profiles.
    type: str
    default: device-plugin-config
  namespace:
    description: Namespace of the GPU Operator and the ConfigMap.
    type: str
    default: gpu-operator
  cluster_policy:
    description: Name of the ClusterPolicy.
    type: str
    default: cluster-policy
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - gpufleet.sharing.common
  - gpufleet.sharing.nodes
"""

EXAMPLES = r"""
- name: Compare the slots of two nodes with their profiles
  gpufleet.sharing.sharing_info:
    nodes:
      - {name: dev-gpu-01, profile: dev, group: dev_gpus}
      - {name: prod-gpu-01, gpus: 2}
    profiles:
      default: {replicas: 4}
      dev: {replicas: 8}
    default_profile: default
  register: sharing

- name: Find out why one node has the wrong number of slots
  gpufleet.sharing.sharing_info:
    nodes:
      - {name: dev-gpu-01, profile: dev, group: dev_gpus}
      - {name: prod-gpu-01, gpus: 2}
    profiles:
      default: {replicas: 4}
      dev: {replicas: 8}
    default_profile: default
    findings: true
    node: dev-gpu-01
  register: sharing
"""

RETURN = r"""
nodes:
  description: One entry for each node.
  type: list
  elements: dict
  returned: always
  contains:
    node: {description: Name of the node., type: str}
    group: {description: Group of the node., type: str}
    profile: {description: Profile of the node., type: str}
    physical: {description: Physical GPUs., type: int}
    replicas: {description: Slots for each GPU., type: int}
    resource: {description: Name of the advertised resource., type: str}
    expected: {description: Slots that the node should have., type: int}
    actual: {description: Slots that the node has (allocatable)., type: int}
    problem: {description: Why the slots differ; empty if they do not., type: str}
    product: {description: GPU model from GPU feature discovery., type: str}
    ready: {description: Whether the node is Ready., type: bool}
    maintenance:
      description: What another controller is doing on the node; empty if none is working on it.
      type: str
    missing:
      description: Resources that the profile shares and the node does not have.
      type: list
      elements: str
    used:
      description: Slots that its pods request; null without O(findings).
      type: int
    free:
      description: Slots that are free; null without O(findings).
      type: int
    trace:
      description: Every link between inventory and slots; null without O(findings).
      type: dict
      contains:
        label: {description: Profile label; empty if not set., type: str}
        key: {description: "Key that its plugin uses: the label, else the default.", type: str}
        key_exists: {description: Whether the ConfigMap has the key., type: bool}
        hash: {description: Hash of the key's content; empty if the key is missing., type: str}
        loaded_hash: {description: "Hash of the content recorded as loaded, if any.", type: str}
        plugin_pod: {description: State of the plugin's pod; empty if there is none., type: str}
        config_manager: {description: Whether that pod has the config-manager sidecar., type: bool}
        capacity: {description: Slots in capacity., type: int}
        gfd: {description: GPUs and replicas from GPU feature discovery., type: str}
differing:
  description: Nodes whose slots differ, each with the reason.
  type: dict
  returned: always
unavailable:
  description:
    - Nodes that do not count, each with the reason. These are nodes that another controller is
      working on, such as a driver upgrade, and those that O(unavailable_nodes=report) tolerates.
  type: dict
  returned: always
totals:
  description: Physical GPUs, expected and actual slots of all nodes except RV(unavailable).
  type: dict
  returned: always
table:
  description: The nodes for people, one line each; for many nodes, sums and the first that differ.
  type: list
  elements: str
  returned: always
findings:
  description:
    - Findings of the doctor, one for all nodes with the same cause. A finding that only follows
      from another one comes after it and names its code.
  type: list
  elements: dict
  returned: with O(findings=true)
  contains:
    code: {description: Stable code., type: str, sample: GS024}
    severity: {description: "V(error), V(warning) or V(info).", type: str}
    title: {description: What the finding is., type: str}
    cause: {description: The cause that all its nodes share., type: str}
    nodes: {description: Nodes of the finding., type: list, elements: str}
    count: {description: "Number of nodes, or of other objects if there are none.", type: int}
    seen: {description: What was seen., type: str}
    why: {description: Why it matters., type: str}
    fix:
      description: "Advice: what to do. Commands are between backticks and run as printed."
      type: str
    follows: {description: Code of the finding that it follows from; empty for a root., type: str}
accepted:
  description: Findings with accepted codes, and those that follow from them, as in RV(findings).
  type: list
  elements: dict
  returned: with O(findings=true)
verdict:
  description: >-
    The comparison in one line; with O(findings=true) the findings, with the accepted codes.
  type: str
  returned: always
  sample: 11 nodes, 38 physical GPUs, 96 slots, as the inventory says
summary:
  description: RV(table), the nodes that are left out, and RV(verdict), as lines.
  type: list
  elements: str
  returned: always
counts:
  description:
    - Number of findings of at least a severity, without those that follow from others.
      C(counts.warning) includes errors, and C(counts.info) all.
  type: dict
  returned: with O(findings=true)
findings_table:
  description: The findings for people.
  type: list
  elements: str
  returned: with O(findings=true)
"""

from ..module_utils._common.versions import check_versions

check_versions()

from collections.abc import Collection
from typing import TYPE_CHECKING

from ..module_utils._common.errors import FleetError
from ..module_utils._common.module_entry import Spec, run_module
from ..module_utils._common.text import some
from ..module_utils._doctor.catalog import check_codes, find_all
from ..module_utils._doctor.collect import collect
from ..module_utils._doctor.comparison import compare, compared, comparison
from ..module_utils._doctor.snapshot import Location, NodeTrace, Snapshot
from ..module_utils._doctor.summary import counts, findings_table, split_accepted, verdict
from ..module_utils._fleet.nodes import NODES_OPTION, read_nodes
from ..module_utils._kube.client import Cluster, connect
from ..module_utils._kube.objects import NODES
from ..module_utils._nodes.state import node_state
from ..module_utils._profiles.keys import IN_PLACE, MODES, VERSIONED
from ..module_utils._profiles.rendered import take_profiles
from ..module_utils._rollout.desired import Desired
from ..module_utils._rollout.labels import wait_for_labels

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC: Spec = {
    "nodes": NODES_OPTION,
    "profiles": {"type": "dict", "required": True},
    "default_profile": {"type": "str", "required": True},
    "unavailable_nodes": {"type": "str", "choices": ["fail", "report"], "default": "fail"},
    "findings": {"type": "bool", "default": False},
    "accept": {"type": "list", "elements": "str", "default": []},
    "node": {"type": "str"},
    "mode": {"type": "str", "choices": list(MODES), "default": IN_PLACE},
    "config_map": {"type": "str", "default": "device-plugin-config"},
    "namespace": {"type": "str", "default": "gpu-operator"},
    "cluster_policy": {"type": "str", "default": "cluster-policy"},
}


def read_desired(module: AnsibleModule) -> Desired:
    """What the nodes to check should have. Raises FleetError for undefined nodes or profiles."""
    profiles = take_profiles(module.params["profiles"])
    default = module.params["default_profile"]
    node = module.params["node"]
    nodes = read_nodes(
        [entry for entry in module.params["nodes"] if node in (None, "", entry["name"])]
    )
    if node and not nodes.assignments:
        raise FleetError(
            f"Node {node} is not in the inventory of this cluster, or is outside the limit. Use the"
            " name that kubectl get nodes shows."
        )
    named = {profile or default for profile in nodes.assignments.values()} | {default}
    if unknown := sorted(named - profiles.keys()):
        raise FleetError(
            f"Undefined profiles: {some(unknown)}. Defined profiles: {some(list(profiles))}."
        )
    return Desired(
        profiles=profiles,
        default_profile=default,
        assignments=nodes.assignments,
        versioned=module.params["mode"] == VERSIONED,
        gpus=nodes.gpus,
        groups={name: nodes.groups.get(name, "") for name in nodes.assignments},
    )


def compare_slots(cluster: Cluster, desired: Desired, node: str) -> list[dict[str, object]]:
    """A row for each node with its slots only, from one list of nodes."""
    items = cluster.items(NODES, fields=f"metadata.name={node}" if node else "")
    states = {state.name: state for state in map(node_state, items)}
    if not node:
        states = wait_for_labels(cluster, states, desired.gpus, desired.assignments)
    return compare(desired, states)


def full_row(snapshot: Snapshot, trace: NodeTrace) -> dict[str, object]:
    return {
        **compared(snapshot.desired, trace.target, trace.state, trace.verdict),
        "used": trace.used,
        "free": trace.free,
        "trace": trace.row(),
    }


def explain(snapshot: Snapshot, accept: Collection[str]) -> dict[str, object]:
    """The findings of the doctor."""
    found, accepted = split_accepted(find_all(snapshot), accept)
    return {
        "findings": [finding.row() for finding in found],
        "accepted": [finding.row() for finding in accepted],
        "counts": counts(found),
        "verdict": verdict(found, len(snapshot.traces), accepted),
        "findings_table": findings_table(found),
    }


def run(module: AnsibleModule) -> dict[str, object]:
    params = module.params
    desired = read_desired(module)
    accept = [code for code in params["accept"] if code]  # an empty survey answer is ['']
    check_codes(accept)
    cluster = connect(module)
    all_needed = params["unavailable_nodes"] == "fail"
    if not params["findings"]:
        rows = compare_slots(cluster, desired, params["node"] or "")
        return comparison(rows, all_needed=all_needed)
    location = Location(params["namespace"], params["config_map"], params["cluster_policy"])
    inventory_nodes = frozenset(entry["name"] for entry in params["nodes"])
    snapshot = collect(cluster, location, desired, inventory_nodes, params["node"] or "")
    rows = [full_row(snapshot, trace) for trace in snapshot.traces.values()]
    return comparison(rows, all_needed=all_needed) | explain(snapshot, accept)


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
