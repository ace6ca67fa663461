#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: assignment_info
short_description: Check profiles and assignments, and show what each group of nodes gets
version_added: 0.1.0
description:
  - Internal to the playbook C(validate). Checks all profiles and assignments, and sums up what
    each inventory group gets. It needs no cluster, so an inventory's CI can run it.
options:
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
      The operator's MIG strategy; empty for none. V(unknown) accepts profiles that any strategy
      allows.
    type: str
    choices: [unknown, "", none, single, mixed]
    default: unknown
  plugin_version:
    description: >-
      The version of the device plugin, if it is known, such as V(v0.19.3). A setting that this
      version does not support yet is rejected.
    type: str
    default: ""
  option_names:
    description: >-
      Names that the caller has for options of this module, used in messages.
    type: dict
    default: {}
extends_documentation_fragment:
  - gpufleet.sharing.nodes
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
  description: One row per group and profile.
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
  description: The same as a table, line by line.
  type: list
  elements: str
  returned: success
nodes:
  description: Number of nodes.
  type: int
  returned: success
"""

from ..module_utils._common.versions import check_versions

check_versions()

from functools import partial
from typing import TYPE_CHECKING

from ..module_utils._common.module_entry import Spec, run_module, warn
from ..module_utils._fleet.nodes import NODES_OPTION, read_nodes
from ..module_utils._fleet.summary import summarise
from ..module_utils._profiles.plugin import operator_plugin, read_version
from ..module_utils._profiles.rendered import take_profiles

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC: Spec = {
    "nodes": NODES_OPTION,
    "profiles": {"type": "dict", "required": True},
    "default_profile": {"type": "str", "required": True},
    "mig_strategy": {
        "type": "str",
        "choices": ["unknown", "", "none", "single", "mixed"],
        "default": "unknown",
    },
    "plugin_version": {"type": "str", "default": ""},
}


def run(module: AnsibleModule) -> dict[str, object]:
    given = module.params
    read_nodes(given["nodes"])
    nodes = [node for node in given["nodes"] if node["selected"]]
    strategy = None if given["mig_strategy"] == "unknown" else given["mig_strategy"]
    plugin = operator_plugin(strategy, read_version(given["plugin_version"]))
    profiles = take_profiles(given["profiles"], plugin, partial(warn, module))
    return {"changed": False, **summarise(nodes, profiles, given["default_profile"])}


def main() -> None:
    run_module(SPEC, run, connects=False)


if __name__ == "__main__":
    main()
