# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Node objects as a kubelet and Node Feature Discovery would have made them."""

from __future__ import annotations

import ipaddress
from typing import Any

from .fleet import CPU_NODE, Node
from .padding import pad

_ANNOTATION = "lab.gpufleet.sharing"
_CONDITIONS = (
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "enough memory"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "enough disk"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "enough process ids"),
)
_FIRST_ADDRESS = ipaddress.IPv4Address("10.200.0.10")


def node_object(node: Node, index: int, kubelet: str, now: str) -> dict[str, Any]:
    """The Node to POST; `index` gives the address, `now` is RFC 3339."""
    resources = {
        "cpu": "64",
        "memory": "512Gi",
        "pods": "250",
        "ephemeral-storage": "1Ti",
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
    }
    found = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": node.name,
            "labels": {**_labels(node), **node.labels},
            "annotations": _annotations(node),
        },
        "spec": {
            "taints": [{"key": t.key, "value": t.value, "effect": t.effect} for t in node.taints]
        },
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "addresses": [
                {"type": "InternalIP", "address": str(_FIRST_ADDRESS + index)},
                {"type": "Hostname", "address": node.name},
            ],
            "conditions": [_condition(entry, now) for entry in _CONDITIONS],
            "nodeInfo": _node_info(node.name, kubelet),
        },
    }
    if node.object_size:
        pad(found, node.object_size)
    return found


def is_ready(node: dict[str, Any]) -> bool:
    """Ready and free of the taint that the control plane puts on nodes that are not."""
    conditions = node.get("status", {}).get("conditions", [])
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    taints = node.get("spec", {}).get("taints", [])
    return ready and not any(t["key"] == "node.kubernetes.io/not-ready" for t in taints)


def _labels(node: Node) -> dict[str, str]:
    labels = {
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": "amd64",
        "feature.node.kubernetes.io/kernel-version.full": "6.8.0-lab",
        "feature.node.kubernetes.io/system-os_release.ID": "ubuntu",
        "feature.node.kubernetes.io/system-os_release.VERSION_ID": "24.04",
        "lab.gpufleet.sharing/group": node.group,
    }
    if node.gpus:
        labels["feature.node.kubernetes.io/pci-10de.present"] = "true"
    if node.mig:
        labels["nvidia.com/mig.config"] = node.mig.config
        labels["nvidia.com/mig.config.state"] = "success"
    if node.name == CPU_NODE:
        labels["node-role.kubernetes.io/control-plane"] = ""
    return labels


def _annotations(node: Node) -> dict[str, str]:
    if not node.gpus:
        return {}
    annotations = {
        f"{_ANNOTATION}/gpus": str(node.gpus),
        f"{_ANNOTATION}/product": node.product,
        f"{_ANNOTATION}/memory": str(node.memory),
    }
    if node.mig:
        annotations[f"{_ANNOTATION}/mig"] = node.mig.annotation
    return annotations


def _condition(entry: tuple[str, str, str, str], now: str) -> dict[str, str]:
    kind, status, reason, message = entry
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }


def _node_info(name: str, kubelet: str) -> dict[str, str]:
    return {
        "architecture": "amd64",
        "bootID": name,
        "containerRuntimeVersion": "kwok://0.8.0",
        "kernelVersion": "6.8.0-lab",
        "kubeProxyVersion": "",
        "kubeletVersion": kubelet,
        "machineID": name,
        "operatingSystem": "linux",
        "osImage": "gpufleet.sharing lab",
        "systemUUID": name,
    }
