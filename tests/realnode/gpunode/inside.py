# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The first process in the node's namespaces: it boots the node and then looks after it.

With it everything in there ends, whatever has become of the programs.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import yaml
from gpulab import programs
from gpulab.api import Api
from gpulab.errors import LabError, ProgramFailed
from gpulab.process import Process, end, start, wait_for

from . import driver, keys, operator, settings, spaces
from .features import FOLDER, Features
from .paths import state_dir
from .record import Record, log_of, read, tell_dead
from .settings import NODE, Settings
from .shell import call

READY, FAILED = "ready", "failed"
IMAGE = "image.tar"
_SECONDS = 120.0
_LOOK = 0.5


class _Ended(Exception):
    """Somebody asks the node to end."""


def main() -> int:
    """Boot, say so in the file `ready` (or why not, in `failed`), and stay until SIGTERM."""
    signal.signal(signal.SIGTERM, _end)
    record = read()
    assert record is not None
    node = _Node(record)
    try:
        node.boot()
        (state_dir() / READY).write_text("ready\n", encoding="utf-8")
        node.look_after()
    except _Ended:
        pass
    except (LabError, OSError) as err:
        (state_dir() / FAILED).write_text(f"{err}\n", encoding="utf-8")
        return 1
    finally:
        node.end()
    return 0


def _end(_number: int, _frame: FrameType | None) -> None:
    raise _Ended


class _Node:
    def __init__(self, record: Record) -> None:
        self.record = record
        self.bin_dir = Path(record.bin_dir)
        self.settings = Settings(keys.files(state_dir(), self.bin_dir), record.cgroup)
        port = settings.PORTS["apiserver"]
        ca = self.settings.files.ca
        self.api = Api(port, ca, keys.pair(state_dir(), "setup"))
        self.features = Features(Api(port, ca, keys.pair(state_dir(), "features")), NODE)
        self.processes: list[Process] = []
        self.since = time.monotonic()

    def boot(self) -> None:
        spaces.arrange(self.record, self.bin_dir)
        spaces.enable_controllers(self.record.cgroup)
        driver.lay_out(self.bin_dir, self.record.gpus, stand_in=self.record.stand_in)
        FOLDER.mkdir(parents=True)
        self._say("mounts, network and driver root")
        self._start("etcd", programs.etcd(self.settings.files))
        self._start("apiserver", settings.apiserver(self.settings))
        self._start("containerd", settings.containerd(self.settings))
        self._wait("containerd", "does not answer", settings.SOCKET.exists)
        self._import_image()
        self._wait("apiserver", "did not become ready", self.api.ready)
        self._say("API server")
        self._start("kube-controller-manager", settings.controller_manager(self.settings))
        self._start("kube-scheduler", programs.scheduler(self.settings.files))
        self._start("kubelet", settings.kubelet(self.settings))
        self._wait("kubelet", "left the node not ready", self._node_ready)
        self._say("node ready")
        self._start("gpusim", settings.gpusim(self.settings))
        self._apply_operator()
        self._wait("gpusim", "deployed no plugin", self._gpus_there)
        self._say(f"{self.record.gpus} GPUs allocatable")

    def look_after(self) -> None:
        """Collect the dead, set labels, and tell which programs have ended."""
        told: list[str] = []
        while True:
            wait_for(lambda: False, _LOOK, poll=0.1)
            self._sync_features()
            dead = [process.name for process in self.processes if not process.alive]
            if dead != told:
                told = dead
                tell_dead(told)

    def end(self) -> None:
        """The store last. Containers end with the namespaces."""
        last = ("apiserver", "etcd")
        end(process for process in self.processes if process.name not in last)
        for name in last:
            end(process for process in self.processes if process.name == name)

    def _import_image(self) -> None:
        archive = state_dir() / IMAGE
        ctr = (self.bin_dir / "ctr", "--address", settings.SOCKET, "--namespace", "k8s.io")
        call(*ctr, "images", "import", "--digests=false", archive)
        archive.unlink()
        self._say("containerd with the image")

    def _apply_operator(self) -> None:
        """The definition first: the ClusterPolicy is one of its kind, once that is served."""
        documents = state_dir() / "operator.yaml"
        documents.write_text(yaml.safe_dump_all(operator.documents()), encoding="utf-8")
        kubectl = (self.bin_dir / "kubectl", "--kubeconfig", state_dir() / "setup.kubeconfig")
        call(*kubectl, "apply", "--filename", operator.DEFINITION)

        def served() -> bool:
            with contextlib.suppress(LabError):
                call(*kubectl, "get", "clusterpolicies.nvidia.com")
                return True
            return False

        self._wait("apiserver", "does not serve ClusterPolicies", served)
        call(*kubectl, "apply", "--server-side", "--filename", documents)

    def _node_ready(self) -> bool:
        node = self.api.get(f"/api/v1/nodes/{NODE}")
        conditions = node["status"].get("conditions", []) if node else []
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def _gpus_there(self) -> bool:
        self._sync_features()
        node = self.api.get(f"/api/v1/nodes/{NODE}")
        if node is None:
            return False
        labels = node["metadata"].get("labels", {})
        slots = node["status"].get("allocatable", {}).get("nvidia.com/gpu")
        wanted = str(self.record.gpus)
        return bool(slots == wanted and labels.get("nvidia.com/gpu.count") == wanted)

    def _sync_features(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.features.sync()

    def _start(self, name: str, command: list[str]) -> None:
        path = f"{self.bin_dir}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        environment = {"PATH": path, "HOME": "/root", "GOGC": "200"}
        self.processes.append(start(name, command, log_of(name), environment))

    def _wait(self, program: str, failure: str, condition: Callable[[], bool]) -> None:
        """Until the condition holds; a program that ends meanwhile is the better message."""

        def over() -> bool:
            return any(not process.alive for process in self.processes) or condition()

        wait_for(over, _SECONDS, poll=0.05)
        ended = [process.name for process in self.processes if not process.alive]
        if ended:
            raise ProgramFailed(log_of(ended[0]), ended[0], "ended")
        if not condition():
            raise ProgramFailed(log_of(program), program, f"{failure} within {_SECONDS:.0f} s")

    def _say(self, what: str) -> None:
        print(f"{time.monotonic() - self.since:6.1f} s  {what}", file=sys.stderr, flush=True)
