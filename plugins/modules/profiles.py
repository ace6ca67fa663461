#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: profiles
short_description: Manage the ConfigMap of GPU sharing profiles
version_added: 0.1.0
description:
  - Manages one ConfigMap with one key per profile. The content of a key is the configuration file
    of NVIDIA's device plugin.
  - All profiles are validated before anything is written. A profile with C(replicas) 1 shares
    nothing and is written as only C(version) V(v1), because the device plugin rejects replicas
    below 2.
  - A key whose content differs only in layout or comments stays as it is, so adopting a ConfigMap
    restarts nothing.
options:
  state:
    description:
      - With V(absent), the keys that this module wrote are removed, and the ConfigMap too if this
        module created it and no other key is left.
    type: str
    choices: [present, absent]
    default: present
  name:
    description:
      - Name of the ConfigMap. The operator names a volume after it, so it must be a valid volume
        name that the operator's DaemonSets do not use.
    type: str
    default: device-plugin-config
  namespace:
    description: Namespace of the ConfigMap, which must be the namespace of the GPU Operator.
    type: str
    default: gpu-operator
  create_namespace:
    description: >-
      Whether to create a missing namespace, with the label
      C(pod-security.kubernetes.io/enforce=privileged) that the operator's pods need. An existing
      namespace without the label gets it too.
    type: bool
    default: true
  profiles:
    description:
      - The profiles, as names and their settings. Required with O(state=present).
      - In short form the settings are C(strategy) (V(time_slicing), V(mps) or V(none)), C(replicas)
        (slots per physical GPU; 1 means no sharing), or instead of it C(resources) (a list of
        C(name) and C(replicas), for MIG devices), C(rename_by_default) (advertise
        C(nvidia.com/gpu.shared), default V(false)), and C(fail_requests_greater_than_one) (default
        V(true)).
      - A profile may also use the keys of the device plugin (C(version), C(sharing), C(flags),
        C(imex)), or be the text of a complete file. It is read as strictly as the plugin reads
        it, and what the plugin would silently ignore is rejected too.
      - C(mig) is the configuration of NVIDIA's MIG manager that nodes of the profile get
        (M(gpufleet.sharing.mig_config)).
    type: dict
  mig_strategy:
    description: >-
      The MIG strategy that the operator gets; empty for none. V(unknown) means the one that it
      has, or the chart's default if there is no operator yet. Profiles of MIG devices need
      V(mixed).
    type: str
    choices: [unknown, "", none, single, mixed]
    default: unknown
  plugin_version:
    description: >-
      The version of the device plugin that the operator gets, if it is known, such as V(v0.19.3).
      A setting that this version, or the installed one, does not support yet is rejected.
    type: str
    default: ""
  mode:
    description:
      - With V(in_place), the key of a profile is its name, and a change rewrites it.
      - With V(versioned), the key is the name and a hash of the content, such as C(dev.3f8a0c1d),
        and is never edited. Names have at most 54 characters. Nodes without a label and starting
        plugins read the key O(default_profile), which gets new content only with O(final=true).
    type: str
    choices: [in_place, versioned]
    default: in_place
  default_profile:
    description: The profile of nodes without a label. Required with O(mode=versioned).
    type: str
  final:
    description:
      - Whether the nodes have their profiles, so that older versions can be removed. Removes
        versioned keys of this module that no profile, node label, operator default or last good
        revision references. With O(mode=versioned), also updates the key of the default profile.
    type: bool
    default: false
  run:
    description: >-
      Name of the run, for the Lease that one writing run holds at a time, and for the history. By
      default user, host and process.
    type: str
    default: ""
  keep_lease:
    description: Whether the run keeps the Lease for its next module.
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
  description: Whether something differed, so that it was changed or would be.
  type: bool
  returned: always
written:
  description: Profiles whose content was written, or would be in check mode.
  type: list
  elements: str
  returned: always
  sample: [dev]
rewritten:
  description: Those of RV(written) that had other content before. Their nodes get the new
    content.
  type: list
  elements: str
  returned: always
removed:
  description: Keys that were removed.
  type: list
  elements: str
  returned: always
superseded:
  description: Versioned keys that O(final) would remove once they are no longer in use.
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

from ..module_utils._common.versions import check_versions

check_versions()

from functools import partial
from typing import TYPE_CHECKING

from ..module_utils._common.module_entry import Spec, run_module, warn
from ..module_utils._common.names import MANAGED_BY, MANAGED_BY_LABEL, PROFILE_LABEL
from ..module_utils._kube.client import Cluster, connect
from ..module_utils._kube.lease import hold_lease, remove_lease
from ..module_utils._kube.objects import NAMESPACES, if_unchanged, object_path, version_of
from ..module_utils._kube.retry import retry_on_conflict
from ..module_utils._profiles.config_map import (
    ConfigMap,
    ConfigMapPlan,
    check_config_map_name,
    plan_removal,
)
from ..module_utils._profiles.keys import IN_PLACE, MODES
from ..module_utils._profiles.model import Profile
from ..module_utils._profiles.plugin import read_version
from ..module_utils._profiles.rendered import take_profiles
from ..module_utils._profiles.validation import depends_on_plugin
from ..module_utils._rollout.content import ContentPlan, Wanted, plan_content
from ..module_utils._rollout.history import spec_as_found
from ..module_utils._rollout.observed import Observed

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

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


