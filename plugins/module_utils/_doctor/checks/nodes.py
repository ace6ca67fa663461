# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: findings GS019 to GS036, GS063: nodes, their labels and hardware, and other systems
on them. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from ..._common.names import CORDONED_ANNOTATION, PROFILE_LABEL
from ..._common.text import either, plural
from ..._nodes.admission import did_you_mean
from ..._nodes.capacity import GFD_LABEL, is_invalid, labels_fit
from ..._nodes.maintenance import (
    PAUSED_FOR_MIG,
    PAUSED_PREFIX,
    UPGRADE_FAILED,
    UPGRADE_LABEL,
    UPGRADE_REQUIRED,
    paused_label,
    upgrade_state,
)
from ..._nodes.mig import MIG_LABEL, STATE_LABEL, is_busy
from ..._nodes.platform import vm_workload
from ..._nodes.state import COUNT_LABEL, PRESENT_LABEL
from ..._profiles.keys import is_versioned
from ..causes import SITE
from ..engine import Check, Match, Severity, per_node
from ..snapshot import DRIVER, HAMI, OTHER_PLUGIN, PODS, TOOLKIT, NodeTrace, Snapshot
from ..texts import Nodes

OPERANDS_LABEL = "nvidia.com/gpu.deploy.operands"
PLUGIN_LABEL = "nvidia.com/gpu.deploy.device-plugin"
MIG_TIMEOUT = timedelta(minutes=15)  # as long as gpu_nodes waits by default
_LABEL_SEEN = "{names}: {label} is {has}; the inventory requires {wanted}."
_MOST_LABELS = 8  # differences that GS024 shows besides the first
_BLOCKED = ("toolkit-validation", "driver-validation")
_FEATURE_DISCOVERY = {"app.kubernetes.io/name": "node-feature-discovery", "role": "worker"}
Values = Iterator[Mapping[str, str]]


def _not_in_cluster(snapshot: Snapshot) -> Iterator[Match]:
    missing = sorted(trace.node for trace in snapshot.traces.values() if not trace.exists)
    similar = did_you_mean(missing, snapshot.nodes.keys() - snapshot.inventory_nodes)
    for node in missing:
        yield Match((node,), {"similar": similar})


def _not_in_inventory(snapshot: Snapshot) -> Iterator[Match]:
    """Only for runs that cover the whole inventory."""
    known = snapshot.inventory_nodes
    if snapshot.complete and known == snapshot.desired.assignments.keys():
        for node in sorted(snapshot.nodes.keys() - known):
            if not vm_workload(snapshot.nodes[node].state.labels, snapshot.policy):
                yield Match((node,))


def _not_ready(trace: NodeTrace, _snapshot: Snapshot) -> Values:
    if not trace.state.ready:
        yield {}


def _cordoned(trace: NodeTrace, _snapshot: Snapshot) -> Values:
    if trace.view.cordoned:
        ours = CORDONED_ANNOTATION in trace.state.annotations
        by = "a killed run of this collection" if ours else "somebody else"
        yield {"by": by}


def _no_gpus(trace: NodeTrace, snapshot: Snapshot) -> Values:
    value = trace.state.labels.get(PRESENT_LABEL, "missing")
    if value != "true":
        yield {"value": value, "taints": snapshot.taints_for(trace.view, _FEATURE_DISCOVERY)}


def _labels(snapshot: Snapshot) -> Iterator[Match]:
    """All in one match: the same run of site sets them."""
    nodes: dict[tuple[str, str], list[str]] = defaultdict(list)
    for trace in snapshot.existing():
        if _label_differs(trace, snapshot):
            nodes[trace.label, trace.target.label or ""].append(trace.node)
    if not nodes:
        return
    first, *others = (_difference(names, *labels, snapshot) for labels, names in nodes.items())
    texts = [_LABEL_SEEN.format_map(other) for other in others[:_MOST_LABELS]]
    if more := len(others[_MOST_LABELS:]):
        texts.append(f"{plural(more, 'other difference')}.")
    values = {
        **first,
        "differs": "differs" if others else "is {has}, not {wanted}".format_map(first),
        "others": "".join(f" {text}" for text in texts),
        "instead": _assign_instead([has for has, _wanted in nodes], snapshot),
    }
    yield Match(tuple(name for names in nodes.values() for name in names), values)


def _label_differs(trace: NodeTrace, snapshot: Snapshot) -> bool:
    """A label that names the default profile explicitly changes nothing. When a fleet moves to
    versioned keys, or back, labels differ until site has run.
    """
    has, wanted = trace.label, trace.target.label or ""
    same = has == snapshot.desired.default_profile and not is_versioned(has)
    return has != wanted and bool(wanted or not same)


