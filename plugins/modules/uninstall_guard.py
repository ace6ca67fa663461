#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uninstall_guard
short_description: Plan an uninstall, and evict the pods that it would take GPUs from
version_added: 0.1.0
description:
  - Internal to the role P(gpufleet.sharing.gpu_plan#role). Plans in one process and from one read
    of the cluster what the playbook C(uninstall) removes and restores, and finds the running pods
    that lose their GPU or their slot by it.
options:
  state:
    description:
      - V(planned) reads only, and fails if O(drain) refuses.
      - V(drained) cordons the nodes that lose slots, and evicts these pods. The nodes stay
        cordoned, so that the pods do not come back before the GPUs are gone, unless no other node
        is left for the jobs of the Helm chart.
      - V(uncordoned) uncordons the nodes that a run has cordoned, also a killed one; only selected
        ones if nodes are left out.
    type: str
    choices: [planned, drained, uncordoned]
    default: planned
  namespace:
    description: Namespace of the GPU Operator and the ConfigMap.
    type: str
    default: gpu-operator
  config_map:
    description: Name of the ConfigMap.
    type: str
    default: device-plugin-config
  manage:
    description: Whether Helm manages the operator, or somebody else.
    type: str
    choices: [helm, existing]
    default: helm
  cluster_policy:
    description: Name of the ClusterPolicy.
    type: str
    default: cluster-policy
  release:
    description: Name of the Helm release.
    type: str
    default: gpu-operator
  remove_crds:
    description: Whether the operator's CustomResourceDefinitions are removed.
    type: bool
    default: false
  probe_namespace:
    description: The namespace of probes, whose pods do not count. Empty if it is not removed.
    type: str
    default: ""
  drain:
    description: >-
      What to do with running pods that would lose their GPU or their slot, as in
      M(gpufleet.sharing.rollout).
    type: str
    choices: [refuse, evict, ignore]
    default: refuse
  drain_timeout:
    description: Seconds that the evictions may take.
    type: int
    default: 300
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - gpufleet.sharing.common
  - gpufleet.sharing.run
  - gpufleet.sharing.nodes
attributes:
  diff_mode:
    support: none
    description: The modules that remove something show the difference.
"""

EXAMPLES = r"""
- name: Plan the removal of the labels of one node
  gpufleet.sharing.uninstall_guard:
    manage: existing
    nodes:
      - {name: dev-gpu-01, profile: dev}
      - {name: prod-gpu-01, selected: false}
"""

RETURN = r"""
plan:
  description: What goes, what that does to nodes and pods, and what stays, line by line.
  type: list
  elements: str
  returned: with O(state=planned)
done:
  description: The same for the end of a run, without the nodes.
  type: list
  elements: str
  returned: with O(state=planned)
removes_release:
  description: Whether the Helm release is removed.
  type: bool
  returned: with O(state=planned)
labels:
  description: The nodes that lose the profile label.
  type: list
  elements: str
  returned: with O(state=planned)
nodes:
  description: The nodes on which label or slots change.
  type: list
  elements: dict
  returned: with O(state=planned)
  contains:
    node: {description: Its name., type: str}
    label: {description: Its label., type: str}
    now: {description: Its slots now., type: str}
    then: {description: Its slots then., type: str}
    pods: {description: Its GPU pods., type: int}
    disrupted: {description: How many of them would be disrupted., type: int}
pods:
  description: The pods that would lose their GPU or their slot, as namespace/name.
  type: list
  elements: str
  returned: with O(state=planned)
evicts:
  description: Whether pods have to be evicted first.
  type: bool
  returned: with O(state=planned)
evicted:
  description: The pods that were evicted, or would be in check mode, as namespace/name.
  type: list
  elements: str
  returned: with O(state=drained)
uncordoned:
  description: The nodes that were uncordoned, or would be in check mode.
  type: list
  elements: str
  returned: with O(state=uncordoned)
"""

from ..module_utils._common.versions import check_versions

check_versions()

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from ..module_utils._common.module_entry import Spec, run_module, warn
from ..module_utils._common.options import OPTION_NAMES, with_names
from ..module_utils._common.values import check_minimums
from ..module_utils._fleet.nodes import NODES_OPTION, read_nodes
from ..module_utils._kube.client import Cluster, connect
from ..module_utils._kube.lease import hold_lease, release_kept_lease
from ..module_utils._kube.objects import NODES
from ..module_utils._nodes.disruption import pods_of
from ..module_utils._nodes.pods import GpuPod
from ..module_utils._nodes.state import node_metadata
from ..module_utils._rollout.drain import Drainer, to_uncordon
from ..module_utils._rollout.guard import check_disruptions, drain_warnings
from ..module_utils._rollout.observed import Observed
from ..module_utils._rollout.operator_plan import MANAGES
from ..module_utils._rollout.operator_removal import UninstallRequest
from ..module_utils._rollout.settings import DRAINS, EVICT, REFUSE
from ..module_utils._rollout.uninstall import UninstallPlan
from ..module_utils._rollout.uninstall_view import done_lines, node_rows, plan_lines, refusal

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

Report = Callable[[str], None]

SPEC: Spec = {
    "state": {
        "type": "str",
        "choices": ["planned", "drained", "uncordoned"],
        "default": "planned",
    },
    "nodes": NODES_OPTION,
    "namespace": {"type": "str", "default": "gpu-operator"},
    "config_map": {"type": "str", "default": "device-plugin-config"},
    "manage": {"type": "str", "choices": list(MANAGES), "default": "helm"},
    "cluster_policy": {"type": "str", "default": "cluster-policy"},
    "release": {"type": "str", "default": "gpu-operator"},
    "remove_crds": {"type": "bool", "default": False},
    "probe_namespace": {"type": "str", "default": ""},
    "drain": {"type": "str", "choices": list(DRAINS), "default": "refuse"},
    "drain_timeout": {"type": "int", "default": 300},
    "run": {"type": "str", "default": ""},
}


def make_plan(module: AnsibleModule, cluster: Cluster) -> UninstallPlan:
    given = module.params
    request = UninstallRequest(
        nodes=read_nodes(given["nodes"]),
        manage=given["manage"],
        cluster_policy=given["cluster_policy"],
        release=given["release"],
        remove_crds=given["remove_crds"],
        probe_namespace=given["probe_namespace"],
    )
    return UninstallPlan(request, Observed(cluster, given["namespace"], given["config_map"]))


def plan(module: AnsibleModule) -> dict[str, object]:
    """What would be done. Raises RefusedError or DrainError where pods must not, or cannot, go."""
    found = make_plan(module, connect(module))
    drain, names = module.params["drain"], module.params[OPTION_NAMES]
    if found.disruptions:
        if drain == REFUSE:
            raise refusal(found)
        check_disruptions(found.disruptions, drain)
        for text in drain_warnings(found.disruptions, drain):
            warn(module, text)
    evicts = bool(found.disruptions) and drain == EVICT
    return {
        "changed": False,
        "plan": [with_names(line, names) for line in plan_lines(found, evicts=evicts)],
        "done": [with_names(line, names) for line in done_lines(found, evicts=evicts)],
        "removes_release": found.operator.removed,
        "labels": [change.node for change in found.labels.changes],
        "nodes": [vars(row) for row in node_rows(found)],
        "pods": named(pods_of(found.disruptions)),
        "evicts": evicts,
    }


def drain(module: AnsibleModule, report: Report) -> dict[str, object]:
    """Cordon and evict, with a fresh look at the cluster."""
    given = module.params
    cluster = connect(module)
    if module.check_mode:
        pods = pods_of(make_plan(module, cluster).disruptions)
        return {"changed": bool(pods), "evicted": named(pods)}
    place, name = given["namespace"], given["run"]
    with hold_lease(cluster, place, name, keep=True, log=partial(warn, module)) as lease:
        found = make_plan(module, cluster)
        drainer = Drainer(cluster, given["drain_timeout"], report, lease.check)
        evicted = drainer.drain(found.losing, found.disrupted) if found.disruptions else []
        if evicted and found.operator.removed and not found.spares_a_node:
            drainer.uncordon(found.losing)
            warn(
                module,
                "Every node is drained. They are uncordoned before Helm runs, because jobs of the"
                " chart need a node, so pods that are recreated until then lose their GPU.",
            )
    return {"changed": bool(evicted), "evicted": named(evicted)}


def uncordon(module: AnsibleModule) -> dict[str, object]:
    given, nodes = module.params, read_nodes(module.params["nodes"])
    cluster = connect(module)
    states = [node_metadata(item) for item in cluster.items(NODES, metadata_only=True)]
    cordoned = to_uncordon(states, nodes)
    if not module.check_mode:
        place, name = given["namespace"], given["run"]
        if cordoned:
            with hold_lease(cluster, place, name, log=partial(warn, module)) as lease:
                Drainer(cluster, 0, lambda _line: None, lease.check).uncordon(cordoned)
        else:
            release_kept_lease(cluster, place, name)
    return {"changed": bool(cordoned), "uncordoned": cordoned}


def named(pods: Iterable[GpuPod]) -> list[str]:
    return sorted(map(str, pods))


def run(module: AnsibleModule, report: Report = lambda _line: None) -> dict[str, object]:
    check_minimums(module.params, {"drain_timeout": 1})
    if module.params["state"] == "planned":
        return plan(module)
    return drain(module, report) if module.params["state"] == "drained" else uncordon(module)


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
