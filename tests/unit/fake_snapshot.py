# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small healthy fleet as objects of the API, for tests to break, and its snapshot."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.catalog import find_all
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.collect import collect
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.engine import Finding
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.snapshot import (
    Location,
    Snapshot,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.operands import (
    GFD_APP,
    MPS_APP,
    PLUGIN_APP,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.hashing import config_hash
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.model import Profile
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rendering import (
    to_plugin_config,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    parse_profiles,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.desired import Desired
from ansible_collections.gpufleet.sharing.tests.unit.fake_api import FakeApi

Json = dict[str, Any]
NS = "gpu-operator"
LABEL = "nvidia.com/device-plugin.config"
CONFIG_MAP = "/api/v1/namespaces/gpu-operator/configmaps/device-plugin-config"
POLICY = "/apis/nvidia.com/v1/clusterpolicies/cluster-policy"
SETS = "/apis/apps/v1/namespaces/gpu-operator/daemonsets/"
STARTED, WRITTEN, LATER = "2026-01-02T03:00:00Z", "2026-01-02T02:00:00Z", "2026-01-02T04:00:00Z"
PROFILES = parse_profiles(
    {
        "default": {"replicas": 4},
        "dev": {"replicas": 8},
        "no-sharing": {"replicas": 1},
        "renamed": {"replicas": 2, "rename_by_default": True},
        "mps": {"replicas": 4, "strategy": "mps"},
    }
)
NODES = {"dev-1": ("dev", 1), "prod-1": (None, 2), "train-1": ("no-sharing", 4)}


def node_path(name: str) -> str:
    return f"/api/v1/nodes/{name}"


def pod_path(app: str, node: str) -> str:
    return f"/api/v1/namespaces/{NS}/pods/{app}-{node}"


def node(name: str, profile: str | None, gpus: int) -> Json:
    has = PROFILES[profile or "default"]
    slots = str(gpus * has.replicas)
    labels = {
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.deploy.device-plugin": "true",
        "nvidia.com/gpu.deploy.gpu-feature-discovery": "true",
        "nvidia.com/gpu.count": str(gpus),
        "nvidia.com/gpu.replicas": str(has.replicas),
        "nvidia.com/gpu.product": "NVIDIA-A10",
        "nvidia.com/gpu.sharing-strategy": has.strategy,
        **({LABEL: profile} if profile else {}),
    }
    return {
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {"gpufleet.sharing/config-hash": hash_of(has)},
        },
        "spec": {},
        "status": {
            "capacity": {"cpu": "8", has.advertised("nvidia.com/gpu"): slots},
            "allocatable": {"cpu": "8", has.advertised("nvidia.com/gpu"): slots},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def hash_of(profile: Profile) -> str:
    return config_hash(to_plugin_config(profile))


def pod(
    name: str,
    namespace: str = "work",
    node: str = "prod-1",
    *,
    slots: int = 0,
    resource: str = "nvidia.com/gpu",
    image: str = "program",
) -> Json:
    """A running pod."""
    requests = {resource: str(slots)} if slots else {}
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": name, "labels": {}},
        "spec": {
            "nodeName": node,
            "containers": [{"name": "main", "image": image, "resources": {"limits": requests}}],
        },
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "main", "state": {"running": {"startedAt": STARTED}}}],
        },
    }


def operand(app: str, on: str) -> Json:
    made = pod(f"{app}-{on}", NS, on)
    made["metadata"]["labels"]["app"] = app
    made["spec"]["containers"].append({"name": "config-manager", "image": "plugin"})
    return made