def _difference(
    nodes: Sequence[str], has: str, wanted: str, snapshot: Snapshot
) -> Mapping[str, str]:
    """The values for the text about nodes with the same difference."""
    data = snapshot.active_data
    missing = ", a missing key" if has and data is not None and has not in data else ""
    return {
        "names": str(Nodes(nodes)),
        "label": PROFILE_LABEL,
        "has": f"{has or 'none'}{missing}",
        "wanted": wanted or "none",
    }


def _assign_instead(labels: Sequence[str], snapshot: Snapshot) -> str:
    """The advice to follow the labels, for those that name a profile."""
    if names := sorted(set(labels) & snapshot.desired.profiles.keys()):
        profile = f"gpu_sharing_profile: {either(names)}"
        return f" If the label is right, assign the profile in the inventory instead ({profile})."
    return ""


def _switched_off(trace: NodeTrace, _snapshot: Snapshot) -> Values:
    labels = trace.state.labels
    if labels.get(OPERANDS_LABEL) == "false":
        yield {"label": OPERANDS_LABEL, "value": "false", "change": f"{OPERANDS_LABEL}-"}
    elif labels.get(PRESENT_LABEL) == "true":
        for label in (PLUGIN_LABEL, GFD_LABEL):
            value = labels.get(label, "missing")
            if value != "true" and not value.startswith(PAUSED_PREFIX):
                yield {"label": label, "value": value, "change": f"{label}=true"}
                break


def _mig_busy(trace: NodeTrace, snapshot: Snapshot) -> Iterator[Match]:
    if is_busy(trace.state):
        since, now = trace.view.mig_state_since, snapshot.now
        stuck = since is not None and now is not None and now - since > MIG_TIMEOUT
        state = trace.state.labels[STATE_LABEL] + (f" for more than {MIG_TIMEOUT}" if stuck else "")
        values = {"state": state, "namespace": snapshot.operator_namespace}
        yield Match(values=values, severity=Severity.ERROR if stuck else None)


def _mig_failed(trace: NodeTrace, _snapshot: Snapshot) -> Values:
    if trace.state.labels.get(STATE_LABEL) == "failed":
        yield {"config": trace.state.labels.get(MIG_LABEL, "none")}


def _mig_inconsistent(trace: NodeTrace, _snapshot: Snapshot) -> Values:
    if is_invalid(trace.state):
        yield {}


def _driver(trace: NodeTrace, snapshot: Snapshot) -> Values:
    namespace = snapshot.operator_namespace
    for kind in (DRIVER, TOOLKIT):
        operand = trace.operands.get(kind)
        if operand is not None and not operand.pod.ready:
            state = f"pod {operand.pod.name} of the {kind} is {operand.state}"
            yield {"what": kind, "state": state, "namespace": namespace}
            return
    plugin = trace.plugin
    if plugin is not None and plugin.blocked in _BLOCKED:
        state = f"pod {plugin.pod.name} waits in {plugin.blocked}"
        yield {"what": "driver or toolkit", "state": state, "namespace": namespace}


def _paused(trace: NodeTrace, _snapshot: Snapshot) -> Iterator[Match]:
    """The MIG manager's pause is GS026, while it works."""
    labels = trace.state.labels
    label = UPGRADE_LABEL if upgrade_state(trace.state) else paused_label(trace.state)
    if label and not (labels[label] == PAUSED_FOR_MIG and is_busy(trace.state)):
        failed = labels[label] == UPGRADE_FAILED
        values = {"label": label, "state": labels[label]}
        yield Match(values=values, severity=Severity.ERROR if failed else None)


def _upgrade_due(trace: NodeTrace, _snapshot: Snapshot) -> Values:
    """Nothing has been touched yet, so it explains nothing."""
    if trace.state.labels.get(UPGRADE_LABEL) == UPGRADE_REQUIRED:
        yield {}


