# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gallery of broken fleets: pods that use GPUs, quotas, metrics, autoscalers and permissions.

The lab's pods run nothing, so what a kubelet would say of them is written into their status.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import kubernetes
import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import Cluster
from ansible_collections.gpufleet.sharing.tests.integration.answers import mentions
from ansible_collections.gpufleet.sharing.tests.integration.gallery import Gallery
from ansible_collections.gpufleet.sharing.tests.integration.labtools import PROFILES

NODE = "dev-gpu-01"
WORK = "work"


def delete(gallery: Gallery, *names: str) -> None:
    gallery.lab.kubectl("delete", "pod", "-n", WORK, *names)


@pytest.mark.full("the rest of the gallery")
def test_gs045_more_than_there_are(gallery: Gallery) -> None:
    """As after a change to fewer replicas, which evicts nobody."""
    names = [f"busy-{number}" for number in range(9)]
    for name in names:
        gallery.pod(name, NODE)
    assert mentions(gallery.fires("GS045").seen, 9, "nvidia.com/gpu", 8)
    delete(gallery, names[0])
    gallery.is_healthy()
    delete(gallery, *names[1:])


@pytest.mark.full("the rest of the gallery")
def test_gs046_two_slots_turned_down(gallery: Gallery) -> None:
    gallery.pod("greedy", NODE, slots=2, ends="Failed")
    found = gallery.fires("GS046")
    assert mentions(found.cause, "UnexpectedAdmissionError", 1)
    gallery.run(found.fix)


@pytest.mark.full("the rest of the gallery")
def test_gs046_slot_that_is_gone(gallery: Gallery) -> None:
    """As the kubelet says after a restart (pkg/kubelet/cm/devicemanager)."""
    gallery.pod("old", NODE)
    message = (
        "Allocate failed due to previously allocated devices are no longer healthy; cannot"
        " allocate unhealthy devices nvidia.com/gpu, which is unexpected"
    )
    reason = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": message}
    gallery.status("old", reason)
    found = gallery.fires("GS046")
    assert mentions(found.cause, "UnexpectedAdmissionError")
    assert not mentions(found.cause, 1)  # another reason than the limit of one slot
    gallery.run(found.fix)


def test_gs047_pods_that_cannot_start(gallery: Gallery) -> None:
    """As with a fault of CDI: another container of the pod, which uses no GPU, runs."""
    gallery.pod("stuck", NODE, containers=2)
    gallery.waits("stuck", "CreateContainerError")
    found = gallery.fires("GS047")
    gallery.run(found.fix)
    delete(gallery, "stuck")


@pytest.mark.full("the rest of the gallery")
def test_gs048_two_slots(gallery: Gallery) -> None:
    """Where the profile does not turn it down."""
    lenient = {"replicas": 4, "fail_requests_greater_than_one": False}
    edited = gallery.given(profiles={**PROFILES, "default": lenient})
    edited.repair()
    gallery.pod("greedy", "prod-gpu-01", slots=2)
    assert mentions(edited.fires("GS048").seen, "work/greedy", 2)
    delete(gallery, "greedy")
    edited.is_healthy()
    gallery.repair()


@pytest.mark.full("the rest of the gallery")
def test_gs049_old_name(gallery: Gallery) -> None:
    """As after rename_by_default was taken out of a profile."""
    gallery.pod("waits", "", resource="nvidia.com/gpu.shared")
    found = gallery.fires("GS049")
    assert "request nvidia.com/gpu," in found.fix
    delete(gallery, "waits")


@pytest.mark.full("the rest of the gallery")
def test_gs064_no_free_slot(gallery: Gallery) -> None:
    gallery.pod("late", "", slots=1000)
    found = gallery.fires("GS064")
    assert mentions(found.seen, "work/late", "nvidia.com/gpu")
    assert "late" in gallery.run(found.fix)
    delete(gallery, "late")


@pytest.mark.full("the rest of the gallery")
def test_gs050_quota_on_the_old_name(gallery: Gallery) -> None:
    gallery.lab.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": WORK}},
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "gpus", "namespace": WORK},
            "spec": {"hard": {"requests.nvidia.com/gpu.shared": "4"}},
        },
    )
    found = gallery.fires("GS050")
    gallery.run(found.fix)
    gallery.is_healthy()
    gallery.lab.kubectl("delete", "resourcequota", "gpus", "-n", WORK)


