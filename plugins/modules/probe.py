#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: probe
short_description: Prove on nodes that GPUs are shared as their profiles say
version_added: 0.1.0
description:
  - On each node it runs as many pods of one slot at the same time as the profile promises and
    others leave free, shows that one pod more waits for want of the resource, and that a pod which
    asks for two slots is turned down or admitted as the profile says.
  - The pods go through the scheduler, pinned by node affinity, and meet the restricted Pod
    Security Standard. Their containers have to start, and tell the UUIDs of the GPUs that they see.
  - It takes only what is free. Its pods have a PriorityClass of their own that evicts nobody and
    gives way to all work. Where somebody else takes a slot meanwhile, the result is V(busy), which
    is no failure.
  - It never fails for what it finds out about a node; RV(failing) tells.
  - All that it makes is in one namespace, but for a PriorityClass of the same name. It is removed
    when the module ends, however it ends. Pods of a run that was killed are removed by Kubernetes
    within some 90 seconds, or by the next run, which removes the namespace too. So nothing is
    reported as changed. Runs beside each other do not disturb each other.
options:
  nodes:
    required: false
    default: []
  profiles:
    description: The profiles, as of M(gpufleet.sharing.profiles).
    type: dict
    default: {}
  default_profile:
    description: The profile of nodes without one of their own.
    type: str
    default: default
  names:
    description: Names of the nodes to probe. Without any, O(per_profile) decides.
    type: list
    elements: str
    default: []
  per_profile:
    description:
      - How many nodes of each profile are probed, those with most free slots first. V(0) means all.
      - Of a profile whose nodes can all not be probed, one is returned, with the reason.
    type: int
    default: 1
  most:
    description:
      - Most pods of one slot on a node at the same time, for each resource, from 1 to 400. Where
        more slots are free, the one pod more asks for all the others and one.
    type: int
    default: 16
  timeout:
    description: How long pods may take until they run, in seconds. The image may have to be pulled.
    type: int
    default: 300
  namespace:
    description: >-
      The namespace that is made, used and removed, and the name of the PriorityClass. One of that
      name that is somebody else's is refused.
    type: str
    default: gpufleet-sharing-probe
  prepared:
    description:
      - Whether the namespace, and a PriorityClass of the same name with C(preemptionPolicy=Never),
        have been made by an administrator. Then they stay, and no permission to create namespaces
        is needed.
    type: bool
    default: false
  image:
    description:
      - The image of all containers. It may be pinned by its digest.
      - For an image without a shell, such as C(registry.k8s.io/pause:3.10), set O(command) and
        O(look) to V([]).
    type: str
    default: nvcr.io/nvidia/cuda:12.4.1-base-ubuntu22.04
  command:
    description: What holds a slot until the pod is deleted. V([]) means the image's own command.
    type: list
    elements: str
    default: [sleep, "86400"]
  look:
    description:
      - What tells the GPUs that a pod sees, by writing their UUIDs into C(/dev/termination-log). It
        is the command of an init container, so no log has to be read.
      - V([]) means not to look.
    type: list
    elements: str
    default: [sh, -c, "nvidia-smi -L > /dev/termination-log"]
  require_uuids:
    description: Whether a node fails where a pod tells no GPU.
    type: bool
    default: false
  labels:
    description: Labels of the pods besides its own, such as a policy of the cluster may want.
    type: dict
    default: {}
  tolerations:
    description: Tolerations of the pods, as in a pod. A node with another taint is skipped.
    type: list
    elements: dict
    default: [{key: nvidia.com/gpu, operator: Exists}]
  runtime_class:
    description: RuntimeClass of the pods, such as V(nvidia) where it is not the default runtime.
    type: str
    default: ""
  pull_secrets:
    description: >-
      Names of Secrets in O(namespace) to pull the image with. They need O(prepared=true).
    type: list
    elements: str
    default: []
  run_as_user:
    description: >-
      User id of the containers, which may not be root. V(0) leaves it to the cluster, as OpenShift
      wants, or to the image.
    type: int
    default: 65534
  clean:
    description: >-
      Whether nothing is probed, and the namespace is removed, with all that runs which were killed,
      or are at work, have in it. Not with O(prepared=true).
    type: bool
    default: false
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - gpufleet.sharing.common
  - gpufleet.sharing.nodes
attributes:
  check_mode:
    description: >-
      Probes nothing and writes nothing; returns what would be probed, with the result V(planned).
  diff_mode:
    support: none
    description: Leaves nothing behind, so there is no difference to show.
seealso:
  - module: gpufleet.sharing.sharing_info
"""

EXAMPLES = r"""
- name: Prove one node of each profile
  gpufleet.sharing.probe:
    nodes:
      - {name: dev-gpu-01, profile: dev}
      - {name: dev-gpu-02, profile: dev}
      - {name: prod-gpu-01}
    profiles:
      default: {replicas: 4}
      dev: {replicas: 8}
    default_profile: default
  register: proof

