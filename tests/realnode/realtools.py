# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real node as tests use it: booted, entered, looked at closely, and timed."""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kubernetes

from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    COLLECTIONS,
    ROOT,
    Lab,
    Run,
)

REALNODE = ROOT / "tests" / "realnode" / "realnode"
RECORDS = ROOT / ".build" / "realnode"
NAMESPACE = "gpu-operator"
CONFIG_MAP = "device-plugin-config"
LABEL = "nvidia.com/device-plugin.config"
GPU, SHARED = "nvidia.com/gpu", "nvidia.com/gpu.shared"
#: The operator is somebody else's; the rest is for a kubelet that publishes every 10 s.
SETTINGS = {
    "gpu_operator_manage": "existing",
    "gpu_sharing_rollout_stable_seconds": int(os.environ.get("REALNODE_STABLE", "12")),
    "gpu_sharing_rollout_timeout": 300,
    "gpu_operator_timeout": 300,
}
_NETWORK = 0x40000000  # CLONE_NEWNET
_NOT_HERE = 2  # exit status of a machine that lacks something


#: kubernetes/kubernetes#135437, in v1.37.2: a plugin that registers anew before the kubelet has
#: noticed the end of its last connection is refused, and from then on always.
ALREADY = "device plugin already connected"
LOST = f'Skipped: the kubelet has lost the plugin, as v1.37.2 may: its log says "{ALREADY}"'


class NotHere(Exception):
    """This machine cannot have the node; the message is one line that says why."""


class Journal:
    """What was done and how long it took, as text for people and as JSON for other runs."""

    def __init__(self, name: str) -> None:
        RECORDS.mkdir(parents=True, exist_ok=True)
        self._text, self._data = RECORDS / f"{name}.log", RECORDS / f"{name}.json"
        self._text.write_text("", encoding="utf-8")
        self._started = time.monotonic()
        self._steps: list[dict[str, Any]] = []
        self._figures: dict[str, list[float]] = {}
        self._facts: dict[str, Any] = {}

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        started = time.monotonic()
        self.line(f"begin  {what}")
        ended = "FAILED"
        try:
            yield
            ended = "ok"
        finally:
            took = round(time.monotonic() - started, 2)
            self._steps.append({"step": what, "result": ended, "seconds": took})
            self.line(f"{ended:6} {what}  {took:.2f} s")

    def figure(self, what: str, seconds: float) -> None:
        """A duration that was measured."""
        self._figures.setdefault(what, []).append(round(seconds, 3))
        self.line(f"figure {what}: {seconds:.3f} s")

    def fact(self, what: str, value: object) -> None:
        """Something that was seen."""
        self._facts[what] = value
        self.line(f"seen   {what}: {value}")

    def output(self, what: str, run: Run) -> None:
        """The output of a playbook, whole."""
        self.line(f"output of {what}, exit {run.rc}:\n{run.output.rstrip()}")

    def line(self, text: str) -> None:
        with self._text.open("a", encoding="utf-8") as log:
            log.write(f"{time.monotonic() - self._started:8.2f}  {text}\n")
        data = {"facts": self._facts, "figures": self._figures, "steps": self._steps}
        self._data.write_text(json.dumps(data, indent=1), encoding="utf-8")


@dataclass
class Node(Lab):
    """The node, whose network the test's process has entered."""

    gpus: int = 0
    stand_in: bool = True
    pid: int = 0
    image: str = ""
    look: str = ""  # what a pod runs to name the GPUs that it sees
    hardware: str = ""
    journal: Journal = field(default_factory=lambda: Journal("run"))

    def __post_init__(self) -> None:
        settings = kubernetes.client.Configuration()
        kubernetes.config.load_kube_config(
            self.environ["KUBECONFIG"], client_configuration=settings
        )
        api = kubernetes.client.ApiClient(settings)
        self.core = kubernetes.client.CoreV1Api(api)

    def object(self) -> dict[str, Any]:
        listed: dict[str, Any] = json.loads(
            self.core.list_node(_preload_content=False).data.decode()
        )
        return dict(listed["items"][0])

    def slots(self, resource: str = GPU) -> int | None:
        """Allocatable; None: the node has never heard of the resource."""
        found = self.object()["status"]["allocatable"].get(resource)
        return None if found is None else int(found)

    def capacity(self, resource: str = GPU) -> int | None:
        found = self.object()["status"]["capacity"].get(resource)
        return None if found is None else int(found)

    def profile(self) -> str | None:
        return self.told().get(LABEL)

    def told(self) -> dict[str, str]:
        labels: dict[str, str] = self.object()["metadata"]["labels"]
        return labels

    def gpu_labels(self) -> dict[str, str]:
        """What GPU feature discovery tells of sharing."""
        labels = self.told()
        names = ("count", "replicas", "product", "sharing-strategy")
        return {name: labels.get(f"nvidia.com/gpu.{name}", "") for name in names}

    def until(self, what: Callable[[], bool], timeout: float = 120) -> float:
        """Wait for a condition; the seconds that it took."""
        started = time.monotonic()
        while not what():
            assert time.monotonic() - started < timeout, f"in vain for {timeout:.0f} s"
            time.sleep(0.05)
        return time.monotonic() - started

    def pods(self, app: str = "nvidia-device-plugin-daemonset") -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.json("pods", "-n", NAMESPACE, "-l", f"app={app}")[
            "items"
        ]
        return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]

    def volume(self, pod: Mapping[str, Any], key: str) -> Path:
        """A file of the ConfigMap as the kubelet has put it before a pod, seen from outside."""
        root = f"/proc/{self.pid}/root/var/lib/kubelet/pods/{pod['metadata']['uid']}"
        return Path(f"{root}/volumes/kubernetes.io~configmap/{CONFIG_MAP}/{key}")

    def has_lost_the_plugin(self) -> bool:
        """For good: nothing but a restart of the kubelet brings it back."""
        log = Path(self.environ["GPULAB_STATE"], "kubelet.log")
        return log.exists() and ALREADY in log.read_text(encoding="utf-8", errors="replace")

    def restarts(self) -> int:
        """Of all containers of the operator's pods."""
        pods = self.json("pods", "-n", NAMESPACE)["items"]
        found = [state for pod in pods for state in pod["status"].get("containerStatuses", [])]
        return sum(state["restartCount"] for state in found)

    def play(self, name: str, inventory: Path, *arguments: str, **variables: Any) -> Run:
        """Run a playbook as a user would, with the settings of a real fleet."""
        given = SETTINGS | variables
        started = time.monotonic()
        run = self.playbook(name, inventory, *arguments, variables=given)
        self.journal.output(f"{name} {' '.join(arguments)}", run)
        self.journal.figure(f"playbook {name}", time.monotonic() - started)
        return run


