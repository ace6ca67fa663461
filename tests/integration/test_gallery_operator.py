# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gallery of broken fleets: the operator and its pointer."""

from __future__ import annotations

import json
import subprocess
from functools import partial

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.snapshot import Location
from ansible_collections.gpufleet.sharing.tests.integration.gallery import Gallery

NAMESPACE = "gpu-operator"
# While pods come and go, and once all of them have gone.
AFTER = ("GS011", "GS037", "GS038", "GS042", "GS043")


def point_at(gallery: Gallery, **config: str | None) -> None:
    gallery.patch("clusterpolicy", "cluster-policy", {"spec": {"devicePlugin": {"config": config}}})


@pytest.mark.full("the rest of the gallery")
def test_gs001_gpu_cluster(gallery: Gallery) -> None:
    """A cluster that somebody moved on to DRA: the kind of gpu-operator v26.7."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1alpha1", "served": True, "storage": True}
    gallery.lab.apply(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "gpuclusters.nvidia.com"},
            "spec": {
                "group": "nvidia.com",
                "scope": "Cluster",
                "names": {"kind": "GPUCluster", "plural": "gpuclusters", "singular": "gpucluster"},
                "versions": [{**version, "schema": {"openAPIV3Schema": schema}}],
            },
        }
    )
    made = {"apiVersion": "nvidia.com/v1alpha1", "kind": "GPUCluster", "metadata": {"name": "gpus"}}
    gallery.lab.wait_for(
        lambda: gallery.lab.attempt("apply", "-f", "-", text=json.dumps(made)).rc == 0
    )
    gallery.run(gallery.fires("GS001").fix)


def test_gs002_no_cluster_policy(gallery: Gallery) -> None:
    gallery.lab.kubectl("delete", "clusterpolicy", "cluster-policy")
    found = gallery.fires("GS002", *AFTER, settled=["GS042"])
    assert "cluster-policy" in found.seen
    _head, row = gallery.run(found.fix).splitlines()
    name, namespace, revision, *_rest = row.split()
    command = ["helm", "rollback", name, revision, "-n", namespace]
    subprocess.run(command, env=gallery.lab.environ, check=True, capture_output=True)


@pytest.mark.full("the rest of the gallery")
def test_gs003_ignored_cluster_policy(gallery: Gallery) -> None:
    """The inventory names one that the operator does not go by."""
    spec = gallery.lab.json("clusterpolicy", "cluster-policy")["spec"]
    document = {"apiVersion": "nvidia.com/v1", "kind": "ClusterPolicy", "spec": spec}
    gallery.lab.apply({**document, "metadata": {"name": "second"}})
    second = gallery.given(location=Location(cluster_policy="second"))
    found = second.fires("GS003", "GS006", "GS011")
    assert "status" not in gallery.lab.json("clusterpolicy", "second")
    assert "gpu_operator_cluster_policy: cluster-policy" in found.fix
    gallery.is_healthy()
    gallery.lab.kubectl("delete", "clusterpolicy", "second")


def test_gs055_policy_of_another_name(gallery: Gallery) -> None:
    wrong = gallery.given(location=Location(cluster_policy="gpu-cluster-policy"))
    found = wrong.fires("GS055", *AFTER)
    assert "gpu_operator_cluster_policy: cluster-policy" in found.fix


@pytest.mark.full("the rest of the gallery")
def test_gs004_operator_elsewhere(gallery: Gallery) -> None:
    """The inventory names a namespace in which the operator is not."""
    wrong = gallery.given(location=Location(namespace="default"))
    found = wrong.fires("GS004", "GS013")
    assert "gpu_operator_namespace: gpu-operator" in found.fix


@pytest.mark.full("the rest of the gallery")
def test_gs005_plugin_disabled(gallery: Gallery) -> None:
    body = {"spec": {"devicePlugin": {"enabled": False}}}
    gallery.patch("clusterpolicy", "cluster-policy", body)
    found = gallery.fires("GS005", *AFTER, settled=["GS043"])
    gallery.run(found.fix)


@pytest.mark.full("the rest of the gallery")
def test_gs006_pointer_lost_at_a_helm_upgrade(gallery: Gallery) -> None:
    chart = gallery.lab.environ["GPULAB_CHART"]
    upgrade = ["helm", "upgrade", "gpu-operator", chart, "--reset-values", "-n", NAMESPACE]
    subprocess.run(upgrade, env=gallery.lab.environ, check=True, capture_output=True)
    found = gallery.fires("GS006", *AFTER, settled=["GS043"])
    assert "gpufleet.sharing.site" in found.fix
    gallery.lab.playbook("site", gallery.inventory).succeeded()


@pytest.mark.full("the rest of the gallery")
def test_gs006_pointer_patched_away(gallery: Gallery) -> None:
    point_at(gallery, name=None, default=None)
    found = gallery.fires("GS006", *AFTER, settled=["GS043"])
    gallery.run(found.fix)


def test_gs007_pointer_to_another_config_map(gallery: Gallery) -> None:
    """Which does not exist, so that the rollout stalls at the first node."""
    point_at(gallery, name="other", default="default")
    found = gallery.fires("GS007", *AFTER, settled=["GS011"])
    gallery.run(found.fix)


@pytest.mark.full("the rest of the gallery")
def test_gs008_no_default(gallery: Gallery) -> None:
    point_at(gallery, name="device-plugin-config", default=None)
    found = gallery.fires("GS008", *AFTER, settled=["GS043"])
    assert found.nodes == ("prod-gpu-01", "prod-gpu-02")
    gallery.run(found.fix)


@pytest.mark.full("the rest of the gallery")
def test_gs009_another_default(gallery: Gallery) -> None:
    point_at(gallery, name="device-plugin-config", default="dev")
    found = gallery.fires("GS009", *AFTER, settled=["GS043"])
    assert found.nodes == ("prod-gpu-01", "prod-gpu-02")
    gallery.run(found.fix)


@pytest.mark.full("the rest of the gallery")
def test_gs010_no_side_car(gallery: Gallery) -> None:
    """Somebody edited the DaemonSet; the operator compares its own notes and does not notice."""
    patch = json.dumps([{"op": "remove", "path": "/spec/template/spec/containers/1"}])
    name = "nvidia-device-plugin-daemonset"
    gallery.lab.kubectl("patch", "ds", name, "-n", NAMESPACE, "--type", "json", "-p", patch)
    found = gallery.fires("GS010", *AFTER, settled=["GS043"])
    gallery.run(found.fix)


@pytest.mark.full("the rest of the gallery")
def test_gs011_operator_away(gallery: Gallery) -> None:
    """A Deployment that is scaled to 0 counts as available, so its pod finds no node instead."""

    def send(selector: dict[str, str | None]) -> None:
        for replicas in (0, 1):
            body = {"replicas": replicas, "template": {"spec": {"nodeSelector": selector}}}
            gallery.patch("deployment", "gpu-operator", {"spec": body}, "-n", NAMESPACE)
            gallery.lab.wait_for(partial(has, replicas))

    def has(pods: int) -> bool:
        found = gallery.lab.json("deployment", "gpu-operator", "-n", NAMESPACE)
        told = (found["status"].get("observedGeneration"), found["status"].get("replicas", 0))
        return told == (found["metadata"]["generation"], pods)

    send({"none": "here"})
    unavailable = ("--for=condition=Available=false", "--timeout=60s")
    gallery.lab.kubectl("wait", *unavailable, "deployment/gpu-operator", "-n", NAMESPACE)
    gallery.lab.kubectl("delete", "ds", "gpu-feature-discovery", "-n", NAMESPACE)
    found = gallery.fires("GS011", *AFTER, settled=["GS042"])
    assert "`kubectl get deployment gpu-operator" in found.fix
    send({"none": None})
