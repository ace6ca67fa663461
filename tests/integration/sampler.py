# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to GPUs and pods while something runs: every state that the API server tells."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from ansible_collections.gpufleet.sharing.tests.integration.labtools import Lab

PREFIX = "nvidia.com/"
PAUSE = 0.1  # before a broken watch is begun anew
BROKEN = (OSError, http.client.HTTPException, ValueError, AttributeError)


class Expired(OSError):
    """The server no longer has the events after a version."""


@dataclass(frozen=True)
class Change:
    """A node's slots from a moment on, in seconds since the sampler started."""

    at: float
    node: str
    slots: Mapping[str, int]  # allocatable, by nvidia.com/ resource


@dataclass
class PodSeen:
    """A pod by its uid, as it was last."""

    name: str
    node: str
    first: bool  # there when the sampler started
    restarts: int = 0
    phase: str = ""
    gone: bool = False


@dataclass
class Sampler:
    """Watches nodes, and the pods of one namespace, inside a with statement.

    A node is dark while it has GPU resources (capacity keeps them) and none of them has a slot.
    Watches show each state, and a watch that breaks resumes at its last version. `gaps` counts the
    times when the server no longer had what happened after that version.
    It asks as lab-setup, which leaves the requests of lab-admin alone.
    """

    lab: Lab
    namespace: str = "work"
    changes: list[Change] = field(default_factory=list)
    most_dark: int = 0  # at once
    darkest: set[str] = field(default_factory=set)  # the nodes of that moment
    ever_dark: set[str] = field(default_factory=set)
    pods: dict[str, PodSeen] = field(default_factory=dict)
    gaps: int = 0

    def __enter__(self) -> Sampler:
        self._started = time.monotonic()
        self._slots: dict[str, dict[str, int]] = {}
        self._dark: set[str] = set()
        self._watches = [
            _Watch(self.lab, "/api/v1/nodes", self._see_nodes),
            _Watch(self.lab, f"/api/v1/namespaces/{self.namespace}/pods", self._see_pods),
        ]
        for watch in self._watches:
            watch.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for watch in self._watches:
            watch.end()
        self.gaps = sum(watch.gaps for watch in self._watches)

    @property
    def disturbed(self) -> list[str]:
        """The pods that were there at the start and are not as they were; empty is well."""
        return [
            f"{pod.name} on {pod.node}: "
            + ("gone" if pod.gone else f"{pod.phase}, {pod.restarts} restarts")
            for pod in self.pods.values()
            if pod.first and (pod.gone or pod.restarts or pod.phase in ("Failed", "Unknown"))
        ]

    @property
    def changed(self) -> set[str]:
        """Nodes whose slots were not the same all the while."""
        seen: dict[str, int] = {}
        for change in self.changes:
            seen[change.node] = seen.get(change.node, 0) + 1
        return {node for node, times in seen.items() if times > 1}

    def _see_nodes(self, nodes: list[dict[str, Any]], _whole: bool) -> None:
        for node in nodes:
            name, status = node["metadata"]["name"], node.get("status", {})
            slots = _gpus(status.get("allocatable", {}))
            if slots != self._slots.get(name, {}):
                self._slots[name] = slots
                self.changes.append(Change(time.monotonic() - self._started, name, slots))
            dark = any(_gpus(status.get("capacity", {})).values()) and not any(slots.values())
            (self._dark.add if dark else self._dark.discard)(name)
        self.ever_dark |= self._dark
        if len(self._dark) > self.most_dark:
            self.most_dark, self.darkest = len(self._dark), set(self._dark)

    def _see_pods(self, pods: list[dict[str, Any]], whole: bool) -> None:
        first = whole and not self.pods
        for pod in pods:
            metadata, status = pod["metadata"], pod.get("status", {})
            node = pod["spec"].get("nodeName", "")
            seen = self.pods.setdefault(metadata["uid"], PodSeen(metadata["name"], node, first))
            states = status.get("containerStatuses", [])
            seen.node = node
            seen.restarts = sum(state["restartCount"] for state in states)
            seen.phase = status.get("phase", "")
            seen.gone = "deletionTimestamp" in metadata
        if whole:
            living = {pod["metadata"]["uid"] for pod in pods}
            for uid, seen in self.pods.items():
                seen.gone = seen.gone or uid not in living


def _gpus(resources: Mapping[str, str]) -> dict[str, int]:
    return {name: int(count) for name, count in resources.items() if name.startswith(PREFIX)}


@dataclass
class _Watch:
    """Lists and watches one collection in a thread; `see` gets objects, and if that is all."""

    lab: Lab
    path: str
    see: Callable[[list[dict[str, Any]], bool], None]
    gaps: int = 0

    def begin(self) -> None:
        folder = Path(self.lab.environ["GPULAB_STATE"])
        record = json.loads((folder / "lab.json").read_text(encoding="utf-8"))
        self._port: int = record["ports"]["apiserver"]
        self._context = ssl.create_default_context(cafile=folder / "pki" / "ca.crt")
        self._context.load_cert_chain(folder / "pki" / "setup.crt", folder / "pki" / "setup.key")
        self._stopped = threading.Event()
        self._connection = self._connect()
        version = self._list()
        self._thread = threading.Thread(target=self._run, args=[version], daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop, having seen how things are now."""
        self._stopped.set()
        if self._connection.sock:
            with contextlib.suppress(OSError):  # the server was faster
                self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._connection = self._connect()
        self._list()
        self._connection.close()

    def _connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            "127.0.0.1", self._port, timeout=300, context=self._context
        )

    def _run(self, version: str) -> None:
        while not self._stopped.is_set():
            try:
                version = version or self._list()
                for event in self._events(version):
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] == "DELETED":
                        event["object"]["metadata"]["deletionTimestamp"] = "now"
                    self.see([event["object"]], False)
            except BROKEN as error:  # of a busy server, as a rule: nothing is missed
                if isinstance(error, Expired):
                    version = ""
                    self.gaps += not self._stopped.is_set()
                self._connection.close()
                self._stopped.wait(PAUSE)

    def _get(self, query: str) -> http.client.HTTPResponse:
        self._connection.request("GET", f"{self.path}{query}")
        response = self._connection.getresponse()
        if response.status == http.HTTPStatus.GONE:
            raise Expired(response.reason)
        if response.status != 200:
            raise OSError(f"{self.path}{query} was answered {response.status}")
        return response

    def _list(self) -> str:
        document = json.loads(self._get("").read())
        self.see(document["items"], True)
        return str(document["metadata"]["resourceVersion"])

    def _events(self, version: str) -> Iterator[dict[str, Any]]:
        """Until the server ends the watch, which it does now and then."""
        for line in self._get(f"?watch=true&resourceVersion={version}"):
            event = json.loads(line)
            if event["type"] == "ERROR":
                raise Expired(event["object"].get("message"))
            yield event
