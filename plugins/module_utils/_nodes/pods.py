# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: pods that hold slots of GPUs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .._common.documents import dig, list_at, mapping_at, name_of, text_at
from .._profiles.model import is_gpu_resource
from .state import read_quantity
from .taints import CORDON, tolerates

HASH_LABEL = "pod-template-hash"  # suffix of the name of a Deployment's ReplicaSet
BOUND = ("DaemonSet", "Node")  # owners whose pods return to the same node, even a cordoned one
TERMINAL = ("Succeeded", "Failed")


@dataclass(frozen=True)
class GpuPod:
    """A pod that holds slots of a node, and how many of each nvidia.com/ resource."""

    namespace: str
    name: str
    uid: str
    node: str
    owner: str  # its controller, such as Deployment/web; empty when nothing recreates it
    daemon: bool  # of a DaemonSet, or of the node itself
    tolerant: bool  # can be scheduled on a cordoned node
    requests: Mapping[str, int]
    phase: str
    leaving: bool  # being deleted

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class PendingPod:
    """A pod that requests slots and has no node, and what the scheduler says about it."""

    namespace: str
    name: str
    owner: str
    reason: str


def pending_pod(document: object) -> PendingPod | None:
    """None for a pod that has a node, or requests no slots."""
    pod = _gpu_pod(document)
    if pod.node or not pod.requests or pod.leaving or pod.phase in TERMINAL:
        return None
    return PendingPod(pod.namespace, pod.name, pod.owner, why_unscheduled(document))


def why_unscheduled(document: object) -> str:
    """What the scheduler says about a pod that it cannot place; empty for any other pod."""
    conditions = list_at(document, "status", "conditions")
    found = next((each for each in conditions if dig(each, "type") == "PodScheduled"), None)
    return text_at(found, "message") if text_at(found, "status") == "False" else ""


def gpu_pods(documents: Iterable[object]) -> list[GpuPod]:
    """The pods that hold slots: bound to a node and not finished."""
    pods = (_gpu_pod(document) for document in documents)
    return [pod for pod in pods if pod.node and pod.requests and pod.phase not in TERMINAL]


def _gpu_pod(document: object) -> GpuPod:
    kind, owner = _controller(document)
    return GpuPod(
        namespace=text_at(document, "metadata", "namespace"),
        name=name_of(document),
        uid=text_at(document, "metadata", "uid"),
        node=text_at(document, "spec", "nodeName"),
        owner=f"{kind}/{owner}" if kind else "",
        daemon=kind in BOUND,
        tolerant=any(
            tolerates(entry, CORDON) for entry in list_at(document, "spec", "tolerations")
        ),
        requests=requested_slots(document),
        phase=text_at(document, "status", "phase"),
        leaving=bool(text_at(document, "metadata", "deletionTimestamp")),
    )


def _controller(document: object) -> tuple[str, str]:
    """Kind and name of the pod's controller; a Deployment instead of its ReplicaSet."""
    owners = list_at(document, "metadata", "ownerReferences")
    owner = next((entry for entry in owners if dig(entry, "controller") is True), None)
    kind, name = text_at(owner, "kind"), text_at(owner, "name")
    suffix = "-" + mapping_at(document, "metadata", "labels").get(HASH_LABEL, "")
    if kind == "ReplicaSet" and len(suffix) > 1 and name.endswith(suffix):
        return "Deployment", name.removesuffix(suffix)
    return kind, name


def requested_slots(document: object) -> dict[str, int]:
    """Slots by resource as the scheduler counts them: the sum of all containers and side-cars, or
    the need of an init container with the side-cars started before it, if that is more.
    """
    sidecars: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for container in list_at(document, "spec", "initContainers"):
        if text_at(container, "restartPolicy") == "Always":
            sidecars += _slots(container)
            most |= sidecars
        else:
            most |= sidecars + _slots(container)
    for container in list_at(document, "spec", "containers"):
        sidecars += _slots(container)
    return dict(most | sidecars)


def _slots(container: object) -> Counter[str]:
    limits = mapping_at(container, "resources", "limits")
    requests = limits | mapping_at(container, "resources", "requests")
    return Counter(
        {
            resource: read_quantity(quantity)
            for resource, quantity in requests.items()
            if is_gpu_resource(resource)
        }
    )