def _mixed_models(trace: NodeTrace, _snapshot: Snapshot) -> Values:
    """GFD counts the GPUs of one model only, while the plugin serves all of them."""
    counted, actual = trace.state.physical, trace.verdict.actual
    replicas = trace.target.profile.replicas
    if counted is None or is_invalid(trace.state) or "," in trace.verdict.resource:
        return
    more = actual > counted * replicas and actual % replicas == 0
    if more and labels_fit(trace.state, trace.target.profile):
        served = str(actual // replicas)
        yield {"served": served, "counted": str(counted), "label": COUNT_LABEL}


def _count(trace: NodeTrace, _snapshot: Snapshot) -> Values:
    stated, counted = trace.target.gpus, trace.state.physical
    known = stated is not None and counted is not None and "MIG" not in trace.product
    if known and stated != counted:
        yield {"stated": str(stated), "counted": str(counted)}


def _unhealthy(trace: NodeTrace, snapshot: Snapshot) -> Values:
    """Unhealthy GPUs lower allocatable but not capacity. So does a missing plugin.

    v0.19.3 removes one slot of such a GPU and leaves the others. Other numbers have other causes.
    """
    verdict = trace.verdict
    expected = verdict.expected or 0
    lost = expected - verdict.actual
    likely = lost % trace.target.profile.replicas == 0 or lost <= (verdict.physical or 0)
    fewer = lost > 0 and expected == trace.view.capacity.get(verdict.resource, 0)
    if trace.plugin_ready and fewer and likely:
        lost_slots = "one slot" if lost == 1 else plural(lost, "slot")
        numbers = {"actual": str(verdict.actual), "expected": str(expected)}
        yield {"lost": lost_slots, **numbers, "namespace": snapshot.operator_namespace}


def _hami(trace: NodeTrace, snapshot: Snapshot) -> Values:
    running = (pod for pod in snapshot.foreign_pods if pod.kind == HAMI)
    if trace.view.hami or any(pod.node == trace.node for pod in running):
        yield {}


def _kai(trace: NodeTrace, snapshot: Snapshot) -> Values:
    users = [pod for pod in trace.workloads if pod.kai and pod.active]
    if users and trace.target.profile.replicas > 1:
        profiles = snapshot.desired.profiles.items()
        whole = sorted(name for name, profile in profiles if profile.replicas == 1)
        such = (
            f"gpu_sharing_profile: {either(whole)}" if whole else "add one to gpu_sharing_profiles"
        )
        yield {"pod": str(users[0]), "profile": trace.target.profile.name, "such": such}


def _other_plugin(snapshot: Snapshot) -> Iterator[Match]:
    pods: dict[str, list[str]] = defaultdict(list)
    for pod in snapshot.foreign_pods:
        if pod.kind == OTHER_PLUGIN and pod.node in snapshot.traces:
            pods[pod.node].append(str(pod))
    for node, names in sorted(pods.items()):
        namespace = names[0].partition("/")[0]
        yield Match((node,), {"pod": min(names), "namespace": namespace})


CHECKS = (
    Check(
        code="GS019",
        title="A node of the inventory is not in the cluster",
        cause="not in the cluster",
        seen="{nodes}: the cluster has no node of this name.{similar}",
        why="The node gets no profile. Usually its Kubernetes name differs, or it has left the"
        " cluster.",
        fix="Correct the inventory, or set gpu_sharing_node_name on the host to the name that"
        " `kubectl get nodes` shows.",
        find=_not_in_cluster,
    ),
    Check(
        code="GS020",
        severity=Severity.INFO,
        title="A GPU node is not in the inventory",
        cause="not in the inventory",
        seen="{nodes}: has GPUs, but is not in the inventory.",
        why="No profile is assigned to the node: without a label it has the default profile.",
        fix="Add it to a group below gpu_nodes. If somebody else manages it, accept the finding:"
        " gpu_sharing_doctor_accept: [GS020].",
        find=_not_in_inventory,
    ),
    Check(
        code="GS021",
        title="A node is NotReady",
        cause="NotReady",
        seen="{nodes}: the condition Ready is not True.",
        why="No pod starts there, and what the node reports about its GPUs is outdated.",
        fix="Find the cause: `kubectl describe node {node:q}`. A later run of site applies its"
        " profile.",
        find=per_node(_not_ready),
    ),
    Check(
        code="GS022",
        severity=Severity.WARNING,
        title="A node is cordoned",
        cause="cordoned by {by}",
        seen="{nodes}: cordoned by {by}.",
        why="No new pod gets its free slots.",
        fix="After a killed run the next run of site uncordons it. If somebody else has cordoned"
        " it, ask whether the work on it is done: `kubectl uncordon {nodes:q}`",
        find=per_node(_cordoned),
        follows=("GS030",),
    ),
    Check(
        code="GS023",
        title="The operator sees no GPU on a node",
        cause="no GPU is seen, taints: {taints}",
        seen="{nodes}: nvidia.com/gpu.present is {value}. Taints of the node that Node Feature"
        " Discovery does not tolerate: {taints}.",
        why="Node Feature Discovery shows the operator where NVIDIA devices are. Without it the"
        " operator installs nothing there.",
        fix="If there is a taint, tolerate it in gpu_operator_values:"
        " node-feature-discovery.worker.tolerations and daemonsets.tolerations. Otherwise look for"
        " the label feature.node.kubernetes.io/pci-10de.present: `kubectl get node"
        " {node:q} --show-labels`; and check the pods of node-feature-discovery. A node without"
        " GPUs does not belong in gpu_nodes.",
        find=per_node(_no_gpus),
        follows=("GS001", "GS002", "GS003", "GS021", "GS055", "GS057"),
    ),
    Check(
        code="GS024",
        title="The label of a node differs from the inventory",
        cause="{label} {differs}",
        seen=_LABEL_SEEN + "{others}",
        why="The plugin applies a label at once: the node shares as its label says. If the label"
        " names a missing key, config-manager fails, and the node keeps its configuration until the"
        " plugin restarts; then it silently serves the default profile.",
        fix="Run " + SITE + " to set the labels.{instead}",
        find=_labels,
        follows=("GS001", "GS002"),
    ),
    Check(
        code="GS025",
        title="Pods of the operator are disabled on a node",
        cause="{label} is {value}",
        seen="{nodes}: the label {label} is {value}.",
        why="It keeps the pods of the device plugin or of GPU feature discovery away, while the"
        " ClusterPolicy stays ready. Removing the label of a single operand does not bring it"
        " back.",
        fix="`kubectl label node {nodes:q} {change:q} --overwrite`",
        find=per_node(_switched_off),
        follows=("GS001", "GS002", "GS023", "GS055", "GS057"),
    ),
    Check(
        code="GS026",
        severity=Severity.WARNING,
        title="MIG is being reconfigured",
        cause="nvidia.com/mig.config.state is {state}",
        seen="{nodes}: nvidia.com/mig.config.state is {state}.",
        why="NVIDIA's MIG manager removes the plugin and GPU feature discovery while it works, and"
        " profiles must not change during that time.",
        fix="Wait until it is success; if it does not change, read the log of the pod that `kubectl"
        " get pods -n {namespace:q} -l app=nvidia-mig-manager --field-selector"
        " spec.nodeName={node:q}` shows.",
        find=per_node(_mig_busy),
    ),
    Check(
        code="GS027",
        title="MIG could not be configured",
        cause="nvidia.com/mig.config {config} has failed",
        seen="{nodes}: nvidia.com/mig.config is {config}, and its state is failed.",
        why="The GPUs are not partitioned as requested. Usually a pod uses one, or the GPU model"
        " does not support the configuration.",
        fix="Move the pods that use its GPUs to other nodes. If its profile names a MIG"
        " configuration that the GPU supports, run "
        + SITE
        + " to set it again; otherwise correct the profile. If the profile names none, set one that"
        " the GPU supports: `kubectl label node {nodes:q}"
        " nvidia.com/mig.config=all-disabled --overwrite`",
        find=per_node(_mig_failed),
    ),
    Check(
        code="GS028",
        title="Inconsistent MIG layout on one node",
        cause="MIG strategy single, and inconsistent MIG layout",
        seen="{nodes}: nvidia.com/gpu.product ends in MIG-INVALID.",
        why="With MIG strategy single the plugin serves nothing unless all GPUs of a node have the"
        " same MIG layout.",
        fix="Give them the same layout: `kubectl label node {nodes:q}"
        " nvidia.com/mig.config=all-disabled --overwrite`; or set gpu_operator_values: mig.strategy"
        " to mixed.",
        find=per_node(_mig_inconsistent),
        follows=("GS027",),
    ),
    Check(
        code="GS029",
        title="Driver or container toolkit is not ready",
        cause="{what} not ready",
        seen="{node}: {state}.",
        why="The device plugin waits for both, so the node has no GPUs, or loses them at the next"
        " restart.",
        fix="See what it waits for: `kubectl get pods -n {namespace:q} -o wide --field-selector"
        " spec.nodeName={node:q}`; and read the log of the pod that is not Ready.",
        find=per_node(_driver),
        follows=("GS001", "GS021"),
        reads=(PODS,),
    ),
    Check(
        code="GS030",
        severity=Severity.WARNING,
        title="The driver is being upgraded, or another controller has paused a node",
        cause="{label} is {state}",
        seen="{nodes}: {label} is {state}.",
        why="For an upgrade the operator cordons the node, removes GPU pods and restarts driver and"
        " plugin. A controller that sets paused-for-… puts true back itself; if you do it, you"
        " break its work. site leaves the node out.",
        fix="Wait until it is upgrade-done, or true again. If it is upgrade-failed, check the"
        " driver's pod, and then run `kubectl label node {nodes:q}"
        " nvidia.com/gpu-driver-upgrade-state=upgrade-required --overwrite`",
        find=per_node(_paused),
    ),
    Check(
        code="GS031",
        severity=Severity.WARNING,
        title="A node has GPUs of several models",
        cause="GPUs of several models",
        seen="{node}: the plugin serves {served} GPUs, but {label} counts {counted}.",
        why="Labels describe only the GPUs of one model. A pod gets any of them, and numbers"
        " derived from labels are too small.",
        fix="Use GPUs of one model in a node. Until then set gpu_sharing_gpus: {served} on the"
        " host.",
        find=per_node(_mixed_models),
    ),
    Check(
        code="GS032",
        title="The number of GPUs differs from the inventory",
        cause="gpu_sharing_gpus is {stated}, but the count is {counted}",
        seen="{nodes}: gpu_sharing_gpus is {stated}, but GPU feature discovery counts {counted}.",
        why="A GPU is missing (fallen off the bus or removed), or the inventory is wrong.",
        fix="Count on the node with `nvidia-smi -L`. Correct gpu_sharing_gpus: {counted}, or repair"
        " the GPU.",
        find=per_node(_count),
        follows=("GS021", "GS031"),
    ),
    Check(
        code="GS033",
        title="GPUs are unhealthy",
        cause="{lost} unhealthy",
        seen="{node}: {actual} of {expected} slots are allocatable; capacity has all of them.",
        why="The plugin removes slots of a GPU that has a hardware error. v0.19.3 removes only one"
        " for a whole GPU: pods still get its other slots, and fail. The plugin does not detect"
        " that a GPU is healthy again. It restores the slot when it restarts or changes its"
        " profile, whether the GPU is healthy or not.",
        fix="Check the plugin's log and the node's dmesg for Xid errors. Drain the node: `kubectl"
        " drain {node:q} --ignore-daemonsets`, and reset the GPU or reboot the node. Then restart"
        " the plugin there: `kubectl delete pod -n {namespace:q} -l"
        " app=nvidia-device-plugin-daemonset --field-selector spec.nodeName={node:q}`, and"
        " uncordon the node: `kubectl uncordon {node:q}`",
        find=per_node(_unhealthy),
        follows=("GS018", "GS024", "GS039", "GS031", "GS032", "GS041"),
        reads=(PODS,),
    ),
    Check(
        code="GS034",
        title="HAMi shares the same GPUs",
        cause="HAMi is running",
        seen="{nodes}: HAMi's device plugin has registered the GPUs there.",
        why="Two device plugins advertise nvidia.com/gpu and keep overwriting each other's number.",
        fix="Keep HAMi away: `kubectl label node {nodes:q} gpu-`; `kubectl annotate node {nodes:q}"
        " hami.io/node-nvidia-register-`; or remove the nodes from the inventory.",
        find=per_node(_hami),
    ),
    Check(
        code="GS035",
        title="KAI allocates fractions of GPUs that a profile shares",
        cause="KAI fractions with profile {profile}",
        seen="{node}: {pod} uses or reserves a fraction of a GPU through KAI.",
        why="KAI reserves one slot and treats it as a whole GPU: other pods get slots of the same"
        " GPU, and both sides oversubscribe it.",
        fix="Give the node a profile with replicas: 1 ({such}), or move the pods with"
        " gpu-fraction to other nodes.",
        find=per_node(_kai),
        reads=(PODS,),
    ),
    Check(
        code="GS036",
        title="Another device plugin runs on a node",
        cause="device plugin in namespace {namespace}",
        seen="{node}: {pod} is a device plugin that does not belong to the operator.",
        why="Both register nvidia.com/gpu with the kubelet. The last one wins, and each restart"
        " changes which one that is.",
        fix="Delete the DaemonSet of {pod}, which this shows: `kubectl get daemonset -n"
        " {namespace:q}`",
        find=_other_plugin,
        reads=(PODS,),
    ),
    Check(
        code="GS063",
        severity=Severity.INFO,
        title="A driver upgrade is due",
        cause="nvidia.com/gpu-driver-upgrade-state is upgrade-required",
        seen="{nodes}: nvidia.com/gpu-driver-upgrade-state is upgrade-required.",
        why="The operator will upgrade the driver of the node in its turn. Nothing has been touched"
        " yet.",
        fix="No action is needed.",
        find=per_node(_upgrade_due),
    ),
)
