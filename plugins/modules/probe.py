#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: probe
short_description: Prove with pods that nodes share GPUs as their profiles say
version_added: 0.1.0
description:
  - On each node, the module runs pods of one slot at the same time, as many as the profile promises
    and as are free. It shows that an extra pod waits because the resource is insufficient, and that
    a pod which requests two slots is refused or admitted as the profile says.
  - The scheduler places the pods, with node affinity. They meet the restricted Pod Security
    Standard. Their containers must start and report the UUIDs of the GPUs that they see.
  - The probe uses only free slots. Its pods have their own PriorityClass, which evicts no pods and
    yields to all workloads. If others take a slot meanwhile, the result is V(busy), which is not a
    failure.
  - The module does not fail because of a node; see RV(failing).
  - Everything that it creates is in one namespace, except for a PriorityClass of the same name. The
    module always removes both when it ends. If a run is killed, Kubernetes removes its pods within
    about 90 seconds, and the next run removes the namespace. So a probe never reports
    C(changed). Several runs can probe at the same time.
options:
  nodes:
    required: false
    default: []
  profiles:
    description: The profiles, as for M(gpufleet.sharing.profiles).
    type: dict
    default: {}
  default_profile:
    description: Profile of nodes that have no profile of their own.
    type: str
    default: default
  names:
    description: Names of the nodes to probe. If empty, O(per_profile) applies.
    type: list
    elements: str
    default: []
  per_profile:
    description:
      - Number of nodes to probe for each profile, those with the most free slots first. V(0) means
        all.
      - If no node of a profile can be probed, one is returned with the reason.
    type: int
    default: 1
  most:
    description:
      - Maximum number of pods of one slot at the same time, for each node and resource, from 1 to
        400. If more slots are free, the extra pod requests all remaining slots and one more.
    type: int
    default: 16
  timeout:
    description: Maximum time for pods to start, in seconds. It can include pulling the image.
    type: int
    default: 300
  namespace:
    description: >-
      Namespace that the module creates, uses and removes, and name of the PriorityClass. Existing
      ones that the probe did not create are rejected.
    type: str
    default: gpufleet-sharing-probe
  prepared:
    description:
      - Whether an administrator has created the namespace, and a PriorityClass of the same name
        with C(preemptionPolicy=Never). They are then kept, and the module needs no permission to
        create namespaces.
    type: bool
    default: false
  image:
    description:
      - Image of all containers. You can pin it by digest.
      - For an image without a shell, such as C(registry.k8s.io/pause:3.10), set O(command) and
        O(look) to V([]).
    type: str
    default: nvcr.io/nvidia/cuda:12.4.1-base-ubuntu22.04
  command:
    description: Command that runs until the pod is deleted. V([]) means the image's own command.
    type: list
    elements: str
    default: [sleep, "86400"]
  look:
    description:
      - Command of an init container that writes the UUIDs of the GPUs to C(/dev/termination-log).
        The module then needs no permission to read logs.
      - V([]) skips this.
    type: list
    elements: str
    default: [sh, -c, "nvidia-smi -L > /dev/termination-log"]
  require_uuids:
    description: Whether a node fails if a pod reports no GPU.
    type: bool
    default: false
  labels:
    description: Additional labels of the pods, for example for policies of the cluster.
    type: dict
    default: {}
  tolerations:
    description: Tolerations of the pods. The module skips nodes with other taints.
    type: list
    elements: dict
    default: [{key: nvidia.com/gpu, operator: Exists}]
  runtime_class:
    description: RuntimeClass of the pods, such as V(nvidia) if it is not the default runtime.
    type: str
    default: ""
  pull_secrets:
    description: >-
      Names of Secrets in O(namespace) for pulling the image. They require O(prepared=true).
    type: list
    elements: str
    default: []
  run_as_user:
    description: >-
      User id of the containers, which must not be root. V(0) lets the cluster choose, as OpenShift
      requires, or the image.
    type: int
    default: 65534
  clean:
    description: >-
      Removes the namespace, including everything of killed and of active runs, instead of probing.
      Has no effect on the namespace with O(prepared=true).
    type: bool
    default: false
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - gpufleet.sharing.common
  - gpufleet.sharing.nodes
attributes:
  check_mode:
    description: >-
      Writes nothing; returns what the module would probe, with the result V(planned).
  diff_mode:
    support: none
    description: The module leaves nothing behind, so there is no difference.
seealso:
  - module: gpufleet.sharing.sharing_info
"""

EXAMPLES = r"""
- name: Probe one node of each profile
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

