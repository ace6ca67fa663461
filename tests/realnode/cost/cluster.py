# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster, through kubectl and the KUBECONFIG of the environment."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.gpufleet.sharing.tests.realnode.cost.pods import (
    MANAGED,
    SESSION,
    Place,
    Work,
    ended,
    in_words,
    manifest,
    phase,
)
from ansible_collections.gpufleet.sharing.tests.realnode.cost.results import Failed

NAMESPACE = "gpufleet-sharing-cost"
PATIENCE = 60  # seconds for one kubectl
POLL = 0.3


def wait_until(said: str, seconds: float, ask: Callable[[], bool]) -> float:
    """Ask until the answer is yes. Returns the seconds it took; raises Failed after too many."""
    began = time.monotonic()
    while not ask():
        if time.monotonic() - began > seconds:
            raise Failed(f"{said}: not within {seconds:g} s")
        time.sleep(POLL)
    return time.monotonic() - began


class Cluster:
    """One node of a cluster, and a namespace of our own."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def kubectl(self, *words: str, given: str | None = None, fails: bool = True) -> str:
        """Run kubectl; returns what it prints. Raises Failed where it fails, unless told not to."""
        try:
            done = subprocess.run(
                ["kubectl", *words],
                check=False,
                text=True,
                input=given,
                capture_output=True,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"kubectl {' '.join(words)}: nothing for {PATIENCE} s") from None
        if done.returncode and fails:
            raise Failed(f"kubectl {' '.join(words)}: {done.stderr.strip()[-600:]}")
        return done.stdout

    def get(self, *words: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", *words, "-o", "json"))
        return found

    def node(self) -> dict[str, Any]:
        return self.get("node", self.place.node)

    def allocatable(self) -> int:
        found = self.node()["status"].get("allocatable") or {}
        return int(found.get(self.place.resource, 0))

    def enter(self) -> None:
        """Make the namespace, and wait for what pods need in it."""
        space = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": NAMESPACE,
                # folders of the node are mounted
                "labels": {**MANAGED, "pod-security.kubernetes.io/enforce": "privileged"},
            },
        }
        self.kubectl("apply", "-f", "-", given=json.dumps(space))
        account = ("get", "serviceaccount", "default", "-n", NAMESPACE, "-o", "name")
        wait_until("the namespace's service account", 30, lambda: bool(self.try_(*account)))

    def leave(self) -> None:
        """Take the namespace away, and with it all that is left of ours."""
        self.kubectl(
            *("delete", "pods", "--all", "-n", NAMESPACE, "--force", "--grace-period=0"),
            fails=False,
        )
        self.kubectl("delete", "namespace", NAMESPACE, "--timeout=30s", fails=False)

    def try_(self, *words: str) -> str:
        return self.kubectl(*words, fails=False).strip()

    def create(self, session: str, works: Iterable[Work]) -> None:
        items = [manifest(self.place, session, work) for work in works]
        listed = {"apiVersion": "v1", "kind": "List", "items": items}
        self.kubectl("create", "-n", NAMESPACE, "-f", "-", given=json.dumps(listed))

    def pods(self, session: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.get(
            "pods", "-n", NAMESPACE, "-l", f"{SESSION}={session}"
        )["items"]
        return items

    def log(self, pod: str) -> str:
        return self.kubectl("logs", "-n", NAMESPACE, pod, fails=False)

    def wait_running(self, session: str, count: int, seconds: float) -> None:
        """Wait until so many pods run at the same time. Raises Failed where one has ended."""

        def running() -> bool:
            found = self.pods(session)
            if any(map(ended, found)):
                raise Failed(f"pods ended before they should begin: {in_words(found)}")
            return sum(phase(pod) == "Running" for pod in found) >= count

        try:
            wait_until(f"{count} pods Running", seconds, running)
        except Failed as error:
            raise Failed(f"{error} ({in_words(self.pods(session))})") from None

    def wait_ended(self, session: str, seconds: float) -> None:
        wait_until(
            "end of the pods", seconds, lambda: all(ended(pod) for pod in self.pods(session))
        )

    def delete(self, session: str) -> None:
        """Delete the pods of a session, and wait until they are gone."""
        chosen = ("-n", NAMESPACE, "-l", f"{SESSION}={session}")
        delete = ("delete", "pods", *chosen, "--wait=false")
        self.kubectl(*delete, "--grace-period=1", fails=False)
        try:
            wait_until("the pods are gone", 40, lambda: not self.pods(session))
        except Failed:
            self.kubectl(*delete, "--grace-period=0", "--force", fails=False)

    def events(self, pods: Sequence[str]) -> list[dict[str, str]]:
        """Warnings, and whatever has to do with memory, about pods."""
        items = self.get("events", "-n", NAMESPACE)["items"]
        about = [each for each in items if each["involvedObject"].get("name") in pods]
        return [_told(each) for each in about if _matters(each)]


def _matters(event: Mapping[str, Any]) -> bool:
    reason = str(event.get("reason")).lower()
    return event.get("type") == "Warning" or "memory" in reason or "oom" in reason


def _told(event: Mapping[str, Any]) -> dict[str, str]:
    return {
        "pod": str(event["involvedObject"]["name"]),
        "type": str(event.get("type")),
        "reason": str(event.get("reason")),
        "message": str(event.get("message")),
    }
