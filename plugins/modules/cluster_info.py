#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_info
short_description: Resolve the target cluster and identity
version_added: 0.1.0
description:
  - Internal to the role P(gpufleet.sharing.gpu_preflight#role). Runs on the controller, as an
    action plugin.
  - Resolves the connection once,
    from options, C(K8S_AUTH_*), a kubeconfig or in-cluster credentials, and asks the API server
    for the identity.
  - Returns it as options for C(module_defaults), so that Helm and the modules use the same server
    and identity. For that it writes a kubeconfig with mode 0600 into Ansible's local temporary
    folder, which Ansible removes at the end.
  - Rejects settings that contradict each other, and a O(host) without its own credentials, unless
    it is the server of the kubeconfig's context.
options:
  fleet:
    description:
      - Whether to find the nodes of this cluster in the inventory, and to check the variables of
        the roles, before the connection. Fails with all that is wrong with the inventory or the
        limit, and if C(--tags) or C(--skip-tags) leave out the work of the playbook.
    type: bool
    default: false
  allow_empty:
    description: Whether O(fleet=true) accepts that this cluster has no nodes in the inventory.
    type: bool
    default: false
  exclusive:
    description:
      - Whether nodes that are not in the inventory lose their label. With O(fleet=true), and
        O(purpose=site) or O(purpose=plan), fails in a job of AWX, whose inventory has only the
        hosts that are switched on.
    type: bool
    default: false
  purpose:
    description:
      - What the run does. Fails if permissions for it are missing, and lists them.
      - With V(inventory), no connection is made.
      - With V(doctor), a cluster that is managed by a GPUCluster is not rejected, because that is
        a finding.
      - If it is not set, permissions are not checked.
    type: str
    choices: [verify, probe, site, uninstall, plan, history, doctor, access, inventory]
  manage:
    description: How the operator is managed. With V(helm), Helm is checked too.
    type: str
    choices: [helm, existing]
    default: helm
  release:
    description:
      - Name of the Helm release. If neither it nor O(namespace) is set, the release of the operator
        that the cluster has is the one to manage, and V(gpu-operator) where there is none.
      - With O(manage=helm), O(purpose=site) and O(purpose=plan) fail if the operator belongs to
        another release, to OLM, Argo CD, Flux or Terraform, or to no release.
    type: str
    default: ""
  namespace:
    description: >-
      Namespace of the GPU Operator. The default is that of its release, or V(gpu-operator).
    type: str
    default: ""
  config_map:
    description: Name of the ConfigMap of profiles.
    type: str
    default: device-plugin-config
  cluster_policy:
    description: Name of the ClusterPolicy.
    type: str
    default: cluster-policy
  create_namespace:
    description: Whether a missing namespace is created, with O(manage=helm).
    type: bool
    default: true
  remove_crds:
    description: Whether O(purpose=uninstall) removes CustomResourceDefinitions too.
    type: bool
    default: false
  evict:
    description: Whether O(purpose=site) or O(purpose=uninstall) may evict pods.
    type: bool
    default: false
  probe_namespace:
    description: >-
      The namespace of M(gpufleet.sharing.probe), for O(purpose=probe) and O(purpose=uninstall).
    type: str
    default: gpufleet-sharing-probe
  probe_prepared:
    description: Whether an administrator provides it, so that it is neither created nor removed.
    type: bool
    default: false
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - gpufleet.sharing.common
attributes:
  diff_mode:
    support: none
    description: Changes nothing in the cluster, so there is no difference to show.
"""

EXAMPLES = r"""
- name: Resolve the connection
  gpufleet.sharing.cluster_info:
    context: prod-eu
    purpose: site
    manage: existing
  register: cluster
"""

RETURN = r"""
nodes:
  description: >-
    The nodes of this cluster, as the option O(gpufleet.sharing.rollout#module:nodes), in JSON,
    because Ansible would visit each of the thousands of values in a structure at each use.
  type: str
  returned: with O(fleet=true)
  sample: >-
    [{"name":"gpu-01","profile":"dev","group":"dev_gpus","gpus":null,"host":"eu-gpu-01",
    "selected":true}]
limited:
  description: Whether the limit of the run leaves out nodes of this cluster.
  type: bool
  returned: with O(fleet=true)
about:
  description: Lines that say where the run acts, and by which identity.
  type: list
  elements: str
  returned: always
run:
  description: Name of this run, for the Lease and the history.
  type: str
  returned: always
  sample: alice@controller pid 4711 (8f3a), AWX job 42 of bob
server:
  description: URL of the API server.
  type: str
  returned: always
  sample: https://10.0.0.1:6443
user:
  description: The identity, as the API server sees it.
  type: str
  returned: always
  sample: system:serviceaccount:gpu-sharing:ansible
version:
  description: Version of the API server.
  type: str
  returned: always
  sample: v1.37.2
source:
  description: Where the credentials come from.
  type: str
  returned: always
  sample: variables (context)
release:
  description: Name of the Helm release to manage.
  type: str
  returned: always
  sample: gpu-operator-1700000000
namespace:
  description: Namespace of the GPU Operator.
  type: str
  returned: always
  sample: gpu-operator
found:
  description: Whether RV(release) or RV(namespace) was found, and differs from the default.
  type: bool
  returned: always
auth:
  description: Options for the modules of this collection and of kubernetes.core.
  type: dict
  returned: always
helm_auth:
  description: Options for the Helm modules of kubernetes.core.
  type: dict
  returned: always
"""

from ..module_utils._common.versions import check_versions

check_versions()

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from ..module_utils._common.documents import dig, text_at
from ..module_utils._common.errors import ClusterError, NotAllowedError, RefusedError
from ..module_utils._common.links import MANIFESTS
from ..module_utils._common.module_entry import Spec, run_module
from ..module_utils._kube.client import Cluster, connect
from ..module_utils._kube.objects import CLUSTER_POLICIES, NAMESPACES, object_path
from ..module_utils._kube.payloads import Json
from ..module_utils._kube.permissions import (
    ACCESS,
    DOCTOR,
    EXISTING,
    MANAGES,
    PLAN,
    PURPOSES,
    READS,
    SITE,
    Permission,
    Scope,
    required_permissions,
)
from ..module_utils._provider.owner import (
    OPERATOR_NAME,
    Operator,
    Place,
    locate,
    read_operator,
    reason_foreign,
)

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

INVENTORY = "inventory"
BY_ACTION = ("fleet", "allow_empty", "exclusive", "release")  # not for the permissions
SPEC: Spec = {
    "fleet": {"type": "bool", "default": False},
    "allow_empty": {"type": "bool", "default": False},
    "exclusive": {"type": "bool", "default": False},
    "purpose": {"type": "str", "choices": [*PURPOSES, *READS, ACCESS, INVENTORY]},
    "manage": {"type": "str", "choices": list(MANAGES), "default": "helm"},
    "release": {"type": "str", "default": ""},
    "namespace": {"type": "str", "default": ""},
    "config_map": {"type": "str", "default": "device-plugin-config"},
    "cluster_policy": {"type": "str", "default": "cluster-policy"},
    "create_namespace": {"type": "bool", "default": True},
    "remove_crds": {"type": "bool", "default": False},
    "evict": {"type": "bool", "default": False},
    "probe_namespace": {"type": "str", "default": "gpufleet-sharing-probe"},
    "probe_prepared": {"type": "bool", "default": False},
}
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
SELF = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
DEPLOYMENTS = "/apis/apps/v1/deployments"
GPU_CLUSTERS = "/apis/nvidia.com/v1alpha1/gpuclusters"


def identity(cluster: Cluster) -> str:
    """Who the API server takes us for; API servers before 1.28 do not say."""
    try:
        review = cluster.create(
            SELF, {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}
        )
    except ClusterError as error:
        if error.status == 404:
            return "(unknown: this API server has no SelfSubjectReview)"
        raise
    return text_at(review, "status", "userInfo", "username")


def server_identity(module: AnsibleModule) -> dict[str, object]:
    """What identifies the cluster of a module's connection, whatever its URL: the UID of the
    namespace kube-system, or the URL if it may not be read.
    """
    cluster = connect(module)
    try:
        uid = text_at(cluster.get(object_path(NAMESPACES, "kube-system")), "metadata", "uid")
    except ClusterError as error:
        if error.status not in (403, 404):
            raise
        uid = ""
    return {"identity": uid or cluster.server}


def ask_for(cluster: Cluster, needed: Collection[Permission], user: str) -> None:
    """Raise NotAllowedError with each missing permission.

    One review per permission, in parallel: SelfSubjectRulesReview does not return all rules if
    other authorizers than RBAC are active.
    """
    permissions = {str(permission): permission for permission in needed}
    allowed: dict[str, bool] = {}

    def ask(sentence: str) -> None:
        attributes = vars(permissions[sentence])
        review = cluster.create(REVIEWS, {"spec": {"resourceAttributes": attributes}})
        allowed[sentence] = dig(review, "status", "allowed") is True

    if failures := cluster.for_each(list(permissions), ask):
        raise ClusterError(min(failures.values()))
    if missing := sorted(sentence for sentence, granted in allowed.items() if not granted):
        raise NotAllowedError(
            f"No permission: {user} may not {'; '.join(missing)} on {cluster.server}."
            f" Grant it to this identity: {MANIFESTS}",
            missing,
        )


def check_permissions(cluster: Cluster, scope: Scope, user: str) -> None:
    """Ask for what the run needs, and for creating the namespace where there is none."""
    needed = required_permissions(scope, namespace_exists=True)
    ask_for(cluster, needed, user)
    path = object_path(NAMESPACES, scope.namespace)
    if scope.purpose not in (SITE, PLAN, ACCESS) or cluster.find(path) is not None:
        return
    if scope.purpose == ACCESS or scope.manage == EXISTING or not scope.create_namespace:
        raise RefusedError(
            f"There is no namespace {scope.namespace} on {cluster.server}. Set"
            " O(namespace) to the one of the GPU Operator."
        )
    more = required_permissions(scope, namespace_exists=False)
    ask_for(cluster, set(more) - set(needed), user)


def find_operator(cluster: Cluster, manage: str) -> Operator:
    """The operator that the cluster has, as far as it may be read."""
    if manage == EXISTING:
        return Operator()

    def read(path: str, fields: str = "") -> list[Json]:
        try:
            return list(cluster.items(path, fields=fields, metadata_only=True))
        except ClusterError as error:
            if error.status == 403:  # where a run needs it, check_permissions() fails
                return []
            raise

    deployments = read(DEPLOYMENTS, f"metadata.name={OPERATOR_NAME}")
    return read_operator(read(CLUSTER_POLICIES), deployments)


def run(module: AnsibleModule) -> dict[str, object]:
    params = module.params
    cluster = connect(module)
    version = text_at(cluster.get("/version"), "gitVersion")
    user = identity(cluster)
    operator = find_operator(cluster, params["manage"])
    asked = Place(params["release"], params["namespace"])
    place = locate(operator, asked)
    if params["purpose"]:
        options = {name: params[name] for name in SPEC if name not in BY_ACTION}
        scope = replace(Scope(**options), namespace=place.namespace)
        check_permissions(cluster, scope, user)
    reason = reason_foreign(operator, asked, params["cluster_policy"])
    if reason and params["purpose"] in (SITE, PLAN):
        raise RefusedError(f"{cluster.server}: {reason}")
    if params["purpose"] != DOCTOR:
        refuse_gpu_cluster(cluster)
    return {
        "changed": False,
        "server": cluster.server,
        "user": user,
        "version": version,
        "release": place.release,
        "namespace": place.namespace,
        "found": place != locate(Operator(), asked),
    }


def refuse_gpu_cluster(cluster: Cluster) -> None:
    if found := [text_at(item, "metadata", "name") for item in cluster.items(GPU_CLUSTERS)]:
        raise RefusedError(
            f"{cluster.server} is managed by a GPUCluster ({', '.join(found)}), where device"
            " plugin profiles do not exist."
            " Sharing profiles need a ClusterPolicy."
        )


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
