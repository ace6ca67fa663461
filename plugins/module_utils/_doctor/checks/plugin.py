# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: findings GS037 to GS044: device plugin, MPS, GPU feature discovery and the slots that
they produce. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ..._nodes.capacity import (
    expected_allocatable,
    is_miscounted,
    labels_fit,
    mps_problem,
    physical_devices,
)
from ..._nodes.operands import GFD_APP, PLUGIN_APP
from ..._nodes.state import COUNT_LABEL
from ..._profiles.model import SHARED_SUFFIX
from ..._profiles.plugin import format_version
from ..._rollout.loaded import has_content, has_loaded, is_certain, never_replaced
from ..causes import NO_CONTENT, NO_PLUGIN, NODE_NOT_READY, PLUGIN_DOWN, SITE
from ..engine import Check, Severity, per_node
from ..snapshot import CONFIG_MAP, DAEMON_SETS, PODS, POLICY, NodeTrace, Snapshot

_DETECTS_REMOVAL = (0, 18, 2)  # the first version that reacts when the label is removed
Values = Iterator[Mapping[str, str]]


def _no_pod(trace: NodeTrace, snapshot: Snapshot) -> Values:
    """GS059 covers nodes that advertise GPUs without it."""
    advertised = trace.state.ready and trace.verdict.actual
    if (
        PLUGIN_APP in snapshot.apps
        and trace.plugin is None
        and trace.state.has_gpus
        and not advertised
    ):
        taints = snapshot.taints_for(trace.view, {"app": PLUGIN_APP})
        yield {"taints": taints, "namespace": snapshot.operator_namespace}


def _failing(trace: NodeTrace, snapshot: Snapshot) -> Values:
    if trace.plugin is not None and not trace.plugin_ready:
        pod = trace.plugin.pod
        yield {
            "state": trace.plugin.state,
            "pod": pod.name,
            "crashes": str(pod.crashes),
            "namespace": snapshot.operator_namespace,
        }


def _outdated(trace: NodeTrace, snapshot: Snapshot) -> Values:
    if _is_outdated(trace, snapshot):
        loaded = trace.loaded_hash or "older content"
        yield {"key": trace.key, "hash": trace.hash, "loaded": loaded}


def _is_outdated(trace: NodeTrace, snapshot: Snapshot) -> bool:
    """Whether its plugin runs older content of the right key."""
    config_map, target = snapshot.config_map, replace(trace.target, key=trace.key)
    if config_map is None or trace.plugin is None or not has_content(target, config_map):
        return False
    if never_replaced(target, config_map):
        return False  # every plugin has read this content
    if trace.loaded_hash == trace.hash and is_certain(trace.state, target, config_map):
        return False
    if has_loaded(trace.state, target, trace.profile_pods, config_map):
        return False
    if trace.loaded_hash:
        return True
    differs = trace.verdict.actual != trace.verdict.expected
    return bool(config_map.written_at(trace.key) and trace.plugin_ready and differs)


def _missed_removal(trace: NodeTrace, snapshot: Snapshot) -> Values:
    """Only if another profile than the default explains the slots."""
    version, verdict = snapshot.plugin.version, trace.verdict
    if version is None or version >= _DETECTS_REMOVAL:
        return
    if trace.label or not trace.plugin_ready or verdict.actual == verdict.expected:
        return
    devices = physical_devices(trace.state, trace.target.gpus)
    for profile in snapshot.desired.profiles.values():
        if expected_allocatable(profile, devices).get(verdict.resource) == verdict.actual:
            yield {
                "version": format_version(version),
                "kept": profile.name,
                "key": trace.target.key,
            }
            return


def _mps(trace: NodeTrace, snapshot: Snapshot) -> Values:
    profile = trace.target.profile
    if profile.strategy != "mps" or trace.plugin is None:
        return
    problem = mps_problem(trace.state, profile)
    if not problem and trace.mps is None:
        problem = "there is no MPS control daemon pod"
    elif not problem and trace.mps and not trace.mps.pod.ready:
        problem = f"pod {trace.mps.pod.name} is {trace.mps.state}"
    if problem:
        namespace = snapshot.operator_namespace
        yield {"problem": problem, "profile": profile.name, "namespace": namespace}


