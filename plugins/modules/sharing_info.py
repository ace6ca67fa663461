#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sharing_info
short_description: Compare what GPU nodes advertise with what their profiles say
version_added: 0.1.0
description:
  - For each node, the expected number of slots (physical GPUs times replicas) against the actual
    one, from allocatable.
  - Physical GPUs are those that the inventory states, else those that GPU feature discovery
    counted.
  - Reads only.
options:
  nodes:
    description: The nodes to judge.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the node in Kubernetes.
        type: str
        required: true
      profile:
        description: Its profile. Leave out, or V(null), for the default profile.
        type: str
      group:
        description: A group to show beside it.
        type: str
      gpus:
        description: Its number of physical GPUs, where known.
        type: int
      host:
        description: Its name in the inventory. Not used.
        type: str
      selected:
        description: Whether it is judged.
        type: bool
        default: true
  profiles:
    description: The profiles, as of M(gpufleet.sharing.profiles).
    type: dict
    required: true
  default_profile:
    description: The profile of nodes without one of their own.
    type: str
    required: true
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - gpufleet.sharing.common
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
differing:
  description: Nodes that do not have what they should have, each with the reason.
  type: dict
  returned: always
totals:
  description: Physical GPUs, expected and actual slots of all nodes.
  type: dict
  returned: always
table:
  description: The same for people, a line each; of many nodes, sums and the first that differ.
  type: list
  elements: str
  returned: always
"""

from typing import TYPE_CHECKING

from ansible_collections.gpufleet.sharing.plugins.module_utils import _kube, _profiles
from ansible_collections.gpufleet.sharing.plugins.module_utils._capacity import (
    NodeState,
    Verdict,
    judge,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._entry import Spec, run_module
from ansible_collections.gpufleet.sharing.plugins.module_utils._errors import FleetError, some
from ansible_collections.gpufleet.sharing.plugins.module_utils._observed import node_state
from ansible_collections.gpufleet.sharing.plugins.module_utils._verdict_view import (
    total,
    verdict_table,
)

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

NODE_SPEC = {
    "name": {"type": "str", "required": True},
    "profile": {"type": "str"},
    "group": {"type": "str"},
    "gpus": {"type": "int"},
    "host": {"type": "str"},
    "selected": {"type": "bool", "default": True},
}
SPEC: Spec = {
    "nodes": {"type": "list", "elements": "dict", "required": True, "options": NODE_SPEC},
    "profiles": {"type": "dict", "required": True},
    "default_profile": {"type": "str", "required": True},
}


def row(node: dict[str, object], profile: _profiles.Profile, verdict: Verdict) -> dict[str, object]:
    return {
        "node": verdict.node,
        "group": node.get("group") or "",
        "profile": profile.name,
        "physical": verdict.physical,
        "replicas": profile.replicas,
        "resource": verdict.resource,
        "expected": verdict.expected,
        "actual": verdict.actual,
        "problem": verdict.problem,
    }


def judge_one(
    node: dict[str, object], profile: _profiles.Profile, states: dict[str, NodeState]
) -> dict[str, object]:
    """The row of one node, also of one that the cluster does not have."""
    name = str(node["name"])
    stated = node.get("gpus")
    gpus = int(str(stated)) if stated is not None else None
    if name not in states:
        resource = profile.advertised(_profiles.GPU_RESOURCE)
        return row(node, profile, Verdict(name, gpus, resource, None, 0, "not in the cluster"))
    return row(node, profile, judge(states[name], profile, gpus))


def run(module: AnsibleModule) -> dict[str, object]:
    profiles = _profiles.known_profiles(module.params["profiles"])
    default = module.params["default_profile"]
    nodes = [node for node in module.params["nodes"] if node["selected"]]
    wanted = {node["profile"] or default for node in nodes} | {default}
    if unknown := sorted(wanted - profiles.keys()):
        raise FleetError(
            f"Profiles not defined: {some(unknown)}; defined are: {some(list(profiles))}."
        )
    cluster = _kube.connect(module)
    names = {node["name"] for node in nodes}
    states = {
        s.name: s for item in cluster.items(_kube.NODES) if (s := node_state(item)).name in names
    }
    rows = [judge_one(node, profiles[node["profile"] or default], states) for node in nodes]
    rows.sort(key=lambda entry: str(entry["node"]))
    return {
        "changed": False,
        "nodes": rows,
        "differing": {str(entry["node"]): entry["problem"] for entry in rows if entry["problem"]},
        "totals": {column: total(rows, column) for column in ("physical", "expected", "actual")},
        "table": verdict_table(rows),
    }


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
