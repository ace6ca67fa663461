# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gallery of broken fleets: nodes, what is on them, and who else shares their GPUs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.texts import commands
from ansible_collections.gpufleet.sharing.tests.integration.gallery import Gallery
from ansible_collections.gpufleet.sharing.tests.integration.labtools import GROUPS

NAMESPACE = "gpu-operator"
NFD = "feature.node.kubernetes.io/pci-10de.present"
UPGRADE = "nvidia.com/gpu-driver-upgrade-state"
MIG_STATE = "nvidia.com/mig.config.state"
DEPLOY = "nvidia.com/gpu.deploy"
AFTER = ("GS037", "GS038", "GS042", "GS043")


def label(gallery: Gallery, node: str, *labels: str) -> None:
    gallery.lab.kubectl("label", "node", node, *labels, "--overwrite")


def annotate(gallery: Gallery, node: str, *annotations: str) -> None:
    gallery.lab.kubectl("annotate", "node", node, *annotations, "--overwrite")


def test_gs019_not_in_the_cluster(gallery: Gallery) -> None:
    groups: dict[str, Any] = {**GROUPS, "lost": {"hosts": {"dev-gpu-77": {}}}}
    assert gallery.given(groups=groups).fires("GS019").nodes == ("dev-gpu-77",)


@pytest.mark.full("the rest of the gallery")
def test_gs020_not_in_the_inventory(gallery: Gallery) -> None:
    groups = {name: group for name, group in GROUPS.items() if name != "prod_gpus"}
    found = gallery.given(groups=groups).fires("GS020")
    assert found.nodes == ("prod-gpu-01", "prod-gpu-02")


def test_gs021_not_ready(gallery: Gallery) -> None:
    annotate(gallery, "dev-gpu-01", "lab.gpufleet.sharing/ready=false")
    assert gallery.fires("GS021", *AFTER).nodes == ("dev-gpu-01",)
    annotate(gallery, "dev-gpu-01", "lab.gpufleet.sharing/ready-")


def test_gs022_cordoned(gallery: Gallery) -> None:
    gallery.lab.kubectl("cordon", "dev-gpu-01", "dev-gpu-02")
    found = gallery.fires("GS022")
    assert commands(found.fix) == ["kubectl uncordon dev-gpu-01 dev-gpu-02"]
    gallery.run(found.fix)


@pytest.mark.full("the rest of the gallery")
def test_gs023_nfd_sees_no_gpu(gallery: Gallery) -> None:
    """As without the pods of Node Feature Discovery: its labels go."""
    features = [NFD, NFD.replace("pci-10de", "pci-0302_10de")]
    label(gallery, "dev-gpu-01", *(f"{each}-" for each in features))
    found = gallery.fires("GS023", *AFTER, settled=["GS037", "GS043"])
    assert NFD in found.fix
    label(gallery, "dev-gpu-01", *(f"{each}=true" for each in features))


@pytest.mark.full("the rest of the gallery")
def test_gs023_no_node_has_gpus(gallery: Gallery) -> None:
    """The operator leaves its DaemonSets as they are then: that they lag follows from it."""
    features = [NFD, NFD.replace("pci-10de", "pci-0302_10de")]
    nodes = sorted(gallery.desired.assignments)
    for node in nodes:
        label(gallery, node, *(f"{each}-" for each in features))
    gallery.lab.wait_for(
        lambda: set(gallery.lab.labels("nvidia.com/gpu.present").values()) == {"false"}
    )
    labels = {"spec": {"daemonsets": {"labels": {"team": "ml"}}}}
    gallery.patch("clusterpolicy", "cluster-policy", labels)
    found = gallery.fires("GS023", *AFTER, settled=["GS037", "GS043"])
    assert found.count == len(nodes)
    for node in nodes:
        label(gallery, node, *(f"{each}=true" for each in features))


@pytest.mark.full("the rest of the gallery")
@pytest.mark.parametrize(
    ("switch", "after"),
    [
        ("device-plugin", ["GS037", "GS043"]),
        ("operands", ["GS037", "GS043"]),
        ("gpu-feature-discovery", ["GS042"]),
    ],
)
def test_gs025_switched_off(gallery: Gallery, switch: str, after: list[str]) -> None:
    label(gallery, "dev-gpu-01", f"{DEPLOY}.{switch}=false")
    found = gallery.fires("GS025", *AFTER, settled=after)
    gallery.run(found.fix)


@pytest.mark.full("the rest of the gallery")
def test_gs025_switch_taken_away(gallery: Gallery) -> None:
    """Removing the label does not bring the pod back."""
    label(gallery, "dev-gpu-01", f"{DEPLOY}.device-plugin-")
    found = gallery.fires("GS025", *AFTER, settled=["GS037", "GS043"])
    gallery.run(found.fix)