def run(module: AnsibleModule) -> dict[str, object]:
    given = module.params
    wanted = given["state"] == "present"
    definitions = given["profiles"] or {}
    early = None
    if wanted:
        check_config_map_name(given["name"])
        if not depends_on_plugin(definitions):  # then what is wrong shows without a cluster
            early = take_profiles(definitions)
    cluster = connect(module)
    profiles = early or (read_profiles(module, cluster) if wanted else {})
    planned: list[dict[str, object]] = []
    retry_on_conflict(lambda: keep_profiles(module, cluster, profiles, planned))
    # A write whose answer was lost is found done by the next look, and was ours.
    return next((plan for plan in reversed(planned) if plan["changed"]), planned[-1])


def read_profiles(module: AnsibleModule, cluster: Cluster) -> dict[str, Profile]:
    """The profiles, checked against the plugin that the cluster has."""
    given = module.params
    strategy = None if given["mig_strategy"] == "unknown" else given["mig_strategy"]
    observed = Observed(cluster, given["namespace"], given["name"])
    plugin = observed.plugin(strategy, read_version(given["plugin_version"]))
    return take_profiles(given["profiles"], plugin, partial(warn, module))


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
    observed = Observed(cluster, given["namespace"], given["name"])
    plan = make_plan(module, observed, profiles)
    planned.append(plan.result(observed))
    if not module.check_mode and not write(module, observed, plan):
        planned.pop()
        keep_profiles(module, cluster, profiles, planned)


def make_plan(
    module: AnsibleModule, observed: Observed, profiles: dict[str, Profile]
) -> ContentPlan:
    given = module.params
    if given["state"] == "absent":
        # In check mode what stood before this in uninstall has not been done, so all looks used.
        used = set() if module.check_mode else observed.keys_in_use()
        return ContentPlan(plan_removal(observed.config_map, used), {})
    wanted = Wanted(
        profiles=profiles,
        mode=given["mode"],
        default_profile=given["default_profile"] or "",
        create_namespace=given["create_namespace"],
        prune=given["prune"],
        final=given["final"],
    )
    return plan_content(wanted, observed)


def note_found(module: AnsibleModule, observed: Observed, before: ConfigMap) -> None:
    """Before a ConfigMap that is there is changed for the first time, note in the history what the
    fleet has.
    """
    if observed.history.load():
        return
    default = next(iter(observed.defaults()), "")
    states = observed.nodes.values()
    labels = {state.name: state.labels.get(PROFILE_LABEL) for state in states if state.has_gpus}
    found = spec_as_found(before.data, labels, default)
    if found is not None:
        observed.history.record_found(found, module.params["run"])


def write(module: AnsibleModule, observed: Observed, plan: ContentPlan) -> bool:
    """Write what differs, as the one run that may. False where the plan is out of date: it had to
    wait for another run, or that has moved a label to a key that is to go.
    """
    given, cluster, keys = module.params, observed.cluster, plan.keys
    if plan.labels:
        write_namespace(cluster, observed, dict(plan.labels))
    if keys:
        keep = given["keep_lease"]
        with hold_lease(
            cluster,
            given["namespace"],
            given["run"],
            keep=keep,
            log=partial(warn, module),
        ) as lease:
            if lease.waited:
                return False
            now = Observed(cluster, given["namespace"], given["name"])
            if keys.remove and now.keys_in_use() & set(keys.remove):
                return False
            if keys.before is not None and given["state"] == "present":
                note_found(module, now, keys.before)
            lease.check()
            write_config_map(observed, keys)
    if given["state"] == "absent":
        observed.history.remove()
        remove_lease(cluster, given["namespace"], given["run"], log=partial(warn, module))
    return True


def write_namespace(cluster: Cluster, observed: Observed, labels: dict[str, str]) -> None:
    if observed.namespace is None:
        cluster.create(NAMESPACES, {"metadata": {"name": observed.place, "labels": labels}})
    else:
        cluster.patch(observed.namespace_path, {"metadata": {"labels": labels}})


def write_config_map(observed: Observed, plan: ConfigMapPlan) -> None:
    """Write in one request, which is refused where somebody has changed the ConfigMap since it was
    read.
    """
    cluster, document = observed.cluster, observed.config_map_object
    path = object_path(observed.config_maps_path, observed.config_map_name)
    if plan.delete:
        cluster.delete(path, resource_version=version_of(document))
    elif plan.before is None:
        content = plan.patch()
        labels = {MANAGED_BY_LABEL: MANAGED_BY}
        metadata = {
            "name": observed.config_map_name,
            "labels": labels,
            **dict(content["metadata"]),  # type: ignore[call-overload]
        }
        cluster.create(observed.config_maps_path, {**content, "metadata": metadata})
    else:
        cluster.patch(path, if_unchanged(plan.patch(), document))


def main() -> None:
    required = [("state", "present", ["profiles"]), ("mode", "versioned", ["default_profile"])]
    run_module(SPEC, run, called={"config_map": "name"}, required_if=required)


if __name__ == "__main__":
    main()
