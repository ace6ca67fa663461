#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: profiles
short_description: Keep the ConfigMap of GPU sharing profiles
version_added: 0.1.0
description:
  - Keeps one ConfigMap with one key for each profile, whose content is the configuration file of
    NVIDIA's device plugin.
  - All profiles are validated before anything is written. A profile with C(replicas) 1
    shares nothing and is
    written as C(version) V(v1) alone, since the device plugin refuses replicas below 2.
  - A key whose content differs only in layout or comments is left as it is, so that adopting a
    ConfigMap restarts nothing.
options:
  state:
    description:
      - With V(absent) the keys that this module wrote are removed, and the ConfigMap too when this
        module created it and it
        holds nobody else's key.
    type: str
    choices: [present, absent]
    default: present
  name:
    description: Name of the ConfigMap.
    type: str
    default: device-plugin-config
  namespace:
    description: Namespace of the ConfigMap, which must be the namespace of the GPU Operator.
    type: str
    default: gpu-operator
  create_namespace:
    description: >-
      Whether the namespace is created when it is missing, labelled
      C(pod-security.kubernetes.io/enforce=privileged), which
      the operator's pods need. The label is also added to an existing namespace that lacks it.
    type: bool
    default: true
  profiles:
    description:
      - The profiles, each a name and its settings. Required with O(state=present).
      - In short form the settings are C(strategy) (V(time_slicing), V(mps) or V(none)),
        C(replicas) (slots for each physical GPU, 1 means no sharing), or instead of it
        C(resources) (a list of C(name) and C(replicas), for MIG devices), C(rename_by_default)
        (advertise C(nvidia.com/gpu.shared), default V(false)), and
        C(fail_requests_greater_than_one) (default V(true)).
      - A profile may also be said in the keys of the device plugin (C(version), C(sharing),
        C(flags), C(imex)), or be the text of a whole file. It is read as strictly as the plugin
        reads it, and what the plugin would silently ignore is refused too.
      - C(mig) names a configuration of NVIDIA's MIG manager that nodes of the profile get
        (M(gpufleet.sharing.mig_config)).
    type: dict
  mig_strategy:
    description: >-
      The MIG strategy that the operator is about to get, empty where it gets none; V(unknown) for
      the one that it has, or the chart's default where there is no operator yet. Profiles of MIG
      devices need V(mixed).
    type: str
    choices: [unknown, "", none, single, mixed]
    default: unknown
  plugin_version:
    description: >-
      The version of the device plugin that the operator is about to get, where it is known, such as
      V(v0.19.3). A setting that it, or the plugin that is there, does not know yet is refused.
    type: str
    default: ""
  prune:
    description:
      - Whether keys that are not in O(profiles) are removed. A key that a node's label or the
        operator's default names is
        never removed.
    type: bool
    default: false
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - gpufleet.sharing.common
seealso:
  - module: gpufleet.sharing.node_profiles
  - module: gpufleet.sharing.rollout
"""

EXAMPLES = r"""
- name: Three profiles
  gpufleet.sharing.profiles:
    namespace: gpu-operator
    profiles:
      default: {replicas: 4}
      dev: {replicas: 8}
      no-sharing: {replicas: 1}

- name: Take them away again
  gpufleet.sharing.profiles:
    namespace: gpu-operator
    state: absent
"""

RETURN = r"""
differs:
  description: Whether something was not as asked for, so that it was changed or would be.
  type: bool
  returned: always
written:
  description: Profiles whose content was written, or would be in check mode.
  type: list
  elements: str
  returned: always
  sample: [dev]
rewritten:
  description: Those of RV(written) that had other content before, which their nodes will get.
  type: list
  elements: str
  returned: always
removed:
  description: Keys that were removed.
  type: list
  elements: str
  returned: always
kept_in_use:
  description: Keys that O(prune) would have removed, if they were not in use.
  type: list
  elements: str
  returned: always
hashes:
  description: >-
    The hash of the content of each profile, as in the node annotation
    C(gpufleet.sharing/config-hash).
  type: dict
  returned: with O(state=present)
  sample: {default: 3f8a0c1d2e4b}