@pytest.mark.full("the rest of the gallery")
def test_gs026_mig_at_work(gallery: Gallery) -> None:
    """As mig-manager says; on a node where the lab has none, which would be done at once."""
    label(gallery, "dev-gpu-01", f"{MIG_STATE}=pending")
    gallery.fires("GS026")
    label(gallery, "dev-gpu-01", f"{MIG_STATE}=success")


@pytest.mark.full("the rest of the gallery")
def test_gs027_mig_failed(gallery: Gallery) -> None:
    label(gallery, "train-gpu-01", "nvidia.com/mig.config=all-9g.99gb")
    found = gallery.fires("GS027", *AFTER)
    gallery.run(found.fix)


@pytest.mark.full("the rest of the gallery")
def test_gs028_cut_unlike(gallery: Gallery) -> None:
    layout = json.dumps([{"1g.10gb": 7}, None, None, None])
    annotate(gallery, "train-gpu-01", f"lab.gpufleet.sharing/mig={layout}")

    def mig_of(node: str) -> tuple[str, str]:
        metadata = gallery.lab.json("node", node)["metadata"]
        return metadata["labels"][MIG_STATE], metadata["annotations"]["lab.gpufleet.sharing/mig"]

    found = gallery.fires("GS028", *AFTER, settled=["GS038", "GS043"])
    label(gallery, "train-gpu-01", "nvidia.com/mig.config=all-1g.10gb")  # so that there is a change
    gallery.lab.wait_for(lambda: mig_of("train-gpu-01") != ("success", layout))  # that is seen
    gallery.run(found.fix)


@pytest.mark.full("the rest of the gallery")
@pytest.mark.parametrize("app", ["nvidia-driver-daemonset", "nvidia-container-toolkit-daemonset"])
def test_gs029_driver_or_toolkit_not_ready(gallery: Gallery, app: str) -> None:
    """Pods as those of gpu-operator's assets/state-driver and state-container-toolkit."""
    gallery.pod(f"{app}-x", "dev-gpu-01", NAMESPACE, slots=0, labels={"app": app})
    gallery.waits(f"{app}-x", "CrashLoopBackOff", NAMESPACE, restarts=2)
    found = gallery.fires("GS029")
    gallery.run(found.fix)
    conditions = [{"type": "Ready", "status": "True"}]
    gallery.status(f"{app}-x", {"conditions": conditions}, NAMESPACE)
    gallery.is_healthy()
    gallery.lab.kubectl("delete", "pod", "-n", NAMESPACE, f"{app}-x")


@pytest.mark.full("the rest of the gallery")
def test_gs030_driver_upgrade(gallery: Gallery) -> None:
    """Labels as of the operator's upgrade controller (k8s-operator-libs, pkg/upgrade)."""
    label(gallery, "dev-gpu-01", f"{UPGRADE}=upgrade-failed")
    gallery.lab.kubectl("cordon", "dev-gpu-01")
    found = gallery.fires("GS030", settled=["GS022"])
    gallery.run(found.fix)
    label(gallery, "dev-gpu-01", f"{UPGRADE}=upgrade-done")  # what its controller then does
    gallery.lab.kubectl("uncordon", "dev-gpu-01")


@pytest.mark.full("the rest of the gallery")
def test_gs031_several_models(gallery: Gallery) -> None:
    annotate(gallery, "prod-gpu-01", "lab.gpufleet.sharing/other-models=1")
    found = gallery.fires("GS031", *AFTER, settled=["GS043"])
    assert "gpu_sharing_gpus: 2" in found.fix
    annotate(gallery, "prod-gpu-01", "lab.gpufleet.sharing/other-models-")


@pytest.mark.full("the rest of the gallery")
def test_gs032_gpu_missing(gallery: Gallery) -> None:
    stated = gallery.given(gpus={"prod-gpu-01": 2, "prod-gpu-02": 2})
    annotate(gallery, "prod-gpu-01", "lab.gpufleet.sharing/gpus=1")
    gallery.restart_plugin("prod-gpu-01")
    assert stated.fires("GS032", *AFTER).nodes == ("prod-gpu-01",)
    annotate(gallery, "prod-gpu-01", "lab.gpufleet.sharing/gpus=2")
    stated.is_healthy()


def test_gs033_unhealthy(gallery: Gallery) -> None:
    annotate(gallery, "prod-gpu-01", "lab.gpufleet.sharing/unhealthy=1")
    found = gallery.fires("GS033", settled=["GS043"])
    assert found.nodes == ("prod-gpu-01",)
    gallery.restart_plugin("prod-gpu-01")  # it has no other way to see that the GPU is well again
    gallery.is_healthy()
    annotate(gallery, "prod-gpu-01", "lab.gpufleet.sharing/unhealthy-")


