#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_policy
short_description: Set the device plugin config of the GPU Operator
version_added: 0.1.0
description:
  - Manages the device plugin config, C(spec.devicePlugin.config.name) and
    C(spec.devicePlugin.config.default) of the ClusterPolicy, with a merge patch of only these two
    fields.
  - Waits until the operator's DaemonSets use it on all nodes. It does not trust the state
    C(ready) of the ClusterPolicy, which goes stale after a change.
options:
  state:
    description:
      - V(present) sets the device plugin config. V(repaired) does too, for a Helm release with the
        same values, if somebody has patched the ClusterPolicy beside it; a Helm upgrade does not
        undo that. V(checked) only waits for one that is set, and reads it back. V(absent)
        restores the one before V(present). V(released) waits until the
        operator's DaemonSets no longer reference O(config_map), if the ClusterPolicy does not
        name it.
    type: str
    choices: [present, repaired, checked, absent, released]
    default: present
  name:
    description: Name of the ClusterPolicy.
    type: str
    default: cluster-policy
  config_map:
    description: Name of the ConfigMap.
    type: str
    default: device-plugin-config
  default_profile:
    description: The profile of nodes without a label. Required unless O(state=absent).
    type: str
  namespace:
    description: Namespace of the GPU Operator.
    type: str
    default: gpu-operator
  allow_no_gpu_nodes:
    description:
      - Whether to accept an operator that reports that no node has a GPU. It creates no
        DaemonSets then, and uses the device plugin config when the first such node joins.
        Otherwise the module waits for them.
    type: bool
    default: false
  timeout:
    description: Seconds to wait.
    type: int
    default: 600
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - gpufleet.sharing.common
  - gpufleet.sharing.run
"""

EXAMPLES = r"""
- name: Point an operator that somebody else installed at our profiles
  gpufleet.sharing.cluster_policy:
    config_map: device-plugin-config
    default_profile: default
    namespace: gpu-operator
"""

RETURN = r"""
before:
  description: The device plugin config before.
  type: dict
  returned: always
  sample: {name: "", default: ""}
differs:
  description: Whether the device plugin config differed, so that it was changed or would be.
  type: bool
  returned: always
after:
  description: The device plugin config after.
  type: dict
  returned: always
  sample: {name: device-plugin-config, default: default}