def _gfd(trace: NodeTrace, snapshot: Snapshot) -> Values:
    if problem := _gfd_problem(trace, installed=GFD_APP in snapshot.apps):
        yield {"problem": problem, "namespace": snapshot.operator_namespace}


def _gfd_problem(trace: NodeTrace, *, installed: bool) -> str:
    if not trace.state.has_gpus:
        return ""
    if trace.gfd is not None and not trace.gfd.pod.ready:
        return f"its pod is {trace.gfd.state}"
    if COUNT_LABEL not in trace.state.labels:
        return f"there is no label {COUNT_LABEL}"
    if installed and trace.gfd is None:
        return "its pod is missing"
    if trace.verdict.ok and not labels_fit(trace.state, trace.target.profile):
        return "its labels do not show the profile"
    return ""


def _slots(trace: NodeTrace, snapshot: Snapshot) -> Values:
    """GS021 covers nodes that are NotReady, and GS032 those whose GPU count differs."""
    verdict = trace.verdict
    miscounted = is_miscounted(trace.state, trace.target.gpus)
    if not (verdict.ok or miscounted or verdict.expected is None) and trace.state.ready:
        namespace, profile = snapshot.operator_namespace, trace.target.profile.name
        yield {"problem": verdict.problem, "profile": profile, "namespace": namespace}


def _old_resource(trace: NodeTrace, _snapshot: Snapshot) -> Values:
    wanted = trace.verdict.resource.split(", ")
    for resource, capacity in sorted(trace.view.capacity.items()):
        renamed = any(
            SHARED_SUFFIX in (resource.removeprefix(name), name.removeprefix(resource))
            for name in wanted
        )
        unused = capacity and not trace.state.allocatable.get(resource, 0)
        if renamed and unused and resource not in wanted:
            yield {"resource": resource, "capacity": str(capacity)}
            return