def waiting(document: Json, reason: str, restarts: int = 0) -> Json:
    """The same pod while one of its containers is not started."""
    state = {"name": "main", "state": {"waiting": {"reason": reason}}, "restartCount": restarts}
    document["status"]["containerStatuses"] = [state]
    document["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    return document


def daemon_set(app: str, nodes: int) -> Json:
    container = "nvidia-device-plugin" if app == PLUGIN_APP else app
    manager = {"name": "config-manager", "env": [{"name": "DEFAULT_CONFIG", "value": "default"}]}
    image = "nvcr.io/nvidia/k8s-device-plugin:v0.18.2"
    env = [{"name": "MIG_STRATEGY", "value": "single"}]
    template = {
        "metadata": {"labels": {"app": app}},
        "spec": {
            "volumes": [{"name": "c", "configMap": {"name": "device-plugin-config"}}],
            "containers": [{"name": container, "image": image, "env": env}, manager],
        },
    }
    counts = {"desiredNumberScheduled": nodes, "updatedNumberScheduled": nodes}
    return {
        "metadata": {"name": app, "namespace": NS, "generation": 1},
        "spec": {"template": template},
        "status": {"observedGeneration": 1, **counts},
    }


def written(**replaced: str) -> Json:
    """The ConfigMap with all profiles and our annotations; some files replaced later."""
    files = {name: to_plugin_config(profile) for name, profile in PROFILES.items()}
    notes = {
        name: {"hash": config_hash(text), "at": WRITTEN, "replaced": False}
        for name, text in files.items()
    }
    return {
        "metadata": {
            "name": "device-plugin-config",
            "namespace": NS,
            "annotations": {"gpufleet.sharing/profiles": json.dumps(notes)},
        },
        "data": {**files, **replaced},
    }


@dataclass
class Fleet:
    """Objects by path, and what the inventory asks for."""

    objects: dict[str, Json] = field(default_factory=dict)
    assignments: dict[str, str | None] = field(default_factory=dict)
    gpus: dict[str, int] = field(default_factory=dict)
    outside: set[str] = field(default_factory=set)  # in the inventory, not in the limit
    location: Location = field(default_factory=Location)
    default: str = "default"
    forbidden: set[str] = field(default_factory=set)  # ends of paths

    def add_node(self, name: str, profile: str | None, gpus: int) -> None:
        self.objects[node_path(name)] = node(name, profile, gpus)
        self.assignments[name] = profile
        for app in (PLUGIN_APP, GFD_APP):
            self.objects[pod_path(app, name)] = operand(app, name)

    def node(self, name: str) -> Json:
        return self.objects[node_path(name)]

    def labels(self, name: str) -> dict[str, str]:
        found: dict[str, str] = self.node(name)["metadata"]["labels"]
        return found

    def slots(self, name: str, count: int, resource: str = "nvidia.com/gpu") -> None:
        self.node(name)["status"]["allocatable"][resource] = str(count)

    def pod(self, app: str, on: str) -> Json:
        return self.objects[pod_path(app, on)]

    def drop(self, path: str) -> None:
        del self.objects[path]

    def add_pod(self, document: Json) -> None:
        metadata = document["metadata"]
        self.objects[f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"] = (
            document
        )

    @property
    def policy(self) -> Json:
        found: Json = self.objects[POLICY]["spec"]["devicePlugin"]
        return found

    @property
    def data(self) -> dict[str, str]:
        found: dict[str, str] = self.objects[CONFIG_MAP]["data"]
        return found

    def api(self) -> FakeApi:
        api = FakeApi()
        for path, document in self.objects.items():
            api.put(path, copy.deepcopy(document))
        api.fault = self._fault
        return api

    def _fault(self, _method: str, path: str) -> int:
        return 403 if any(path.endswith(end) for end in self.forbidden) else 0

    def snapshot(self, node: str = "") -> Snapshot:
        chosen = {name: value for name, value in self.assignments.items() if node in ("", name)}
        groups = {name: name.partition("-")[0] for name in chosen}
        desired = Desired(PROFILES, self.default, chosen, gpus=self.gpus, groups=groups)
        inventory_nodes = frozenset(self.assignments) | self.outside
        return collect(self.api().cluster, self.location, desired, inventory_nodes, node)

    def find(self) -> list[Finding]:
        return find_all(self.snapshot())


def healthy() -> Fleet:
    fleet = Fleet()
    for name, (profile, gpus) in NODES.items():
        fleet.add_node(name, profile, gpus)
    fleet.objects[CONFIG_MAP] = written()
    pointer = {"name": "device-plugin-config", "default": "default"}
    fleet.objects[POLICY] = {
        "metadata": {"name": "cluster-policy"},
        "spec": {"devicePlugin": {"config": pointer}},
        "status": {"state": "ready", "namespace": NS},
    }
    for app in (PLUGIN_APP, GFD_APP):
        fleet.objects[SETS + app] = daemon_set(app, len(NODES))
    return fleet


def roots(found: list[Finding]) -> set[str]:
    return {finding.code for finding in found if not finding.follows}


def consequences(found: list[Finding]) -> Iterator[tuple[str, str]]:
    return ((finding.code, finding.follows) for finding in found if finding.follows)


__all__ = ["MPS_APP", "Fleet", "healthy"]
