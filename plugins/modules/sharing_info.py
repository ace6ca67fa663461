#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sharing_info
short_description: Tell what GPU nodes should advertise, what they do, and why not
version_added: 0.1.0
description:
  - For each node, the expected number of slots (physical GPUs times replicas) against the actual
    one, from allocatable.
  - Physical GPUs are those that the inventory states, else those that GPU feature discovery
    counted.
  - With O(findings=true) everything between the inventory and the slots is looked at too, and what
    is wrong is told with a stable code, its cause and what to do. C(docs/findings.md) describes
    each code. What the identity may not read is left out, and told.
  - Reads only.
options:
  profiles:
    description: The profiles, as of M(gpufleet.sharing.profiles).
    type: dict
    required: true
  default_profile:
    description: The profile of nodes without one of their own.
    type: str
    required: true
  unavailable_nodes:
    description:
      - What becomes of nodes that the cluster does not have or that are NotReady. With V(fail) they
        are in RV(differing), with V(report) in RV(unavailable).
    type: str
    choices: [fail, report]
    default: fail
  findings:
    description:
      - Whether the doctor looks. It lists pods and quotas of all namespaces, and DaemonSets,
        ClusterPolicies and the ConfigMap; without it, nodes alone are listed.
    type: bool
    default: false
  accept:
    description:
      - Codes of findings that somebody knows of and accepts. These, and what only follows from
        them, come in RV(accepted), not in RV(findings), and count for nothing.
    type: list
    elements: str
    default: []
  node:
    description: The one node to look at, of O(nodes). What concerns the whole cluster is told too.
    type: str
  mode:
    description: How profiles are rolled out, which decides about labels and keys.
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
- name: Read the state of two nodes
  gpufleet.sharing.sharing_info:
    nodes:
      - {name: dev-gpu-01, profile: dev, group: dev_gpus}
      - {name: prod-gpu-01, gpus: 2}
    profiles:
      default: {replicas: 4}
      dev: {replicas: 8}
    default_profile: default
  register: sharing

