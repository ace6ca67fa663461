# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: findings about nodes: whether they are there, what is on them, and who
else is. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.names import (
    CORDONED_ANNOTATION,
    PROFILE_LABEL,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.engine import (
    Check,
    Match,
    Severity,
    match_on,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.objects import (
    DRIVER,
    HAMI,
    OTHER_PLUGIN,
    TOOLKIT,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.snapshot import (
    PODS,
    NodeTrace,
    NodeView,
    Snapshot,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.capacity import (
    GFD_LABEL,
    is_invalid,
    labels_fit,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.mig import (
    MIG_LABEL,
    STATE_LABEL,
    is_busy,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import (
    COUNT_LABEL,
    PRESENT_LABEL,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.keys import is_versioned

_SITE = "ansible-playbook gpufleet.sharing.site -i inventory"
OPERANDS_LABEL = "nvidia.com/gpu.deploy.operands"
PLUGIN_LABEL = "nvidia.com/gpu.deploy.device-plugin"
UPGRADE_LABEL = "nvidia.com/gpu-driver-upgrade-state"
_UPGRADED = ("", "unknown", "upgrade-done")
_PAUSED = "paused-for-mig-change"
_BLOCKED = ("toolkit-validation", "driver-validation")
Where = Callable[[NodeTrace, NodeView], "dict[str, str] | None"]


def each(find: Where) -> Callable[[Snapshot], Iterator[Match]]:
    """A finding of single nodes: find gives its values, None where there is none."""

    def over_all(snapshot: Snapshot) -> Iterator[Match]:
        for trace, view in snapshot.present():
            if (values := find(trace, view)) is not None:
                yield match_on(trace.node, **values)

    return over_all


def _not_there(snapshot: Snapshot) -> Iterator[Match]:
    for trace in snapshot.traces.values():
        if trace.view is None:
            yield match_on(trace.node)


def _not_known(snapshot: Snapshot) -> Iterator[Match]:
    """With a limit the nodes outside of it are known, but nobody asks for more."""
    if snapshot.whole and snapshot.known == snapshot.desired.assignments.keys():
        for node in sorted(snapshot.nodes.keys() - snapshot.known):
            yield match_on(node)


def _not_ready(_trace: NodeTrace, view: NodeView) -> dict[str, str] | None:
    return None if view.state.ready else {}


def _cordoned(_trace: NodeTrace, view: NodeView) -> dict[str, str] | None:
    if not view.cordoned:
        return None
    ours = CORDONED_ANNOTATION in view.state.annotations
    return {"whose": "by a run of this collection that was killed" if ours else "by somebody"}


def _no_gpus(_trace: NodeTrace, view: NodeView) -> dict[str, str] | None:
    value = view.state.labels.get(PRESENT_LABEL, "missing")
    return None if value == "true" else {"value": value}


def _label(snapshot: Snapshot) -> Iterator[Match]:
    """In a fleet that goes back from versioned keys, or on to them, labels differ until site has
    run.
    """
    for trace, _view in snapshot.present():
        if trace.label == (trace.target.label or ""):
            continue
        if not trace.target.label and _same(trace, snapshot):
            continue
        yield match_on(
            trace.node,
            has=trace.label or "none",
            wanted=trace.target.label or "none",
            label=PROFILE_LABEL,
        )


def _same(trace: NodeTrace, snapshot: Snapshot) -> bool:
    """Whether the label says explicitly what would hold without it: that of the default."""
    return trace.label == snapshot.desired.default_profile and not is_versioned(trace.label)


def _switched_off(_trace: NodeTrace, view: NodeView) -> dict[str, str] | None:
    labels = view.state.labels
    if labels.get(OPERANDS_LABEL) == "false":
        return {"label": OPERANDS_LABEL, "value": "false", "change": f"{OPERANDS_LABEL}-"}
    for label in (PLUGIN_LABEL, GFD_LABEL) if labels.get(PRESENT_LABEL) == "true" else ():
        value = labels.get(label, "")
        if value not in ("true", _PAUSED):
            change = f"{label}=true --overwrite"
            return {"label": label, "value": value or "missing", "change": change}
    return None


def _mig_busy(_trace: NodeTrace, view: NodeView) -> dict[str, str] | None:
    return {"state": view.state.labels[STATE_LABEL]} if is_busy(view.state) else None


def _mig_failed(_trace: NodeTrace, view: NodeView) -> dict[str, str] | None:
    failed = view.state.labels.get(STATE_LABEL) == "failed"
    return {"config": view.state.labels.get(MIG_LABEL, "none")} if failed else None


def _mig_uneven(_trace: NodeTrace, view: NodeView) -> dict[str, str] | None:
    return {} if is_invalid(view.state) else None


def _driver(trace: NodeTrace, _view: NodeView) -> dict[str, str] | None:
    for kind in (DRIVER, TOOLKIT):
        found = trace.operands.get(kind)
        if found is not None and not found.pod.ready:
            return {"what": kind, "said": f"pod {found.pod.name} of the {kind} is {found.state}"}
    if trace.plugin is not None and trace.plugin.blocked in _BLOCKED:
        said = f"pod {trace.plugin.pod.name} waits in {trace.plugin.blocked}"
        return {"what": "driver or toolkit", "said": said}
    return None


def _upgrading(_trace: NodeTrace, view: NodeView) -> dict[str, str] | None:
    state = view.state.labels.get(UPGRADE_LABEL, "")
    return None if state in _UPGRADED else {"state": state}


def _mixed(trace: NodeTrace, view: NodeView) -> dict[str, str] | None:
    """GFD counts the GPUs of one model only: the plugin serves more, in whole GPUs."""
    counted, actual = view.state.physical, trace.verdict.actual
    replicas = trace.target.profile.replicas
    if counted is None or is_invalid(view.state) or "," in trace.verdict.resource:
        return None
    more = actual > counted * replicas and actual % replicas == 0
    if not more or not labels_fit(view.state, trace.target.profile):
        return None
    served = str(actual // replicas)
    return {"served": served, "counted": str(counted), "label": COUNT_LABEL}


def _count(trace: NodeTrace, view: NodeView) -> dict[str, str] | None:
    stated, counted = trace.target.gpus, view.state.physical
    if stated is None or counted is None or stated == counted or "MIG" in trace.product:
        return None
    return {"stated": str(stated), "counted": str(counted)}


def _unhealthy(trace: NodeTrace, view: NodeView) -> dict[str, str] | None:
    """Unhealthy GPUs lower allocatable and not capacity. So does a plugin that is away.

    v0.19.3 takes one slot of such a GPU away and leaves the others; other numbers have other
    reasons.
    """
    verdict = trace.verdict
    expected, resource = verdict.expected or 0, verdict.resource
    lost = expected - verdict.actual
    likely = lost % trace.target.profile.replicas == 0 or lost <= (verdict.physical or 0)
    fewer = lost > 0 and expected == view.capacity.get(resource, 0)
    if not (trace.plugin_ready and fewer and likely):
        return None
    slots = "one slot" if lost == 1 else f"{lost} slots"
    return {"lost": slots, "actual": str(verdict.actual), "expected": str(expected)}


def _hami(snapshot: Snapshot) -> Iterator[Match]:
    running = {found.node for found in snapshot.foreign_pods if found.kind == HAMI}
    for trace, view in snapshot.present():
        if view.hami or trace.node in running:
            yield match_on(trace.node)


def _kai(snapshot: Snapshot) -> Iterator[Match]:
    for trace, _view in snapshot.present():
        users = [pod for pod in trace.workloads if pod.kai and pod.active]
        if users and trace.target.profile.replicas > 1:
            yield match_on(trace.node, pod=str(users[0]), profile=trace.target.profile.name)


def _other_plugin(snapshot: Snapshot) -> Iterator[Match]:
    found: dict[str, list[str]] = defaultdict(list)
    for foreign_pod in snapshot.foreign_pods:
        if foreign_pod.kind == OTHER_PLUGIN and foreign_pod.node in snapshot.traces:
            found[foreign_pod.node].append(str(foreign_pod))
    for node, pods in sorted(found.items()):
        namespace = pods[0].partition("/")[0]
        yield match_on(node, pod=min(pods), namespace=namespace)


CHECKS = (
    Check(
        code="GS019",
        severity=Severity.ERROR,
        title="A node of the inventory is not in the cluster",
        cause="not in the cluster",
        seen="{nodes}: no node of this name.",
        why="It gets no profile. Mostly its Kubernetes name is another one, or it has left.",
        fix="Correct the inventory, or set gpu_sharing_node_name on the host to what kubectl get"
        " nodes shows.",
        find=_not_there,
    ),
    Check(
        code="GS020",
        severity=Severity.INFO,
        title="A GPU node is not in the inventory",
        cause="not in the inventory",
        seen="{nodes}: has GPUs, and the inventory does not know it.",
        why="Nobody decides what it shares: without a label it has the default profile.",
        fix="Add it to a group below gpu_nodes.",
        find=_not_known,
    ),
    Check(
        code="GS021",
        severity=Severity.ERROR,
        title="A node is NotReady",
        cause="NotReady",
        seen="{nodes}: the condition Ready is not True.",
        why="No pod starts there, and what the node says of its GPUs is old.",
        fix="Look why: kubectl describe node {node}. A later run of site brings its profile.",
        find=each(_not_ready),
    ),
    Check(
        code="GS022",
        severity=Severity.WARNING,
        title="A node is cordoned",
        cause="cordoned {whose}",
        seen="{nodes}: cordoned {whose}.",
        why="Its free slots are given to nobody.",
        fix="kubectl uncordon {nodes}",
        find=each(_cordoned),
        follows=("GS030",),
    ),
    Check(
        code="GS023",
        severity=Severity.ERROR,
        title="The operator sees no GPU on a node",
        cause="no GPU is seen",
        seen="{nodes}: nvidia.com/gpu.present is {value}.",
        why="Node Feature Discovery tells the operator where NVIDIA devices are; without it"
        " nothing is installed there.",
        fix="Look for the label feature.node.kubernetes.io/pci-10de.present: kubectl get node"
        " {node} --show-labels; and at the pods of node-feature-discovery. A node without GPUs"
        " does not belong into gpu_nodes.",
        find=each(_no_gpus),
        follows=("GS001", "GS002", "GS003", "GS021"),
    ),
    Check(
        code="GS024",
        severity=Severity.ERROR,
        title="The label of a node is not what the inventory says",
        cause="{label} is {has}, not {wanted}",
        seen="{nodes}: {label} is {has}; by the inventory it is {wanted}.",
        why="The plugin acts on the label at once: these nodes share as the label says.",
        fix=_SITE + " sets it; or give the node that profile in the inventory.",
        find=_label,
        follows=("GS001",),
    ),
    Check(
        code="GS025",
        severity=Severity.ERROR,
        title="The operator's pods are switched off on a node",
        cause="{label} is {value}",
        seen="{nodes}: the label {label} is {value}.",
        why="It keeps the pods of the device plugin or of GPU feature discovery away, while the"
        " ClusterPolicy stays ready. Removing the label of a single operand does not bring it"
        " back.",
        fix="kubectl label node {nodes} {change}",
        find=each(_switched_off),
        follows=("GS001", "GS002", "GS023"),
    ),
    Check(
        code="GS026",
        severity=Severity.WARNING,
        title="MIG is being reconfigured",
        cause="nvidia.com/mig.config.state is {state}",
        seen="{nodes}: nvidia.com/mig.config.state is {state}.",
        why="NVIDIA's MIG manager takes plugin and GPU feature discovery away while it works, and"
        " profiles must not change meanwhile.",
        fix="Wait until it is success; where it stays, see kubectl logs -n gpu-operator -l"
        " app=nvidia-mig-manager --field-selector spec.nodeName={node}",
        find=each(_mig_busy),
    ),
    Check(
        code="GS027",
        severity=Severity.ERROR,
        title="MIG could not be configured",
        cause="nvidia.com/mig.config {config} has failed",
        seen="{nodes}: nvidia.com/mig.config is {config}, and its state is failed.",
        why="The GPUs are not cut as asked for: mostly a pod uses one, or the card does not know"
        " the configuration.",
        fix="Free the GPUs and set it again: "
        + _SITE
        + "; or name a configuration that the card has:"
        " kubectl label node {nodes} nvidia.com/mig.config=all-disabled --overwrite",
        find=each(_mig_failed),
    ),
    Check(
        code="GS028",
        severity=Severity.ERROR,
        title="GPUs are cut unlike each other",
        cause="MIG strategy single, and GPUs cut unlike each other",
        seen="{nodes}: nvidia.com/gpu.product ends in MIG-INVALID.",
        why="With MIG strategy single the plugin serves nothing where the GPUs of a node are not"
        " all cut alike.",
        fix="Cut them alike: kubectl label node {nodes} nvidia.com/mig.config=all-disabled"
        " --overwrite; or set gpu_operator_values: mig.strategy to mixed.",
        find=each(_mig_uneven),
        follows=("GS027",),
    ),
    Check(
        code="GS029",
        severity=Severity.ERROR,
        title="Driver or container toolkit are not ready",
        cause="{what} not ready",
        seen="{node}: {said}.",
        why="The device plugin waits for both, so the node has no GPUs, or loses them at the next"
        " restart.",
        fix="See what it waits for: kubectl get pods -n gpu-operator -o wide --field-selector"
        " spec.nodeName={node}; and the log of the pod that is not Ready.",
        find=each(_driver),
        follows=("GS001", "GS021"),
        reads=(PODS,),
    ),
    Check(
        code="GS030",
        severity=Severity.WARNING,
        title="The driver is being upgraded",
        cause="nvidia.com/gpu-driver-upgrade-state is {state}",
        seen="{nodes}: nvidia.com/gpu-driver-upgrade-state is {state}.",
        why="The operator cordons the node, removes GPU pods and restarts driver and plugin.",
        fix="Wait until it is upgrade-done; where it is upgrade-failed, see the driver's pod,"
        " and then kubectl label node {nodes} nvidia.com/gpu-driver-upgrade-state=upgrade-required"
        " --overwrite",
        find=each(_upgrading),
    ),
    Check(
        code="GS031",
        severity=Severity.WARNING,
        title="A node has GPUs of several models",
        cause="GPUs of several models",
        seen="{node}: the plugin serves {served} GPUs, and {label} counts {counted}.",
        why="Labels describe the GPUs of one model only. A pod gets any of them, and numbers"
        " made of labels are too small.",
        fix="Put cards of one model into a node. Until then set gpu_sharing_gpus: {served} on the"
        " host.",
        find=each(_mixed),
    ),
    Check(
        code="GS032",
        severity=Severity.ERROR,
        title="The number of GPUs is not what the inventory says",
        cause="gpu_sharing_gpus is {stated}, counted are {counted}",
        seen="{nodes}: gpu_sharing_gpus is {stated}, and GPU feature discovery counts {counted}.",
        why="A GPU is missing (fallen off the bus, taken out), or the inventory is wrong.",
        fix="Count on the node with nvidia-smi -L. Correct gpu_sharing_gpus: {counted}, or mend the"
        " GPU.",
        find=each(_count),
        follows=("GS021", "GS031"),
    ),
    Check(
        code="GS033",
        severity=Severity.ERROR,
        title="GPUs are unhealthy",
        cause="{lost} unhealthy",
        seen="{node}: {actual} of {expected} slots are left; capacity has all of them.",
        why="The plugin takes slots of a GPU with a hardware error away, v0.19.3 a single one for a"
        " whole GPU: its other slots go on being given to pods, which fail. It does not see that a"
        " GPU is well again, and gives the slot back when it starts anew or changes its profile,"
        " whether the GPU is well or not.",
        fix="See the plugin's log and dmesg of the node for Xid errors; reset the GPU or reboot the"
        " node: kubectl drain {node} first; then delete the plugin's pod there.",
        find=each(_unhealthy),
        follows=("GS018", "GS024", "GS039", "GS031", "GS032", "GS041"),
        reads=(PODS,),
    ),
    Check(
        code="GS034",
        severity=Severity.ERROR,
        title="HAMi shares the same GPUs",
        cause="HAMi is at work",
        seen="{nodes}: HAMi's device plugin has registered the GPUs there.",
        why="Two device plugins advertise nvidia.com/gpu and take turns in overwriting each other's"
        " number.",
        fix="Keep HAMi away: kubectl label node {nodes} gpu-; kubectl annotate node {nodes}"
        " hami.io/node-nvidia-register-; or take the nodes out of the inventory.",
        find=_hami,
    ),
    Check(
        code="GS035",
        severity=Severity.ERROR,
        title="KAI hands out fractions of GPUs that a profile shares",
        cause="KAI fractions beside profile {profile}",
        seen="{node}: {pod} uses, or holds, a fraction of a GPU by KAI.",
        why="KAI reserves one slot and takes it for a whole GPU: others get slots of the same"
        " GPU, and both sides oversubscribe it.",
        fix="Give the node a profile with replicas: 1 (gpu_sharing_profile: no-sharing), or move"
        " the pods with gpu-fraction to other nodes.",
        find=_kai,
        reads=(PODS,),
    ),
    Check(
        code="GS036",
        severity=Severity.ERROR,
        title="Another device plugin runs on a node",
        cause="device plugin in namespace {namespace}",
        seen="{node}: {pod} is a device plugin that is not the operator's.",
        why="Both register nvidia.com/gpu at the kubelet, the last one wins, and after each"
        " restart it is another one.",
        fix="Remove it: kubectl get daemonset -n {namespace}, and delete the one of {pod}.",
        find=_other_plugin,
        reads=(PODS,),
    ),
)
