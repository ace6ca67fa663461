# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who owns the operator that a cluster has, and which release is managed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import RefusedError
from ansible_collections.gpufleet.sharing.plugins.module_utils._provider.owner import (
    HELM,
    NOBODY,
    Operator,
    Owner,
    Place,
    locate,
    read_operator,
    read_owner,
    reason_foreign,
)
from ansible_collections.gpufleet.sharing.plugins.modules import cluster_info
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions
from ansible_collections.gpufleet.sharing.tests.unit.fake_api import FakeApi

GENERATED = "gpu-operator-1700000000"
POLICIES = "/apis/nvidia.com/v1/clusterpolicies"
DEPLOYMENT = "/apis/apps/v1/namespaces/{}/deployments/gpu-operator"


def by_helm(release: str = "gpu-operator", namespace: str = "gpu-operator") -> dict[str, str]:
    return {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": namespace}


def thing(name: str = "cluster-policy", **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}}


def managers(*names: str) -> list[dict[str, str]]:
    """Field managers, each of which wrote a day after the one before."""
    return [
        {"manager": name, "time": f"2026-01-0{day}T00:00:00Z"}
        for day, name in enumerate(names, start=1)
    ]


@pytest.mark.parametrize(
    ("metadata", "tool", "name"),
    [
        ({"annotations": by_helm("a", "b")}, HELM, "a"),
        ({"annotations": by_helm("a"), "managedFields": managers("helm", "kubectl")}, HELM, "a"),
        ({}, NOBODY, ""),
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, NOBODY, ""),  # helm template
        ({"labels": {"olm.owner": "gpu-operator-certified.v26.7.0"}}, "OLM", None),
        ({"labels": {"operators.coreos.com/gpu-operator-certified.nvidia": ""}}, "OLM", ""),
        ({"ownerReferences": [{"kind": "ClusterServiceVersion", "name": "csv"}]}, "OLM", "csv"),
        ({"ownerReferences": [{"kind": "GPUAddon", "name": "add"}]}, "GPUAddon", "add"),
        (
            {"annotations": {"argocd.argoproj.io/tracking-id": "gpus:nvidia.com/ClusterPolicy:/x"}},
            "Argo CD",
            "gpus",
        ),
        ({"labels": {"argocd.argoproj.io/instance": "gpus"}}, "Argo CD", "gpus"),
        (
            {
                "labels": {"app.kubernetes.io/instance": "gpus"},
                "managedFields": managers("argocd-controller"),
            },
            "Argo CD",
            "gpus",
        ),
        (
            {
                "annotations": by_helm("a"),
                "labels": {
                    "helm.toolkit.fluxcd.io/name": "gpus",
                    "helm.toolkit.fluxcd.io/namespace": "flux-system",
                },
            },
            "Flux",
            "flux-system/gpus",
        ),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "gpus"}}, "Flux", "/gpus"),
        ({"annotations": by_helm("a"), "managedFields": managers("helm-controller")}, "Flux", "a"),
        (
            {"annotations": by_helm("a"), "managedFields": managers("terraform-provider-helm_v2")},
            "Terraform",
            "a",
        ),
        (  # moved from Terraform to Helm, and the other way round
            {
                "annotations": by_helm("a"),
                "managedFields": managers("terraform-provider-helm_v2", "helm"),
            },
            HELM,
            "a",
        ),
        (
            {
                "annotations": by_helm("a"),
                "managedFields": managers("helm", "terraform-provider-helm_v2", "gpu-operator"),
            },
            "Terraform",
            "a",
        ),
    ],
)
def test_read_owner(metadata: dict[str, Any], tool: str, name: str | None) -> None:
    found = read_owner("ClusterPolicy", thing(**metadata))
    assert found.tool == tool
    assert found.name == (metadata["labels"]["olm.owner"] if name is None else name)
    assert tool == HELM or "ClusterPolicy cluster-policy" in found.seen


def test_status_of_the_operator_owns_nothing() -> None:
    entry = {"manager": "terraform", "time": "2026-01-01T00:00:00Z", "subresource": "status"}
    assert read_owner("ClusterPolicy", thing(managedFields=[entry])).tool == NOBODY


def test_read_operator_names_the_policy_in_force_and_each_owner_once() -> None:
    policies = [
        thing("young", creationTimestamp="2026-01-02T00:00:00Z", annotations=by_helm()),
        thing("old", creationTimestamp="2026-01-01T00:00:00Z"),
    ]
    deployments = [thing("gpu-operator", namespace="gpus", annotations=by_helm())]
    found = read_operator(policies, deployments)
    assert (found.policy, found.namespace) == ("old", "gpus")
    assert [owner.tool for owner in found.owners] == [NOBODY, HELM]
    assert read_operator([], []) == Operator()


A, B = Owner(HELM, "a", "gpus"), Owner(HELM, GENERATED, "gpu-operator")
DEFAULT = Owner(HELM, "gpu-operator", "gpu-operator")


