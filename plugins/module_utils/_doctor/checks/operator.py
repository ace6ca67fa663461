# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: findings GS001 to GS011, GS055: GPU Operator, ClusterPolicy and device plugin config.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..._common.documents import dig, text_at
from ..._nodes.operands import OperandPod
from ..._provider.cluster_policy import enabled_apps, reports_no_gpus, with_operator_message
from ..._provider.daemonsets import (
    app_of,
    blocking_pods_message,
    has_config_manager,
    reason_outdated,
)
from ..causes import SITE
from ..engine import Check, Match
from ..snapshot import CONFIG_MAP, DAEMON_SETS, GPU_CLUSTERS, POLICY, Snapshot

_SET = (
    "Run "
    + SITE
    + " to set it, or set it yourself: `kubectl patch clusterpolicy {policy:q} --type merge -p"
    ' \'{{"spec": {{"devicePlugin": {{"config":'
    ' {{"name": "{config_map:j}", "default": "{profile:j}"}}}}}}}}\'`.'
)

_BEHIND = "DaemonSet {app} in {namespace} {state}."
_DELETED = (
    "If it is, restore the ClusterPolicy with helm rollback, with the name and the revision of that"
    " line; otherwise run " + SITE + "."
)
_NOT_INSTALLED = (
    "Nothing of it is left here, as after the playbook gpufleet.sharing.uninstall: run "
    + SITE
    + " to install it, or take the nodes out of gpu_nodes."
)


def _gpu_cluster(snapshot: Snapshot) -> Iterator[Match]:
    for name in snapshot.gpu_clusters:
        yield Match(snapshot.node_names, {"name": name})


def _no_policy(snapshot: Snapshot) -> Iterator[Match]:
    if snapshot.policy is None and not snapshot.policies:
        namespace, name = snapshot.operator_namespace, snapshot.location.cluster_policy
        advice = _NOT_INSTALLED if _looks_uninstalled(snapshot) else _DELETED
        values = {"policy": name, "namespace": namespace}
        yield Match(snapshot.node_names, {**values, "advice": advice})


def _looks_uninstalled(snapshot: Snapshot) -> bool:
    """Whether nothing of the operator or of site is left. Only the ClusterPolicy's own DaemonSets
    disappear with it; those of Node Feature Discovery and the profiles stay.
    """
    if {DAEMON_SETS, CONFIG_MAP} & snapshot.unreadable.keys():
        return False
    keys = snapshot.config_map.written if snapshot.config_map else {}
    return not (snapshot.daemon_sets or keys)


def _other_policy(snapshot: Snapshot) -> Iterator[Match]:
    """The operator uses the oldest ClusterPolicy."""
    if snapshot.policy is None and snapshot.policies:
        values = {"policy": snapshot.location.cluster_policy, "active": snapshot.policies[0]}
        yield Match(snapshot.node_names, values)


def _ignored(snapshot: Snapshot) -> Iterator[Match]:
    """The operator does not report this: it writes no status into a ClusterPolicy it ignores."""
    name = snapshot.location.cluster_policy
    if snapshot.policy is not None and snapshot.policies[0] != name:
        yield Match(snapshot.node_names, {"policy": name, "active": snapshot.policies[0]})


def _namespace(snapshot: Snapshot) -> Iterator[Match]:
    actual, expected = text_at(snapshot.policy, "status", "namespace"), snapshot.location.namespace
    if actual not in ("", expected):
        yield Match(snapshot.node_names, {"actual": actual, "namespace": expected})


def _disabled(snapshot: Snapshot) -> Iterator[Match]:
    if dig(snapshot.policy, "spec", "devicePlugin", "enabled") is False:
        yield Match(snapshot.node_names, {"policy": snapshot.location.cluster_policy})


def _config_values(snapshot: Snapshot) -> Mapping[str, str]:
    """The values of findings about the device plugin config."""
    return {
        "policy": snapshot.location.cluster_policy,
        "name": snapshot.plugin_config.name,
        "default": snapshot.plugin_config.default,
        "config_map": snapshot.location.config_map,
        "profile": snapshot.desired.default_profile,
    }


def _config_unset(snapshot: Snapshot) -> Iterator[Match]:
    if snapshot.policy is not None and not snapshot.plugin_config.name:
        yield Match(snapshot.node_names, _config_values(snapshot))


def _other_config_map(snapshot: Snapshot) -> Iterator[Match]:
    if snapshot.plugin_config.name not in ("", snapshot.location.config_map):
        yield Match(snapshot.node_names, _config_values(snapshot))


def _unlabelled(snapshot: Snapshot) -> Match:
    """The nodes that use the default profile."""
    nodes = (trace.node for trace in snapshot.existing() if not trace.label)
    return Match(tuple(nodes), _config_values(snapshot))


def _no_default(snapshot: Snapshot) -> Iterator[Match]:
    if snapshot.plugin_config.name and not snapshot.plugin_config.default:
        yield _unlabelled(snapshot)


