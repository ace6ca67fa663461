# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: findings about the device plugin, the MPS daemon and GPU feature
discovery on a node, and about the slots that come of it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.checks.nodes import each
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.engine import (
    Check,
    Match,
    Severity,
    match_on,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.snapshot import (
    CONFIG_MAP,
    DAEMON_SETS,
    PODS,
    POLICY,
    NodeTrace,
    NodeView,
    Snapshot,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.capacity import (
    expected_allocatable,
    is_miscounted,
    labels_fit,
    mps_problem,
    physical_devices,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.operands import (
    GFD_APP,
    PLUGIN_APP,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import COUNT_LABEL
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.hashing import same_content
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.model import SHARED_SUFFIX
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.plugin import (
    format_version,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rendering import (
    to_plugin_config,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._provider.daemonsets import app_of

_SITE = "ansible-playbook gpufleet.sharing.site -i inventory"
_HEARS_REMOVAL = (0, 18, 2)  # from this version on, the removal of a label is acted on
_AWAY = ("GS001", "GS002", "GS003", "GS004", "GS005")
_CONTENT = ("GS007", "GS012", "GS013", "GS014", "GS015", "GS016")
_NODE = ("GS021", "GS023", "GS025", "GS026", "GS027", "GS028", "GS029", "GS030")
# Whatever leaves a plugin away or failing.
STOPS = (*_AWAY, *_CONTENT, *_NODE, "GS034", "GS036")


def _no_pod(snapshot: Snapshot) -> Iterator[Match]:
    if not any(app_of(item) == PLUGIN_APP for item in snapshot.daemon_sets):
        return
    for trace, view in snapshot.present():
        if trace.plugin is None and view.state.has_gpus:
            taints = ", ".join(view.taints) or "none"
            yield match_on(trace.node, taints=taints, namespace=snapshot.operator)


def _failing(snapshot: Snapshot) -> Iterator[Match]:
    for trace, _view in snapshot.present():
        if trace.plugin is not None and not trace.plugin.pod.ready:
            yield match_on(
                trace.node,
                state=trace.plugin.state,
                pod=trace.plugin.pod.name,
                crashes=str(trace.plugin.pod.crashes),
                namespace=snapshot.operator,
            )


def _stale(snapshot: Snapshot) -> Iterator[Match]:
    for trace, _view in snapshot.present():
        if _is_stale(snapshot, trace):
            loaded = trace.loaded_hash or "older"
            yield match_on(trace.node, key=trace.key, hash=trace.hash, loaded=loaded)


def _is_stale(snapshot: Snapshot, trace: NodeTrace) -> bool:
    """Whether its plugin runs on older content of the right key."""
    right = same_content(trace.content, to_plugin_config(trace.target.profile))
    if snapshot.config_map is None or not right or trace.plugin is None:
        return False
    record = snapshot.config_map.written.get(trace.key)
    if record is not None and record.hash == trace.hash and not record.replaced:
        return False  # it never had other content: whoever reads it reads the right one
    written = snapshot.config_map.written_at(trace.key)
    started = trace.plugin.pod.started
    if started is not None and written is not None and started >= written:
        return False
    if trace.loaded_hash:
        return trace.loaded_hash != trace.hash
    return bool(written and trace.plugin_ready and trace.verdict.actual != trace.verdict.expected)


def _missed_removal(snapshot: Snapshot) -> Iterator[Match]:
    """Where another profile than the default would explain the slots."""
    version = snapshot.plugin.version
    if version is None or version >= _HEARS_REMOVAL:
        return
    for trace, view in snapshot.present():
        differs = trace.verdict.actual != trace.verdict.expected
        if differs and not trace.label and trace.plugin_ready:
            devices = physical_devices(view.state, trace.target.gpus)
            kept = [
                profile.name
                for profile in snapshot.desired.profiles.values()
                if expected_allocatable(profile, devices).get(trace.verdict.resource)
                == trace.verdict.actual
            ]
            if kept:
                key = trace.target.key
                yield match_on(trace.node, version=format_version(version), kept=kept[0], key=key)


def _mps(trace: NodeTrace, view: NodeView) -> dict[str, str] | None:
    profile = trace.target.profile
    if profile.strategy != "mps" or trace.plugin is None:
        return None
    if said := mps_problem(view.state, profile):
        return {"said": said, "profile": profile.name}
    if trace.mps is None:
        said = "there is no MPS control daemon pod"
    elif not trace.mps.pod.ready:
        said = f"pod {trace.mps.pod.name} is {trace.mps.state}"
    else:
        return None
    return {"said": said, "profile": profile.name}


def _gfd(snapshot: Snapshot) -> Iterator[Match]:
    installed = any(app_of(item) == GFD_APP for item in snapshot.daemon_sets)
    for trace, view in snapshot.present():
        if said := _gfd_problem(trace, view, installed=installed):
            yield match_on(trace.node, said=said, namespace=snapshot.operator)


def _gfd_problem(trace: NodeTrace, view: NodeView, *, installed: bool) -> str:
    if not view.state.has_gpus:
        return ""
    if trace.gfd is not None and not trace.gfd.pod.ready:
        return f"its pod is {trace.gfd.state}"
    if COUNT_LABEL not in view.state.labels:
        return f"there is no label {COUNT_LABEL}"
    if installed and trace.gfd is None:
        return "its pod is missing"
    if trace.verdict.ok and not labels_fit(view.state, trace.target.profile):
        return "its labels do not show the profile"
    return ""


def _differs(trace: NodeTrace, view: NodeView) -> dict[str, str] | None:
    """Everything that no other finding tells better follows from that."""
    verdict = trace.verdict
    counted = is_miscounted(view.state, trace.target.gpus)
    if verdict.ok or counted or not view.state.ready or verdict.expected is None:
        return None
    return {"problem": verdict.problem, "profile": trace.target.profile.name}


def _is_partner(resource: str, name: str) -> bool:
    """Whether one is the other's name with or without sharing under another name."""
    return SHARED_SUFFIX in (resource.removeprefix(name), name.removeprefix(resource))


def _old_resource(trace: NodeTrace, view: NodeView) -> dict[str, str] | None:
    wanted = trace.verdict.resource.split(", ")
    for resource in sorted(view.capacity):
        partner = any(_is_partner(resource, name) for name in wanted)
        gone = not view.state.allocatable.get(resource, 0) and view.capacity[resource]
        if partner and resource not in wanted and gone:
            return {"resource": resource, "capacity": str(view.capacity[resource])}
    return None


CHECKS = (
    Check(
        code="GS037",
        severity=Severity.ERROR,
        title="No device plugin pod on a node",
        cause="no plugin pod, taints: {taints}",
        seen="{nodes}: the DaemonSet of the device plugin has no pod there. Taints of the node:"
        " {taints}.",
        why="Without the plugin the node has no GPUs. A taint that the operator's pods do not"
        " tolerate keeps them away.",
        fix="Tolerate the taint in gpu_operator_values: daemonsets.tolerations, or remove it:"
        " kubectl taint node {nodes} TAINT-; otherwise kubectl describe daemonset"
        " nvidia-device-plugin-daemonset -n {namespace}",
        find=_no_pod,
        follows=(*_AWAY, "GS011", *_NODE),
        reads=(PODS, DAEMON_SETS),
    ),
    Check(
        code="GS038",
        severity=Severity.ERROR,
        title="The device plugin fails",
        cause="the plugin's pod is {state}",
        seen="{node}: pod {pod} is {state} (restarts: {crashes}).",
        why="A plugin that does not run serves no GPUs; one whose side-car fails does not follow"
        " the label.",
        fix="kubectl logs -n {namespace} {pod} --all-containers --previous; once the cause is"
        " mended: kubectl delete pod -n {namespace} {pod}",
        find=_failing,
        follows=STOPS,
        reads=(PODS,),
    ),
    Check(
        code="GS039",
        severity=Severity.ERROR,
        title="The plugin runs on older content",
        cause="key {key} was not loaded again",
        seen="{nodes}: key {key} has content {hash}, and the plugin has loaded {loaded}.",
        why="A plugin never picks a changed file up by itself: edited replicas change nothing"
        " until it restarts.",
        fix=_SITE + " restarts the plugins, batch by batch.",
        find=_stale,
        follows=(*_AWAY, *_CONTENT, "GS018", "GS024"),
        reads=(PODS, CONFIG_MAP, POLICY),
    ),
    Check(
        code="GS040",
        severity=Severity.ERROR,
        title="An old plugin has missed that a label was removed",
        cause="plugin {version} still serves {kept}",
        seen="{nodes}: no label, and the slots of profile {kept}; the plugin is {version}.",
        why="Plugins before v0.18.2 do not act on the removal of the label, so the node keeps the"
        " profile that it had.",
        fix="kubectl label node {nodes} nvidia.com/device-plugin.config={key}; or a newer plugin:"
        " gpu_operator_values: devicePlugin.version",
        find=_missed_removal,
        follows=(*_AWAY, *_CONTENT, *_NODE, "GS024", "GS039"),
        reads=(PODS, DAEMON_SETS),
    ),
    Check(
        code="GS041",
        severity=Severity.ERROR,
        title="MPS does not serve",
        cause="MPS of profile {profile}: {said}",
        seen="{nodes}: {said}.",
        why="With MPS the plugin serves nothing before the MPS control daemon of its node does.",
        fix="kubectl get pods -n gpu-operator -l app=nvidia-device-plugin-mps-control-daemon -o"
        " wide; it needs GPU feature discovery, no MIG devices, and at most 48 replicas (16"
        " before compute capability 7.5). Or give the node a profile with strategy: time_slicing.",
        find=each(_mps),
        follows=(*STOPS, "GS006", "GS010", "GS018", "GS024", "GS037", "GS038", "GS039"),
        reads=(PODS,),
    ),
    Check(
        code="GS042",
        severity=Severity.WARNING,
        title="GPU feature discovery does not tell",
        cause="GPU feature discovery: {said}",
        seen="{nodes}: {said}.",
        why="Its labels count the GPUs and name their model; whoever reads them, this collection"
        " too, is told something old or nothing. They lag by up to a minute.",
        fix="kubectl get pods -n {namespace} -l app=gpu-feature-discovery -o wide --field-selector"
        " spec.nodeName={node}; delete the pod, and it writes its labels anew.",
        find=_gfd,
        follows=(
            *STOPS,
            *("GS006", "GS008", "GS009", "GS010", "GS011", "GS018", "GS024", "GS031", "GS037"),
            *("GS038", "GS039", "GS040", "GS041"),
        ),
        reads=(PODS, DAEMON_SETS),
    ),
    Check(
        code="GS043",
        severity=Severity.ERROR,
        title="A node does not have the slots of its profile",
        cause="{problem}",
        seen="{nodes}: {problem}, by profile {profile}.",
        why="Allocatable is what pods get.",
        fix="Run the doctor again in a minute: a change takes that long to arrive. If it stays, "
        + _SITE
        + ", and then kubectl logs of the node's pod nvidia-device-plugin-daemonset. Where that is"
        " well, look into the kubelet's log: after 'device plugin already connected' (seen with"
        " v1.37.2) only a restart of the kubelet helps.",
        find=each(_differs),
        follows=(
            *STOPS,
            *("GS006", "GS008", "GS009", "GS010", "GS011", "GS018", "GS024", "GS031", "GS033"),
            *("GS032", "GS037", "GS038", "GS039", "GS040", "GS041", "GS042"),
        ),
    ),
    Check(
        code="GS044",
        severity=Severity.INFO,
        title="A resource is left behind under its old name",
        cause="{resource} is left at 0",
        seen="{nodes}: capacity still has {capacity} {resource}, and allocatable 0.",
        why="After a rename the kubelet keeps the old name until it restarts. Nothing can be got"
        " under it, but tools that read capacity are misled.",
        fix="Nothing has to be done. A restart of the kubelet removes it: systemctl restart"
        " kubelet on {node}, once its GPU pods may restart.",
        find=each(_old_resource),
        follows=("GS024",),
    ),
)