@contextmanager
def booted() -> Iterator[Node]:
    """The node, up and entered, and taken down afterwards without a trace."""
    kind = [] if os.environ.get("REALNODE_GPU") else ["--stand-in"]
    up = subprocess.run([REALNODE, "up", *kind], check=False, text=True, capture_output=True)
    if up.returncode == _NOT_HERE:
        raise NotHere(up.stderr.strip())
    if up.returncode != 0 and os.environ.get("REALNODE") != "must":
        last = (up.stderr.strip() or up.stdout.strip() or "no word").splitlines()[-1]
        raise NotHere(f"the node does not boot here ({last}); make realnode tells more")
    assert up.returncode == 0, up.stdout + up.stderr
    outside = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        node = _node()
        node.journal.line(up.stdout.strip())
        yield node
        _keep_logs(node)
    finally:
        _enter(outside)
        os.close(outside)
        down = subprocess.run([REALNODE, "down"], check=False, text=True, capture_output=True)
    assert down.returncode == 0, down.stdout + down.stderr


def _keep_logs(node: Node) -> None:
    """Those of programs and pods, which are gone with the node."""
    target = RECORDS / "logs"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for log in Path(node.environ["GPULAB_STATE"]).glob("*.log"):
        if log.name != "audit.log":
            shutil.copy(log, target)
    pods = Path(f"/proc/{node.pid}/root/var/log/pods")
    shutil.copytree(pods, target / "pods", ignore_dangling_symlinks=True)


def _node() -> Node:
    printed = subprocess.run([REALNODE, "env"], check=True, text=True, capture_output=True).stdout
    exported = dict(
        word.split("=", 1)
        for line in printed.splitlines()
        if line.startswith("export ")
        for word in shlex.split(line.removeprefix("export "))
    )
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("K8S_AUTH_")},
        **exported,
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_INJECT_FACT_VARS": "false",
        "ANSIBLE_SHOW_CUSTOM_STATS": "true",
    }
    environ["PATH"] = exported["PATH"].replace("$PATH", os.environ["PATH"])
    pid = int(exported["REALNODE_PID"])
    handle = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    _enter(handle)
    os.close(handle)
    return Node(
        "realnode",
        environ,
        gpus=int(exported["REALNODE_GPUS"]),
        stand_in=exported["REALNODE_STAND_IN"] == "1",
        pid=pid,
        image=exported["REALNODE_IMAGE"],
        look=exported["REALNODE_LOOK"],
        hardware=exported["REALNODE_HARDWARE"],
    )


def _enter(handle: int) -> None:
    """Change the network namespace of this process; what it starts from now on is in there."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(handle, _NETWORK):
        raise OSError(ctypes.get_errno(), "setns")


class Events(threading.Thread):
    """Everything that Kubernetes tells of a namespace while a test goes on."""

    def __init__(self, node: Node, namespace: str) -> None:
        super().__init__(daemon=True)
        self._node, self._namespace = node, namespace
        self._over = threading.Event()
        self.seen: dict[tuple[str, str], str] = {}

    def __enter__(self) -> Events:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(0.3):
            listed = self._node.core.list_namespaced_event(self._namespace, _preload_content=False)
            for event in json.loads(listed.data.decode())["items"]:
                involved = event["involvedObject"]["name"]
                self.seen[involved, event["reason"]] = event.get("message", "")

    def of(self, reason: str) -> list[str]:
        """The messages of all events with that reason."""
        return [text for (_name, found), text in self.seen.items() if found == reason]