@pytest.mark.parametrize(
    ("owners", "asked", "expected"),
    [
        ((), Place(), Place("gpu-operator", "gpu-operator")),
        ((), Place("mine"), Place("mine", "gpu-operator")),
        ((A,), Place(), Place("a", "gpus")),
        ((B,), Place(), Place(GENERATED, "gpu-operator")),
        ((B,), Place(namespace="gpu-operator"), Place(GENERATED, "gpu-operator")),
        ((A,), Place("a"), Place("a", "gpus")),
        ((A,), Place("mine"), Place("mine", "gpu-operator")),
        ((A, DEFAULT), Place(), Place("gpu-operator", "gpu-operator")),
        ((A, B), Place(), Place("a", "gpus")),
        ((Owner(NOBODY),), Place(), Place("gpu-operator", "gpu-operator")),
    ],
)
def test_locate(owners: tuple[Owner, ...], asked: Place, expected: Place) -> None:
    assert locate(Operator(owners), asked) == expected


OLM = Owner("OLM", "csv", seen="Deployment gpu-operator has olm.owner")


@pytest.mark.parametrize(
    ("operator", "asked", "facts"),
    [
        (Operator(), Place(), ()),
        (Operator((A,)), Place(), ()),
        (Operator((A,)), Place("a", "gpus"), ()),
        (Operator((Owner(NOBODY, seen="x"), A)), Place(), ()),  # clusterPolicy.deployCR: false
        (
            Operator((A,)),
            Place("mine"),
            ("gpus", "O(release) is mine", "O(release): a", "O(namespace): gpus"),
        ),
        (
            Operator((A,)),
            Place(namespace="gpu-operator"),
            ("O(namespace) is gpu-operator", "O(release): a"),
        ),
        (
            Operator((OLM,), "gpu-cluster-policy", "nvidia"),
            Place(),
            ("OLM", "csv", "O(manage): existing", "O(cluster_policy): gpu-cluster-policy"),
        ),
        (Operator((OLM,), "", "nvidia"), Place(), ("O(namespace): nvidia",)),
        (Operator((A, OLM)), Place("a"), ("OLM",)),
        (
            Operator((Owner(NOBODY, seen="ClusterPolicy cluster-policy"),), "cluster-policy"),
            Place(),
            ("ClusterPolicy cluster-policy", "O(manage): existing"),
        ),
    ],
)
def test_reason_foreign(operator: Operator, asked: Place, facts: tuple[str, ...]) -> None:
    said = reason_foreign(operator, asked, "cluster-policy")
    assert bool(said) is bool(facts)
    assert mentions(said, *facts)


def looked(api: FakeApi, **given: Any) -> dict[str, object]:
    """What cluster_info returns, where every permission is granted."""
    params = {name: option.get("default") for name, option in cluster_info.SPEC.items()}
    module: Any = SimpleNamespace(params=params | given, check_mode=True)
    return cluster_info.run(module)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    found = FakeApi()
    found.objects["/version"] = {"gitVersion": "v1.37.2", "metadata": {"name": "version"}}
    monkeypatch.setattr(cluster_info, "connect", lambda _module: found.cluster)
    monkeypatch.setattr(cluster_info, "identity", lambda _cluster: "me")
    monkeypatch.setattr(cluster_info, "ask_for", lambda _cluster, _needed, _user: None)
    found.put("/api/v1/namespaces/gpu-operator", {})
    return found


def test_cluster_info_finds_the_release(api: FakeApi) -> None:
    assert looked(api)["found"] is False
    api.put(DEPLOYMENT.format("gpus"), thing(namespace="gpus", annotations=by_helm("a", "gpus")))
    api.put(f"{POLICIES}/cluster-policy", thing(annotations=by_helm("a", "gpus")))
    for purpose in (None, "verify", "site", "plan", "uninstall"):
        found = looked(api, purpose=purpose)
        assert (found["release"], found["namespace"], found["found"]) == ("a", "gpus", True)
    named = looked(api, release="mine", purpose="uninstall")
    assert (named["release"], named["namespace"]) == ("mine", "gpu-operator")
    assert api.writes() == []


@pytest.mark.parametrize("purpose", ["site", "plan"])
def test_cluster_info_refuses_an_operator_of_others(api: FakeApi, purpose: str) -> None:
    api.put(DEPLOYMENT.format("nvidia"), thing(labels={"olm.owner": "csv"}, namespace="nvidia"))
    with pytest.raises(RefusedError) as caught:
        looked(api, purpose=purpose)
    assert mentions(caught.value, "OLM", "csv", "O(manage): existing", "O(namespace): nvidia")
    for other in ("verify", "uninstall", "doctor"):
        assert looked(api, purpose=other)["found"] is False
    api.requests.clear()
    assert looked(api, purpose=purpose, manage="existing")["namespace"] == "gpu-operator"
    assert not [request for request in api.requests if "deployments" in request]


def test_cluster_info_without_permission_to_look(api: FakeApi) -> None:
    api.put(f"{POLICIES}/cluster-policy", thing(annotations=by_helm("a", "gpus")))
    api.fault = lambda _method, path: 403 if path == POLICIES else 0
    assert looked(api, purpose="verify")["namespace"] == "gpu-operator"
