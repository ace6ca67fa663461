#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_profiles
short_description: Keep the node labels that pick a GPU sharing profile
version_added: 0.1.0
description:
  - Keeps the label C(nvidia.com/device-plugin.config) of all GPU nodes of a cluster as assigned, in
    one task.
  - The device plugin acts on a change of this label at once. A node assigned V(null) carries no
    label and gets the default
    profile of the operator.
  - Only this label is touched, and only where it differs.
  - Device plugins before v0.18.2 miss that a label is removed. With one of those in the cluster a
    node that is to lose its label is labelled with O(default_profile) instead.
options:
  state:
    description: >-
      With V(absent) the assigned nodes lose the label, and the annotation that
      M(gpufleet.sharing.rollout) keeps; and a MIG configuration that
      M(gpufleet.sharing.mig_config) has set becomes the one that was there before.
    type: str
    choices: [present, absent]
    default: present
  assignments:
    description: >-
      The nodes to act on, each a Kubernetes node name and its profile, V(null) meaning no label.
    type: dict
    required: true
  known_nodes:
    description: >-
      Names of all nodes of the inventory, those to leave alone included. Other GPU nodes count as
      unmanaged.
    type: list
    elements: str
    default: []
  profiles:
    description: >-
      The profiles, as of M(gpufleet.sharing.profiles). A node assigned any other one is an error,
      before anything is written, and so is one whose GPUs cannot be shared as its profile says (the
      limits of MPS). Empty for no such check.
    type: dict
    default: {}
  default_profile:
    description: The profile of nodes without a label, to be checked too.
    type: str
  namespace:
    description: Namespace of the GPU Operator, whose DaemonSets tell the version of the plugin.
    type: str
    default: gpu-operator
  exclusive:
    description: >-
      Whether unmanaged GPU nodes lose the label. They keep it where O(assignments) leaves some of
      O(known_nodes) out, as with a limit.
    type: bool
    default: false
  unavailable_nodes:
    description: >-
      What to do when an assigned node is not in the cluster, V(fail) before anything is written, or
      V(report).
    type: str
    choices: [fail, report]
    default: fail
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - gpufleet.sharing.common
seealso:
  - module: gpufleet.sharing.rollout
"""

EXAMPLES = r"""
- name: One node with profile dev, one with the default profile
  gpufleet.sharing.node_profiles:
    assignments:
      dev-gpu-01: dev
      prod-gpu-01: null
"""

RETURN = r"""
differs:
  description: Whether a node was not as asked for, so that it was changed or would be.
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
  description: GPU nodes of the cluster that the inventory does not know.
  type: list
  elements: str
  returned: always
missing:
  description: Assigned nodes that the cluster does not have.
  type: list
  elements: str
  returned: always
