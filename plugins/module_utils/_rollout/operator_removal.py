# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: what uninstall does to the operator: its release goes, or its config is restored."""

from __future__ import annotations

from dataclasses import dataclass

from .._common.errors import RefusedError
from .._fleet.nodes import ClusterNodes
from .._kube.objects import namespaced, object_path
from .._provider.cluster_policy import (
    DevicePluginConfig,
    policy_using,
    previous_plugin_config,
    read_plugin_config,
    restore_patch,
)
from .._provider.helm import foreign_policies, read_helm_revisions, read_record, record_of
from .._provider.release import newest, pointer_in, read_release
from .observed import Observed
from .operator_plan import EXISTING, HELM


@dataclass(frozen=True)
class UninstallRequest:
    """nodes are those of the inventory. Pods in probe_namespace, which uninstall removes first, do
    not count.
    """

    nodes: ClusterNodes
    manage: str = HELM
    cluster_policy: str = "cluster-policy"
    release: str = "gpu-operator"
    remove_crds: bool = False
    probe_namespace: str = ""


@dataclass(frozen=True)
class OperatorFate:
    """What happens to the operator: its release is removed, or its device plugin config changes
    from before to after. name is the release or the ClusterPolicy, empty where there is none;
    foreign are ClusterPolicies of others.
    """

    before: DevicePluginConfig
    after: DevicePluginConfig
    name: str = ""
    removed: bool = False
    helm: bool = False
    foreign: tuple[str, ...] = ()

    @property
    def restored(self) -> bool:
        return not self.removed and self.before != self.after

    @property
    def leaves_nothing(self) -> bool:
        """Whether no operator is left, ours or of others, as far as Helm manages it."""
        return self.helm and (self.removed or not self.name) and not self.foreign


def plan_removal_of_operator(request: UninstallRequest, observed: Observed) -> OperatorFate:
    """Raises RefusedError where another ClusterPolicy uses the profiles."""
    policy = observed.policy(request.cluster_policy)
    now = read_plugin_config(policy)
    if request.nodes.limited:
        return OperatorFate(now, now)
    others = [] if policy else observed.policies
    if said := policy_using(others, observed.config_map_name):
        raise RefusedError(said)
    if request.manage == EXISTING:
        patch = restore_patch(policy, observed.config_map_name)
        after = previous_plugin_config(policy) if patch and "spec" in patch else now
        return OperatorFate(now, after, f"ClusterPolicy {request.cluster_policy}" if policy else "")
    return _plan_release(request, observed, now)


def _plan_release(
    request: UninstallRequest, observed: Observed, now: DevicePluginConfig
) -> OperatorFate:
    """What the module helm_release does with state absent."""
    release, place = request.release, observed.place
    foreign = tuple(foreign_policies(observed.policies, release, place))
    path, selector = namespaced("secrets", place), f"owner=helm,name={release}"
    secrets = list(observed.cluster.items(path, labels=selector, metadata_only=True))
    if not secrets:
        return OperatorFate(now, now, helm=True, foreign=foreign)
    name = f"Helm release {release} in namespace {place}"
    secret = observed.cluster.find(object_path(path, newest(secrets)))
    found = read_release(secret) if secret else None
    given = pointer_in(found.values if found else {}).items()
    pointer = {key: text for key, text in given if text and key != "create"}
    revisions = read_helm_revisions(secrets)
    record = record_of(revisions, read_record(observed.namespace, release), pointer)
    if record is None:
        return OperatorFate(now, now, name, helm=True, foreign=foreign)
    if record.ours:
        gone = DevicePluginConfig()
        return OperatorFate(now, gone, name, removed=True, helm=True, foreign=foreign)
    earlier = (str(record.pointer.get(key) or "") for key in ("name", "default"))
    return OperatorFate(now, DevicePluginConfig(*earlier), name, helm=True, foreign=foreign)