"""

from typing import TYPE_CHECKING

from ansible_collections.gpufleet.sharing.plugins.module_utils import _config_map, _kube, _profiles
from ansible_collections.gpufleet.sharing.plugins.module_utils._entry import Spec, run_module
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet import PROFILE_LABEL
from ansible_collections.gpufleet.sharing.plugins.module_utils._observed import mapping_at
from ansible_collections.gpufleet.sharing.plugins.module_utils._operator import (
    read_plugin,
    read_pointer,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._plugin_file import read_version

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

POD_SECURITY_LABEL = "pod-security.kubernetes.io/enforce"
SPEC: Spec = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "name": {"type": "str", "default": "device-plugin-config"},
    "namespace": {"type": "str", "default": "gpu-operator"},
    "create_namespace": {"type": "bool", "default": True},
    "profiles": {"type": "dict"},
    "mig_strategy": {
        "type": "str",
        "choices": ["unknown", "", "none", "single", "mixed"],
        "default": "unknown",
    },
    "plugin_version": {"type": "str", "default": ""},
    "prune": {"type": "bool", "default": False},
}


def plan_namespace(observed: object, *, create: bool) -> dict[str, str]:
    """The labels to set on the namespace: all of ours on a new one, pod security on one that has
    none.
    """
    labels = mapping_at(observed, "metadata", "labels")
    if not create or POD_SECURITY_LABEL in labels:
        return {}
    mine = {} if observed else {_config_map.MANAGED_BY_LABEL: _config_map.MANAGED_BY}
    return {**mine, POD_SECURITY_LABEL: "privileged"}


def read_profiles(
    module: AnsibleModule, cluster: _kube.Cluster, definitions: object
) -> dict[str, _profiles.Profile]:
    """The profiles, checked against the plugin that the cluster has where they depend on it."""
    if not _profiles.ask_the_plugin(definitions):
        return _profiles.parse_profiles(definitions)
    path = _kube.namespaced("daemonsets", module.params["namespace"], "apis/apps/v1")
    strategy = module.params["mig_strategy"]
    plugin = read_plugin(
        cluster.items(path),
        None if strategy == "unknown" else strategy,
        read_version(module.params["plugin_version"]),
    )
    return _profiles.parse_profiles(definitions, plugin)


def keys_in_use(cluster: _kube.Cluster, config_map: str) -> set[str]:
    """The keys that node labels name, or the default of an operator pointed at the ConfigMap."""
    nodes = cluster.items(_kube.NODES, labels=PROFILE_LABEL, metadata_only=True)
    used = {mapping_at(node, "metadata", "labels").get(PROFILE_LABEL, "") for node in nodes}
    pointers = (read_pointer(policy) for policy in cluster.items(_kube.CLUSTER_POLICIES))
    return used | {pointer.default for pointer in pointers if pointer.name == config_map}


def run(module: AnsibleModule) -> dict[str, object]:
    wanted = module.params["state"] == "present"
    definitions = module.params["profiles"] or {}
    if wanted and not _profiles.ask_the_plugin(definitions):
        _profiles.parse_profiles(definitions)  # what is wrong by itself is told without a cluster
    cluster = _kube.connect(module)
    profiles = read_profiles(module, cluster, definitions) if wanted else {}
    files = {name: _profiles.to_plugin_config(profile) for name, profile in profiles.items()}
    config_maps = _kube.namespaced("configmaps", module.params["namespace"])
    path = _kube.object_path(config_maps, module.params["name"])
    namespace_path = _kube.object_path(_kube.NAMESPACES, module.params["namespace"])
    namespace = cluster.find(namespace_path)
    document = cluster.find(path)
    observed = _config_map.read_config_map(document) if document else None
    labels: dict[str, str] = {}
    if wanted:
        labels = plan_namespace(namespace, create=module.params["create_namespace"])
        prune = module.params["prune"]
        used = (
            keys_in_use(cluster, module.params["name"])
            if prune and observed and observed.data.keys() - files.keys()
            else set()
        )
        plan = _config_map.plan_config_map(
            observed, files, now=cluster.now(), prune=prune, in_use=used
        )
    else:
        # In check mode what stood before this in uninstall has not been done, so all looks used.
        used = set() if module.check_mode else keys_in_use(cluster, module.params["name"])
        plan = _config_map.plan_removal(observed, used)
    if not module.check_mode:
        if labels:
            write_namespace(cluster, namespace_path, labels, new=namespace is None)
        if plan:
            write_config_map(cluster, config_maps, module.params["name"], plan)
    return {
        "changed": bool(plan or labels),
        "differs": bool(plan or labels),
        "diff": show(plan, module.params["namespace"], namespace, labels),
        "written": sorted(plan.put),
        "rewritten": sorted(plan.put.keys() & (observed.data.keys() if observed else set())),
        "removed": sorted(observed.data if plan.delete and observed else plan.remove),
        "kept_in_use": list(plan.in_use),
        "hashes": {name: _profiles.config_hash(text) for name, text in files.items()},
    }


def show(
    plan: _config_map.ConfigMapPlan, name: str, observed: object, labels: dict[str, str]
) -> dict[str, dict[str, object]]:
    """The difference of the ConfigMap, and of the namespace's labels where they change."""
    diff = plan.diff()
    before: dict[str, object] = dict(diff["before"])
    after: dict[str, object] = dict(diff["after"])
    if labels:
        had = mapping_at(observed, "metadata", "labels")
        if observed:
            before[f"labels of namespace {name}"] = {k: v for k, v in had.items() if k in labels}
        after[f"labels of namespace {name}"] = labels
    return {"before": before, "after": after}


def write_namespace(
    cluster: _kube.Cluster, path: str, labels: dict[str, str], *, new: bool
) -> None:
    if new:
        name = path.rpartition("/")[2]
        cluster.create(_kube.NAMESPACES, {"metadata": {"name": name, "labels": labels}})
    else:
        cluster.patch(path, {"metadata": {"labels": labels}})


def write_config_map(
    cluster: _kube.Cluster, config_maps: str, name: str, plan: _config_map.ConfigMapPlan
) -> None:
    path = _kube.object_path(config_maps, name)
    if plan.delete:
        cluster.delete(path)
    elif plan.before is None:
        content = plan.patch()
        labels = {_config_map.MANAGED_BY_LABEL: _config_map.MANAGED_BY}
        metadata = {"name": name, "labels": labels, **dict(content["metadata"])}  # type: ignore[call-overload]
        cluster.create(config_maps, {**content, "metadata": metadata})
    else:
        cluster.patch(path, plan.patch())


def main() -> None:
    run_module(SPEC, run, required_if=[("state", "present", ["profiles"])])


if __name__ == "__main__":
    main()
