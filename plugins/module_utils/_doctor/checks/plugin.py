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
    Hit,
    Kind,
    Severity,
    at,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.snapshot import (
    CONFIG_MAP,
    DAEMON_SETS,
    PODS,
    POLICY,
    Chain,
    NodeView,
    Scene,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.capacity import (
    expected_allocatable,
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
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.plugin import dotted
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


def _no_pod(scene: Scene) -> Iterator[Hit]:
    if not any(app_of(item) == PLUGIN_APP for item in scene.daemon_sets):
        return
    for chain, view in scene.present():
        if chain.plugin is None and view.state.has_gpus:
            taints = ", ".join(view.taints) or "none"
            yield at(chain.node, taints=taints, namespace=scene.operator)


def _failing(scene: Scene) -> Iterator[Hit]:
    for chain, _view in scene.present():
        if chain.plugin is not None and not chain.plugin.pod.ready:
            yield at(
                chain.node,
                state=chain.plugin.state,
                pod=chain.plugin.pod.name,
                crashes=str(chain.plugin.pod.crashes),
                namespace=scene.operator,
            )


def _stale(scene: Scene) -> Iterator[Hit]:
    for chain, _view in scene.present():
        if _is_stale(scene, chain):
            loaded = chain.loaded_hash or "older"
            yield at(chain.node, key=chain.key, hash=chain.hash, loaded=loaded)


def _is_stale(scene: Scene, chain: Chain) -> bool:
    """Whether its plugin runs on older content of the right key."""
    right = same_content(chain.content, to_plugin_config(chain.target.profile))
    if scene.config_map is None or not right or chain.plugin is None:
        return False
    record = scene.config_map.written.get(chain.key)
    if record is not None and record.hash == chain.hash and not record.replaced:
        return False  # it never had other content: whoever reads it reads the right one
    written = scene.config_map.written_at(chain.key)
    started = chain.plugin.pod.started
    if started is not None and written is not None and started >= written:
        return False
    if chain.loaded_hash:
        return chain.loaded_hash != chain.hash
    return bool(written and chain.serves and chain.verdict.actual != chain.verdict.expected)


def _missed_removal(scene: Scene) -> Iterator[Hit]:
    """Where another profile than the default would explain the slots."""
    version = scene.plugin.version
    if version is None or version >= _HEARS_REMOVAL:
        return
    for chain, view in scene.present():
        differs = chain.verdict.actual != chain.verdict.expected
        if differs and not chain.label and chain.serves:
            devices = physical_devices(view.state, chain.target.gpus)
            kept = [
                profile.name
                for profile in scene.desired.profiles.values()
                if expected_allocatable(profile, devices).get(chain.verdict.resource)
                == chain.verdict.actual
            ]
            if kept:
                key = chain.target.key
                yield at(chain.node, version=dotted(version), kept=kept[0], key=key)


def _mps(chain: Chain, view: NodeView) -> dict[str, str] | None:
    profile = chain.target.profile
    if profile.strategy != "mps" or chain.plugin is None:
        return None
    if said := mps_problem(view.state, profile):
        return {"said": said, "profile": profile.name}
    if chain.mps is None:
        said = "there is no MPS control daemon pod"
    elif not chain.mps.pod.ready:
        said = f"pod {chain.mps.pod.name} is {chain.mps.state}"
    else:
        return None
    return {"said": said, "profile": profile.name}


def _gfd(scene: Scene) -> Iterator[Hit]:
    installed = any(app_of(item) == GFD_APP for item in scene.daemon_sets)
    for chain, view in scene.present():
        if said := _gfd_problem(chain, view, installed=installed):
            yield at(chain.node, said=said, namespace=scene.operator)


def _gfd_problem(chain: Chain, view: NodeView, *, installed: bool) -> str:
    if not view.state.has_gpus:
        return ""
    if chain.gfd is not None and not chain.gfd.pod.ready:
        return f"its pod is {chain.gfd.state}"
    if COUNT_LABEL not in view.state.labels:
        return f"there is no label {COUNT_LABEL}"
    if installed and chain.gfd is None:
        return "its pod is missing"
    if chain.verdict.ok and not labels_fit(view.state, chain.target.profile):
        return "its labels do not show the profile"
    return ""


def _differs(chain: Chain, view: NodeView) -> dict[str, str] | None:
    """Everything that no other finding tells better follows from that."""
    verdict = chain.verdict
    counted = verdict.problem.startswith("gpu_sharing_gpus")
    if verdict.ok or counted or not view.state.ready or verdict.expected is None:
        return None
    return {"problem": verdict.problem, "profile": chain.target.profile.name}


def _is_partner(resource: str, name: str) -> bool:
    """Whether one is the other's name with or without sharing under another name."""
    return SHARED_SUFFIX in (resource.removeprefix(name), name.removeprefix(resource))


def _old_resource(chain: Chain, view: NodeView) -> dict[str, str] | None:
    wanted = chain.verdict.resource.split(", ")
    for resource in sorted(view.capacity):
        partner = any(_is_partner(resource, name) for name in wanted)
        gone = not view.state.allocatable.get(resource, 0) and view.capacity[resource]
        if partner and resource not in wanted and gone:
            return {"resource": resource, "capacity": str(view.capacity[resource])}
    return None


KINDS = (
    Kind(
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
    Kind(
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
    Kind(
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
    Kind(
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
    Kind(
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
    Kind(
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
    Kind(
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
    Kind(
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
