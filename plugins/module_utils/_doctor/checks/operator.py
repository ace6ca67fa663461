# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: findings about the GPU Operator and its pointer. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.documents import dig, text_at
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.engine import (
    Check,
    Match,
    Severity,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.snapshot import (
    DAEMON_SETS,
    GPU_CLUSTERS,
    POLICY,
    Snapshot,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.operands import OperandPod
from ansible_collections.gpufleet.sharing.plugins.module_utils._provider.cluster_policy import (
    enabled_apps,
    reports_no_gpus,
    with_operator_message,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._provider.daemonsets import (
    app_of,
    blocking_pods_message,
    has_config_manager,
    reason_outdated,
)

_SITE = "ansible-playbook gpufleet.sharing.site -i inventory"
_PATCH = (
    "kubectl patch clusterpolicy {policy} --type merge -p"
    ' \'{{"spec": {{"devicePlugin": {{"config":'
    ' {{"name": "{config_map}", "default": "{profile}"}}}}}}}}\''
)


def _gpu_cluster(snapshot: Snapshot) -> Iterator[Match]:
    for name in snapshot.gpu_clusters:
        yield Match(snapshot.names, {"name": name})


def _no_policy(snapshot: Snapshot) -> Iterator[Match]:
    if snapshot.policy is None:
        there = ", ".join(snapshot.policies) or "none at all"
        yield Match(snapshot.names, {"policy": snapshot.location.cluster_policy, "there": there})


def _ignored(snapshot: Snapshot) -> Iterator[Match]:
    """The operator does not tell: it writes no status into a ClusterPolicy that it ignores."""
    name = snapshot.location.cluster_policy
    if snapshot.policy is not None and snapshot.policies[0] != name:
        yield Match(snapshot.names, {"policy": name, "active": snapshot.policies[0]})


def _namespace(snapshot: Snapshot) -> Iterator[Match]:
    told = text_at(snapshot.policy, "status", "namespace")
    if told and told != snapshot.location.namespace:
        yield Match(snapshot.names, {"told": told, "namespace": snapshot.location.namespace})


def _disabled(snapshot: Snapshot) -> Iterator[Match]:
    if dig(snapshot.policy, "spec", "devicePlugin", "enabled") is False:
        yield Match(snapshot.names, {"policy": snapshot.location.cluster_policy})


def _pointer(snapshot: Snapshot) -> dict[str, str]:
    """The values of findings about the pointer."""
    return {
        "policy": snapshot.location.cluster_policy,
        "name": snapshot.pointer.name,
        "default": snapshot.pointer.default,
        "config_map": snapshot.location.config_map,
        "profile": snapshot.desired.default_profile,
    }


def _unset(snapshot: Snapshot) -> Iterator[Match]:
    if snapshot.policy is not None and not snapshot.pointer.name:
        yield Match(snapshot.names, _pointer(snapshot))


def _elsewhere(snapshot: Snapshot) -> Iterator[Match]:
    if snapshot.pointer.name not in ("", snapshot.location.config_map):
        yield Match(snapshot.names, _pointer(snapshot))


def _no_default(snapshot: Snapshot) -> Iterator[Match]:
    if snapshot.pointer.name and not snapshot.pointer.default:
        nodes = (trace.node for trace, _view in snapshot.present() if not trace.label)
        yield Match(tuple(nodes), _pointer(snapshot))


def _other_default(snapshot: Snapshot) -> Iterator[Match]:
    ours = snapshot.pointer.name == snapshot.location.config_map
    if ours and snapshot.pointer.default not in ("", snapshot.desired.default_profile):
        nodes = (trace.node for trace, _view in snapshot.present() if not trace.label)
        yield Match(tuple(nodes), _pointer(snapshot))


def _no_side_car(snapshot: Snapshot) -> Iterator[Match]:
    if snapshot.pointer.name:
        for item in snapshot.daemon_sets:
            app = app_of(item)
            if app in enabled_apps(snapshot.policy) and not has_config_manager(item):
                yield Match(snapshot.names, {"app": app, "namespace": snapshot.operator})


def _lags(snapshot: Snapshot) -> Iterator[Match]:
    """A DaemonSet without the side-car has a finding of its own. Where no node has a GPU, as the
    operator sees it, it leaves them all as they are.
    """
    if snapshot.policy is None or reports_no_gpus(snapshot.policy):
        return
    sets = {app_of(item): item for item in snapshot.daemon_sets}
    for app in enabled_apps(snapshot.policy):
        item = sets.get(app)
        bare = item is not None and snapshot.pointer.name and not has_config_manager(item)
        said = "" if bare else reason_outdated(item, snapshot.policy)
        if said:
            told = with_operator_message(said, snapshot.policy)
            if stuck := _unavailable(snapshot, app):
                told += f"; {blocking_pods_message(stuck)}"
            yield Match(snapshot.names, {"said": told, "namespace": snapshot.operator, "app": app})


def _unavailable(snapshot: Snapshot, app: str) -> list[OperandPod]:
    """Pods that are not ready, or cannot go, on nodes that are not Ready."""
    return [
        found.pod
        for node, operands in sorted(snapshot.operands.items())
        for found in operands
        if found.pod.app == app and found.pod.unavailable and not _is_ready(snapshot, node)
    ]


def _is_ready(snapshot: Snapshot, node: str) -> bool:
    return node in snapshot.nodes and snapshot.nodes[node].state.ready


CHECKS = (
    Check(
        code="GS001",
        severity=Severity.ERROR,
        title="The cluster is managed by a GPUCluster",
        cause="GPUCluster {name}",
        seen="There is a GPUCluster named {name}, which hands GPUs out by DRA.",
        why="Profiles are files of the device plugin, and with a GPUCluster there is no device"
        " plugin. No key and no label of this collection has any effect.",
        fix="Take the cluster out of the inventory, or go back to a ClusterPolicy:"
        " kubectl delete gpucluster {name}; then " + _SITE,
        find=_gpu_cluster,
        reads=(GPU_CLUSTERS,),
    ),
    Check(
        code="GS002",
        severity=Severity.ERROR,
        title="There is no ClusterPolicy",
        cause="ClusterPolicy {policy} is missing",
        seen="There is no ClusterPolicy {policy}. Those that are there: {there}.",
        why="Without it the GPU Operator runs nothing: no device plugin, no GPUs to ask for.",
        fix="Where Helm installed it, have it put it back: helm rollback gpu-operator REVISION -n"
        " gpu-operator, with the newest of helm history gpu-operator -n gpu-operator; otherwise "
        + _SITE
        + ". Where it has another name, set gpu_operator_cluster_policy.",
        find=_no_policy,
        follows=("GS001",),
        reads=(POLICY,),
    ),
    Check(
        code="GS003",
        severity=Severity.ERROR,
        title="The ClusterPolicy is ignored",
        cause="ClusterPolicy {policy} is ignored",
        seen="ClusterPolicy {active} is older than {policy}.",
        why="The operator goes by the oldest ClusterPolicy alone. What is set in another one has no"
        " effect, and it has no status.",
        fix="Set gpu_operator_cluster_policy: {active}, or delete that one: kubectl delete"
        " clusterpolicy {active}",
        find=_ignored,
        reads=(POLICY,),
    ),
    Check(
        code="GS004",
        severity=Severity.ERROR,
        title="The operator is in another namespace",
        cause="the operator is in {told}",
        seen="The ClusterPolicy says that the operator is in namespace {told}, and"
        " gpu_operator_namespace is {namespace}.",
        why="The device plugin mounts the ConfigMap of its own namespace. One in {namespace} is"
        " never read.",
        fix="Set gpu_operator_namespace: {told} in the inventory, and run " + _SITE,
        find=_namespace,
        reads=(POLICY,),
    ),
    Check(
        code="GS005",
        severity=Severity.ERROR,
        title="The device plugin is switched off in the ClusterPolicy",
        cause="devicePlugin.enabled is false in {policy}",
        seen="spec.devicePlugin.enabled of ClusterPolicy {policy} is false.",
        why="The operator removes the device plugin from all nodes, and the GPUs with it.",
        fix="kubectl patch clusterpolicy {policy} --type merge -p"
        ' \'{{"spec": {{"devicePlugin": {{"enabled": true}}}}}}\'; with Helm, leave'
        " devicePlugin.enabled out of gpu_operator_values.",
        find=_disabled,
        reads=(POLICY,),
    ),
    Check(
        code="GS006",
        severity=Severity.ERROR,
        title="The pointer to the profiles is not set",
        cause="devicePlugin.config.name of {policy} is empty",
        seen="spec.devicePlugin.config.name of ClusterPolicy {policy} is empty.",
        why="Then the operator leaves config-manager out of its DaemonSets: labels do nothing and"
        " nothing is shared. A Helm upgrade without the devicePlugin values drops the pointer,"
        " and a CustomResourceDefinition that is older than the chart does not store it.",
        fix=_SITE + " sets it, unless somebody patched it away beside Helm; then " + _PATCH,
        find=_unset,
        follows=("GS001", "GS003"),
        reads=(POLICY,),
    ),
    Check(
        code="GS007",
        severity=Severity.ERROR,
        title="The pointer names another ConfigMap",
        cause="devicePlugin.config.name of {policy} is {name}",
        seen="spec.devicePlugin.config.name of ClusterPolicy {policy} is {name}, and the"
        " profiles are in {config_map}.",
        why="The plugins read keys of {name}. Where that does not exist, each plugin that restarts"
        " takes the GPUs of its node away.",
        fix=_PATCH + "; where {name} is the right one, set gpu_profiles_name: {name}.",
        find=_elsewhere,
        follows=("GS001", "GS003"),
        reads=(POLICY,),
    ),
    Check(
        code="GS008",
        severity=Severity.ERROR,
        title="No default profile is set",
        cause="devicePlugin.config.default of {policy} is empty",
        seen="spec.devicePlugin.config.default of ClusterPolicy {policy} is empty.",
        why="Nodes without a label then share nothing: a key that is merely named default is not"
        " used.",
        fix=_PATCH,
        find=_no_default,
        follows=("GS001", "GS003"),
        reads=(POLICY,),
    ),
    Check(
        code="GS009",
        severity=Severity.ERROR,
        title="The default is another profile",
        cause="devicePlugin.config.default of {policy} is {default}",
        seen="spec.devicePlugin.config.default of ClusterPolicy {policy} is {default}, and"
        " gpu_sharing_default_profile is {profile}.",
        why="Nodes without a label share as {default} says, and so does every node for a moment"
        " after each restart of its plugin.",
        fix=_PATCH + "; where {default} is the right one, set gpu_sharing_default_profile:"
        " {default}.",
        find=_other_default,
        follows=("GS001", "GS003"),
        reads=(POLICY,),
    ),
    Check(
        code="GS010",
        severity=Severity.ERROR,
        title="The side-car config-manager is missing",
        cause="DaemonSet {app} has no config-manager",
        seen="The pointer is set, and DaemonSet {app} in {namespace} has no container"
        " config-manager.",
        why="Only config-manager reads the label of the node. Without it, all nodes share nothing.",
        fix="Have the operator make the DaemonSet anew: kubectl delete daemonset {app} -n"
        " {namespace}",
        find=_no_side_car,
        reads=(POLICY, DAEMON_SETS),
    ),
    Check(
        code="GS011",
        severity=Severity.ERROR,
        title="The operator has not taken the ClusterPolicy over",
        cause="DaemonSet {app} lags",
        seen="DaemonSet {app} in {namespace} {said}.",
        why="Until its DaemonSets are as the ClusterPolicy says, and have reached all nodes, nodes"
        " run with what was there before.",
        fix="See whether the operator runs: kubectl get deployment gpu-operator -n {namespace},"
        " and its log; then the pods: kubectl get pods -n {namespace} -o wide. A rollout waits for"
        " its first node that does not get Ready.",
        find=_lags,
        follows=(
            *("GS001", "GS002", "GS003", "GS004", "GS012", "GS013", "GS014", "GS016"),
            *("GS007", "GS008", "GS009", "GS010", "GS021", "GS026", "GS029", "GS030"),
        ),
        reads=(POLICY, DAEMON_SETS),
    ),
)
