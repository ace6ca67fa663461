# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of rollouts share: the state that a rollout keeps in a cluster, and runs whose output
is read while they go on.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.gpufleet.sharing.tests.integration.answers import mentions
from ansible_collections.gpufleet.sharing.tests.integration.labtools import PROFILES, Lab, Run

NAMESPACE = "gpu-operator"
CONFIG_MAP = "device-plugin-config"
HASH = "gpufleet.sharing/config-hash"
MARK = "gpufleet.sharing/cordoned"
REFUSE = "lab.gpufleet.sharing/refuse"
LOADED = "lab.gpufleet.sharing/loaded"
LABEL = "nvidia.com/device-plugin.config"


def profiles(**counts: int) -> dict[str, Any]:
    """The recipe's profiles, some with other replicas."""
    return {**PROFILES, **{name: {"replicas": count} for name, count in counts.items()}}


def replicas(**counts: int) -> dict[str, Any]:
    """The same as a variable for a run."""
    return {"gpu_sharing_profiles": profiles(**counts)}


def config_map(lab: Lab) -> dict[str, str]:
    data: dict[str, str] = lab.json("configmap", CONFIG_MAP, "-n", NAMESPACE)["data"]
    return data


def noted(lab: Lab, name: str) -> dict[str, str]:
    """The values of an annotation by node."""
    found = {
        node["metadata"]["name"]: node["metadata"].get("annotations", {}).get(name)
        for node in lab.json("nodes")["items"]
    }
    return {node: value for node, value in found.items() if value is not None}


def cordoned(lab: Lab) -> set[str]:
    nodes = lab.json("nodes")["items"]
    return {node["metadata"]["name"] for node in nodes if node["spec"].get("unschedulable")}


def loaded(lab: Lab) -> dict[str, tuple[str, str]]:
    """Key and digest of the content that each node's plugin has really loaded."""
    found = {node: json.loads(text) for node, text in noted(lab, LOADED).items()}
    return {node: (each.get("key", ""), each.get("sha256", "")) for node, each in found.items()}


def revisions(lab: Lab) -> list[dict[str, str]]:
    """The notes of all revisions, the oldest first: number, state, who, when and what."""
    items = lab.json("controllerrevisions", "-n", NAMESPACE)["items"]
    ours = [item for item in items if item["metadata"]["name"].startswith(CONFIG_MAP)]
    ours.sort(key=lambda item: item["revision"])
    return [
        {"number": str(item["revision"])}
        | {key.rpartition("/")[2]: value for key, value in item["metadata"]["annotations"].items()}
        for item in ours
    ]


def states(lab: Lab) -> list[str]:
    """How each revision ended, the oldest first."""
    return [revision["state"] for revision in revisions(lab)]


@dataclass(frozen=True)
class State:
    """Everything that a rollout changes on nodes and in the ConfigMap."""

    data: Mapping[str, str]
    labels: Mapping[str, str]
    hashes: Mapping[str, str]
    loaded: Mapping[str, tuple[str, str]]
    allocatable: Mapping[str, str]
    cordoned: frozenset[str]


def state(lab: Lab) -> State:
    return State(
        config_map(lab),
        lab.labels(),
        noted(lab, HASH),
        loaded(lab),
        lab.allocatable(),
        frozenset(cordoned(lab)),
    )


@dataclass(frozen=True)
class Timed:
    """A run, and its lines with the seconds after which each was read."""

    run: Run
    lines: list[tuple[float, str]]
    took: float

    def at(self, *values: object) -> float:
        """When a line was first read that names all of these."""
        return next(moment for moment, line in self.lines if mentions(line, *values))


def follow(lab: Lab, name: str, inventory: Path, *arguments: str, **variables: object) -> Timed:
    """Run a playbook and read its output as it comes."""
    started = time.monotonic()
    with subprocess.Popen(
        lab.command(name, inventory, *arguments, variables=variables),
        env=lab.ansible_environ(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        cwd=inventory,
    ) as process:
        assert process.stdout is not None
        lines = [(time.monotonic() - started, line) for line in process.stdout]
    output = "".join(line for _moment, line in lines)
    return Timed(Run(process.returncode, output), lines, time.monotonic() - started)
