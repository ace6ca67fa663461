# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: what has to change in the GPU Operator so that it uses the profiles,
and whether it uses them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from .._common.documents import dig, name_of, text_at
from .._common.errors import ClusterError, RefusedError
from .._kube.objects import namespaced, object_path
from .._nodes.operands import PLUGIN_APP
from .._provider.cluster_policy import (
    DevicePluginConfig,
    disabled_part,
    oldest_first,
    read_plugin_config,
    reason_ignored,
    reports_no_gpus,
)
from .._provider.daemonsets import app_of, outdated_daemonset
from .._provider.release import (
    Chart,
    ReleaseChange,
    check_values,
    merge_values,
    newest,
    plan_release,
    read_release,
    reason_other_chart,
)
from .observed import Observed

HELM, EXISTING = MANAGES = ("helm", "existing")
_CONFIG = "devicePlugin.config."
# Sections of the chart's values that are part of the plugin's DaemonSet, and those that are not.
_OF_PLUGIN = ("devicePlugin", "mig")
_OF_OTHERS = ("gfd", "dcgm", "dcgmExporter", "migManager", "nodeStatusExporter", "vgpuManager")


@dataclass(frozen=True)
class OperatorRequest:
    """How the operator is kept, and the device plugin config that it should have."""

    wanted: DevicePluginConfig
    manage: str = HELM
    cluster_policy: str = "cluster-policy"
    release: str = "gpu-operator"
    values: Mapping[str, object] = field(default_factory=dict)
    values_exact: bool = False
    chart_version: str = ""  # empty for the newest


class Restart(Enum):
    """Which device plugins a change of the operator restarts."""

    NONE_RUNS = "no device plugin is running"
    NONE = "none"
    ALL = "all"
    BY_HAND = "all, when somebody deletes their pods"
    UNKNOWN = "all or none"


@dataclass(frozen=True)
class OperatorPlan:
    """settled: the operator uses the config, and its DaemonSets have reached their nodes. config is
    that of the ClusterPolicy so far; plugins is on how many nodes its device plugin runs.
    """

    request: OperatorRequest
    release: ReleaseChange | None
    settled: bool
    pointer: Mapping[str, object]  # as pointer_result() gives it
    config: DevicePluginConfig
    plugins: int = 0
    restart: Restart = Restart.NONE

    @property
    def differs(self) -> bool:
        """Whether the release or the config would change."""
        return bool(self.release or self.pointer.get("differs"))

    @property
    def changes_config(self) -> bool:
        return self.differs and self.config != self.request.wanted

    def result(self) -> dict[str, object]:
        return {
            "differs": self.differs,
            "settled": self.settled,
            "pointer": dict(self.pointer),
            "chart": self.release.chart if self.release else "",
            "values": list(self.release.keys) if self.release else [],
            "restart": self.restart.value,
        }


def plan_operator(
    request: OperatorRequest,
    observed: Observed,
    read_chart: Callable[[], Chart],
    *,
    compare: bool = False,
    no_nodes: bool = False,
) -> OperatorPlan:
    """compare: the config is to be compared also where Helm would set it; where the release stays
    as it is, it always is, because Helm does not undo a patch. no_nodes: the cluster has none of
    the nodes, so that the operator need not have DaemonSets.
    """
    release = release_change(request, observed, read_chart) if request.manage == HELM else None
    policy = observed.policy(request.cluster_policy)
    pointer: dict[str, object] = {}
    helm_sets_it = release or policy is None
    if compare or request.manage == EXISTING or not helm_sets_it:
        pointer = _compare_pointer(request, observed)
    settled = _is_settled(request, observed, no_nodes=no_nodes)
    plan = OperatorPlan(request, release, settled, pointer, read_plugin_config(policy))
    return _with_restart(plan, observed) if plan.differs else plan