def _other_default(snapshot: Snapshot) -> Iterator[Match]:
    config = snapshot.plugin_config
    ours = config.name == snapshot.location.config_map
    if ours and config.default not in ("", snapshot.desired.default_profile):
        yield _unlabelled(snapshot)


def _no_config_manager(snapshot: Snapshot) -> Iterator[Match]:
    for item in snapshot.daemon_sets if snapshot.plugin_config.name else ():
        app = app_of(item)
        if app in enabled_apps(snapshot.policy) and not has_config_manager(item):
            values = {"app": app, "namespace": snapshot.operator_namespace}
            yield Match(snapshot.node_names, values)


def _behind(snapshot: Snapshot) -> Iterator[Match]:
    """All DaemonSets in one match: the operator has one ClusterPolicy to apply."""
    namespace = snapshot.operator_namespace
    states = _states_behind(snapshot)
    seen = [{"app": app, "namespace": namespace, "state": states[app]} for app in states]
    if seen:
        others = "".join(f" {_BEHIND.format_map(values)}" for values in seen[1:])
        yield Match(snapshot.node_names, {**seen[0], "apps": ", ".join(states), "others": others})


def _states_behind(snapshot: Snapshot) -> dict[str, str]:
    """The state of each DaemonSet that is behind. GS010 covers one without config-manager. The
    operator changes no DaemonSet while it sees no GPU on any node.
    """
    if snapshot.policy is None or reports_no_gpus(snapshot.policy):
        return {}
    states: dict[str, str] = {}
    daemon_sets = {app_of(item): item for item in snapshot.daemon_sets}
    for app in enabled_apps(snapshot.policy):
        item = daemon_sets.get(app)
        if item is not None and snapshot.plugin_config.name and not has_config_manager(item):
            continue
        if difference := reason_outdated(item, snapshot.policy):
            states[app] = with_operator_message(difference, snapshot.policy)
            if blocking := _unavailable(snapshot, app):
                states[app] += f"; {blocking_pods_message(blocking)}"
    return states


def _unavailable(snapshot: Snapshot, app: str) -> list[OperandPod]:
    """Pods that are not ready, or cannot terminate, on nodes that are not Ready."""
    return [
        operand.pod
        for node, operands in sorted(snapshot.operands.items())
        for operand in operands
        if operand.pod.app == app and operand.pod.unavailable and not _is_ready(snapshot, node)
    ]


def _is_ready(snapshot: Snapshot, node: str) -> bool:
    return node in snapshot.nodes and snapshot.nodes[node].state.ready


