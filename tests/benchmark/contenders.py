# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is compared: each a program that labels nodes, and reads how they are."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.gpufleet.sharing.tests.benchmark import raw
from ansible_collections.gpufleet.sharing.tests.benchmark.benchlab import WORKER, BenchLab
from ansible_collections.gpufleet.sharing.tests.benchmark.fleet import DEFAULT, PROFILES
from ansible_collections.gpufleet.sharing.tests.benchmark.measured import Finished
from ansible_collections.gpufleet.sharing.tests.benchmark.results import (
    K8S_LIST,
    K8S_LOOP,
    KUBECTL,
    KUBECTL_NAMES,
    MODULE,
    RAW,
    TASK,
)

AGENT = "gpufleet.sharing"
HERE = Path(__file__).resolve().parent
COLLECTIONS = HERE.parents[1] / ".build" / "collections"
THREADS = 16
LABEL = raw.LABEL
GPU_NODES = "feature.node.kubernetes.io/pci-10de.present=true"
Sample = tuple[int, int]  # numbers of nodes, from which all are worked out
NO_SAMPLE = (0, 0)


@dataclass(frozen=True)
class Door:
    """The way to the lab: straight, or through a relay that counts bytes."""

    lab: BenchLab
    kubeconfig: Path
    server: str

    def run(self, *command: str | Path) -> Finished:
        return self.lab.runner.run(
            command,
            KUBECONFIG=str(self.kubeconfig),
            K8S_AUTH_KUBECONFIG=str(self.kubeconfig),
            PYTHONPATH=str(COLLECTIONS),
        )

    def write(self, name: str, content: object) -> Path:
        return self.lab.runner.write(name, content)


Desired = Mapping[str, str]


@dataclass(frozen=True)
class Contender:
    """One of those who are compared. agent: the user agent of the requests that are timed, from the
    first to the last one; empty: the whole program is. sample: it is slow, so that some nodes are
    labelled and the rest is worked out; relay_sample: so it is in the round that counts bytes.
    once: one round is enough.
    """

    name: str
    label: Callable[[Door, Desired], Finished]
    read: Callable[[Door], Finished] | None = None
    nothing: Callable[[Door, Desired], Finished] | None = None
    agent: str = ""
    sample: Sample = NO_SAMPLE
    relay_sample: Sample = NO_SAMPLE
    once: bool = False


def run_module(door: Door, name: str, arguments: Mapping[str, Any]) -> Finished:
    file = door.write("arguments.json", arguments)
    return door.run(sys.executable, HERE / "module.py", name, file)


def label_arguments(door: Door, desired: Desired) -> dict[str, Any]:
    """Options of node_profiles, as a role would give them."""
    return {
        "nodes": [
            {"name": name, "profile": desired.get(name), "selected": name in desired}
            for name in door.lab.fleet.names
        ],
        "profiles": PROFILES,
        "default_profile": DEFAULT,
    }


def info_arguments(door: Door) -> dict[str, Any]:
    """Options of sharing_info, as the role gpu_verify gives them."""
    return {"nodes": nodes_of(door), "profiles": PROFILES, "default_profile": DEFAULT}


def nodes_of(door: Door) -> list[dict[str, Any]]:
    """All nodes of the lab, as modules take them."""
    return [
        {"name": name, "profile": group.profile, "group": group.prefix}
        for group in door.lab.fleet.groups
        for name in group.names
    ]


def plan_rollout(door: Door) -> Finished:
    """What rollout finds to do on the settled fleet: nothing."""
    arguments = {
        "nodes": nodes_of(door),
        "profiles": PROFILES,
        "default_profile": DEFAULT,
        "unavailable_nodes": "fail",
        "_ansible_check_mode": True,
    }
    return run_module(door, "rollout", arguments)


def run_task(door: Door, task: Mapping[str, Any], variables: Mapping[str, Any]) -> Finished:
    """Run ansible-playbook with a play of one task, as our own plays run."""
    given = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "ansible_pipelining": True,
        **variables,
    }
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]
    tool = Path(sys.executable).with_name("ansible-playbook")
    options = ["-i", "localhost,", "-e", f"@{door.write('variables.json', given)}"]
    return door.run(tool, *options, door.write("play.json", play))


def ours_task(door: Door, module: str, arguments: Mapping[str, Any]) -> Finished:
    task = {f"gpufleet.sharing.{module}": {key: f"{{{{ {key} }}}}" for key in arguments}}
    return run_task(door, task, {**arguments})


def node_with(name: str, label: str) -> dict[str, Any]:
    node = bare_node(name)
    node["metadata"]["labels"] = {LABEL: label}
    return node


def k8s_list(door: Door, desired: Desired) -> Finished:
    definitions = [node_with(name, label) for name, label in desired.items()]
    options = {"state": "patched", "merge_type": ["merge"], "definition": "{{ definitions }}"}
    return run_task(door, {"kubernetes.core.k8s": options}, {"definitions": definitions})


