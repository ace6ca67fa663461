#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: assignment_info
short_description: Check profiles and assignments, and tell what each group of nodes gets
version_added: 0.1.0
description:
  - Checks all profiles and the assignments of nodes to them, and sums up what each inventory group
    gets. No cluster is asked, so it serves the checks of an inventory's repository.
options:
  nodes:
    description: >-
      The nodes, as the filter P(gpufleet.sharing.cluster_nodes#filter) gives them. Those with
      O(nodes[].selected=false) are left out.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Name of the node in Kubernetes., type: str, required: true}
      profile: {description: Its profile; null for the default one., type: str}
      group: {description: Its group., type: str, default: ""}
      gpus: {description: Its physical GPUs where the inventory states them., type: int}
      host: {description: Its name in the inventory., type: str}
      selected: {description: Whether it is inside the limit., type: bool, default: true}
  profiles:
    description: The profiles, as the option O(gpufleet.sharing.profiles#module:profiles).
    type: dict
    required: true
  default_profile:
    description: The profile of nodes without one of their own.
    type: str
    required: true
  mig_strategy:
    description: >-
      The operator's MIG strategy, empty where it is to have none; V(unknown) passes profiles that
      any strategy allows.
    type: str
    choices: [unknown, "", none, single, mixed]
    default: unknown
  plugin_version:
    description: >-
      The version of the device plugin, where it is known, such as V(v0.19.3). A setting that it
      does not know yet is refused.
    type: str
    default: ""
author:
  - gpufleet.sharing contributors (@gpufleet)
attributes:
  check_mode:
    description: Reads only, so it does the same in check mode.
    support: full
  diff_mode:
    description: Changes nothing, so there is no difference to show.
    support: none
  idempotent:
    description: A second run with the same input changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Check two nodes
  gpufleet.sharing.assignment_info:
    nodes:
      - {name: dev-gpu-01, profile: dev, group: dev_gpus}
      - {name: prod-gpu-01, group: prod_gpus, gpus: 8}
    profiles:
      default: {replicas: 4}
      dev: {replicas: 8}
    default_profile: default
"""

RETURN = r"""
groups:
  description: A row for each group and profile.
  type: list
  elements: dict
  returned: success
  sample:
    - group: prod_gpus
      profile: default
      nodes: 1
      strategy: time-slicing
      slots per GPU: 4
      resource: nvidia.com/gpu
      GPUs: 8
      slots: 32
table:
  description: The same for people, a line each.
  type: list
  elements: str
  returned: success
nodes:
  description: How many nodes there are.
  type: int
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import SharingError
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.inventory import NODE_OPTIONS
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.summary import summarise
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.plugin import (
    operator_plugin,
    read_version,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    parse_profiles,
)

SPEC = {
    "nodes": {"type": "list", "elements": "dict", "required": True, "options": NODE_OPTIONS},
    "profiles": {"type": "dict", "required": True},
    "default_profile": {"type": "str", "required": True},
    "mig_strategy": {
        "type": "str",
        "choices": ["unknown", "", "none", "single", "mixed"],
        "default": "unknown",
    },
    "plugin_version": {"type": "str", "default": ""},
}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    nodes = [node for node in module.params["nodes"] if node["selected"]]
    strategy = module.params["mig_strategy"]
    version = read_version(module.params["plugin_version"])
    plugin = operator_plugin(None if strategy == "unknown" else strategy, version)
    try:
        profiles = parse_profiles(module.params["profiles"], plugin)
        found = summarise(nodes, profiles, module.params["default_profile"])
    except SharingError as error:
        module.fail_json(msg=str(error), problems=list(error.problems))
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