CHECKS = (
    Check(
        code="GS001",
        title="The cluster is managed by a GPUCluster",
        cause="GPUCluster {name}",
        seen="GPUCluster {name} exists. It allocates GPUs through DRA.",
        why="Profiles are files for the device plugin, and with a GPUCluster no device plugin runs."
        " The keys and labels of this collection have no effect.",
        fix="Remove the cluster from the inventory, or go back to a ClusterPolicy:"
        " `kubectl delete gpucluster {name:q}`; then run " + SITE + ".",
        find=_gpu_cluster,
        reads=(GPU_CLUSTERS,),
    ),
    Check(
        code="GS002",
        title="The ClusterPolicy is missing",
        cause="ClusterPolicy {policy} is missing",
        seen="ClusterPolicy {policy} does not exist, and there is no other.",
        why="Without it the GPU Operator runs nothing: no device plugin, and no GPUs to request.",
        fix="Run `helm list -n {namespace:q}` to see whether the operator is installed. {advice}",
        find=_no_policy,
        follows=("GS001",),
        reads=(POLICY,),
        advice=(_DELETED, _NOT_INSTALLED),
    ),
    Check(
        code="GS003",
        title="The ClusterPolicy is ignored",
        cause="ClusterPolicy {policy} is ignored",
        seen="ClusterPolicy {active} is older than {policy}.",
        why="The operator uses only the oldest ClusterPolicy. Settings in another one have no"
        " effect, and it has no status.",
        fix="Set gpu_operator_cluster_policy: {active} in the inventory, and run "
        + SITE
        + ". Or, if"
        " {policy} is the right one, delete the other, which restarts everything that the operator"
        " runs: `kubectl delete clusterpolicy {active:q}`",
        find=_ignored,
        reads=(POLICY,),
    ),
    Check(
        code="GS004",
        title="The operator is in another namespace",
        cause="the operator is in {actual}",
        seen="The ClusterPolicy reports that the operator is in namespace {actual}, but"
        " gpu_operator_namespace is {namespace}.",
        why="The device plugin mounts the ConfigMap of its own namespace. It never reads one in"
        " {namespace}.",
        fix="Set gpu_operator_namespace: {actual} in the inventory, and run " + SITE + ".",
        find=_namespace,
        reads=(POLICY,),
    ),
    Check(
        code="GS005",
        title="The device plugin is disabled in the ClusterPolicy",
        cause="devicePlugin.enabled is false in {policy}",
        seen="spec.devicePlugin.enabled of ClusterPolicy {policy} is false.",
        why="The operator removes the device plugin from all nodes, and their GPUs with it.",
        fix="If gpu_operator_values has devicePlugin.enabled, remove it, and run " + SITE + "."
        " Otherwise: `kubectl patch clusterpolicy {policy:q} --type merge -p"
        ' \'{{"spec": {{"devicePlugin": {{"enabled": true}}}}}}\'`',
        find=_disabled,
        follows=("GS058", "GS059", "GS061"),
        reads=(POLICY,),
    ),
    Check(
        code="GS006",
        title="The device plugin config is not set",
        cause="devicePlugin.config.name of {policy} is empty",
        seen="spec.devicePlugin.config.name of ClusterPolicy {policy} is empty.",
        why="The operator then leaves config-manager out of its DaemonSets: labels have no effect"
        " and no GPU is shared. A Helm upgrade without the devicePlugin values removes the setting,"
        " and a CustomResourceDefinition older than the chart does not store it.",
        fix=_SET,
        find=_config_unset,
        follows=("GS001", "GS003"),
        reads=(POLICY,),
    ),
    Check(
        code="GS007",
        title="The device plugin config names another ConfigMap",
        cause="devicePlugin.config.name of {policy} is {name}",
        seen="spec.devicePlugin.config.name of ClusterPolicy {policy} is {name}, but the"
        " profiles are in {config_map}.",
        why="The plugins read the keys of {name}. If that ConfigMap does not exist, each plugin"
        " that restarts takes the GPUs of its node away.",
        fix=_SET
        + " If {name} is the right one, set gpu_profiles_name: {name} instead, and run it.",
        find=_other_config_map,
        follows=("GS001", "GS003"),
        reads=(POLICY,),
    ),
    Check(
        code="GS008",
        title="No default profile is set",
        cause="devicePlugin.config.default of {policy} is empty",
        seen="spec.devicePlugin.config.default of ClusterPolicy {policy} is empty.",
        why="Nodes without a label then share nothing. A key that is merely named default is not"
        " used.",
        fix=_SET,
        find=_no_default,
        follows=("GS001", "GS003"),
        reads=(POLICY,),
    ),
    Check(
        code="GS009",
        title="The default profile differs from the inventory",
        cause="devicePlugin.config.default of {policy} is {default}",
        seen="spec.devicePlugin.config.default of ClusterPolicy {policy} is {default}, but"
        " gpu_sharing_default_profile is {profile}.",
        why="Nodes without a label use profile {default}. So does every node for a moment after"
        " each restart of its plugin.",
        fix=_SET + " If {default} is the right one, set gpu_sharing_default_profile: {default}"
        " instead, and run it.",
        find=_other_default,
        follows=("GS001", "GS003"),
        reads=(POLICY,),
    ),
    Check(
        code="GS010",
        title="The config-manager sidecar is missing",
        cause="DaemonSet {app} has no config-manager",
        seen="The device plugin config is set, but DaemonSet {app} in {namespace} has no container"
        " config-manager.",
        why="Only config-manager reads the node's label. Without it, no node shares its GPUs.",
        fix="Make the operator recreate the DaemonSet, which restarts its pods on all nodes:"
        " `kubectl delete daemonset {app:q} -n {namespace:q}`",
        find=_no_config_manager,
        reads=(POLICY, DAEMON_SETS),
    ),
    Check(
        code="GS011",
        title="The operator has not applied the ClusterPolicy",
        cause="behind the ClusterPolicy: {apps}",
        seen=_BEHIND + "{others}",
        why="Until its DaemonSets match the ClusterPolicy and are rolled out to all nodes, nodes"
        " run the previous configuration.",
        fix="Check that the operator runs: `kubectl get deployment gpu-operator -n {namespace:q}`,"
        " and read its log; then check the pods: `kubectl get pods -n {namespace:q} -o wide`. A"
        " rollout waits at the first node that does not become Ready.",
        find=_behind,
        follows=(
            *("GS001", "GS002", "GS003", "GS004", "GS012", "GS013", "GS014", "GS016"),
            *("GS007", "GS008", "GS009", "GS010", "GS021", "GS026", "GS029", "GS030"),
        ),
        reads=(POLICY, DAEMON_SETS),
    ),
    Check(
        code="GS055",
        title="The ClusterPolicy has another name",
        cause="the ClusterPolicy is {active}, not {policy}",
        seen="ClusterPolicy {policy} does not exist, but {active} does.",
        why="The GPU Operator uses {active}. Another operator beside it would do harm.",
        fix="Set gpu_operator_cluster_policy: {active} in the inventory, and run " + SITE + ".",
        find=_other_policy,
        follows=("GS001",),
        reads=(POLICY,),
    ),
)