- name: Find out why one of them has the wrong number of slots
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
    problem: {description: What is wrong; empty when nothing is., type: str}
    product: {description: Model of its GPUs as GPU feature discovery names it., type: str}
    ready: {description: Whether the node is Ready., type: bool}
    used:
      description: Slots that its pods ask for; null without O(findings).
      type: int
    free:
      description: Slots that are left; null without O(findings).
      type: int
    trace:
      description: The links between inventory and slots; null without O(findings).
      type: dict
      contains:
        label: {description: The profile label; empty for none., type: str}
        key: {description: "What its plugin goes by: the label, else the default.", type: str}
        key_exists: {description: Whether the ConfigMap has it., type: bool}
        hash: {description: Of the key's content; empty where there is none., type: str}
        loaded_hash: {description: "Of the content that was noted as loaded, if any.", type: str}
        plugin_pod: {description: State of the plugin's pod; empty where there is none., type: str}
        config_manager: {description: Whether that pod has the side-car., type: bool}
        capacity: {description: Slots by capacity., type: int}
        gfd: {description: GPUs and replicas as GPU feature discovery tells them., type: str}
differing:
  description: Nodes that do not have what they should have, each with the reason.
  type: dict
  returned: always
unavailable:
  description:
    - Nodes that O(unavailable_nodes=report) lets pass, each with the reason. Empty with V(fail).
  type: dict
  returned: always
totals:
  description: Physical GPUs, expected and actual slots of all nodes but those in RV(unavailable).
  type: dict
  returned: always
table:
  description: The same for people, a line each; of many nodes, sums and the first that differ.
  type: list
  elements: str
  returned: always
findings:
  description:
    - What is wrong, one entry for all nodes with the same cause. What only follows from another
      finding comes after it and names its code.
  type: list
  elements: dict
  returned: with O(findings=true)
  contains:
    code: {description: Stable code., type: str, sample: GS024}
    severity: {description: "V(error), V(warning) or V(info).", type: str}
    title: {description: What it is., type: str}
    cause: {description: What all nodes of the entry have in common., type: str}
    nodes: {description: The nodes., type: list, elements: str}
    count: {description: "How many nodes, or other objects where it is not about nodes.", type: int}
    seen: {description: What was seen., type: str}
    why: {description: Why it matters., type: str}
    fix: {description: "What to do: a command or a variable.", type: str}
    follows: {description: Code of the finding that it follows from; empty for a root., type: str}
accepted:
  description: The same of those whose codes are accepted, and of what follows from them.
  type: list
  elements: dict
  returned: with O(findings=true)
verdict:
  description: The findings in one line, and the codes of what was accepted.
  type: str
  returned: with O(findings=true)
  sample: 1 error; 200 nodes looked at, 3 of them with errors or warnings
counts:
  description:
    - How many findings of at least a severity there are, those that follow from others left out.
      C(counts.warning) counts errors too, and C(counts.info) all.
  type: dict
  returned: with O(findings=true)
findings_table:
  description: The findings for people.
  type: list
  elements: str
  returned: with O(findings=true)
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import FleetError
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.module_entry import (
    Spec,
    run_module,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import some
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.catalog import (
    check_codes,
    counts,
    find_all,
    findings_table,
    split,
    trace_row,
    verdict,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.collect import collect
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.comparison import (
    compare,
    compared,
    comparison,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.snapshot import (
    Location,
    NodeTrace,
    Snapshot,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.nodes import (
    NODES_OPTION,
    read_nodes,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import Cluster, connect
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.objects import NODES
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import node_state
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.keys import (
    IN_PLACE,
    MODES,
    VERSIONED,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rendered import (
    take_profiles,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.desired import Desired

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


def wanted(module: AnsibleModule) -> Desired:
    """What the nodes to look at should have. Raises FleetError where that is not known."""
    profiles = take_profiles(module.params["profiles"])
    default = module.params["default_profile"]
    node = module.params["node"]
    nodes = read_nodes(
        [entry for entry in module.params["nodes"] if node in (None, "", entry["name"])]
    )
    if node and not nodes.assignments:
        raise FleetError(
            f"Node {node} is not among the nodes of this cluster in the inventory, or is outside"
            " the limit. Name it as kubectl get nodes shows it."
        )
    named = {profile or default for profile in nodes.assignments.values()} | {default}
    if unknown := sorted(named - profiles.keys()):
        raise FleetError(
            f"Profiles not defined: {some(unknown)}; defined are: {some(list(profiles))}."
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
    """A row for each node, of the slots alone, out of one list of nodes."""
    items = cluster.items(NODES, fields=f"metadata.name={node}" if node else "")
    states = {state.name: state for item in items if (state := node_state(item)).name}
    return compare(desired, states)


def full_row(snapshot: Snapshot, trace: NodeTrace) -> dict[str, object]:
    state = trace.view.state if trace.view else None
    return {
        **compared(snapshot.desired, trace.target, state, trace.verdict),
        "used": trace.used,
        "free": trace.free,
        "trace": trace_row(trace),
    }


def explain(snapshot: Snapshot, accept: Collection[str]) -> dict[str, object]:
    """What the doctor finds."""
    found, accepted = split(find_all(snapshot), accept)
    return {
        "findings": [finding.row() for finding in found],
        "accepted": [finding.row() for finding in accepted],
        "counts": counts(found),
        "verdict": verdict(found, len(snapshot.traces), accepted),
        "findings_table": findings_table(found),
    }


def run(module: AnsibleModule) -> dict[str, object]:
    params = module.params
    desired = wanted(module)
    accept = [code for code in params["accept"] if code]  # an empty survey answer is ['']
    check_codes(accept)
    cluster = connect(module)
    all_needed = params["unavailable_nodes"] == "fail"
    if not params["findings"]:
        rows = compare_slots(cluster, desired, params["node"] or "")
        return comparison(rows, all_needed=all_needed)
    location = Location(params["namespace"], params["config_map"], params["cluster_policy"])
    known = frozenset(entry["name"] for entry in params["nodes"])
    snapshot = collect(cluster, location, desired, known, params["node"] or "")
    rows = [full_row(snapshot, trace) for trace in snapshot.traces.values()]
    return comparison(rows, all_needed=all_needed) | explain(snapshot, accept)


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