def _with_restart(plan: OperatorPlan, observed: Observed) -> OperatorPlan:
    """The plan, with the device plugins that it restarts."""
    daemonset = next((item for item in observed.daemonsets if app_of(item) == PLUGIN_APP), None)
    plugins = int(text_at(daemonset, "status", "desiredNumberScheduled") or 0)
    restart = Restart.NONE_RUNS
    if plugins:
        restart = Restart.ALL if plan.changes_config else restart_of(plan.release)
        by_hand = text_at(daemonset, "spec", "updateStrategy", "type") == "OnDelete"
        if by_hand and restart is not Restart.NONE:
            restart = Restart.BY_HAND
    return replace(plan, plugins=plugins, restart=restart)


def restart_of(release: ReleaseChange | None) -> Restart:
    """Which device plugins Helm restarts, apart from their config: those whose DaemonSet changes.
    Source: TransformDevicePlugin of the operator, and the chart's ClusterPolicy.
    """
    if release is None:
        return Restart.NONE
    sections = {key.split(".")[0] for key in release.keys if not key.startswith(_CONFIG)}
    if release.verb or sections & {*_OF_PLUGIN}:
        return Restart.ALL
    if release.retry:
        return Restart.UNKNOWN
    return Restart.NONE if sections <= {*_OF_OTHERS} else Restart.UNKNOWN


def release_change(
    request: OperatorRequest, observed: Observed, read_chart: Callable[[], Chart]
) -> ReleaseChange | None:
    """What Helm would change. Raises RefusedError where its values cannot serve."""
    secrets = namespaced("secrets", observed.place)
    selector = f"owner=helm,name={request.release}"
    found = newest(observed.cluster.items(secrets, labels=selector, metadata_only=True))
    secret = observed.cluster.find(object_path(secrets, found)) if found else None
    release = read_release(secret) if secret else None
    current = release.values if release else {}
    chart = read_chart()
    if release and (reason := reason_other_chart(request.release, release, chart)):
        raise RefusedError(reason)
    pointer = vars(request.wanted)
    values = merge_values(current, request.values, pointer, exact=request.values_exact)
    check_values(values)
    return plan_release(release, chart, values)


def _compare_pointer(request: OperatorRequest, observed: Observed) -> dict[str, object]:
    name, wanted = request.cluster_policy, request.wanted
    policy = observed.policy(name)
    if policy is None:
        raise missing_policy(name, observed.cluster.server, observed.policies)
    if said := reason_ignored(name, observed.policies):
        raise ClusterError(said)
    before = read_plugin_config(policy)
    if before != wanted and (said := disabled_part(dig(policy, "spec"))):
        raise ClusterError(f"ClusterPolicy {name}: {said}")
    return pointer_result(before, wanted, changed=before != wanted)


def _is_settled(request: OperatorRequest, observed: Observed, *, no_nodes: bool) -> bool:
    policy = observed.policy(request.cluster_policy)
    if policy is None or reason_ignored(request.cluster_policy, observed.policies):
        return False
    if read_plugin_config(policy) != request.wanted or disabled_part(dig(policy, "spec")):
        return False
    if not outdated_daemonset(observed.daemonsets, policy):
        return True
    return no_nodes and reports_no_gpus(policy)


def missing_policy(name: str, server: str, policies: Iterable[object]) -> ClusterError:
    """policies are all that there are. The operator uses the oldest."""
    if found := [name_of(policy) for policy in oldest_first(policies)]:
        return ClusterError(
            f"There is no ClusterPolicy {name} on {server}, but there is {found[0]}. Set"
            f" O(cluster_policy): {found[0]}."
        )
    return ClusterError(
        f"There is no ClusterPolicy {name} on {server}: is the GPU Operator installed there? The"
        " module helm_release installs it (O(manage): helm)."
    )


def pointer_result(
    before: DevicePluginConfig, after: DevicePluginConfig, *, changed: bool
) -> dict[str, object]:
    """What the module cluster_policy returns."""
    diff = {
        name: json.dumps(vars(pointer)) + "\n"
        for name, pointer in (("before", before), ("after", after))
    }
    return {
        "changed": changed,
        "before": vars(before),
        "after": vars(after),
        "differs": changed,
        "diff": diff if changed else {},
    }
