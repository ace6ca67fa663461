# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods that use GPU slots of given nodes, and budgets that protect them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.gpufleet.sharing.tests.integration.labtools import Lab, Run

NAMESPACE = "work"
LABEL = "workload"
API_VERSIONS = {"Pod": "v1", "Job": "batch/v1"}  # the others: apps/v1
ADMITTED = {"lab.gpufleet.sharing/admission": "admitted"}  # whatever the plugin says of many slots
FINISHES = "lab.gpufleet.sharing/run-for"  # a pod of a Job ends by itself in the lab


@dataclass(frozen=True)
class Workload:
    """GPU pods on some nodes, spread evenly. kind: Pod, ReplicaSet, Deployment, Job or DaemonSet.

    pods is how many there are in all, and 0 one for each node; a DaemonSet always has those.
    """

    name: str
    nodes: Sequence[str]
    kind: str = "Deployment"
    pods: int = 0
    slots: int = 1
    resource: str = "nvidia.com/gpu"
    namespace: str = NAMESPACE

    @property
    def count(self) -> int:
        return self.pods if self.pods and self.kind != "DaemonSet" else len(self.nodes)

    @property
    def documents(self) -> list[dict[str, Any]]:
        if self.kind != "Pod":
            return [self._document(self.name, self._controller())]
        return [
            self._document(f"{self.name}-{n + 1}", self._spec([self.nodes[n % len(self.nodes)]]))
            for n in range(self.count)
        ]

    def _document(self, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        labels = {LABEL: self.name, **ADMITTED}
        return {
            "apiVersion": API_VERSIONS.get(self.kind, "apps/v1"),
            "kind": self.kind,
            "metadata": {"name": name, "namespace": self.namespace, "labels": labels},
            "spec": spec,
        }

    def _controller(self) -> dict[str, Any]:
        metadata = {"labels": {LABEL: self.name, **ADMITTED}, "annotations": {FINISHES: "24h"}}
        template = {"metadata": metadata, "spec": self._spec(self.nodes)}
        if self.kind == "Job":
            return {"parallelism": self.count, "completions": self.count, "template": template}
        size = {} if self.kind == "DaemonSet" else {"replicas": self.count}
        return {"selector": {"matchLabels": {LABEL: self.name}}, "template": template, **size}

    def _spec(self, nodes: Sequence[str]) -> dict[str, Any]:
        host = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(nodes)}
        required = {"nodeSelectorTerms": [{"matchExpressions": [host]}]}
        return {
            "affinity": {
                "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}
            },
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "DoNotSchedule",
                    "nodeTaintsPolicy": "Honor",  # a cordoned node does not count
                    "labelSelector": {"matchLabels": {LABEL: self.name}},
                }
            ],
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            "restartPolicy": "Never" if self.kind == "Job" else "Always",
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "main",
                    "image": "none",
                    "resources": {"limits": {self.resource: str(self.slots)}},
                }
            ],
        }


def pods_of(lab: Lab, workload: Workload) -> list[dict[str, Any]]:
    """The pods of a workload that have not ended and are not about to."""
    listed = lab.json("pods", "-n", workload.namespace, "-l", f"{LABEL}={workload.name}")["items"]
    return [pod for pod in listed if "deletionTimestamp" not in pod["metadata"]]


def start(lab: Lab, *workloads: Workload, timeout: float = 60) -> None:
    """Create workloads, in namespaces that need not exist, and wait until all pods run."""
    for namespace in {workload.namespace for workload in workloads}:
        _namespace(lab, namespace)
    lab.apply(*(document for workload in workloads for document in workload.documents))
    for workload in workloads:
        wait_until_running(lab, workload, timeout)


def wait_until_running(lab: Lab, workload: Workload, timeout: float = 60) -> None:
    def running() -> bool:
        phases = [pod["status"].get("phase") for pod in pods_of(lab, workload)]
        return phases == ["Running"] * workload.count

    lab.wait_for(running, timeout)


def stop(lab: Lab, *workloads: Workload) -> None:
    """Delete workloads, and wait until none of their pods is left."""
    for workload in workloads:
        chosen = ("-n", workload.namespace, "-l", f"{LABEL}={workload.name}")
        lab.kubectl("delete", "poddisruptionbudget", *chosen, "--wait")
        if workload.kind != "Pod":  # pods first, while nobody makes new ones any more
            lab.kubectl("delete", workload.kind.lower(), *chosen, "--wait", "--cascade=foreground")
        lab.kubectl("delete", "pod", *chosen, "--wait")


def protect(lab: Lab, workload: Workload, **limit: int | str) -> None:
    """Give a workload a PodDisruptionBudget: minAvailable=…, or maxUnavailable=….

    Bare pods know only a number as minAvailable: nothing tells the percentage of what.
    """
    document = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {
            "name": workload.name,
            "namespace": workload.namespace,
            "labels": {LABEL: workload.name},
        },
        "spec": {"selector": {"matchLabels": {LABEL: workload.name}}, **limit},
    }
    lab.apply(document)
    chosen = ("poddisruptionbudget", workload.name, "-n", workload.namespace)

    def counted() -> bool:
        found = lab.json(*chosen)
        status = found.get("status", {})
        told = (status.get("observedGeneration"), status.get("currentHealthy"))
        return told == (found["metadata"]["generation"], workload.count)

    lab.wait_for(counted)


def evict(lab: Lab, namespace: str, name: str) -> Run:
    """Ask for the eviction of a pod as anybody may; the output is the server's answer."""
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/eviction"
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace},
    }
    return lab.attempt("create", "--raw", path, "-f", "-", text=json.dumps(eviction))


def _namespace(lab: Lab, name: str) -> None:
    lab.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    accounts = ("get", "serviceaccounts", "-n", name, "-o", "name")
    lab.wait_for(lambda: "serviceaccount/default" in lab.kubectl(*accounts))