- name: Probe the slots of one node with an image that has no shell
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
  description: One entry for each resource of each probed node.
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
    allocatable: {description: Slots that the node advertised before the probe., type: int}
    used: {description: Slots that other pods requested before the probe., type: int}
    pods: {description: Number of pods of one slot to run at the same time., type: int}
    ran: {description: Most of them that ran at the same time; null if not tried., type: int}
    more:
      description: What the extra pod did, V(waits) or V(got a slot). Empty if not tried.
      type: str
    two:
      description: Answer to a request of two slots, V(refused) or V(admitted). Empty if not tried.
      type: str
    gpus:
      description: Number of pods by the UUID of the GPU that they saw. Empty if they saw none.
      type: dict
    result:
      description:
        - V(passed), V(failed), V(busy) if others took a slot meanwhile, V(skipped) if nothing was
          tried, V(planned) in check mode.
      type: str
    reason: {description: Why the result is not V(passed)., type: str}
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
    Killed runs whose objects were removed; with O(clean) the namespace.
  type: list
  elements: str
  returned: always
table:
  description: The nodes for people, one line each.
  type: list
  elements: str
  returned: always
verdict:
  description: The result in one line.
  type: str
  returned: always
  sample: 3 nodes proved with pods.
summary:
  description: RV(table) and RV(verdict), as lines.
  type: list
  elements: str
  returned: always
"""

from ..module_utils._common.versions import check_versions

check_versions()

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..module_utils._common.documents import name_of
from ..module_utils._common.errors import FleetError
from ..module_utils._common.module_entry import Spec, run_module
from ..module_utils._common.signals import interruptible
from ..module_utils._common.text import some
from ..module_utils._common.values import check_minimums
from ..module_utils._fleet.nodes import NODES_OPTION
from ..module_utils._kube.client import Cluster, connect
from ..module_utils._kube.objects import NODES
from ..module_utils._nodes.pods import gpu_pods
from ..module_utils._probe.manifests import PodSettings
from ..module_utils._probe.namespace import ProbeNamespace
from ..module_utils._probe.plan import (
    Candidate,
    ProbeOutcome,
    ProbeResult,
    ProbeTarget,
    choose,
    obstacle,
    probe_table,
    probe_verdict,
    read_node,
    requested,
    row,
    targets,
)
from ..module_utils._probe.pods import SlotCount
from ..module_utils._probe.runner import ProbeOptions, Prober, at_once, run_all
from ..module_utils._profiles.rendered import take_profiles

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
            "pull_secrets lists Secrets in the probe's namespace, which each probe creates. Have an"
            " administrator create the namespace and the Secrets, and set prepared."
        )
    if params["require_uuids"] and not params["look"]:
        raise FleetError("require_uuids needs look: set the command that reports the GPUs.")


def candidates(module: AnsibleModule) -> list[Candidate]:
    profiles = take_profiles(module.params["profiles"])
    default = module.params["default_profile"]
    nodes = [node for node in module.params["nodes"] if node["selected"]]
    if unknown := sorted({node["profile"] or default for node in nodes} - profiles.keys()):
        raise FleetError(
            f"Undefined profiles: {some(unknown)}. Defined profiles: {some(list(profiles))}."
        )
    return [
        Candidate(node["name"], profiles[node["profile"] or default], node["group"], node["gpus"])
        for node in nodes
    ]


def choose_targets(module: AnsibleModule, cluster: Cluster, found: Sequence[Candidate]) -> Chosen:
    """The targets, from the current state of the cluster."""
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
    """A function that counts the slots of a target again, without the pods of this run."""

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
    """Settings of the probe's pods."""
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
    """Probe the targets and leave nothing behind."""
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
                f"Pods of the probe in namespace {namespace.name} are still terminating:"
                f" {some(left)}. Check that the kubelet of their node runs."
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
        """The reasons of all resources of each node."""
        texts: dict[str, list[str]] = {}
        for result in results:
            if result.outcome in outcomes:
                texts.setdefault(result.target.node, []).append(result.reason)
        return {node: "; ".join(parts) for node, parts in texts.items()}

    return {
        "changed": False,
        "nodes": rows,
        "failing": reasons(ProbeOutcome.FAILED),
        "unproved": reasons(ProbeOutcome.BUSY, ProbeOutcome.SKIPPED),
        "cleaned": [],
        "table": (table := probe_table(rows)),
        "verdict": (verdict := probe_verdict(results)),
        "summary": [*table, verdict],
    }


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