- name: Prove the slots of one node only, with an image that holds nothing but a program that waits
  gpufleet.sharing.probe:
    nodes: [{name: dev-gpu-01, profile: dev}]
    profiles:
      dev: {replicas: 8}
    default_profile: dev
    image: registry.k8s.io/pause:3.10
    command: []
    look: []
  register: proof
"""

RETURN = r"""
nodes:
  description: One entry for each resource of each chosen node.
  type: list
  elements: dict
  returned: always
  contains:
    node: {description: Name of the node., type: str}
    group: {description: Group of the node., type: str}
    profile: {description: Profile of the node., type: str}
    resource: {description: Name of the resource., type: str}
    physical: {description: Physical devices of the resource., type: int}
    expected: {description: Slots that the profile promises., type: int}
    allocatable: {description: Slots that the node advertised before., type: int}
    used: {description: Slots that pods of others requested before., type: int}
    pods: {description: Pods of one slot that were to run at the same time., type: int}
    ran: {description: Most of them that did; null where it was not tried., type: int}
    more:
      description: V(waits) or V(got a slot), of one pod more. Empty where it was not tried.
      type: str
    two:
      description: V(refused) or V(admitted), of a pod of two slots. Empty where it was not tried.
      type: str
    gpus:
      description: Pods by the UUID of the GPU that they saw. Empty where none was seen.
      type: dict
    result:
      description:
        - V(passed), V(failed), V(busy) where somebody else took a slot meanwhile, V(skipped) where
          nothing was tried, V(planned) in check mode.
      type: str
    reason: {description: Why it is not V(passed)., type: str}
failing:
  description: Nodes that failed, each with the reasons.
  type: dict
  returned: always
unproved:
  description: Nodes that were busy or skipped, each with the reasons.
  type: dict
  returned: always
cleaned:
  description: >-
    Runs that had been killed, and whose remains were removed; the namespace with O(clean).
  type: list
  elements: str
  returned: always
