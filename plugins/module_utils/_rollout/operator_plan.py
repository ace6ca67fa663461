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
from dataclasses import dataclass, field

from .._common.documents import dig, name_of
from .._common.errors import ClusterError, RefusedError
from .._kube.objects import namespaced, object_path
from .._provider.cluster_policy import (
    DevicePluginConfig,
    disabled_part,
    oldest_first,
    read_plugin_config,
    reason_ignored,
    reports_no_gpus,
)
from .._provider.daemonsets import outdated_daemonset
from .._provider.release import (
    Chart,
    check_values,
    merge_values,
    newest,
    read_release,
    reason_other_chart,
    would_change,
)
from .observed import Observed

HELM, EXISTING = MANAGES = ("helm", "existing")


@dataclass(frozen=True)
class OperatorRequest:
    """How the operator is kept, and the device plugin config that it should have."""

    wanted: DevicePluginConfig
    manage: str = HELM
    cluster_policy: str = "cluster-policy"
    release: str = "gpu-operator"
    values: Mapping[str, object] = field(default_factory=dict)
    values_exact: bool = False


@dataclass(frozen=True)
class OperatorPlan:
    """settled: the operator uses the config, and its DaemonSets have reached their nodes."""

    release_differs: bool
    settled: bool
    pointer: Mapping[str, object]  # as pointer_result() gives it

    @property
    def differs(self) -> bool:
        """Whether the release or the config would change."""
        return self.release_differs or bool(self.pointer.get("differs"))

    def result(self) -> dict[str, object]:
        return {"differs": self.differs, "settled": self.settled, "pointer": dict(self.pointer)}


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
    release_differs = request.manage == HELM and release_would_change(request, observed, read_chart)
    pointer: dict[str, object] = {}
    helm_sets_it = release_differs or observed.policy(request.cluster_policy) is None
    if compare or request.manage == EXISTING or not helm_sets_it:
        pointer = _compare_pointer(request, observed)
    return OperatorPlan(release_differs, _is_settled(request, observed, no_nodes=no_nodes), pointer)


def release_would_change(
    request: OperatorRequest, observed: Observed, read_chart: Callable[[], Chart]
) -> bool:
    """Whether Helm would write a revision. Raises RefusedError where its values cannot serve."""
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
    return would_change(release, chart, values)


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
