#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_profiles
short_description: Set the profile labels of nodes
version_added: 0.1.0
description:
  - Internal to the roles. Sets the label C(nvidia.com/device-plugin.config) of all GPU nodes of a
    cluster as assigned, in one task and without batches.
  - The device plugin acts on a change of this label at once. A node with V(null) has no label and
    gets the operator's default profile.
  - It changes only this label, and only if it differs.
  - Device plugins before v0.18.2 miss the removal of a label. With one of these in the cluster, a
    node gets the label O(default_profile) instead of losing its label.
options:
  state:
    description: >-
      With V(absent) the selected nodes lose the label, and the annotation that
      M(gpufleet.sharing.rollout) keeps; and a MIG configuration that
      M(gpufleet.sharing.mig_config) has set becomes the one that was there before. If all of
      O(nodes) are selected, other nodes lose that annotation too.
    type: str
    choices: [present, absent]
    default: present
  profiles:
    description: >-
      The profiles, as of M(gpufleet.sharing.profiles). A node assigned any other one is an error,
      before anything is written, and so is one whose GPUs cannot be shared as its profile says (the
      limits of MPS). Empty for no such check.
    type: dict
    default: {}
  default_profile:
    description: The profile of nodes without a label. It is checked too.
    type: str
  namespace:
    description: Namespace of the GPU Operator. Its DaemonSets show the version of the plugin.
    type: str
    default: gpu-operator
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
    default: fail
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - gpufleet.sharing.common
  - gpufleet.sharing.run
  - gpufleet.sharing.nodes
seealso:
  - module: gpufleet.sharing.rollout
"""

EXAMPLES = r"""
- name: One node with profile dev, one with the default profile
  gpufleet.sharing.node_profiles:
    nodes:
      - {name: dev-gpu-01, profile: dev}
      - {name: prod-gpu-01}
"""

RETURN = r"""
server:
  description: URL of the API server, for which the nodes are counted in AAP.
  type: str
  returned: always
differs:
  description: Whether a node differed, so that it was changed or would be.
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
"""

from ..module_utils._common.versions import check_versions

check_versions()

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from ..module_utils._common.errors import FleetError, joined
from ..module_utils._common.module_entry import Spec, run_module, warn
from ..module_utils._common.names import CONFIG_HASH_ANNOTATION, LOADED_ANNOTATION, PROFILE_LABEL
from ..module_utils._common.text import some
from ..module_utils._fleet.assignments import LabelPlan, plan_labels, undefined_profiles
from ..module_utils._fleet.nodes import NODES_OPTION, read_nodes
from ..module_utils._kube import lease as _lease
from ..module_utils._kube.client import Cluster, connect
from ..module_utils._kube.objects import NODES
from ..module_utils._nodes.admission import (
    check_nodes,
    check_not_busy,
    check_present,
    notices_removal,
    waiting_for_mig,
)
from ..module_utils._nodes.mig import undo_patch
from ..module_utils._nodes.state import NodeMetadata, node_metadata
from ..module_utils._profiles.rendered import take_profiles
from ..module_utils._provider.plugin import read_cluster_plugin

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

    Patches: TypeAlias = "dict[str, dict[str, dict[str, str | None]]]"  # metadata, by node

SPEC: Spec = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "nodes": NODES_OPTION,
    "profiles": {"type": "dict", "default": {}},
    "default_profile": {"type": "str"},
    "namespace": {"type": "str", "default": "gpu-operator"},
    "exclusive": {"type": "bool", "default": False},
    "unavailable_nodes": {"type": "str", "choices": ["fail", "report"], "default": "fail"},
    "run": {"type": "str", "default": ""},
}


def run(module: AnsibleModule) -> dict[str, object]:
    remove = module.params["state"] == "absent"
    nodes = read_nodes(module.params["nodes"])
    desired = dict.fromkeys(nodes.assignments) if remove else dict(nodes.assignments)
    profiles = take_profiles(module.params["profiles"]) if module.params["profiles"] else {}
    default = module.params["default_profile"]
    if profiles and (found := list(undefined_profiles(desired, list(profiles), default))):
        raise joined(FleetError, found)
    cluster = connect(module)
    states = [node_metadata(item) for item in cluster.items(NODES, metadata_only=True)]
    gpu_nodes = {
        s.name: s for s in states if s.has_gpus or s.name in desired or PROFILE_LABEL in s.labels
    }
    plan = make_plan(module, cluster, desired, gpu_nodes, nodes.known)
    if module.params["unavailable_nodes"] == "fail" and not remove:
        others = {state.name for state in states} - set(nodes.known)
        check_present(plan.missing, others, cluster.server)
    meant = {
        node: profiles[profile or default]
        for node, profile in desired.items()
        if (profile or default) in profiles and node in gpu_nodes
    }
    if not remove:
        check_nodes(gpu_nodes, meant)
    check_not_busy(gpu_nodes, [change.node for change in plan.changes])
    held = set() if remove or module.check_mode else waiting_for_mig(gpu_nodes, meant)
    if held:
        warn(
            module,
            "Without the MIG configuration of their profiles yet, so their labels wait:"
            f" {some(sorted(held))}.",
        )
        plan = replace(plan, changes=tuple(c for c in plan.changes if c.node not in held))
    patches: Patches = {c.node: {"labels": {PROFILE_LABEL: c.after}} for c in plan.changes}
    if remove:
        forget(patches, [gpu_nodes[name] for name in desired if name in gpu_nodes])
        forget_hashes(patches, [] if nodes.limited else states)
    if patches and not module.check_mode:
        namespace, name = module.params["namespace"], module.params["run"]
        with _lease.hold_lease(cluster, namespace, name, log=partial(warn, module)) as lease:
            lease.check()
            cluster.patch_nodes(patches)
    return {
        "changed": bool(patches),
        "differs": bool(patches),
        "diff": plan.diff(),
        "changes": [vars(change) for change in plan.changes],
        "unmanaged": list(plan.unmanaged),
        "missing": list(plan.missing),
        "server": cluster.server,
    }


def make_plan(
    module: AnsibleModule,
    cluster: Cluster,
    desired: dict[str, str | None],
    states: dict[str, NodeMetadata],
    known: Sequence[str],
) -> LabelPlan:
    """The plan of labels; without removals where the plugin is too old to notice one."""
    remove = module.params["state"] == "absent"

    def plan(instead: str | None) -> LabelPlan:
        return plan_labels(
            desired,
            {name: state.labels.get(PROFILE_LABEL) for name, state in states.items()},
            known=known,
            exclusive=module.params["exclusive"] and not remove,
            instead=instead,
        )

    found = plan(None)
    if remove or all(change.after for change in found.changes):
        return found
    notices = notices_removal(read_cluster_plugin(cluster, module.params["namespace"]))
    return found if notices else plan(module.params["default_profile"])


def forget(patches: Patches, states: list[NodeMetadata]) -> None:
    """Add to the patches what takes away everything else that we wrote on the nodes to act on."""
    for state in states:
        for part, entries in undo_patch(state).items():
            patches.setdefault(state.name, {}).setdefault(part, {}).update(entries)
    forget_hashes(patches, states)


def forget_hashes(patches: Patches, states: list[NodeMetadata]) -> None:
    """The same for our notes on any nodes, such as those that have left the inventory since."""
    for state in states:
        notes = {CONFIG_HASH_ANNOTATION, LOADED_ANNOTATION} & state.annotations.keys()
        if notes:
            annotations = patches.setdefault(state.name, {}).setdefault("annotations", {})
            annotations |= dict.fromkeys(sorted(notes))


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
