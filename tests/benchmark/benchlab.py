# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab for measuring: booted with a fleet, settled by the collection, entered by service accounts
that API priority and fairness holds for, and taken down whatever happens.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from ansible_collections.gpufleet.sharing.tests.benchmark.audit import (
    AuditLog,
    Event,
    read_event,
    read_events,
)
from ansible_collections.gpufleet.sharing.tests.benchmark.fleet import SETTLE, Fleet
from ansible_collections.gpufleet.sharing.tests.benchmark.measured import Failed, Finished, Runner
from ansible_collections.gpufleet.sharing.tests.benchmark.raw import Connection
from ansible_collections.gpufleet.sharing.tests.integration.labtools import LAB, Lab, boot

NAMESPACE = "benchmark"
WORKER, NEIGHBOUR = "worker", "neighbour"
PATIENCE = 60.0
QUIET = 0.6
_ACCOUNTS = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: {NAMESPACE}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {WORKER}, namespace: {NAMESPACE}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {NEIGHBOUR}, namespace: {NAMESPACE}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: {NAMESPACE}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}}
subjects:
- {{kind: ServiceAccount, name: {WORKER}, namespace: {NAMESPACE}}}
- {{kind: ServiceAccount, name: {NEIGHBOUR}, namespace: {NAMESPACE}}}
"""


@dataclass
class BenchLab:
    """A booted lab. The worker is whom everything that is measured runs as."""

    lab: Lab
    fleet: Fleet
    folder: Path
    server: str = ""
    ca: str = ""  # PEM
    tokens: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.audit = AuditLog(Path(self.lab.environ["GPULAB_AUDIT_LOG"]))
        admin = yaml.safe_load(Path(self.lab.environ["KUBECONFIG"]).read_text(encoding="utf-8"))
        cluster = admin["clusters"][0]["cluster"]
        self.server = cluster["server"]
        self.ca = base64.b64decode(cluster["certificate-authority-data"]).decode()
        applied = self.lab.attempt("apply", "-f", "-", text=_ACCOUNTS)
        if applied.rc:
            raise Failed(f"The accounts of the benchmark cannot be made: {applied.output}")
        for account in (WORKER, NEIGHBOUR):
            token = self.lab.kubectl("create", "token", account, "-n", NAMESPACE, "--duration=12h")
            self.tokens[account] = token.strip()
        self.kubeconfig = self.write_kubeconfig(urlsplit(self.server).port or 0)
        self.runner = Runner(self.folder / "runs", self.lab.environ)
        self.inventory = self.fleet.write_inventory(self.folder / "inventory")
        self._marker = self.connection(NEIGHBOUR, "bench-marker")
        self._marks = 0

    @property
    def user(self) -> str:
        return f"system:serviceaccount:{NAMESPACE}:{WORKER}"

    def write_kubeconfig(self, port: int) -> Path:
        """Write the worker's kubeconfig, for the API server's port or for that of a relay."""
        ca = base64.b64encode(self.ca.encode()).decode()
        server = f"https://127.0.0.1:{port}"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": self.lab.name,
            "clusters": [
                {
                    "name": self.lab.name,
                    "cluster": {"server": server, "certificate-authority-data": ca},
                }
            ],
            "users": [{"name": WORKER, "user": {"token": self.tokens[WORKER]}}],
            "contexts": [
                {"name": self.lab.name, "context": {"cluster": self.lab.name, "user": WORKER}}
            ],
        }
        path = self.folder / f"kubeconfig-{port}"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        return path

    def connection(self, account: str, agent: str) -> Connection:
        return Connection(self.server, self.ca, self.tokens[account], agent)

    def mark(self) -> int:
        """A place in the audit log after all that has been answered so far."""
        self._marks += 1
        path = f"/version?mark={self._marks}"
        start = self.audit.end()
        self._marker.request("GET", path)
        self.wait_for(
            lambda: any(path in line for line in self.audit.lines(start)), "a line in the audit log"
        )
        return self.audit.end()

    def events(self, start: int) -> list[Event]:
        """What the worker has asked for since a place in the audit log."""
        self.mark()
        return list(read_events(self.audit.lines(start), self.user))

    def calm(self) -> None:
        """Wait until nobody has written anything for a while."""
        start, since = self.audit.end(), time.monotonic()

        def is_calm() -> bool:
            nonlocal start, since
            end = self.audit.end()
            lines = self.audit.lines(start)
            if any(read_event(line).is_write for line in lines):
                start, since = end, time.monotonic()
            return time.monotonic() - since > QUIET

        self.wait_for(is_calm, "a calm lab", 600)

    def wait_for(self, what: Callable[[], bool], name: str, timeout: float = PATIENCE) -> None:
        deadline = time.monotonic() + timeout
        while not what():
            if time.monotonic() > deadline:
                raise Failed(f"Waited {timeout:.0f} s in vain for {name}.")
            time.sleep(0.05)

    def labels(self, label: str) -> dict[str, str]:
        """The values of a label by node, read page by page."""
        found: dict[str, str] = {}
        token = ""
        while True:
            query = f"limit=500&continue={token}" if token else "limit=500"
            page = json.loads(self._marker.request("GET", f"/api/v1/nodes?{query}"))
            for node in page["items"]:
                metadata = node["metadata"]
                if (value := metadata.get("labels", {}).get(label)) is not None:
                    found[metadata["name"]] = value
            token = page["metadata"].get("continue", "")
            if not token:
                return found

    def object_size(self) -> int:
        """Mean bytes of JSON of a GPU node."""
        names = [group.names[0] for group in self.fleet.groups]
        sizes = [len(self._marker.request("GET", f"/api/v1/nodes/{name}")) for name in names]
        return round(sum(sizes) / len(sizes))

    def site(
        self,
        kubeconfig: Path | None = None,
        *arguments: str,
        variables: Mapping[str, Any] | None = None,
    ) -> Finished:
        """Run the playbook site on the fleet. Raises Failed."""
        command = self.lab.command(
            "site", self.inventory, *arguments, variables={**SETTLE, **(variables or {})}
        )
        return self.runner.run(command, KUBECONFIG=str(kubeconfig or self.kubeconfig))

    def stop_simulator(self) -> None:
        """End what reacts to labels."""
        subprocess.run(
            [LAB, "stop", "--name", self.lab.name, "gpusim"],
            check=True,
            stdout=subprocess.DEVNULL,
            env=self.lab.environ,
        )


@contextmanager
def booted(name: str, fleet: Fleet, folder: Path) -> Iterator[BenchLab]:
    """A lab that is there as long as the block lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    unique = f"bench-{name}-{os.getpid()}"
    try:
        lab = boot(unique, fleet.write_lab(folder / "fleet.yml"))
        yield BenchLab(lab, fleet, folder)
    finally:
        take_down(unique)


def take_down(name: str) -> None:
    """End a lab, also when somebody presses Ctrl-C once more meanwhile."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        subprocess.run([LAB, "down", "--name", name], check=False, start_new_session=True)
    finally:
        signal.signal(signal.SIGINT, before)