"""

from typing import TYPE_CHECKING, TypeAlias

from ansible_collections.gpufleet.sharing.plugins.module_utils import _kube, _mig
from ansible_collections.gpufleet.sharing.plugins.module_utils._capacity import (
    CONFIG_HASH_ANNOTATION,
    NodeState,
    mps_problem,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._entry import Spec, run_module
from ansible_collections.gpufleet.sharing.plugins.module_utils._errors import (
    ClusterError,
    FleetError,
    RefusedError,
    joined,
    some,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet import (
    PROFILE_LABEL,
    LabelPlan,
    plan_labels,
    undefined_profiles,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._observed import node_state
from ansible_collections.gpufleet.sharing.plugins.module_utils._operator import read_plugin
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles import (
    Profile,
    known_profiles,
)

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

    Patches: TypeAlias = "dict[str, dict[str, dict[str, str | None]]]"  # metadata, by node

NOTICES_REMOVAL = (0, 18, 2)  # the first device plugin that notices a label's removal
SPEC: Spec = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "assignments": {"type": "dict", "required": True},
    "known_nodes": {"type": "list", "elements": "str", "default": []},
    "profiles": {"type": "dict", "default": {}},
    "default_profile": {"type": "str"},
    "namespace": {"type": "str", "default": "gpu-operator"},
    "exclusive": {"type": "bool", "default": False},
    "unavailable_nodes": {"type": "str", "choices": ["fail", "report"], "default": "fail"},
}


def run(module: AnsibleModule) -> dict[str, object]:
    remove = module.params["state"] == "absent"
    desired = {
        node: None if remove else profile or None
        for node, profile in module.params["assignments"].items()
    }
    profiles = known_profiles(module.params["profiles"]) if module.params["profiles"] else {}
    default = module.params["default_profile"]
    if profiles and (found := list(undefined_profiles(desired, list(profiles), default))):
        raise joined(FleetError, found)
    cluster = _kube.connect(module)
    states = [node_state(item) for item in cluster.items(_kube.NODES, metadata_only=True)]
    gpu_nodes = {
        s.name: s for s in states if s.has_gpus or s.name in desired or PROFILE_LABEL in s.labels
    }
    plan = make_plan(module, cluster, desired, gpu_nodes)
    if plan.missing and module.params["unavailable_nodes"] == "fail" and not remove:
        raise FleetError(
            f"Nodes of the inventory ({len(plan.missing)}) are not in the cluster {cluster.server}:"
            f" {some(plan.missing)}."
            " Correct the inventory, or set gpu_sharing_unavailable_nodes to report."
        )
    meant = {
        node: profiles[profile or default]
        for node, profile in desired.items()
        if (profile or default) in profiles and node in gpu_nodes
    }
    changing = [change.node for change in plan.changes]
    if remove:
        check_nodes(gpu_nodes, {}, changing, planning=False)
    else:
        check_nodes(gpu_nodes, meant, changing, planning=module.check_mode)
    held = set() if remove or module.check_mode else uncut(gpu_nodes, meant)
    patches: Patches = {
        c.node: {"labels": {PROFILE_LABEL: c.after}} for c in plan.changes if c.node not in held
    }
    if remove:
        forget(patches, [gpu_nodes[name] for name in desired if name in gpu_nodes])
    if patches and not module.check_mode:
        write(cluster, patches)
    return {
        "changed": bool(patches),
        "differs": bool(patches),
        "diff": plan.diff(),
        "changes": [vars(change) for change in plan.changes],
        "unmanaged": list(plan.unmanaged),
        "missing": list(plan.missing),
    }


def make_plan(
    module: AnsibleModule,
    cluster: _kube.Cluster,
    desired: dict[str, str | None],
    states: dict[str, NodeState],
) -> LabelPlan:
    """The plan of labels; without removals where the plugin is too old to notice one."""
    remove = module.params["state"] == "absent"

    def plan(instead: str | None) -> LabelPlan:
        return plan_labels(
            desired,
            {name: state.labels.get(PROFILE_LABEL) for name, state in states.items()},
            known=module.params["known_nodes"],
            exclusive=module.params["exclusive"] and not remove,
            instead=instead,
        )

    found = plan(None)
    if remove or all(change.after for change in found.changes):
        return found
    path = _kube.namespaced("daemonsets", module.params["namespace"], "apis/apps/v1")
    version = read_plugin(cluster.items(path)).version
    notices = version is None or version >= NOTICES_REMOVAL
    return found if notices else plan(module.params["default_profile"])


def check_nodes(
    states: dict[str, NodeState], meant: dict[str, Profile], changing: list[str], *, planning: bool
) -> None:
    """Raise where GPUs cannot be shared as a profile says, or where NVIDIA's MIG manager is at work
    on a node whose label would change.

    planning: what a run would do before this, it has not done; so it may be at work for us.
    """
    problems = [
        f"{node}: profile '{profile.name}' cannot be used there: {reason}."
        for node, profile in sorted(meant.items())
        if (reason := mps_problem(states[node], profile))
    ]
    if problems:
        raise joined(FleetError, problems)
    busy = [node for node in changing if _mig.is_busy(states[node])]
    if planning:
        ours = {node for node in busy if node in meant and meant[node].mig is not None}
        busy = [node for node in busy if node not in ours]
    if busy:
        raise RefusedError(
            f"NVIDIA's MIG manager is at work on {some(busy)} ({_mig.STATE_LABEL} is pending or"
            " rebooting), so the profile of these nodes must not change now. Run again when it has"
            " finished."
        )


def uncut(states: dict[str, NodeState], meant: dict[str, Profile]) -> set[str]:
    """Nodes that their profile's MIG configuration has not reached, since they are NotReady: their
    label waits for the run that finds them ready.
    """
    return {
        node
        for node, profile in meant.items()
        if profile.mig is not None
        and not _mig.needless(states[node], profile.mig)
        and _mig.unfinished(states[node], profile.mig)
    }


def forget(patches: Patches, states: list[NodeState]) -> None:
    """Add to the patches what takes away everything else that we wrote on nodes."""
    for state in states:
        undo = _mig.undo_patch(state)
        if CONFIG_HASH_ANNOTATION in state.annotations:
            undo.setdefault("annotations", {})[CONFIG_HASH_ANNOTATION] = None
        for part, entries in undo.items():
            patches.setdefault(state.name, {}).setdefault(part, {}).update(entries)


def write(cluster: _kube.Cluster, patches: Patches) -> None:
    """Patch the nodes, some at a time. Raises ClusterError naming each node that could not be
    patched.
    """
    failures = cluster.for_each(
        sorted(patches),
        lambda name: cluster.patch(
            _kube.object_path(_kube.NODES, name), {"metadata": patches[name]}
        ),
    )
    if failures:
        reasons = sorted(set(failures.values()))
        raise ClusterError(
            f"{len(failures)} of {len(patches)} nodes could not be labelled"
            f" ({some(sorted(failures))}): {reasons[0]}"
            " The others are done; run again to finish."
        )


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