@pytest.mark.full("the rest of the gallery")
def test_gs034_hami(gallery: Gallery) -> None:
    """What HAMi's device plugin (chart hami, DaemonSet on nodes with gpu=on) leaves on a node."""
    label(gallery, "dev-gpu-01", "gpu=on")
    registered = '[{"id":"GPU-1","count":10,"devmem":23028,"devcore":100,"type":"NVIDIA-A10"}]'
    annotate(gallery, "dev-gpu-01", f"hami.io/node-nvidia-register={registered}")
    found = gallery.fires("GS034")
    gallery.run(found.fix)
    gallery.run(found.fix, 1)


@pytest.mark.full("the rest of the gallery")
def test_gs035_kai_fractions(gallery: Gallery) -> None:
    """A pod of KAI's example gpu-sharing.yaml, and the pod that reserves a GPU for it."""
    app = {"app": "kai-resource-reservation"}
    gallery.pod("gpu-reservation-x", "prod-gpu-01", "kai-resource-reservation", labels=app)
    gallery.pod("gpu-sharing", "prod-gpu-01", slots=0, annotations={"gpu-fraction": "0.5"})
    assert "gpu_sharing_profile: no-sharing" in gallery.fires("GS035").fix
    gallery.lab.kubectl("delete", "pod", "gpu-reservation-x", "-n", "kai-resource-reservation")
    gallery.lab.kubectl("delete", "pod", "gpu-sharing", "-n", "work")


@pytest.mark.full("the rest of the gallery")
def test_gs036_another_device_plugin(gallery: Gallery) -> None:
    """NVIDIA's own static manifest (k8s-device-plugin, deployments/static)."""
    name = {"name": "nvidia-device-plugin-ds"}
    container = {"name": "nvidia-device-plugin-ctr", "image": "nvcr.io/nvidia/k8s-device-plugin:v1"}
    template = {"metadata": {"labels": name}, "spec": {"containers": [container]}}
    gallery.lab.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": "nvidia-device-plugin-daemonset", "namespace": "kube-system"},
            "spec": {"selector": {"matchLabels": name}, "template": template},
        }
    )
    found = gallery.fires("GS036")
    assert "kubectl get daemonset -n kube-system" in found.fix
    where = ("-n", "kube-system")
    gallery.lab.kubectl("delete", "daemonset", "nvidia-device-plugin-daemonset", *where)


@pytest.mark.full("the rest of the gallery")
def test_gs057_node_for_virtual_machines(gallery: Gallery) -> None:
    """The lab's operator does not act on it, so only the settings are there."""
    sandbox = {"spec": {"sandboxWorkloads": {"enabled": True}}}
    gallery.patch("clusterpolicy", "cluster-policy", sandbox)
    label(gallery, "dev-gpu-01", "nvidia.com/gpu.workload.config=vm-passthrough")
    found = gallery.fires("GS057", *AFTER)
    assert found.nodes == ("dev-gpu-01",)
    gallery.run(found.fix)
    label(gallery, "dev-gpu-01", "nvidia.com/gpu.workload.config-")
    gallery.patch("clusterpolicy", "cluster-policy", {"spec": {"sandboxWorkloads": None}})


@pytest.mark.full("the rest of the gallery")
def test_gs058_plugin_of_gke(gallery: Gallery) -> None:
    """Labels as GKE sets them."""
    label(gallery, "dev-gpu-01", "cloud.google.com/gke-accelerator=nvidia-l4")
    gallery.run(gallery.fires("GS058").fix)
    gallery.is_healthy()
    labels = ("cloud.google.com/gke-accelerator-", "gke-no-default-nvidia-gpu-device-plugin-")
    gallery.lab.kubectl("label", "node", "dev-gpu-01", *labels)


@pytest.mark.full("the rest of the gallery")
def test_gs060_dra_driver(gallery: Gallery) -> None:
    """Slices as NVIDIA's DRA driver publishes them: of GPUs, and of ComputeDomains."""
    for driver, node in (("gpu", "dev-gpu-01"), ("compute-domain", "prod-gpu-01")):
        spec = {
            "driver": f"{driver}.nvidia.com",
            "nodeName": node,
            "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": f"{driver}-0"}],
        }
        head = {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice"}
        gallery.lab.apply({**head, "metadata": {"name": f"{node}-{driver}"}, "spec": spec})
    assert gallery.fires("GS060").nodes == ("dev-gpu-01",)
    gallery.lab.kubectl("delete", "resourceslices", "--all")


@pytest.mark.full("the rest of the gallery")
@pytest.mark.parametrize(
    ("code", "resource"), [("GS061", "mig.das.com/1g.5gb"), ("GS062", "nvidia.com/gpu.sliced")]
)
def test_gs061_and_gs062_other_operators(gallery: Gallery, code: str, resource: str) -> None:
    def write(count: str | None) -> None:
        body = {"status": {"capacity": {resource: count}, "allocatable": {resource: count}}}
        gallery.patch("node", "dev-gpu-01", body, "--subresource=status")

    write("7")
    assert gallery.fires(code).nodes == ("dev-gpu-01",)
    write(None)
