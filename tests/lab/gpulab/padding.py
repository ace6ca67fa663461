# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What makes the Node objects of real GPU nodes large: the labels and annotations of Node Feature
Discovery and of storage and network drivers, and the kubelet's list of images.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import cycle
from typing import Any

#: Sizes that can be reached: with hardly an image, and with the 50 that a kubelet lists at most.
SMALLEST, LARGEST = 11_000, 19_000
_NFD = "feature.node.kubernetes.io"
_CPU = (
    "ADX AESNI AMXBF16 AMXINT8 AMXTILE AVX AVX2 AVX512BF16 AVX512BW AVX512CD AVX512DQ AVX512F"
    " AVX512FP16 AVX512VBMI AVX512VL AVX512VNNI CLDEMOTE FMA3 FSRM FXSR GFNI HYPERVISOR IBPB MOVBE"
    " SERIALIZE SHA STIBP SYSCALL VAES XSAVE"
)
_FEATURES = {
    **{f"cpu-cpuid.{flag}": "true" for flag in _CPU.split()},
    "cpu-cstate.enabled": "true",
    "cpu-hardware_multithreading": "true",
    "cpu-model.family": "6",
    "cpu-model.id": "143",
    "cpu-model.vendor_id": "Intel",
    "cpu-rdt.RDTMON": "true",
    "kernel-config.NO_HZ": "true",
    "kernel-config.NO_HZ_FULL": "true",
    "kernel-version.major": "6",
    "kernel-version.minor": "8",
    "kernel-version.revision": "0",
    "memory-numa": "true",
    "network-sriov.capable": "true",
    "pci-15b3.present": "true",
    "rdma.available": "true",
    "rdma.capable": "true",
    "storage-nonrotationaldisk": "true",
    "system-os_release.ID": "ubuntu",
    "system-os_release.VERSION_ID": "24.04",
    "system-os_release.VERSION_ID.major": "24",
    "system-os_release.VERSION_ID.minor": "04",
}
_PLACE = {
    "beta.kubernetes.io/instance-type": "gpu-8x",
    "node.kubernetes.io/instance-type": "gpu-8x",
    "topology.kubernetes.io/region": "eu-central",
    "topology.kubernetes.io/zone": "eu-central-a",
    "failure-domain.beta.kubernetes.io/region": "eu-central",
    "failure-domain.beta.kubernetes.io/zone": "eu-central-a",
}
_IMAGES = (
    "nvcr.io/nvidia/pytorch",
    "nvcr.io/nvidia/tritonserver",
    "nvcr.io/nvidia/k8s-device-plugin",
    "nvcr.io/nvidia/cloud-native/dcgm",
    "registry.k8s.io/nfd/node-feature-discovery",
    "registry.example.com/research/vision/training-with-a-long-name",
    "quay.io/jupyter/scipy-notebook",
)


def pad(node: dict[str, Any], size: int) -> None:
    """Fill a Node object up to `size` bytes of JSON, as the API serves it once it is created, to
    within 3 %. `size` is between SMALLEST and LARGEST.
    """
    metadata, status = node["metadata"], node["status"]
    metadata["labels"] = {f"{_NFD}/{key}": v for key, v in _FEATURES.items()} | {
        **_PLACE,
        **metadata["labels"],
    }
    metadata["annotations"] = {**metadata["annotations"], **_annotations(metadata["name"])}
    status["images"] = []
    missing = size - served_size(node)
    for image in _images(metadata["name"]):
        missing -= len(_json(image)) + 1
        if missing < 0:
            return
        status["images"].append(image)


def served_size(node: dict[str, Any]) -> int:
    """Bytes of JSON of an object that is created, with the managedFields that the server adds."""
    metadata = node["metadata"]
    marks = [*metadata["labels"], *metadata["annotations"]]
    return len(_json(node)) + sum(len(f'"f:{mark}":{{}},') for mark in marks) + _ADDED


_ADDED = 320  # the rest of managedFields, uid, creationTimestamp, resourceVersion


def _annotations(name: str) -> dict[str, str]:
    drivers = {"csi.storage.example.com": name, "csi.local.example.com": _digest(name)[:36]}
    return {
        "csi.volume.kubernetes.io/nodeid": _json(drivers),
        "nfd.node.kubernetes.io/feature-labels": ",".join(sorted(_FEATURES)),
        "node.alpha.kubernetes.io/ttl": "0",
        "projectcalico.org/IPv4Address": "10.200.0.1/16",
        "projectcalico.org/IPv4IPIPTunnelAddr": "10.201.0.1",
        "volumes.kubernetes.io/controller-managed-attach-detach": "true",
    }


def _images(name: str) -> Iterator[dict[str, Any]]:
    """Images without end, always the same ones for a node of that name."""
    for number, image in enumerate(cycle(_IMAGES)):
        digest = _digest(f"{name}/{number}")
        yield {
            "names": [f"{image}@sha256:{digest}", f"{image}:26.{number:02d}-py3"],
            "sizeBytes": 10_000_000 + int(digest[:8], 16),
        }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