"""

from ..module_utils._common.versions import check_versions

check_versions()

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from ..module_utils._common.backoff import pauses
from ..module_utils._common.documents import dig, name_of
from ..module_utils._common.errors import ClusterError
from ..module_utils._common.module_entry import Spec, run_module, warn
from ..module_utils._kube import lease as _lease
from ..module_utils._kube.client import Cluster, connect
from ..module_utils._kube.lease import Lease, release_kept_lease
from ..module_utils._kube.objects import (
    CLUSTER_POLICIES,
    NODES,
    if_unchanged,
    namespaced,
    object_path,
)
from ..module_utils._kube.payloads import Json
from ..module_utils._kube.retry import retry_on_conflict
from ..module_utils._nodes.operands import OPERAND_SELECTOR, operand_pod
from ..module_utils._nodes.state import node_state
from ..module_utils._provider.cluster_policy import (
    DevicePluginConfig,
    disabled_part,
    not_stored_message,
    plugin_config_patch,
    policy_using,
    previous_plugin_config,
    read_plugin_config,
    reason_ignored,
    reports_no_gpus,
    restore_patch,
    with_operator_message,
)
from ..module_utils._provider.daemonsets import (
    blocking_pods_message,
    config_map_reader,
    outdated_daemonset,
)
from ..module_utils._provider.events import with_creation_failures
from ..module_utils._rollout.operator_plan import missing_policy, pointer_result

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any

    from ansible.module_utils.basic import AnsibleModule

SETTING = ("present", "repaired", "checked")  # states with a device plugin config
MOST_PODS = 50  # that are looked at, to say what holds a rollout up

SPEC: Spec = {
    "state": {
        "type": "str",
        "choices": ["present", "repaired", "checked", "absent", "released"],
        "default": "present",
    },
    "name": {"type": "str", "default": "cluster-policy"},
    "config_map": {"type": "str", "default": "device-plugin-config"},
    "default_profile": {"type": "str"},
    "namespace": {"type": "str", "default": "gpu-operator"},
    "allow_no_gpu_nodes": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 600},
    "run": {"type": "str", "default": ""},
}


def wait_for_policy(cluster: Cluster, path: str, deadline: float) -> Json:
    """The ClusterPolicy, as soon as it exists."""
    pause = pauses()
    while (policy := cluster.find(path)) is None:
        if time.monotonic() >= deadline:
            policies = cluster.items(CLUSTER_POLICIES)
            raise missing_policy(path.rpartition("/")[2], cluster.server, policies)
        time.sleep(next(pause))
    return policy


def wait_for_daemonsets(
    cluster: Cluster,
    namespace: str,
    policy: object,
    deadline: float,
    *,
    allow_no_gpu_nodes: bool = False,
) -> None:
    """Wait until the operator's DaemonSets are as the ClusterPolicy says and have reached their
    nodes; allow_no_gpu_nodes: or until it says that there is no node for them.
    """
    own = object_path(CLUSTER_POLICIES, name_of(policy))
    pause = pauses()
    while reason := outdated_daemonset(daemonsets(cluster, namespace), policy):
        given_up = time.monotonic() >= deadline
        newest = cluster.find(own) if given_up or allow_no_gpu_nodes else None
        if allow_no_gpu_nodes and reports_no_gpus(newest):
            return
        if given_up:
            said = with_operator_message(reason, newest)
            said = (
                f"The GPU Operator in {namespace} has not taken the profiles over:"
                f" {with_pods(cluster, namespace, said)}."
            )
            raise ClusterError(with_creation_failures(said, cluster, namespace))
        time.sleep(next(pause))


def wait_for_release(
    cluster: Cluster, path: str, namespace: str, config_map: str, deadline: float
) -> None:
    """Wait until the operator's DaemonSets make no pod that reads the ConfigMap; not where the
    ClusterPolicy names it, or where there is no node for them: then the operator leaves them alone.
    """
    pause = pauses()
    while reading := config_map_reader(daemonsets(cluster, namespace), config_map):
        policy = cluster.find(path)
        others = [] if policy else list(cluster.items(CLUSTER_POLICIES))
        if said := policy_using(others, config_map):
            raise ClusterError(said)
        named = read_plugin_config(policy).name == config_map
        if named or reports_no_gpus(policy):
            return
        if time.monotonic() >= deadline:
            said = with_operator_message(reading, policy)
            raise ClusterError(
                f"The GPU Operator in {namespace} still uses the profiles:"
                f" {said}. The ConfigMap stays until it does not. Run uninstall again."
            )
        time.sleep(next(pause))


def daemonsets(cluster: Cluster, namespace: str) -> list[Json]:
    return list(cluster.items(namespaced("daemonsets", namespace, "apis/apps/v1")))


def with_pods(cluster: Cluster, namespace: str, said: str) -> str:
    """The message with the pods that block a DaemonSet update, if there are any we may read."""
    path = namespaced("pods", namespace)
    try:
        pods = map(operand_pod, cluster.items(path, labels=OPERAND_SELECTOR))
        some_pods = islice((pod for pod in pods if pod.unavailable and pod.node), MOST_PODS)
        stuck = [pod for pod in some_pods if not is_ready(cluster, pod.node)]
    except ClusterError:
        return said
    return f"{said}; {blocking_pods_message(stuck)}" if stuck else said


def is_ready(cluster: Cluster, node: str) -> bool:
    """Whether a node exists and is Ready."""
    found = cluster.items(NODES, fields=f"metadata.name={node}")
    return any(node_state(item).ready for item in found)


def run(module: AnsibleModule) -> dict[str, object]:
    params = module.params
    cluster = connect(module)
    path = object_path(CLUSTER_POLICIES, params["name"])
    deadline = time.monotonic() + (0 if module.check_mode else params["timeout"])
    if params["state"] == "absent":
        return retry_on_conflict(lambda: undo(module, cluster, path))
    if params["state"] == "released":
        if not module.check_mode:
            place, config_map = params["namespace"], params["config_map"]
            with last_of_run(cluster, params):
                wait_for_release(cluster, path, place, config_map, deadline)
        return pointer_result(DevicePluginConfig(), DevicePluginConfig(), changed=False)
    if module.check_mode and params["state"] != "present" and cluster.find(path) is None:
        return pointer_result(
            DevicePluginConfig(), DevicePluginConfig(), changed=False
        )  # Helm would create it
    policy = wait_for_policy(cluster, path, 0 if params["state"] == "present" else deadline)
    policies = cluster.items(CLUSTER_POLICIES, metadata_only=True)
    if said := reason_ignored(params["name"], policies):
        raise ClusterError(said)
    before = read_plugin_config(policy)
    wanted = DevicePluginConfig(params["config_map"], params["default_profile"])
    changed = params["state"] != "checked" and before != wanted
    said = disabled_part(dig(policy, "spec"))
    if said and not (module.check_mode and not changed):  # Helm may switch it on
        raise ClusterError(f"ClusterPolicy {params['name']}: {said}")
    if changed and not module.check_mode:
        with held(module, cluster):
            recorded = params["state"] == "present"
            policy = retry_on_conflict(lambda: put(cluster, path, wanted, recorded=recorded))
            check(cluster, policy, wanted, deadline, params)
    elif not module.check_mode:
        with last_of_run(cluster, params):
            check(cluster, policy, wanted, deadline, params)
    return pointer_result(before, wanted if changed else before, changed=changed)


def put(cluster: Cluster, path: str, wanted: DevicePluginConfig, *, recorded: bool) -> Json:
    """Set the device plugin config, and record the one before. The operator writes to its
    ClusterPolicy too.
    """
    policy = cluster.get(path)
    patch = plugin_config_patch(policy, wanted, recorded=recorded)
    return cluster.patch(path, if_unchanged(patch, policy))


def check(
    cluster: Cluster,
    policy: object,
    wanted: DevicePluginConfig,
    deadline: float,
    params: Mapping[str, Any],
) -> None:
    """Wait until the operator uses the device plugin config; raise if it was not stored."""
    if read_plugin_config(policy) != wanted:
        raise ClusterError(not_stored_message(policy, wanted))
    without = params["allow_no_gpu_nodes"]
    wait_for_daemonsets(cluster, params["namespace"], policy, deadline, allow_no_gpu_nodes=without)


def undo(module: AnsibleModule, cluster: Cluster, path: str) -> dict[str, object]:
    """Restore the device plugin config from before ours, if ours is the current one."""
    policy = cluster.find(path)
    before = read_plugin_config(policy)
    patch = restore_patch(policy, module.params["config_map"])
    if patch is None:
        return pointer_result(before, before, changed=False)
    if not module.check_mode:
        with held(module, cluster):
            cluster.patch(path, if_unchanged(patch, policy))
    ours = before.name == module.params["config_map"]
    return pointer_result(before, previous_plugin_config(policy) if ours else before, changed=True)


def held(module: AnsibleModule, cluster: Cluster) -> AbstractContextManager[Lease]:
    """The Lease of writing runs."""
    namespace, name = module.params["namespace"], module.params["run"]
    return _lease.hold_lease(cluster, namespace, name, keep=True, log=partial(warn, module))


@contextmanager
def last_of_run(cluster: Cluster, params: Mapping[str, Any]) -> Iterator[None]:
    """Where this fails, the run is over: the Lease that it has kept is let go, for the next one."""
    try:
        yield
    except ClusterError:
        with suppress(ClusterError):
            release_kept_lease(cluster, params["namespace"], params["run"])
        raise


def main() -> None:
    required = [(("state"), state, ["default_profile"]) for state in SETTING]
    run_module(SPEC, run, called={"cluster_policy": "name"}, required_if=required)


if __name__ == "__main__":
    main()
