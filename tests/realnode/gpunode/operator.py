# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The GPU Operator as somebody else has installed it, before our collection comes: its namespace,
its Deployment and a ClusterPolicy without profiles. What it does with them, gpusim plays.
"""

from __future__ import annotations

from gpulab.paths import CHART_DIR

from . import driver, image

NAMESPACE = "gpu-operator"
DEFINITION = CHART_DIR / "crds" / "nvidia.com_clusterpolicies.yaml"


def documents() -> list[dict[str, object]]:
    """Apply them in this order, the CustomResourceDefinition being there."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": NAMESPACE,
                "labels": {"pod-security.kubernetes.io/enforce": "privileged"},
            },
        },
        _deployment(),
        {
            "apiVersion": "nvidia.com/v1",
            "kind": "ClusterPolicy",
            "metadata": {"name": "cluster-policy"},
            "spec": _policy(),
        },
    ]


def _deployment() -> dict[str, object]:
    labels = {"app": "gpu-operator", "app.kubernetes.io/component": "gpu-operator"}
    container = {"name": "gpu-operator", "image": image.OPERATOR, "command": ["gpu-operator"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "gpu-operator", "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def _component(reference: str, **more: object) -> dict[str, object]:
    repository, _slash, name = reference.rpartition("/")
    name, _colon, version = name.partition(":")
    given = {"repository": repository, "image": name, "version": version}
    return {"enabled": True, **given, "imagePullPolicy": "IfNotPresent", **more}


def _policy() -> dict[str, object]:
    """NFD does not run, so GFD writes a file, as it does on OpenShift."""
    off = {"enabled": False}
    to_file = [{"name": "USE_NODE_FEATURE_API", "value": "false"}]
    return {
        "hostPaths": {"rootFS": "/", "driverInstallDir": str(driver.ROOT)},
        "operator": {"runtimeClass": "nvidia"},
        "daemonsets": {
            "labels": {"app.kubernetes.io/managed-by": "gpu-operator"},
            "tolerations": [
                {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
            ],
            "priorityClassName": "system-node-critical",
            "updateStrategy": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": "1"},
        },
        "validator": _component(image.OPERATOR),
        "mig": {"strategy": "single"},
        "psa": off,
        "cdi": {"enabled": True},
        "sandboxWorkloads": {"enabled": False, "defaultWorkload": "container"},
        "driver": off,
        "toolkit": _component(image.OPERATOR, installDir=str(driver.TOOLKIT)),
        "devicePlugin": _component(image.PLUGIN),
        "gfd": _component(image.PLUGIN, env=to_file),
        "dcgm": off,
        "dcgmExporter": off,
        "migManager": off,
        "nodeStatusExporter": off,
    }