CHECKS = (
    Check(
        code="GS037",
        title="No device plugin pod on a node",
        cause="no plugin pod, taints: {taints}",
        seen="{nodes}: the DaemonSet of the device plugin has no pod there. Taints of the node"
        " that it does not tolerate: {taints}.",
        why="Without the plugin the node has no GPUs. A taint that the operator's pods do not"
        " tolerate keeps them away.",
        fix="Tolerate the taint in gpu_operator_values: daemonsets.tolerations, or remove it"
        " from the node; otherwise see `kubectl describe daemonset nvidia-device-plugin-daemonset"
        " -n {namespace:q}`",
        find=per_node(_no_pod),
        follows=(*NO_PLUGIN, "GS011", *NODE_NOT_READY),
        reads=(PODS, DAEMON_SETS),
    ),
    Check(
        code="GS038",
        title="The device plugin fails",
        cause="the plugin's pod is {state}",
        seen="{node}: pod {pod} is {state} (restarts: {crashes}).",
        why="A plugin that does not run serves no GPUs. A plugin whose sidecar fails does not"
        " follow the label.",
        fix="Read its log: `kubectl logs -n {namespace:q} {pod:q} --all-containers"
        " --ignore-errors`. Fix the cause, and then delete the pod: `kubectl delete pod -n"
        " {namespace:q} {pod:q}`",
        find=per_node(_failing),
        follows=PLUGIN_DOWN,
        reads=(PODS,),
    ),
    Check(
        code="GS039",
        title="The plugin runs older content",
        cause="key {key} was not reloaded",
        seen="{nodes}: key {key} has content {hash}, but the plugin has loaded {loaded}.",
        why="A running plugin never reloads a changed file: edited replicas have no effect until"
        " it restarts.",
        fix="Run " + SITE + " to restart the plugins batch by batch.",
        find=per_node(_outdated),
        follows=(*NO_PLUGIN, *NO_CONTENT, "GS018", "GS024"),
        reads=(PODS, CONFIG_MAP, POLICY),
    ),
    Check(
        code="GS040",
        title="An old plugin missed the removal of a label",
        cause="plugin {version} still serves {kept}",
        seen="{nodes}: no label, but the slots of profile {kept}; the plugin is {version}.",
        why="Plugins before v0.18.2 do not react when the label is removed, so the node keeps its"
        " previous profile.",
        fix="`kubectl label node {nodes:q} nvidia.com/device-plugin.config={key:q}`; or install a"
        " newer plugin: gpu_operator_values: devicePlugin.version",
        find=per_node(_missed_removal),
        follows=(*NO_PLUGIN, *NO_CONTENT, *NODE_NOT_READY, "GS024", "GS039"),
        reads=(PODS, DAEMON_SETS),
    ),
    Check(
        code="GS041",
        title="MPS is not running",
        cause="MPS of profile {profile}: {problem}",
        seen="{nodes}: {problem}.",
        why="With MPS the plugin serves nothing until the MPS control daemon of its node runs.",
        fix="See its pods: `kubectl get pods -n {namespace:q} -l"
        " app=nvidia-device-plugin-mps-control-daemon -o wide`. MPS needs GPU feature discovery, no"
        " MIG devices, and at most 48 replicas (16 before compute capability 7.5). Or give the"
        " node a profile with strategy: time_slicing.",
        find=per_node(_mps),
        follows=(*PLUGIN_DOWN, "GS006", "GS010", "GS018", "GS024", "GS037", "GS038", "GS039"),
        reads=(PODS,),
    ),
    Check(
        code="GS042",
        severity=Severity.WARNING,
        title="Labels of GPU feature discovery are missing or outdated",
        cause="GPU feature discovery: {problem}",
        seen="{nodes}: {problem}.",
        why="These labels count the GPUs and name their model. Everything that reads them,"
        " including this collection, gets old values or none. They lag by up to a minute.",
        fix="See its pod: `kubectl get pods -n {namespace:q} -l app=gpu-feature-discovery -o wide"
        " --field-selector spec.nodeName={node:q}`. If it fails, read its log. If it runs, restart"
        " it, so that it writes its labels again: `kubectl delete pod -n {namespace:q} -l"
        " app=gpu-feature-discovery --field-selector spec.nodeName={node:q}`",
        find=per_node(_gfd),
        follows=(
            *PLUGIN_DOWN,
            *("GS006", "GS008", "GS009", "GS010", "GS011", "GS018", "GS024", "GS031", "GS037"),
            *("GS038", "GS039", "GS040", "GS041"),
        ),
        reads=(PODS, DAEMON_SETS),
    ),
    Check(
        code="GS043",
        title="A node does not have the slots of its profile",
        cause="{problem}",
        seen="{nodes}: {problem}, with profile {profile}.",
        why="Pods get only what is allocatable.",
        fix="Run the doctor again in a minute: a change takes that long to arrive. If the finding"
        " stays, run "
        + SITE
        + ", and then read the log of the pod that `kubectl get pods -n {namespace:q} -l"
        " app=nvidia-device-plugin-daemonset --field-selector spec.nodeName={node:q}` shows. If"
        " that is healthy, check the kubelet's log: after 'device plugin already connected' (seen"
        " with v1.37.2) only a restart of the kubelet helps.",
        find=per_node(_slots),
        follows=(
            *PLUGIN_DOWN,
            *("GS006", "GS008", "GS009", "GS010", "GS011", "GS018", "GS024", "GS031", "GS033"),
            *("GS032", "GS037", "GS038", "GS039", "GS040", "GS041", "GS042"),
        ),
    ),
    Check(
        code="GS044",
        severity=Severity.INFO,
        title="A resource remains under its old name",
        cause="{resource} remains at 0",
        seen="{nodes}: capacity still has {capacity} {resource}, but allocatable is 0.",
        why="After a rename the kubelet keeps the old name until it restarts. Pods cannot get"
        " anything under it, but it misleads tools that read capacity.",
        fix="No action is needed. A restart of the kubelet removes it: `systemctl restart"
        " kubelet` on {node}, once its GPU pods may restart.",
        find=per_node(_old_resource),
        follows=("GS024",),
    ),
)
