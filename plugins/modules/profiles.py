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
    description:
      - Name of the ConfigMap. The operator names the volume like it, so it has to be a volume's
        name, and none that the operator's DaemonSets have.
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
  mode:
    description:
      - With V(in_place) the key of a profile is its name, and a change rewrites it.
      - With V(versioned) the key is the name and what it says, such as C(dev.3f8a0c1d), and is
        never edited. Names have at most 54 characters. Beside these there is the key
        O(default_profile), which nodes without a label and starting plugins read; it gets new
        content with O(final=true) only.
    type: str
    choices: [in_place, versioned]
    default: in_place
  default_profile:
    description: The profile of nodes without a label. Required with O(mode=versioned).
    type: str
  final:
    description:
      - Whether the nodes have their profiles, so that what is left of older ones may go. Versioned
        keys of this module are removed that no profile, no node's label, no operator's default and
        not the last good revision names. With O(mode=versioned) the default's key is brought up to
        date.
    type: bool
    default: false
  run:
    description: >-
      The name of the run, for the Lease that one writing run at a time holds, and for the history.
      By default user, host and process.
    type: str
    default: ""
  keep_lease:
    description: Whether the Lease stays the run's for its next module.
    type: bool
    default: false
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
superseded:
  description: Versioned keys that O(final) would remove, once they are not in use.
  type: list
  elements: str
  returned: with O(state=present)
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

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.documents import mapping_at
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.module_entry import (
    Spec,
    run_module,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.names import (
    MANAGED_BY,
    MANAGED_BY_LABEL,
    PROFILE_LABEL,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import Cluster, connect
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.lease import (
    hold_lease,
    remove_lease,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.objects import (
    CLUSTER_POLICIES,
    NAMESPACES,
    NODES,
    if_unchanged,
    namespaced,
    object_path,
    version_of,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.retry import retry_on_conflict
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import node_state
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.config_map import (
    ConfigMap,
    ConfigMapPlan,
    check_config_map_name,
    plan_config_map,
    plan_removal,
    read_config_map,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.hashing import config_hash
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.keys import (
    IN_PLACE,
    MODES,
    VERSIONED,
    check_versioned_names,
    config_key,
    is_versioned,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.model import Profile
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.plugin import read_version
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rendering import (
    to_plugin_config,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    checked_profiles,
    depends_on_plugin,
    parse_profiles,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._provider.cluster_policy import (
    read_plugin_config,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._provider.plugin import (
    read_cluster_plugin,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.history import (
    History,
    last_good,
    latest,
    spec_as_found,
)

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
    "mode": {"type": "str", "choices": list(MODES), "default": IN_PLACE},
    "default_profile": {"type": "str"},
    "final": {"type": "bool", "default": False},
    "run": {"type": "str", "default": ""},
    "keep_lease": {"type": "bool", "default": False},
    "prune": {"type": "bool", "default": False},
}


def plan_namespace(observed: object, *, create: bool) -> dict[str, str]:
    """The labels to set on the namespace: all of ours on a new one, pod security on one that has
    none.
    """
    labels = mapping_at(observed, "metadata", "labels")
    if not create or POD_SECURITY_LABEL in labels:
        return {}
    mine = {} if observed else {MANAGED_BY_LABEL: MANAGED_BY}
    return {**mine, POD_SECURITY_LABEL: "privileged"}


def read_profiles(
    module: AnsibleModule, cluster: Cluster, definitions: object
) -> dict[str, Profile]:
    """The profiles, checked against the plugin that the cluster has where they depend on it."""
    if not depends_on_plugin(definitions):
        return parse_profiles(definitions)
    strategy = module.params["mig_strategy"]
    plugin = read_cluster_plugin(
        cluster,
        module.params["namespace"],
        None if strategy == "unknown" else strategy,
        read_version(module.params["plugin_version"]),
    )
    return parse_profiles(definitions, plugin)


def keys_in_use(cluster: Cluster, config_map: str) -> set[str]:
    """The keys that node labels name, or the default of an operator pointed at the ConfigMap."""
    nodes = cluster.items(NODES, labels=PROFILE_LABEL, metadata_only=True)
    used = {mapping_at(node, "metadata", "labels").get(PROFILE_LABEL, "") for node in nodes}
    return used | set(defaults_of(cluster, config_map))


def defaults_of(cluster: Cluster, config_map: str) -> list[str]:
    """The default keys of operators that are pointed at the ConfigMap."""
    pointers = (read_plugin_config(policy) for policy in cluster.items(CLUSTER_POLICIES))
    return [pointer.default for pointer in pointers if pointer.name == config_map]


def run(module: AnsibleModule) -> dict[str, object]:
    given = module.params
    wanted = given["state"] == "present"
    definitions = given["profiles"] or {}
    if wanted:
        check_config_map_name(given["name"])
    if wanted and not depends_on_plugin(definitions):
        parse_profiles(definitions)  # what is wrong by itself is told without a cluster
    cluster = connect(module)
    profiles = read_profiles(module, cluster, definitions) if wanted else {}
    planned: list[dict[str, object]] = []
    retry_on_conflict(lambda: keep_profiles(module, cluster, profiles, planned))
    # A write whose answer was lost is found done by the next look, and was ours.
    return next((plan for plan in reversed(planned) if plan["changed"]), planned[-1])


def keep_profiles(
    module: AnsibleModule,
    cluster: Cluster,
    profiles: dict[str, Profile],
    planned: list[dict[str, object]],
) -> None:
    """Look, plan (a result is added to planned) and write. Raises ClusterError with status 409
    where somebody has changed the ConfigMap in between.
    """
    given = module.params
    wanted = given["state"] == "present"
    namespace_path = object_path(NAMESPACES, given["namespace"])
    namespace = cluster.find(namespace_path)
    config_maps = namespaced("configmaps", given["namespace"])
    document = cluster.find(object_path(config_maps, given["name"]))
    observed = read_config_map(document) if document else None
    labels = plan_namespace(namespace, create=wanted and given["create_namespace"])
    files = files_of(module, profiles, observed)
    if wanted:
        plan = make_plan(module, cluster, files, observed)
    else:
        # In check mode what stood before this in uninstall has not been done, so all looks used.
        used = set() if module.check_mode else keys_in_use(cluster, given["name"])
        plan = plan_removal(observed, used)
    data = observed.data if observed else {}
    result: dict[str, object] = {
        "changed": bool(plan or labels),
        "differs": bool(plan or labels),
        "diff": show(plan, given["namespace"], namespace, labels),
        "written": sorted(plan.put),
        "rewritten": sorted(plan.put.keys() & data.keys()),
        "removed": sorted(data if plan.delete else plan.remove),
        "kept_in_use": list(plan.in_use),
        "superseded": superseded(observed, files),
        "hashes": {
            name: config_hash(to_plugin_config(profile)) for name, profile in profiles.items()
        },
    }
    planned.append(result)
    if not module.check_mode and not write(
        module, cluster, plan, labels, document, new=namespace is None
    ):
        planned.pop()
        keep_profiles(module, cluster, profiles, planned)


def files_of(
    module: AnsibleModule,
    profiles: dict[str, Profile],
    observed: ConfigMap | None,
) -> dict[str, str]:
    """The keys that there have to be, and their content."""
    given = module.params
    versioned = given["mode"] == VERSIONED
    if versioned:
        check_versioned_names(profiles)
    files = {
        config_key(profile, versioned=versioned): to_plugin_config(profile)
        for profile in profiles.values()
    }
    default = profiles.get(given["default_profile"] or "")
    if versioned and default is not None:
        there = observed.data.get(default.name) if observed else None
        old = there is not None and not given["final"]
        files[default.name] = str(there) if old else to_plugin_config(default)
    return files


def superseded(observed: ConfigMap | None, files: dict[str, str]) -> list[str]:
    """Versioned keys of ours that are none of the files."""
    ours = observed.written.keys() & observed.data.keys() if observed else set()
    return sorted(key for key in ours - files.keys() if is_versioned(key))


def make_plan(
    module: AnsibleModule,
    cluster: Cluster,
    files: dict[str, str],
    observed: ConfigMap | None,
) -> ConfigMapPlan:
    given = module.params
    others = set(observed.data) - files.keys() if observed else set()
    old = set(superseded(observed, files)) if given["final"] else set()
    going = others if given["prune"] else old
    used = keys_in_use(cluster, given["name"]) if going else set()
    if given["final"] and going:
        used |= keys_of_last_good(history_of(module, cluster), given["mode"])
    return plan_config_map(observed, files, now=cluster.now(), going=going, in_use=used)


def history_of(module: AnsibleModule, cluster: Cluster) -> History:
    return History(cluster, module.params["namespace"], module.params["name"])


def keys_of_last_good(history: History, mode: str) -> set[str]:
    """The keys to go back to from or to versioned ones, so that going back is moving labels."""
    revisions = history.load()
    newest = latest(revisions)
    good = last_good(revisions, newest.number) if newest else None
    if good is None or VERSIONED not in (good.spec.mode, mode):
        return set()
    if good.spec.mode != VERSIONED:
        return set(good.spec.profiles)
    profiles = checked_profiles(good.spec.profiles).values()
    return {config_key(profile, versioned=True) for profile in profiles}


def note_found(module: AnsibleModule, cluster: Cluster, before: ConfigMap) -> None:
    """Before a ConfigMap that is there is changed for the first time, note in the history what the
    fleet has.
    """
    history = history_of(module, cluster)
    if history.load():
        return
    default = next(iter(defaults_of(cluster, module.params["name"])), "")
    states = (node_state(item) for item in cluster.items(NODES, metadata_only=True))
    labels = {state.name: state.labels.get(PROFILE_LABEL) for state in states if state.has_gpus}
    found = spec_as_found(before.data, labels, default)
    if found is not None:
        history.record_found(found, module.params["run"])


def write(
    module: AnsibleModule,
    cluster: Cluster,
    plan: ConfigMapPlan,
    labels: dict[str, str],
    document: object,
    *,
    new: bool,
) -> bool:
    """Write what differs, as the one run that may. False where another run has moved a label to a
    key that is to go, after the plan was made and before the Lease was ours.
    """
    given = module.params
    namespace_path = object_path(NAMESPACES, given["namespace"])
    if labels:
        write_namespace(cluster, namespace_path, labels, new=new)
    if plan:
        keep, said = given["keep_lease"], module.warn
        with hold_lease(cluster, given["namespace"], given["run"], keep=keep, log=said) as lease:
            if plan.remove and keys_in_use(cluster, given["name"]) & set(plan.remove):
                return False
            if plan.before is not None and given["state"] == "present":
                note_found(module, cluster, plan.before)
            lease.check()
            config_maps = namespaced("configmaps", given["namespace"])
            write_config_map(cluster, config_maps, given["name"], plan, document)
    if given["state"] == "absent":
        history_of(module, cluster).remove()
        remove_lease(cluster, given["namespace"], given["run"], log=module.warn)
    return True


def show(
    plan: ConfigMapPlan, name: str, observed: object, labels: dict[str, str]
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


def write_namespace(cluster: Cluster, path: str, labels: dict[str, str], *, new: bool) -> None:
    if new:
        name = path.rpartition("/")[2]
        cluster.create(NAMESPACES, {"metadata": {"name": name, "labels": labels}})
    else:
        cluster.patch(path, {"metadata": {"labels": labels}})


def write_config_map(
    cluster: Cluster,
    config_maps: str,
    name: str,
    plan: ConfigMapPlan,
    document: object,
) -> None:
    """Write in one request, which is refused where somebody has changed the ConfigMap since it was
    read.
    """
    path = object_path(config_maps, name)
    if plan.delete:
        cluster.delete(path, resource_version=version_of(document))
    elif plan.before is None:
        content = plan.patch()
        labels = {MANAGED_BY_LABEL: MANAGED_BY}
        metadata = {"name": name, "labels": labels, **dict(content["metadata"])}  # type: ignore[call-overload]
        cluster.create(config_maps, {**content, "metadata": metadata})
    else:
        cluster.patch(path, if_unchanged(plan.patch(), document))


def main() -> None:
    required = [("state", "present", ["profiles"]), ("mode", "versioned", ["default_profile"])]
    run_module(SPEC, run, required_if=required)


if __name__ == "__main__":
    main()
