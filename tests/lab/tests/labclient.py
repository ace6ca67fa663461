# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests do with a lab: run its program, talk to its cluster through kubectl and helm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpulab.api import Api
from gpulab.pki import Pair
from gpulab.state import Lab

LAB = Path(__file__).resolve().parents[1] / "lab.py"
NAMESPACE = "gpu-operator"
CONFIG_MAP = "profiles"
LABEL = "nvidia.com/device-plugin.config"
PLUGIN = "nvidia-device-plugin-daemonset"
GFD = "gpu-feature-discovery"
MPS_DAEMON = "nvidia-device-plugin-mps-control-daemon"
_PATIENCE = 60.0  # for machines that have a lot to do: what is waited for ends a wait
_PAUSE = 0.02  # between two requests; without it the client takes a processor from the lab
_STABLE = 0.7


class LabCommand:
    """The program `lab` with its own state folder."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self._count = 0

    def unique(self, stem: str) -> str:
        self._count += 1
        return f"{stem}-{os.getpid()}-{self._count}"

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "XDG_STATE_HOME": str(self.state)}
        return subprocess.run(
            [sys.executable, str(LAB), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def run(self, *arguments: str) -> str:
        done = self.attempt(*arguments)
        assert done.returncode == 0, f"lab {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def environment_of(self, name: str) -> dict[str, str]:
        script = self.run("env", "--name", name) + "env -0"
        out = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
        return dict(item.split("=", 1) for item in out.stdout.split("\0") if item)


def slices(replicas: int, resource: str = "nvidia.com/gpu", strategy: str = "timeSlicing") -> str:
    """A file that shares one resource."""
    entry = f"{{name: {resource}, replicas: {replicas}}}"
    return f"version: v1\nsharing: {{{strategy}: {{resources: [{entry}]}}}}\n"


PROFILES = {
    "default": slices(4),
    "dev": slices(8),
    "no-sharing": "version: v1\n",
    "refused": slices(1),
}


class Client:
    """One cluster. Node methods take node names; `touched` are the nodes that were changed."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.touched: set[str] = set()
        folder = Path(environment["GPULAB_STATE"])
        record = Lab(**json.loads((folder / "lab.json").read_text()))
        admin = Pair(folder / "pki" / "admin.crt", folder / "pki" / "admin.key")
        self._api = Api(record.ports["apiserver"], folder / "pki" / "ca.crt", admin)

    def program(self, *command: str, stdin: str | None = None) -> str:
        """Run kubectl, helm or gpusim of the lab and return what it prints."""
        done = subprocess.run(
            command,
            env=dict(self.environment),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=2 * _PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def call(
        self, method: str, path: str, body: object = None, content: str = "json"
    ) -> dict[str, Any]:
        status, answer = self._api.request(method, path, body, f"application/{content}")
        assert status < 300, f"{method} {path}: {answer.decode()}"
        return dict(json.loads(answer))

    def get(self, path: str) -> dict[str, Any]:
        return self.call("GET", path)

    def patch(self, path: str, body: object) -> dict[str, Any]:
        return self.call("PATCH", path, body, "merge-patch+json")

    def node(self, name: str) -> dict[str, Any]:
        return self.get(f"/api/v1/nodes/{name}")

    def helm(self, *values: str) -> None:
        command = ["helm", "upgrade", "--install", "gpu-operator", self.environment["GPULAB_CHART"]]
        command += [
            "--namespace",
            NAMESPACE,
            "--create-namespace",
            "--wait",
            "--timeout",
            f"{_PATIENCE}s",
        ]
        self.program(*command, *(item for value in values for item in ("--set", value)))

    def install_operator(self, profiles: Mapping[str, str] | None = None) -> None:
        self.call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        body = {"metadata": {"name": CONFIG_MAP}, "data": profiles or PROFILES}
        self.call("POST", f"/api/v1/namespaces/{NAMESPACE}/configmaps", body)
        self.point_at(CONFIG_MAP, "default")

    def point_at(self, config_map: str, default: str, *more: str) -> None:
        """Set the pointer by Helm, and more values; an empty name: none at all."""
        values = ["daemonsets.rollingUpdate.maxUnavailable=100%", *more]
        if config_map:
            values += [f"devicePlugin.config.name={config_map}"]
            values += [f"devicePlugin.config.default={default}"]
        self.helm(*values)

    def strategy(self, value: str) -> None:
        """Set the MIG strategy of the operator."""
        self.point_at(CONFIG_MAP, "default", f"mig.strategy={value}")

    def profiles(self, files: Mapping[str, str]) -> None:
        """Write all keys of the ConfigMap."""
        path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{CONFIG_MAP}"
        have = self.get(path)["data"]
        if have != files:
            gone = {key: None for key in have if key not in files}
            self.patch(path, {"data": {**gone, **files}})

    def label(self, node: str, value: str | None, key: str = LABEL) -> None:
        self.touched.add(node)
        self.patch(f"/api/v1/nodes/{node}", {"metadata": {"labels": {key: value}}})

    def annotate(self, node: str, key: str, value: str | None) -> None:
        self.patch(f"/api/v1/nodes/{node}", {"metadata": {"annotations": {key: value}}})

    def annotate_pods(self, node: str) -> None:
        """Make the kubelet refresh the files of plugin and GFD."""
        for app in (PLUGIN, GFD):
            pod = self.pod(node, app)
            assert pod, app
            body = {"metadata": {"annotations": {"touched": str(time.time())}}}
            self.patch(f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}", body)

    def hold(self, node: str) -> str:
        """Keep the plugin pod of a node from going, once it has been deleted; return its path."""
        pod = self.pod(node)
        assert pod, node
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}"
        self.patch(path, {"metadata": {"finalizers": ["lab.gpufleet.sharing/held"]}})
        return path

    def let_go(self, pod: str) -> None:
        self.patch(pod, {"metadata": {"finalizers": None}})

    def state(self) -> str:
        policy = self.get("/apis/nvidia.com/v1/clusterpolicies/cluster-policy")
        return str(policy.get("status", {}).get("state", ""))

    def allocatable(self, node: str, resource: str = "nvidia.com/gpu") -> int:
        return int(self.node(node)["status"]["allocatable"].get(resource, "0"))

    def capacity(self, node: str, resource: str = "nvidia.com/gpu") -> int:
        return int(self.node(node)["status"]["capacity"].get(resource, "0"))

    def node_label(self, node: str, key: str) -> str | None:
        value: str | None = self.node(node)["metadata"]["labels"].get(key)
        return value

    def loaded(self, node: str) -> dict[str, str]:
        note = self.node(node)["metadata"]["annotations"].get("lab.gpufleet.sharing/loaded")
        return dict(json.loads(note)) if note else {}

    @contextmanager
    def notes(self, node: str) -> Iterator[list[dict[str, str]]]:
        """Everything that loaded() would have told inside a with statement, the first before it."""
        column = r"-o=jsonpath={.metadata.annotations.lab\.gpufleet\.sharing/loaded}{'\n'}"
        with subprocess.Popen(
            ["kubectl", "get", "node", node, "--watch", column],
            env=dict(self.environment),
            stdout=subprocess.PIPE,
            text=True,
        ) as watch:
            assert watch.stdout
            try:
                seen = [_note(watch.stdout.readline())]
                yield seen
                last = self.loaded(node)
                while seen[-1] != last:  # the watch may tell it later
                    seen.append(_note(watch.stdout.readline()))
            finally:
                watch.terminate()

    def pod(self, node: str, app: str = PLUGIN) -> dict[str, Any] | None:
        query = f"labelSelector=app%3D{app}&fieldSelector=spec.nodeName%3D{node}"
        pods = self.get(f"/api/v1/namespaces/{NAMESPACE}/pods?{query}")["items"]
        living = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        return living[0] if living else None

    def ready(self, node: str, app: str = PLUGIN) -> bool:
        pod = self.pod(node, app)
        conditions = pod["status"].get("conditions", []) if pod else []
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def waiting(self, node: str, app: str = PLUGIN) -> set[str]:
        """Waiting reasons of a pod's containers, init containers with `Init:` before."""
        pod = self.pod(node, app)
        status = pod["status"] if pod else {}
        return {
            prefix + container["state"]["waiting"]["reason"]
            for prefix, kind in (("Init:", "initContainerStatuses"), ("", "containerStatuses"))
            for container in status.get(kind, [])
            if "waiting" in container["state"]
        }

    def restart(self, node: str) -> None:
        """Delete plugin and GFD pod, and wait until new ones have been started: until then the node
        may look as before.
        """
        self.touched.add(node)
        before = {app: self.pod(node, app) for app in (PLUGIN, GFD)}
        for pod in before.values():
            if pod:
                name = pod["metadata"]["name"]
                self.call("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods/{name}")
        until(
            lambda: all(_other(self.pod(node, app), pod) for app, pod in before.items()),
            f"new pods on {node}",
        )

    def settle(self, node: str, slots: int, resource: str = "nvidia.com/gpu") -> None:
        """Wait until the node has had that many slots for a while."""
        since = time.monotonic()

        def steady() -> bool:
            nonlocal since
            if self.allocatable(node, resource) != slots:
                since = time.monotonic()
            return time.monotonic() - since > _STABLE

        until(steady, f"{slots} slots on {node}: {self.loaded(node)}")

    def labelled(self, node: str, want: Mapping[str, str | None]) -> None:
        """Wait for labels, written without nvidia.com/; None: there is no such label."""

        def differing() -> dict[str, str | None]:
            have = self.node(node)["metadata"]["labels"]
            found = {key: have.get(f"nvidia.com/{key}") for key in want}
            return {key: value for key, value in found.items() if value != want[key]}

        until(lambda: not differing(), f"labels of {node}: {differing()} instead of {dict(want)}")

    def stuck(self, node: str, reason: str) -> None:
        """Wait until the plugin of a node serves nothing, for a reason."""
        until(lambda: reason in self.loaded(node).get("error", ""), f"{node}: {reason}")
        self.settle(node, 0)

    def keeps(self, node: str, slots: int, seconds: float = _STABLE) -> None:
        """Fail unless the node has that many slots all the while."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.allocatable(node) == slots, self.loaded(node)
            time.sleep(_PAUSE)


def _note(line: str) -> dict[str, str]:
    assert line, "the watch has ended"
    return dict(json.loads(line.strip() or "{}"))


def _other(pod: dict[str, Any] | None, than: dict[str, Any] | None) -> bool:
    if pod is None or "containerStatuses" not in pod["status"]:
        return False
    return than is None or pod["metadata"]["uid"] != than["metadata"]["uid"]


def until(condition: Callable[[], bool], what: str, seconds: float = _PATIENCE) -> None:
    """Poll a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for: {what}"
        time.sleep(_PAUSE)
