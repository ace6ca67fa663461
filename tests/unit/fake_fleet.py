# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet of GPU nodes on an API server in memory, whose plugins do as NVIDIA's: a label is acted
on at once, content at a start only. Time passes only while somebody waits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, cast

from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.nodes import NODE_OPTIONS
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import Cluster
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.operands import (
    GFD_APP,
    PLUGIN_APP,
    OperandPod,
    operand_pod,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import (
    NodeState,
    node_state,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles import (
    config_map as _config_map,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.keys import config_key
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.model import Profile
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.plugin import (
    operator_plugin,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rendering import (
    to_plugin_config,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    parse_profile,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.desired import Observation
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.live import LiveFleet
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.settings import Settings
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.settle import WaitTimes
from ansible_collections.gpufleet.sharing.tests.unit.fake_api import FakeApi

BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LABEL, HASH = "nvidia.com/device-plugin.config", "gpufleet.sharing/config-hash"
NODES, PODS = "/api/v1/nodes", "/api/v1/namespaces/gpu-operator/pods"
TIME = "%Y-%m-%dT%H:%M:%SZ"
MAP = "/api/v1/namespaces/gpu-operator/configmaps/device-plugin-config"
APPS = {"plugin": PLUGIN_APP, "gfd": GFD_APP}
GPU = "nvidia.com/gpu"
Profiles = Mapping[str, Profile]
UNSHARED = Profile("")


def profiles(**replicas: int) -> dict[str, Profile]:
    """Profiles by name, of so many replicas."""
    return {name: parse_profile(name, {"replicas": count}) for name, count in replicas.items()}


@dataclass
class FakeFleet:
    """Nodes n1, n2, ... of two GPUs each. It is what a rollout watches (a LiveFleet)."""

    default: str = "default"  # the operator's pointer
    api: FakeApi = field(default_factory=FakeApi)
    seconds: float = 0.0
    slow: float = 3.0  # seconds until a plugin has loaded something
    refuses: Callable[[str, str], bool] = lambda _node, _text: False  # a plugin its content
    on_wait: list[Callable[[], object]] = field(default_factory=list)  # told once, at a wait
    trouble: str = ""
    touched: list[set[str]] = field(default_factory=list)  # nodes that are off, at each wait
    pods_are_read: bool = True
    _loaded: dict[str, str] = field(default_factory=dict)  # what its plugin serves, by node
    _label: dict[str, str | None] = field(default_factory=dict)  # that its plugin follows
    _due: dict[str, float] = field(default_factory=dict)  # when a node shows it
    _seen: int = 0
    _number: int = 0
    _config_map: _config_map.ConfigMap | None = None

    # ---- what a LiveFleet does

    def now(self) -> float:
        return self.seconds

    def start(self) -> None:
        self.read_pods()

    def stop(self) -> None:
        pass

    def read_pods(self) -> None:
        self.pods_are_read = True

    def observe(self) -> Observation:
        nodes = [node_state(item) for item in self._below(NODES)]
        pods: dict[str, list[OperandPod]] = {}
        for pod in map(operand_pod, self._below(PODS) if self.pods_are_read else []):
            pods.setdefault(pod.node, []).append(pod)
        return Observation({node.name: node for node in nodes}, pods, self._config_map)

    def wait(self, seconds: float) -> Collection[str]:
        """All nodes may have changed; a second passes at a time."""
        self.settle(min(max(seconds, 0.01), 1.0))
        return [node.name for node in self.observe().nodes.values()]

    def refresh_config_map(self) -> None:
        document = self.api.objects.get(MAP)
        found = _config_map.read_config_map(document) if document else None
        shadowed = frozenset(operator_plugin().shadowed)
        self._config_map = replace(found, shadowed=shadowed) if found else None

    # ---- what a fleet does

    def settle(self, seconds: float = 60.0) -> None:
        """Let time pass, and plugins load."""
        if self.on_wait:
            self.on_wait.pop(0)()
        self._follow_changes()
        self.touched.append(set(self._due))
        self.seconds += seconds
        self.api.date = format_datetime(self.time, usegmt=True)
        for node in [node for node, at in self._due.items() if at <= self.seconds]:
            del self._due[node]
            self._show(node)

    @property
    def time(self) -> datetime:
        return BEGIN + timedelta(seconds=self.seconds)

    def add(self, *names: str, label: str | None = None, annotated: str = "") -> None:
        """Nodes that have been there for long."""
        for name in names:
            labels = {"nvidia.com/gpu.present": "true", "nvidia.com/gpu.count": "2"}
            annotations = {HASH: annotated} if annotated else {}
            metadata = {
                "uid": self._uid(),
                "labels": labels | ({LABEL: label} if label else {}),
                "annotations": annotations,
            }
            status = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {}}
            self.api.put(f"{NODES}/{name}", {"metadata": metadata, "spec": {}, "status": status})
            self._start_pods(name)
            self._load(name)
            self._show(name)
        self._seen = len(self.api.events)

    def write(self, files: Profiles, *, versioned: bool = False) -> None:
        """What the module profiles writes, before the rollout."""
        texts = {
            config_key(profile, versioned=versioned): to_plugin_config(profile)
            for profile in files.values()
        }
        document = self.api.objects.get(MAP)
        self.refresh_config_map()
        plan = _config_map.plan_config_map(self._config_map, texts, now=self.time)
        if document is None:
            metadata = {"name": "device-plugin-config", "creationTimestamp": "2025-01-01T00:00:00Z"}
            self.api.put(MAP, {"metadata": metadata, "data": {}})
        if plan:
            self.api.patch(MAP, cast("dict[str, Any]", plan.patch()))
        self.refresh_config_map()

    def node(self, name: str) -> NodeState:
        return node_state(self.api.objects[f"{NODES}/{name}"])

    def slots(self, *names: str) -> list[int]:
        return [self.node(name).allocatable.get(GPU, 0) for name in names]

    def edit(self, name: str, **metadata: Mapping[str, str | None]) -> None:
        """Merge labels or annotations into a node as somebody else."""
        self.api.patch(f"{NODES}/{name}", {"metadata": metadata})

    def set_ready(self, name: str, *, ready: bool) -> None:
        conditions = [{"type": "Ready", "status": str(ready)}]
        self.api.patch(f"{NODES}/{name}", {"status": {"conditions": conditions}})

    def remove(self, name: str) -> None:
        self.api.drop(f"{NODES}/{name}")
        for path, pod in list(self.api.objects.items()):
            if path.startswith(PODS) and pod["spec"]["nodeName"] == name:
                self.api.drop(path)
        self._due.pop(name, None)
        self._loaded.pop(name, None)
        self._seen = len(self.api.events)

    def restart(self, name: str) -> None:
        """The plugin's pods go, as at a reboot; others come."""
        for path, pod in list(self.api.objects.items()):
            if path.startswith(PODS) and pod["spec"]["nodeName"] == name:
                self.api.drop(path)

    def workload(self, name: str, node: str, slots: int = 1) -> None:
        metadata = {
            "namespace": "work",
            "uid": self._uid(),
            "ownerReferences": [{"kind": "Job", "name": "train", "controller": True}],
        }
        containers = [{"resources": {"requests": {GPU: str(slots)}}}]
        self.api.put(
            f"/api/v1/namespaces/work/pods/{name}",
            {
                "metadata": metadata,
                "spec": {"nodeName": node, "containers": containers},
                "status": {"phase": "Running"},
            },
        )

    def _uid(self) -> str:
        self._number += 1
        return f"uid-{self._number}"

    def _below(self, path: str) -> list[dict[str, Any]]:
        found = self.api.objects.items()
        return [item for at, item in found if at.rpartition("/")[0] == path]

    def _follow_changes(self) -> None:
        """See what was written since: labels that moved, pods that have gone."""
        events, self._seen = self.api.events[self._seen :], len(self.api.events)
        for _version, kind, path, document in events:
            name = path.rpartition("/")[2]
            if path.startswith(f"{PODS}/") and kind == "DELETED":
                node = document["spec"]["nodeName"]
                if f"{NODES}/{node}" in self.api.objects:
                    self._start_pods(node)
                    self._load(node)
            elif path.startswith(f"{NODES}/") and name in self._loaded:
                label = document["metadata"]["labels"].get(LABEL)
                if label != self._label.get(name):
                    self._load(name)

    def _start_pods(self, node: str) -> None:
        there = {
            pod["metadata"]["labels"]["app"]
            for pod in self._below(PODS)
            if pod["spec"]["nodeName"] == node
        }
        created = self.time.strftime(TIME)
        for short, app in APPS.items():
            if app not in there:
                uid = self._uid()
                self.api.put(
                    f"{PODS}/{short}-{uid}",
                    {
                        "metadata": {
                            "uid": uid,
                            "labels": {"app": app},
                            "creationTimestamp": created,
                        },
                        "spec": {"nodeName": node, "containers": [{"name": "config-manager"}]},
                        "status": {"conditions": [], "containerStatuses": []},
                    },
                )

    def _load(self, node: str) -> None:
        """A node's plugin reads its file; it shows in a while."""
        label = self.node(node).labels.get(LABEL) or None
        self._label[node] = label
        data = self.api.objects.get(MAP, {}).get("data", {})
        self._loaded[node] = data.get(label or self.default, "missing")
        self._due[node] = self.seconds + self.slow
        self._set_pods(node, ready=False)

    def _show(self, node: str) -> None:
        self._due.pop(node, None)
        text = self._loaded[node]
        refused = text == "missing" or self.refuses(node, text)
        profile = UNSHARED if refused else parse_profile("x", text)
        labels = {
            "nvidia.com/gpu.replicas": str(profile.replicas),
            "nvidia.com/gpu.sharing-strategy": profile.strategy,
        }
        slots = 0 if refused else 2 * profile.replicas
        patch = {"metadata": {"labels": labels}, "status": {"allocatable": {GPU: str(slots)}}}
        self.api.patch(f"{NODES}/{node}", patch)
        self._set_pods(node, ready=not refused)

    def _set_pods(self, node: str, *, ready: bool) -> None:
        conditions = [{"type": "Ready", "status": str(ready)}]
        for path, pod in list(self.api.objects.items()):
            if path.startswith(f"{PODS}/") and pod["spec"]["nodeName"] == node:
                self.api.patch(path, {"status": {"conditions": conditions}})


SETTINGS = Settings("gpu-operator", "device-plugin-config", ["1", "50%"], WaitTimes(60, 5))


def live(fleet: FakeFleet) -> LiveFleet:
    return cast("LiveFleet", fleet)


def cluster(fleet: FakeFleet) -> Cluster:
    return fleet.api.cluster


def asked_node(name: str, profile: str | None = None, **more: object) -> dict[str, Any]:
    """A node as modules get it, with the defaults of its options."""
    plain = {key: option.get("default") for key, option in NODE_OPTIONS.items()}
    return {**plain, "name": name, "profile": profile, **more}