def test_gs051_crash_loop(gallery: Gallery) -> None:
    gallery.pod("hungry", NODE)
    gallery.waits("hungry", "CrashLoopBackOff", restarts=5)
    assert "memory_budget" in gallery.fires("GS051").fix
    delete(gallery, "hungry")


@pytest.mark.full("the rest of the gallery")
def test_gs052_metrics(gallery: Gallery) -> None:
    """The DaemonSet of gpu-operator's assets/state-dcgm-exporter, as far as it matters."""

    def exporter(*env: dict[str, str]) -> dict[str, Any]:
        app = {"app": "nvidia-dcgm-exporter"}
        container = {"name": "nvidia-dcgm-exporter", "image": "none", "env": list(env)}
        template = {"metadata": {"labels": app}, "spec": {"containers": [container]}}
        metadata = {"name": "nvidia-dcgm-exporter", "namespace": "gpu-operator"}
        spec = {"selector": {"matchLabels": app}, "template": template}
        return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata, "spec": spec}

    gallery.lab.apply(exporter())
    found = gallery.fires("GS052")
    assert 'name KUBERNETES_VIRTUAL_GPUS and value "true", in quotes' in found.fix
    gallery.lab.apply(exporter({"name": "KUBERNETES_VIRTUAL_GPUS", "value": "true"}))


@pytest.mark.full("the rest of the gallery")
def test_gs053_autoscaler(gallery: Gallery) -> None:
    """What a node group is told cannot be seen, so somebody has to say that it was done."""
    image = "registry.k8s.io/autoscaling/cluster-autoscaler:v1.34.0"
    gallery.pod("cluster-autoscaler-x", "cpu-01", "kube-system", slots=0, image=image)
    found = gallery.fires("GS053")
    assert "gpu_sharing_doctor_accept: [GS053]" in found.fix
    gallery.given(accepted=("GS053",)).is_healthy()
    gallery.lab.kubectl("delete", "pod", "cluster-autoscaler-x", "-n", "kube-system")


@pytest.mark.full("the rest of the gallery")
def test_gs056_karpenter(gallery: Gallery) -> None:
    image = "public.ecr.aws/karpenter/controller:1.8.2"
    gallery.pod("karpenter-x", "cpu-01", "kube-system", slots=0, image=image)
    found = gallery.fires("GS056")
    assert "profile dev = nvidia.com/gpu: 8" in found.fix
    gallery.given(accepted=("GS056",)).is_healthy()
    gallery.lab.kubectl("delete", "pod", "karpenter-x", "-n", "kube-system")


@pytest.mark.full("the rest of the gallery")
def test_gs054_not_allowed(gallery: Gallery) -> None:
    """Somebody who may list nodes, and then what docs/doctor.md says."""
    lists = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}
    grant(gallery, lists)
    little = replace(gallery, cluster=as_user(gallery, "looker"))
    found = little.fires("GS054")
    assert "docs/doctor.md" in found.fix
    core = ["nodes", "pods", "resourcequotas", "configmaps"]
    grant(
        gallery,
        {"apiGroups": [""], "resources": core, "verbs": ["get", "list"]},
        {"apiGroups": ["nvidia.com"], "resources": ["*"], "verbs": ["list"]},
        {"apiGroups": ["apps"], "resources": ["daemonsets"], "verbs": ["list"]},
        {"apiGroups": ["resource.k8s.io"], "resources": ["resourceslices"], "verbs": ["list"]},
    )
    little.is_healthy()


def grant(gallery: Gallery, *rules: dict[str, Any]) -> None:
    version = "rbac.authorization.k8s.io/v1"
    name = {"name": "looker"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", **name}
    gallery.lab.apply(
        {"apiVersion": version, "kind": "ClusterRole", "metadata": name, "rules": list(rules)},
        {
            "apiVersion": version,
            "kind": "ClusterRoleBinding",
            "metadata": name,
            "roleRef": role,
            "subjects": [{"apiGroup": role["apiGroup"], "kind": "User", **name}],
        },
    )


def as_user(gallery: Gallery, user: str) -> Cluster:
    settings = kubernetes.client.Configuration()
    load = kubernetes.config.load_kube_config
    load(gallery.lab.environ["KUBECONFIG"], client_configuration=settings)
    api = kubernetes.client.ApiClient(settings)
    api.set_default_header("Impersonate-User", user)
    return Cluster(api, str(settings.host))
