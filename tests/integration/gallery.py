# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gallery of broken fleets: a healthy fleet, what the doctor finds once something is really
broken, and that it finds nothing once the advice is followed.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.catalog import find_all
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.collect import collect
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.engine import Finding
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.snapshot import (
    Location,
    Snapshot,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.summary import (
    counts,
    split_accepted,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.texts import commands
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import Cluster
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    parse_profiles,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.desired import Desired
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    GROUPS,
    PROFILES,
    Lab,
    connected,
    write_inventory,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import Wanted, converge
from ansible_collections.gpufleet.sharing.tests.integration.workloads import make_namespace

PATIENCE = 90.0
READS = ("get", "describe", "logs")  # verbs of kubectl
STEADY = 0.7  # seconds that a state must hold, so that no transient one counts
WORK = "work"


@dataclass(frozen=True)
class Gallery:
    """A lab, and its inventory."""

    lab: Lab
    inventory: Path
    cluster: Cluster
    profiles: Mapping[str, Any] = field(default_factory=lambda: dict(PROFILES))
    groups: Mapping[str, Any] = field(default_factory=lambda: dict(GROUPS))
    gpus: Mapping[str, int] = field(default_factory=dict)
    location: Location = field(default_factory=Location)
    accepted: Sequence[str] = ()

    def given(self, **changes: object) -> Gallery:
        """The same with another inventory."""
        return replace(self, **changes)  # type: ignore[arg-type]

    @property
    def desired(self) -> Desired:
        assignments = {
            host: group.get("vars", {}).get("gpu_sharing_profile")
            for group in self.groups.values()
            for host in group["hosts"]
        }
        return Desired(parse_profiles(self.profiles), "default", assignments, gpus=self.gpus)

    def snapshot(self) -> Snapshot:
        desired = self.desired
        return collect(self.cluster, self.location, desired, frozenset(desired.assignments))

    def find(self) -> list[Finding]:
        return split_accepted(find_all(self.snapshot()), self.accepted)[0]

    def _until(self, roots: set[str], allowed: set[str]) -> list[Finding]:
        """Wait until the doctor steadily finds exactly these."""
        deadline = time.monotonic() + PATIENCE
        since = None
        while True:
            found = self.find()
            after = {finding.code for finding in found if finding.follows}
            right = {f.code for f in found if not f.follows} == roots and after <= allowed
            now = time.monotonic()
            since = (since or now) if right else None
            if since is not None and now - since >= STEADY:
                return found
            told = "\n".join(f"{f.code} {f.nodes} {f.cause} <- {f.follows}" for f in found)
            assert now < deadline, f"wanted {roots}, and at most {allowed} after it; found:\n{told}"
            time.sleep(0.25)

    def fires(self, code: str, *follows: str, settled: Sequence[str] = ()) -> Finding:
        """Wait until it is the only root. follows may follow from it, settled must in the end."""
        deadline = time.monotonic() + PATIENCE
        found = self._until({code}, {*follows, *settled})
        while not set(settled) <= {finding.code for finding in found}:
            assert time.monotonic() < deadline, f"{settled} did not follow: {found}"
            found = self._until({code}, {*follows, *settled})
        roots = [finding for finding in found if not finding.follows]
        for finding in found:
            assert finding.follows in ("", code)
        self._is_an_error_without_slots()
        self._try(roots[0].fix)
        return roots[0]

    def _is_an_error_without_slots(self) -> None:
        """Whatever explains it: with the default severity the doctor must exit with an error."""
        snapshot = self.snapshot()
        verdicts = [trace.verdict for trace in snapshot.existing()]
        without = [each.node for each in verdicts if each.actual != (each.expected or each.actual)]
        assert not without or counts(find_all(snapshot))["error"], without

    def is_healthy(self) -> None:
        self._until(set(), set())

    def scenario(self) -> Iterator[Gallery]:
        """For a fixture: a fleet that is healthy before and after the test."""
        assert self.find() == []
        yield self
        self.is_healthy()

    def repair(self) -> None:
        """What site does, with its modules."""
        converge(self.lab, Wanted(groups=self.groups, profiles=self.profiles))

    def run(self, advice: str, number: int = 0) -> str:
        """Run a command of an advice, by default the first, in a shell and unchanged."""
        return self._shell(commands(advice)[number])

    def _shell(self, command: str) -> str:
        line = ["bash", "-c", command]
        done = subprocess.run(
            line, env=self.lab.environ, check=False, text=True, capture_output=True
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def _try(self, advice: str) -> None:
        """Run all commands of an advice; those that write as a dry run of the server."""
        for command in commands(advice):
            program, verb, *_rest = command.split()
            if program in ("kubectl", "helm"):
                reads = verb in READS or program == "helm"
                self._shell(command if reads else f"{command} --dry-run=server")

    def patch(self, kind: str, name: str, body: object, *more: str) -> None:
        text = json.dumps(body)
        self.lab.kubectl("patch", kind, name, "--type", "merge", "-p", text, *more)

    def pod(self, name: str, node: str, namespace: str = WORK, **settings: Any) -> None:
        """A pod bound to a node, which KWOK then runs. settings: slots, resource, image, labels,
        annotations, containers, and the phase in which it ends.
        """
        slots = settings.get("slots", 1)
        resource = settings.get("resource", "nvidia.com/gpu")
        requests = {resource: str(slots)} if slots else {}
        containers = [
            {
                "name": f"main-{number}",
                "image": settings.get("image", "none"),
                "resources": {"limits": requests if number == 0 else {}},
            }
            for number in range(settings.get("containers", 1))
        ]
        spec: dict[str, Any] = {"containers": containers, "terminationGracePeriodSeconds": 0}
        make_namespace(self.lab, namespace)
        self.lab.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "namespace": namespace,
                    "labels": settings.get("labels", {}),
                    "annotations": settings.get("annotations", {}),
                },
                "spec": {**spec, **({"nodeName": node} if node else {})},
            },
        )
        ends = settings.get("ends", "Running")
        if node:
            self.lab.wait_for(lambda: self._phase(namespace, name) == ends)

    def _phase(self, namespace: str, name: str) -> str:
        found: str = self.lab.json("pod", name, "-n", namespace)["status"].get("phase", "")
        return found

    def status(self, name: str, body: object, namespace: str = WORK) -> None:
        """Write the status of a pod like its kubelet."""
        self.patch("pod", name, {"status": body}, "-n", namespace, "--subresource=status")

    def waits(self, name: str, reason: str, namespace: str = WORK, restarts: int = 0) -> None:
        """Its first container is not started; the others, if any, run."""
        statuses = self.lab.json("pod", name, "-n", namespace)["status"]["containerStatuses"]
        first = {**statuses[0], "ready": False, "started": False, "restartCount": restarts}
        first["state"] = {"waiting": {"reason": reason}}
        conditions = [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}]
        body = {"containerStatuses": [first, *statuses[1:]], "conditions": conditions}
        self.status(name, body, namespace)

    def restart_plugin(self, node: str) -> None:
        chosen = ("-l", "app=nvidia-device-plugin-daemonset")
        where = ("--field-selector", f"spec.nodeName={node}")
        self.lab.kubectl("delete", "pod", "-n", "gpu-operator", *chosen, *where)


def open_gallery(lab: Lab, folder: Path) -> Gallery:
    """A healthy fleet from the recipe."""
    inventory = write_inventory(folder / "inventory")
    gallery = Gallery(lab, inventory, connected(lab))
    gallery.repair()
    gallery.is_healthy()
    return gallery