table:
  description: The nodes for people, a line each.
  type: list
  elements: str
  returned: always
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.documents import name_of
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import FleetError
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.module_entry import (
    Spec,
    run_module,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.signals import interruptible
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import some
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.values import check_minimums
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.nodes import NODES_OPTION
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import Cluster, connect
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.objects import NODES
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.pods import gpu_pods
from ansible_collections.gpufleet.sharing.plugins.module_utils._probe.manifests import PodSettings
from ansible_collections.gpufleet.sharing.plugins.module_utils._probe.namespace import (
    ProbeNamespace,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._probe.plan import (
    Candidate,
    ProbeOutcome,
    ProbeResult,
    ProbeTarget,
    choose,
    obstacle,
    probe_table,
    read_node,
    requested,
    row,
    targets,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._probe.pods import SlotCount
from ansible_collections.gpufleet.sharing.plugins.module_utils._probe.runner import (
    ProbeOptions,
    Prober,
    at_once,
    run_all,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rendered import (
    take_profiles,
)

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

LOOK = ["sh", "-c", "nvidia-smi -L > /dev/termination-log"]
SPEC: Spec = {
    "nodes": {**NODES_OPTION, "required": False, "default": []},
    "profiles": {"type": "dict", "default": {}},
    "default_profile": {"type": "str", "default": "default"},
    "names": {"type": "list", "elements": "str", "default": []},
    "per_profile": {"type": "int", "default": 1},
    "most": {"type": "int", "default": 16},
    "timeout": {"type": "int", "default": 300},
    "namespace": {"type": "str", "default": "gpufleet-sharing-probe"},
    "prepared": {"type": "bool", "default": False},
    "image": {"type": "str", "default": "nvcr.io/nvidia/cuda:12.4.1-base-ubuntu22.04"},
    "command": {"type": "list", "elements": "str", "default": ["sleep", "86400"]},
    "look": {"type": "list", "elements": "str", "default": LOOK},
    "require_uuids": {"type": "bool", "default": False},
    "labels": {"type": "dict", "default": {}},
    "tolerations": {
        "type": "list",
        "elements": "dict",
        "default": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
    },
    "runtime_class": {"type": "str", "default": ""},
    "pull_secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "run_as_user": {"type": "int", "default": 65534},
    "clean": {"type": "bool", "default": False},
}
PODS = "/api/v1/pods"
MOST = 400
Chosen = list[ProbeTarget]


def check_options(module: AnsibleModule) -> None:
    params = module.params
    check_minimums(params, {"timeout": 1, "run_as_user": 0})
    if not 1 <= params["most"] <= MOST:
        raise FleetError(f"most is {params['most']}; allowed: 1 to {MOST} pods on a node.")
    if params["per_profile"] < 0:
        raise FleetError(f"per_profile is {params['per_profile']}; allowed: 0 (all) and more.")
    if params["pull_secrets"] and not params["prepared"]:
        raise FleetError(
            "pull_secrets name Secrets of the probe's namespace, which the probe makes anew. Have"
            " an administrator make the namespace and the Secrets, and say prepared."
        )
    if params["require_uuids"] and not params["look"]:
        raise FleetError("require_uuids without look: set the command that tells the GPUs.")


def candidates(module: AnsibleModule) -> list[Candidate]:
    profiles = take_profiles(module.params["profiles"])
    default = module.params["default_profile"]
    nodes = [node for node in module.params["nodes"] if node["selected"]]
    if unknown := sorted({node["profile"] or default for node in nodes} - profiles.keys()):
        raise FleetError(
            f"Profiles not defined: {some(unknown)}; defined are: {some(list(profiles))}."
        )
    return [
        Candidate(node["name"], profiles[node["profile"] or default], node["group"], node["gpus"])
        for node in nodes
    ]


def choose_targets(module: AnsibleModule, cluster: Cluster, found: Sequence[Candidate]) -> Chosen:
    """What to probe, as the cluster is now."""
    params = module.params
    names = {candidate.name for candidate in found}
    views = {
        name_of(item): read_node(item) for item in cluster.items(NODES) if name_of(item) in names
    }
    used = requested(gpu_pods(cluster.items(PODS)))
    by_node = {}
    for candidate in found:
        view = views.get(candidate.name)
        hindrance = obstacle(view, params["tolerations"])
        slots = used.get(candidate.name, Counter())
        by_node[candidate.name] = targets(candidate, view, slots, params["most"], hindrance)
    names_given = [name for name in params["names"] if name]  # an empty survey answer is ['']
    return choose(by_node, names_given, params["per_profile"])


def recounter(namespace: ProbeNamespace) -> Callable[[ProbeTarget], SlotCount]:
    """How the slots of a target are counted anew, without the pods of this run."""

    def recount(target: ProbeTarget) -> SlotCount:
        cluster, prefix = namespace.cluster, f"{namespace.run}-"
        nodes = cluster.items(NODES, fields=f"metadata.name={target.node}")
        views = [read_node(item) for item in nodes]
        pods = gpu_pods(cluster.items(PODS, fields=f"spec.nodeName={target.node}"))
        others = [
            pod
            for pod in pods
            if (pod.namespace, pod.name[: len(prefix)]) != (namespace.name, prefix)
        ]
        return SlotCount(
            sum(view.state.allocatable.get(target.resource, 0) for view in views),
            sum(pod.requests.get(target.resource, 0) for pod in others),
        )

    return recount


def settings(module: AnsibleModule) -> PodSettings:
    """How pods are made."""
    params = module.params
    return PodSettings(
        image=params["image"],
        command=tuple(params["command"]),
        look=tuple(params["look"]),
        labels={key: str(value) for key, value in params["labels"].items()},
        tolerations=params["tolerations"],
        runtime_class=params["runtime_class"],
        pull_secrets=tuple(params["pull_secrets"]),
        run_as_user=params["run_as_user"],
        seconds=2 * params["timeout"] + 120,
    )


def probe_targets(
    module: AnsibleModule, namespace: ProbeNamespace, chosen: Chosen
) -> list[ProbeResult]:
    """Probe the targets, and leave nothing behind."""
    params = module.params
    options = ProbeOptions(
        settings(module), params["timeout"], recounter(namespace), params["require_uuids"]
    )
    probers = {
        target: Prober(namespace, target, number, options)
        for number, target in enumerate(chosen, start=1)
        if not target.skipped
    }
    try:
        with interruptible():
            if probers:
                namespace.open()
                run_all(namespace, list(probers.values()), at_once(params["most"]))
    finally:
        if left := namespace.close():
            module.warn(
                f"Pods of the probe in namespace {namespace.name} are still on their way out:"
                f" {some(left)}. Is the kubelet of their node at work?"
            )
    return [
        probers[target].result if target in probers else ProbeResult(target) for target in chosen
    ]


def run(module: AnsibleModule) -> dict[str, object]:
    params = module.params
    check_options(module)
    found = [] if params["clean"] else candidates(module)
    cluster = connect(module)
    namespace = ProbeNamespace(cluster, params["namespace"], prepared=params["prepared"])
    if params["clean"]:
        return {**module_result([]), **namespace.clean(check=module.check_mode)}
    if module.check_mode:
        chosen = choose_targets(module, cluster, found)
        return module_result([ProbeResult(target) for target in chosen])
    cleaned = namespace.sweep()
    results = probe_targets(module, namespace, choose_targets(module, cluster, found))
    return {**module_result(results), "cleaned": cleaned}


def module_result(results: Sequence[ProbeResult]) -> dict[str, object]:
    rows = [row(result) for result in results]

    def reasons(*outcomes: ProbeOutcome) -> dict[str, str]:
        """By node; of several resources all."""
        told: dict[str, list[str]] = {}
        for result in results:
            if result.outcome in outcomes:
                told.setdefault(result.target.node, []).append(result.reason)
        return {node: "; ".join(texts) for node, texts in told.items()}

    return {
        "changed": False,
        "nodes": rows,
        "failing": reasons(ProbeOutcome.FAILED),
        "unproved": reasons(ProbeOutcome.BUSY, ProbeOutcome.SKIPPED),
        "cleaned": [],
        "table": probe_table(rows),
    }


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
