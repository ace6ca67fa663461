#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: history_info
short_description: List the revisions of a fleet
version_added: 0.1.0
description:
  - Each run that changes something records in a C(ControllerRevision) beside the ConfigMap what
    the inventory contained, who ran it, when, what it changed and how it ended. This module lists
    these revisions, and returns one of them in the form that the roles take. A revision contains
    no credentials.
  - It reads only.
options:
  config_map:
    description: Name of the ConfigMap of profiles.
    type: str
    default: device-plugin-config
  namespace:
    description: Namespace of the GPU Operator and the ConfigMap.
    type: str
    default: gpu-operator
  revision:
    description:
      - The revision to return; a number, or V(previous_good) for the last good one before the
        newest.
      - Without it, the revisions are only listed.
    type: str
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - gpufleet.sharing.common
seealso:
  - module: gpufleet.sharing.profiles
  - module: gpufleet.sharing.rollout
"""

EXAMPLES = r"""
- name: List the revisions
  gpufleet.sharing.history_info:
    namespace: gpu-operator
  register: history

- name: Read the one to go back to
  gpufleet.sharing.history_info:
    namespace: gpu-operator
    revision: previous_good
  register: history
"""

RETURN = r"""
revisions:
  description: The revisions, newest first.
  type: list
  elements: dict
  returned: always
  contains:
    revision: {description: Its number., type: int}
    state:
      description: >-
        V(started) while its run is running, or if it was killed; V(good) or V(failed) when it has
        ended.
      type: str
    who: {description: Who ran it., type: str}
    when: {description: When it started (RFC 3339)., type: str}
    what: {description: What it changed., type: str}
    profiles: {description: Names of its profiles., type: list, elements: str}
    nodes: {description: Number of its nodes., type: int}
revision:
  description: The revision that was asked for.
  type: dict
  returned: with O(revision)
  contains:
    revision: {description: Its number., type: int}
    state: {description: As in RV(revisions)., type: str}
    mode: {description: The value of C(gpu_sharing_rollout_mode)., type: str}
    default_profile: {description: The profile of nodes without one of their own., type: str}
    profiles: {description: Definitions of the profiles as given., type: dict}
    assignments:
      description: Nodes and their profiles; V(null) means the default profile.
      type: dict
table:
  description: The list as a table, line by line.
  type: list
  elements: str
  returned: always
"""

from ..module_utils._common.versions import check_versions

check_versions()

from typing import TYPE_CHECKING

from ..module_utils._common.module_entry import Spec, run_module
from ..module_utils._common.table import format_table
from ..module_utils._kube.client import connect
from ..module_utils._rollout.history import History, Revision, find_revision

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC: Spec = {
    "config_map": {"type": "str", "default": "device-plugin-config"},
    "namespace": {"type": "str", "default": "gpu-operator"},
    "revision": {"type": "str"},
}
COLUMNS = ("revision", "state", "when", "nodes", "who", "what")


def row(revision: Revision) -> dict[str, object]:
    return {
        "revision": revision.number,
        "state": revision.state.value,
        "who": revision.who,
        "when": revision.when,
        "what": revision.what,
        "profiles": sorted(revision.spec.profiles),
        "nodes": len(revision.spec.assignments),
    }


def for_roles(revision: Revision) -> dict[str, object]:
    """A revision as the roles take it."""
    return {"revision": revision.number, "state": revision.state.value, **vars(revision.spec)}


def run(module: AnsibleModule) -> dict[str, object]:
    place = module.params["namespace"], module.params["config_map"]
    history = History(connect(module), *place).load()
    rows = [row(revision) for revision in history]
    result = {"changed": False, "revisions": rows, "table": format_table(COLUMNS, rows)}
    if wanted := module.params["revision"]:
        result["revision"] = for_roles(find_revision(history, wanted))
    return result


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
