# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods as the API server takes them: one slot each, on one node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SESSION = "gpufleet.sharing/cost"  # label
MANAGED = {"app.kubernetes.io/managed-by": "gpufleet.sharing"}


@dataclass(frozen=True)
class Mount:
    """A folder of the node, and where a pod finds it."""

    host: str
    inside: str
    read_only: bool = True


@dataclass(frozen=True)
class Place:
    """What all pods have in common."""

    node: str
    image: str
    resource: str = "nvidia.com/gpu"
    mounts: tuple[Mount, ...] = ()


@dataclass(frozen=True)
class Work:
    """One pod: its name and what it runs."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


def manifest(place: Place, session: str, work: Work) -> dict[str, Any]:
    """A pod that asks for one slot of the node, runs once and is never started again."""
    volumes = [
        {"name": f"m{number}", "hostPath": {"path": mount.host, "type": "Directory"}}
        for number, mount in enumerate(place.mounts)
    ]
    mounts = [
        {"name": f"m{number}", "mountPath": mount.inside, "readOnly": mount.read_only}
        for number, mount in enumerate(place.mounts)
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": work.name, "labels": {**MANAGED, SESSION: session}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 0,
            "dnsPolicy": "Default",  # nothing is looked up, and the node has no DNS
            "tolerations": [{"operator": "Exists"}],
            "affinity": {"nodeAffinity": _only(place.node)},
            "volumes": volumes,
            "containers": [
                {
                    "name": "work",
                    "image": place.image,
                    "imagePullPolicy": "Never",
                    "command": list(work.command),
                    "env": [{"name": name, "value": value} for name, value in work.env.items()],
                    "resources": {"limits": {place.resource: "1"}},
                    "volumeMounts": mounts,
                }
            ],
        },
    }


def _only(node: str) -> dict[str, Any]:
    """Affinity to one node, by which the scheduler still counts its slots."""
    field_of = {"key": "metadata.name", "operator": "In", "values": [node]}
    terms = [{"matchFields": [field_of]}]
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}


def ended(pod: Mapping[str, Any]) -> bool:
    return phase(pod) in ("Succeeded", "Failed")


def phase(pod: Mapping[str, Any]) -> str:
    return str((pod.get("status") or {}).get("phase", ""))


def state(pod: Mapping[str, Any]) -> dict[str, Any]:
    """What somebody who looks at the pod sees of how it is, or ended."""
    status = pod.get("status") or {}
    found: dict[str, Any] = {"pod": pod["metadata"]["name"], "phase": phase(pod)}
    found |= {key: status[key] for key in ("reason", "message") if status.get(key)}
    for container in status.get("containerStatuses") or []:
        for kind in ("terminated", "waiting"):
            if told := (container.get("state") or {}).get(kind):
                kept = ("exitCode", "reason", "message")
                found["container"] = {key: told[key] for key in kept if told.get(key) is not None}
    return found


def in_words(pods: Sequence[Mapping[str, Any]]) -> str:
    """How pods are, in one line."""
    parts = []
    for pod in pods:
        told = state(pod)
        why = told.get("container") or {}
        more = [str(why.get(key)) for key in ("reason", "message") if why.get(key)]
        more += [str(told[key]) for key in ("reason", "message") if key in told]
        parts.append(f"{told['pod']} {told['phase'] or 'unknown'} {' '.join(more)}".strip())
    return "; ".join(parts) or "no pods"
