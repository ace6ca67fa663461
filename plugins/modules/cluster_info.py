#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_info
short_description: Settle which cluster is meant, and as whom
version_added: 0.1.0
description:
  - Resolves the connection once, from options, C(K8S_AUTH_*), a kubeconfig or in-cluster
    credentials, and asks the API server
    who it takes us for.
  - Returns it as options for C(module_defaults), so that Helm and the modules reach the same server
    as the same identity. For
    that it writes a kubeconfig of mode 0600 into Ansible's local temporary folder, which Ansible
    removes when it ends.
  - Options together with contradicting C(K8S_AUTH_*) variables are refused.
options:
  permissions:
    description: What has to be allowed. Fails when anything of it is not.
    type: list
    elements: dict
    default: []
    suboptions:
      verb:
        description: The verb, such as V(patch).
        type: str
        required: true
      resource:
        description: The resource, such as V(nodes).
        type: str
        required: true
      group:
        description: Its API group; empty for the core group.
        type: str
        default: ""
      namespace:
        description: The namespace; empty for all of them, or a cluster-wide resource.
        type: str
        default: ""
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - gpufleet.sharing.common
attributes:
  diff_mode:
    support: none
    description: Changes nothing in the cluster, so there is no difference to show.
"""

EXAMPLES = r"""
- name: Settle the connection
  gpufleet.sharing.cluster_info:
    context: prod-eu
    permissions:
      - {verb: patch, resource: nodes}
  register: cluster
"""

RETURN = r"""
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
auth:
  description: Options for the modules of this collection and of kubernetes.core.
  type: dict
  returned: always
helm_auth:
  description: Options for the Helm modules of kubernetes.core.
  type: dict
  returned: always
"""

from typing import TYPE_CHECKING

from ansible_collections.gpufleet.sharing.plugins.module_utils import _kube
from ansible_collections.gpufleet.sharing.plugins.module_utils._entry import Spec, run_module
from ansible_collections.gpufleet.sharing.plugins.module_utils._errors import (
    ClusterError,
    RefusedError,
    joined,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._observed import dig, text_at

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

PERMISSION_SPEC = {
    "verb": {"type": "str", "required": True},
    "resource": {"type": "str", "required": True},
    "group": {"type": "str", "default": ""},
    "namespace": {"type": "str", "default": ""},
}
SPEC: Spec = {
    "permissions": {"type": "list", "elements": "dict", "options": PERMISSION_SPEC, "default": []},
}
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
SELF = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
GPU_CLUSTERS = "/apis/nvidia.com/v1alpha1/gpuclusters"


def identity(cluster: _kube.Cluster) -> str:
    """Who the API server takes us for; API servers before 1.28 do not say."""
    try:
        review = cluster.create(
            SELF, {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}
        )
    except ClusterError as error:
        if error.status == 404:
            return "(this API server does not tell)"
        raise
    return text_at(review, "status", "userInfo", "username")


def denied(cluster: _kube.Cluster, permission: dict[str, str], user: str) -> str:
    """The sentence for a permission that is missing; empty when it is there."""
    review = cluster.create(REVIEWS, {"spec": {"resourceAttributes": permission}})
    if dig(review, "status", "allowed") is True:
        return ""
    group = f".{permission['group']}" if permission["group"] else ""
    where = f" in namespace {permission['namespace']}" if permission["namespace"] else ""
    what = f"{permission['verb']} {permission['resource']}{group}{where}"
    return f"{user} may not {what} on {cluster.server}."


def run(module: AnsibleModule) -> dict[str, object]:
    cluster = _kube.connect(module)
    version = text_at(cluster.get("/version"), "gitVersion")
    user = identity(cluster)
    problems = [denied(cluster, permission, user) for permission in module.params["permissions"]]
    if missing := [problem for problem in problems if problem]:
        raise joined(
            ClusterError,
            [f"No permission: {problem} Grant it to this identity." for problem in missing],
        )
    if found := [text_at(item, "metadata", "name") for item in cluster.items(GPU_CLUSTERS)]:
        raise RefusedError(
            f"{cluster.server} is managed by a GPUCluster ({', '.join(found)}), where device"
            " plugin profiles do not exist."
            " Sharing profiles need a ClusterPolicy."
        )
    return {"changed": False, "server": cluster.server, "user": user, "version": version}


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
