#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: helm_release
short_description: Manage the Helm release of the GPU Operator, and recover stuck releases
version_added: 0.1.0
description:
  - Internal to the role P(gpufleet.sharing.gpu_operator#role). Installs or upgrades a release
    through M(kubernetes.core.helm), and merges O(values) over the values of the release, so that
    values of others are kept.
  - A release that a killed run left C(pending-install), C(pending-upgrade) or C(pending-rollback)
    makes every later Helm run
    fail. Once it is older than O(timeout), it is recovered by deleting the Secret of the pending
      revision. Helm may still be running on a younger one; the module waits for it, except in
      check mode.
  - A release that a killed run left C(uninstalling) is marked as failed after the same wait, since
    M(kubernetes.core.helm) would neither remove nor upgrade it.
options:
  state:
    description:
      - With V(absent), a release that this module installed is uninstalled, even a pending one. A
        release that existed before keeps running with the O(pointer) values that it had.
    type: str
    choices: [present, absent]
    default: present
  name:
    description: Name of the release.
    type: str
    default: gpu-operator
  namespace:
    description: Namespace of the release.
    type: str
    default: gpu-operator
  chart_ref:
    description: >-
      The chart, as C(repository/name), an OCI reference, or the path of a folder or archive.
    type: str
    required: true
  chart_repo_url:
    description: URL of the chart's repository.
    type: str
  chart_version:
    description: Version of the chart. The default is the newest.
    type: str
  pointer:
    description: >-
      The ConfigMap (C(name)) and the profile of nodes without a label (C(default)), for
      C(devicePlugin.config).
    type: dict
    default: {}
  values:
    description: Values to merge over those of the release.
    type: dict
    default: {}
  values_exact:
    description: Whether values of the release that O(values) does not set are dropped.
    type: bool
    default: false
  previous_pointer:
    description: >-
      The values C(devicePlugin.config) of the release. The action plugin sets it.
    type: dict
    default: {}
  forget:
    description: >-
      Only remove the record of who installed the release. The action plugin sets it after
      uninstalling.
    type: bool
    default: false
  outcome:
    description: >-
      Only record how Helm has ended, and return why pods could not be created. The action plugin
      sets it after Helm.
    type: str
    choices: ["", succeeded, failed]
    default: ""
  retry:
    description: >-
      Only remove the newest revision if it is a failed upgrade, so that Helm upgrades again. The
      action plugin sets it where nothing else differs.
    type: bool
    default: false
  timeout:
    description: >-
      Seconds that Helm may wait, and minimum age of a pending release to be recovered.
    type: int
    default: 600
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - gpufleet.sharing.common
  - gpufleet.sharing.run
attributes:
  diff_mode:
    support: full
    description: Shows the keys of values that differ, and the device plugin config.
"""

EXAMPLES = r"""
- name: The GPU Operator, pointed at our profiles
  gpufleet.sharing.helm_release:
    chart_ref: gpu-operator
    chart_repo_url: https://helm.ngc.nvidia.com/nvidia
    chart_version: v26.7.0
    pointer:
      name: device-plugin-config
      default: default
    values:
      driver:
        enabled: false
"""

RETURN = r"""
pending:
  description: The pending revision that Helm may still be running on. Nothing is done then.
  type: dict
  returned: when there is one, not in check mode
  sample: {revision: 3, status: pending-upgrade, age: 12}
seconds_left:
  description: Seconds that it may still run, at most.
  type: int
  returned: with RV(pending)
recovered:
  description: The pending revision that was removed, if any.
  type: dict
  returned: always
  sample: {revision: 3, status: pending-upgrade, age: 1260}
failed_upgrade:
  description: Whether Helm has failed to upgrade to the newest revision.
  type: bool
  returned: always
differs:
  description: Whether the release differed, so that it was changed or would be.
  type: bool
  returned: always
left:
  description: Whether an operator that is not ours stays, by its release or its ClusterPolicy.
  type: bool
  returned: with O(state=absent)
causes:
  description: Why pods could not be created, such as a quota. Empty where there is no such event.
  type: str
  returned: with O(outcome=failed)
changed_values:
  description: >-
    The keys of the values that differ, such as C(driver.version). The values are not returned,
    since they can be secret.
  type: list
  elements: str
  returned: with O(state=present)
"""

from ..module_utils._common.versions import check_versions

check_versions()

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..module_utils._common.module_entry import Spec, run_module
from ..module_utils._common.values import check_minimums
from ..module_utils._kube.client import Cluster, connect
from ..module_utils._kube.objects import CLUSTER_POLICIES, NAMESPACES, namespaced, object_path
from ..module_utils._provider import helm as _helm
from ..module_utils._provider.events import with_creation_failures
from ..module_utils._provider.helm import (
    HelmRevision,
    ReleaseRecord,
    failed_upgrade,
    pending_revision,
    read_helm_revisions,
    read_record,
    record_after_helm,
    record_annotation,
    record_of,
    seconds_left,
    uninstalling_revision,
    updated_record,
)
from ..module_utils._provider.release import failed_patch

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC: Spec = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "name": {"type": "str", "default": "gpu-operator"},
    "namespace": {"type": "str", "default": "gpu-operator"},
    "chart_ref": {"type": "str", "required": True},
    "chart_repo_url": {"type": "str"},
    "chart_version": {"type": "str"},
    "pointer": {"type": "dict", "default": {}},
    "values": {"type": "dict", "default": {}},
    "values_exact": {"type": "bool", "default": False},
    "previous_pointer": {"type": "dict", "default": {}},
    "forget": {"type": "bool", "default": False},
    "retry": {"type": "bool", "default": False},
    "outcome": {"type": "str", "choices": ["", "succeeded", "failed"], "default": ""},
    "timeout": {"type": "int", "default": 600},
    "run": {"type": "str", "default": ""},
}


def run(module: AnsibleModule) -> dict[str, object]:
    check_minimums(module.params, {"timeout": 1})
    cluster = connect(module)
    if module.params["forget"]:
        return write_note(module, cluster, None)
    selector = f"owner=helm,name={module.params['name']}"
    secrets = namespaced("secrets", module.params["namespace"])
    revisions = read_helm_revisions(cluster.items(secrets, labels=selector, metadata_only=True))
    if module.params["retry"]:
        if (failed := failed_upgrade(revisions)) and not module.check_mode:
            cluster.delete(object_path(secrets, failed.secret), uid=failed.uid)
        return {"changed": bool(failed)}
    if module.params["outcome"]:
        return note_outcome(module, cluster, revisions)
    return look(module, cluster, revisions)


def look(
    module: AnsibleModule, cluster: Cluster, revisions: Sequence[HelmRevision]
) -> dict[str, object]:
    """Look at the release's revisions and take a stuck one away. The action plugin of the same
    name does the rest.
    """
    name, namespace = module.params["name"], module.params["namespace"]
    secrets = namespaced("secrets", namespace)
    stuck, leaving = pending_revision(revisions), uninstalling_revision(revisions)
    busy = stuck or leaving
    left = seconds_left(busy, cluster.now(), module.params["timeout"])
    if busy and left and not module.check_mode:
        pending = busy.as_dict(cluster.now())
        return {"changed": False, "recovered": {}, "pending": pending, "seconds_left": left}
    place = cluster.find(object_path(NAMESPACES, namespace))
    noted, pointer = read_record(place, name), module.params["previous_pointer"]
    note = record_of(revisions, noted, pointer)
    present = module.params["state"] == "present"
    if not present and (note is None or note.ours):
        stuck = None  # Helm uninstalls a pending release too; one that is not ours is left alone
    exists = any(revision != stuck for revision in revisions)
    asked = module.params["pointer"]
    wanted = updated_record(note, pointer, asked, revisions) if present else note
    if not module.check_mode:
        if wanted != noted:
            write_note(module, cluster, wanted)
        if stuck:
            cluster.delete(object_path(secrets, stuck.secret), uid=stuck.uid)
        if leaving and (present or (note and note.ours)):
            path = object_path(secrets, leaving.secret)
            cluster.patch(path, failed_patch(cluster.get(path)))
    return {
        "changed": bool(stuck) or wanted != noted,
        "recovered": stuck.as_dict(cluster.now()) if stuck else {},
        "exists": exists,
        "failed_upgrade": failed_upgrade(revisions) is not None,
        "namespace_exists": place is not None,
        "note": vars(note) if note else {},
        "others": [] if present else foreign_policies(module, cluster),
    }


def note_outcome(
    module: AnsibleModule, cluster: Cluster, revisions: Sequence[HelmRevision]
) -> dict[str, object]:
    """Record that the release is ours only after Helm has installed it."""
    place = module.params["namespace"]
    noted = read_record(cluster.find(object_path(NAMESPACES, place)), module.params["name"])
    succeeded = module.params["outcome"] == "succeeded"
    wanted = record_after_helm(noted, revisions, succeeded=succeeded)
    if wanted != noted:
        write_note(module, cluster, wanted)
    said = "" if succeeded else with_creation_failures("", cluster, place)
    return {"changed": wanted != noted, "causes": said}


def foreign_policies(module: AnsibleModule, cluster: Cluster) -> list[str]:
    policies = cluster.items(CLUSTER_POLICIES, metadata_only=True)
    return _helm.foreign_policies(policies, module.params["name"], module.params["namespace"])


def write_note(
    module: AnsibleModule, cluster: Cluster, note: ReleaseRecord | None
) -> dict[str, object]:
    """Write on the namespace what uninstalling has to know, or take it away. A namespace that is
    not there yet is made for it, so that it is known before Helm begins.
    """
    name = module.params["namespace"]
    path = object_path(NAMESPACES, name)
    value = json.dumps(vars(note)) if note else None
    metadata = {"annotations": {record_annotation(module.params["name"]): value}}
    if not module.check_mode:
        if cluster.find(path) is not None:
            cluster.patch(path, {"metadata": metadata})
        elif note:
            cluster.create(NAMESPACES, {"metadata": {"name": name, **metadata}})
    return {"changed": True}


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