def k8s_loop(door: Door, desired: Desired) -> Finished:
    definitions = [node_with(name, label) for name, label in desired.items()]
    options = {"state": "patched", "merge_type": ["merge"], "definition": "{{ item }}"}
    task = {
        "kubernetes.core.k8s": options,
        "loop": "{{ definitions }}",
        "loop_control": {"label": "{{ item.metadata.name }}"},
    }
    return run_task(door, task, {"definitions": definitions})


def k8s_info(door: Door) -> Finished:
    options = {"api_version": "v1", "kind": "Node"}
    return run_task(door, {"kubernetes.core.k8s_info": options}, {})


def kubectl_label(door: Door, desired: Desired) -> Finished:
    """One command for each value, in the fastest way there is: kubectl does not hold itself back
    where it is not given names.
    """
    values = list(dict.fromkeys(desired.values()))
    if len(values) == 1 and len(desired) == len(door.lab.fleet.names):
        return kubectl_set(door, values[0], "-l", GPU_NODES)
    runs = []
    for value in values:
        nodes = [bare_node(name) for name, label in desired.items() if label == value]
        file = door.write("nodes.json", {"apiVersion": "v1", "kind": "List", "items": nodes})
        runs.append(kubectl_set(door, value, "-f", file))
    return sum(runs[1:], runs[0])


def kubectl_names(door: Door, desired: Desired) -> Finished:
    """One command for each value, with the names of the nodes: kubectl then asks for 5 of them a
    second, by its own limit.
    """
    values = list(dict.fromkeys(desired.values()))
    runs = [
        kubectl_set(door, value, *(name for name, label in desired.items() if label == value))
        for value in values
    ]
    return sum(runs[1:], runs[0])


def kubectl_set(door: Door, value: str, *which: str | Path) -> Finished:
    """Label the nodes which are given by names, by a selector or by a file."""
    kind = [] if which[0] == "-f" else ["nodes"]
    return door.run("kubectl", "label", "--overwrite", *kind, *which, f"{LABEL}={value}")


def bare_node(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}


def kubectl_get(door: Door) -> Finished:
    return door.run("kubectl", "get", "nodes", "-o", "json")


def raw_job(
    door: Door,
    *,
    patches: Sequence[tuple[str, str]] = (),
    lists: Sequence[tuple[str, str]] = (),
    threads: int = THREADS,
    accept: str = raw.SHORT,
) -> Finished:
    """Send patches, asking for answers of some kind, or read lists, by the raw client."""
    job = {
        "server": door.server,
        "ca": door.lab.ca,
        "token": door.lab.tokens[WORKER],
        "threads": threads,
        "patches": patches,
        "lists": lists,
        "accept": accept,
    }
    return door.run(sys.executable, "-I", HERE / "raw.py", door.write("job.json", job))


def raw_label(door: Door, desired: Desired) -> Finished:
    """The patches that are needed, as if somebody had told which."""
    have = door.lab.labels(LABEL)
    todo = [(name, label) for name, label in desired.items() if have.get(name) != label]
    return raw_job(door, patches=todo)


def raw_nothing(door: Door, _desired: Desired) -> Finished:
    """What tells that there is nothing to do: the metadata of all nodes."""
    return raw_job(door, lists=[("/api/v1/nodes", raw.METADATA)])


def raw_read(door: Door) -> Finished:
    return raw_job(door, lists=[("/api/v1/nodes", raw.JSON)])


def result_of(finished: Finished) -> dict[str, Any]:
    """What a module of ours has printed."""
    start = finished.output.index("{")
    found, _end = json.JSONDecoder().raw_decode(finished.output, start)
    return dict(found)


CONTENDERS = (
    Contender(RAW, raw_label, raw_read, raw_nothing, agent=raw.AGENT),
    Contender(
        MODULE,
        lambda door, desired: run_module(door, "node_profiles", label_arguments(door, desired)),
        lambda door: run_module(door, "sharing_info", info_arguments(door)),
        agent=AGENT,
    ),
    Contender(
        TASK,
        lambda door, desired: ours_task(door, "node_profiles", label_arguments(door, desired)),
        lambda door: ours_task(door, "sharing_info", info_arguments(door)),
    ),
    Contender(KUBECTL, kubectl_label, kubectl_get, agent="kubectl"),
)
PEERS = (
    Contender(KUBECTL_NAMES, kubectl_names, agent="kubectl", sample=(12, 32), once=True),
    Contender(K8S_LIST, k8s_list, k8s_info, relay_sample=(1, 40), once=True),
    Contender(K8S_LOOP, k8s_loop, sample=(1, 12), relay_sample=(1, 4), once=True),
)
# Of a short run
FEW = tuple(contender for contender in CONTENDERS if contender.name in (RAW, MODULE))
