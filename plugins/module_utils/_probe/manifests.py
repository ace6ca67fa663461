# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: manifests of the objects that the probe creates. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .._common.documents import name_of, text_at
from .._common.names import MANAGED_BY, MANAGED_BY_LABEL

Json = dict[str, object]

# Of namespace and PriorityClass. The probe must not remove other namespaces of the collection.
PROBE_LABELS = {MANAGED_BY_LABEL: MANAGED_BY, "app.kubernetes.io/component": "probe"}
RUN_LABEL = "gpufleet.sharing/probe"  # of pods and their Job: the run that created them
PRIORITY = -1000  # below all workloads, and below -10, where the cluster autoscaler adds no nodes
LIFETIME = 60  # seconds that pods outlive a run that no longer extends its deadline
MOST_PODS = 1000  # in the namespace, of all runs together


@dataclass(frozen=True)
class PodSettings:
    """Settings of the probe's pods.

    command holds the slot; empty for the image's own. look writes the GPUs that the pod sees to
    /dev/termination-log; empty to skip this. User id 0 lets the cluster choose.
    """

    image: str
    command: tuple[str, ...] = ()
    look: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, object]] = ()
    runtime_class: str = ""
    pull_secrets: tuple[str, ...] = ()
    run_as_user: int = 65534
    seconds: int = 600  # after which the kubelet stops them


def namespace(name: str) -> Json:
    labels = {**PROBE_LABELS, "pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def priority_class(name: str, uid: str) -> Json:
    """Its pods never evict others, and any other pod may evict them. It is removed with the
    namespace, which has the same name.
    """
    owner = {"apiVersion": "v1", "kind": "Namespace", "name": name, "uid": uid}
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {
            "name": name,
            "labels": dict(PROBE_LABELS),
            "ownerReferences": [owner],
        },
        "value": PRIORITY,
        "preemptionPolicy": "Never",
        "description": "Pods of gpufleet.sharing.probe: they evict no pods and yield to all.",
    }


def run_job(run: str) -> Json:
    """A Job without pods of its own. The run extends its deadline while it runs. After the deadline
    Kubernetes removes the Job, and with it everything that it owns.
    """
    template = {
        "metadata": {"labels": _labels(run)},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": _pod_security(0),
            "containers": [_container("none", "none", (), {})],
        },
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": run, "labels": _labels(run)},
        "spec": {
            "parallelism": 0,
            "completions": 1,
            "activeDeadlineSeconds": LIFETIME,
            "ttlSecondsAfterFinished": 0,
            "template": template,
        },
    }


def quota(run: str, owner: Json) -> Json:
    metadata = {"name": run, "labels": _labels(run), "ownerReferences": [owner]}
    hard = {"pods": str(MOST_PODS)}
    spec = {"hard": hard}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": spec}


def owner_of(job: Json) -> Json:
    """A reference to the run's Job, but not as controller: a Job counts such pods as its own."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": name_of(job),
        "uid": text_at(job, "metadata", "uid"),
    }


def pod(name: str, run: str, node: str, slots: Mapping[str, int], settings: PodSettings) -> Json:
    """A pod for one node, through the scheduler. ProbeNamespace adds its owner and priority."""
    limits = {resource: str(count) for resource, count in slots.items()}
    by_name = {"key": "metadata.name", "operator": "In", "values": [node]}
    required = {"nodeSelectorTerms": [{"matchFields": [by_name]}]}
    spec: Json = {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}},
        "tolerations": [dict(toleration) for toleration in settings.tolerations],
        "restartPolicy": "Never",
        "activeDeadlineSeconds": settings.seconds,
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": _pod_security(settings.run_as_user),
        "containers": [_container("hold", settings.image, settings.command, limits)],
    }
    if settings.look:
        # The main container gets the devices of the init container.
        spec["initContainers"] = [_container("look", settings.image, settings.look, limits)]
    if settings.runtime_class:
        spec["runtimeClassName"] = settings.runtime_class
    if settings.pull_secrets:
        spec["imagePullSecrets"] = [{"name": secret} for secret in settings.pull_secrets]
    metadata = {"name": name, "labels": {**settings.labels, **_labels(run)}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _labels(run: str) -> dict[str, str]:
    return {MANAGED_BY_LABEL: MANAGED_BY, RUN_LABEL: run}


def _container(name: str, image: str, command: Sequence[str], limits: Mapping[str, str]) -> Json:
    """A container that meets the restricted Pod Security Standard."""
    container: Json = {
        "name": name,
        "image": image,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if command:
        container["command"] = list(command)
    if limits:
        # The probe proves slots, not CUDA, so an old driver or another image is fine.
        environment = {"NVIDIA_DRIVER_CAPABILITIES": "utility", "NVIDIA_DISABLE_REQUIRE": "1"}
        container["env"] = [{"name": key, "value": value} for key, value in environment.items()]
        container["resources"] = {"limits": dict(limits)}
    return container


def _pod_security(user: int) -> Json:
    context: Json = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if user:
        context["runAsUser"] = user
    return context
