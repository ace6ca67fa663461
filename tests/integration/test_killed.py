# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of site that are killed at any moment: the next one finishes the work, and nothing is lost.

KILLS=25 makes it the long run; without it there is one kill in each of what goes its own way:
restarts with evictions, and Helm (make test has the first). What the cases between change, these
change too. A kill takes
about a minute, of which 30 s are the wait for the lease of the run that was killed.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.hashing import (
    config_hash,
    to_note,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.keys import config_key
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rendering import (
    to_plugin_config,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    parse_profile,
)
from ansible_collections.gpufleet.sharing.tests.integration.killing import (
    Killed,
    Moment,
    after,
    at_write,
    in_helm,
    kill,
)
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    Lab,
    Run,
    lease_holder,
    write_inventory,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import (
    Wanted,
    applied,
    converge,
    differing,
)
from ansible_collections.gpufleet.sharing.tests.integration.workloads import (
    Workload,
    pods_of,
    start,
)

KILLS = int(os.environ.get("KILLS", "0"))
SHORT = ("drain", "helm")
SEED = 20261125
SPACE = "gpu-operator"
OURS = ("nvidia.com/", "gpufleet.sharing/", "lab.gpufleet.sharing/")
DEV, PROD, TRAIN = ("dev-gpu-01", "dev-gpu-02"), ("prod-gpu-01", "prod-gpu-02"), ("train-gpu-01",)
GPUS = dict.fromkeys(DEV, 1) | dict.fromkeys(PROD, 2) | dict.fromkeys(TRAIN, 4)
BY_HAND = "prod-gpu-02"  # somebody else has cordoned it
WORK = Workload("web", DEV, pods=14)  # all of them have room only where dev has 8 replicas
HELM_TIMEOUT = 20


@dataclass(frozen=True)
class State:
    """What the inventory asks for, two ways in each regard."""

    replicas: int = 8  # of the profile prod
    crowd: int = 8  # of the profile dev, whose nodes are full of pods
    train: str = "no-sharing"
    mode: str = "in_place"
    driver: bool = True  # a value of the chart

    @property
    def profiles(self) -> dict[str, Any]:
        counts = {"default": 4, "prod": self.replicas, "dev": self.crowd, "no-sharing": 1}
        return {name: {"replicas": count} for name, count in counts.items()}

    def profile_of(self, node: str) -> str:
        kind = node.partition("-")[0]
        return (self.train or "default") if kind == "train" else kind

    @property
    def groups(self) -> dict[str, Any]:
        groups: dict[str, Any] = {
            "dev_gpus": {
                "hosts": {node: {} for node in DEV},
                "vars": {"gpu_sharing_profile": "dev"},
            },
            "prod_gpus": {"hosts": {node: {} for node in PROD}},
            "train_gpus": {"hosts": {node: {} for node in TRAIN}},
        }
        groups["prod_gpus"]["vars"] = {"gpu_sharing_profile": "prod"}
        if self.train:
            groups["train_gpus"]["vars"] = {"gpu_sharing_profile": self.train}
        return groups

    @property
    def values(self) -> dict[str, Any]:
        return {"driver": {"enabled": self.driver}}

    @property
    def wanted(self) -> Wanted:
        options = {"drain": "evict", "drain_timeout": 60}
        return Wanted(self.groups, self.profiles, self.mode, self.values, options=options)

    def write(self, folder: Path) -> Path:
        variables = {
            "gpu_sharing_profiles": self.profiles,
            "gpu_sharing_rollout_mode": self.mode,
            "gpu_sharing_drain": "evict",
            "gpu_sharing_drain_timeout": 60,
            "gpu_operator_values": self.values,
        }
        return write_inventory(folder / "inventory", self.groups, variables)


def turned(state: State, kind: str) -> State:
    """The state that is the other way in one regard."""
    if kind == "profiles":
        return replace(state, replicas=14 - state.replicas)
    if kind == "drain":
        return replace(state, crowd=14 - state.crowd)
    if kind == "labels":
        return replace(state, train="" if state.train else "no-sharing")
    if kind == "mode":
        return replace(state, mode="in_place" if state.mode == "versioned" else "versioned")
    return replace(state, driver=not state.driver)


@dataclass(frozen=True)
class Case:
    """One kill: what the run is to change, and when it ends."""

    number: int
    kind: str
    state: State
    moment: Moment
    when: str

    def __str__(self) -> str:
        return f"{self.number:02}-{self.kind}-{self.when}"


WRITES = {"profiles": 13, "labels": 5, "mode": 18, "drain": 14, "helm": 4}  # at least


def draw(chance: random.Random, kind: str, place: int) -> tuple[Moment, str]:
    """A moment at which such a run is likely to be at work."""
    if kind == "helm" and place % 3 != 2:
        seconds = round(chance.uniform(0, 1.2), 2)
        return in_helm(seconds), f"helm+{seconds}s"
    if chance.random() < 0.3:
        seconds = round(chance.uniform(1, 14), 1)
        return after(seconds), f"{seconds}s"
    number = chance.randint(1, WRITES[kind])
    return at_write(number), f"write{number}"


def cases(count: int) -> Iterator[Case]:
    chance = random.Random(SEED)
    state = State()
    for number in range(count):
        if number % len(WRITES) == 0:
            kinds = chance.sample(sorted(WRITES), len(WRITES))
        kind = kinds[number % len(WRITES)]
        state = turned(state, kind)
        yield Case(number, kind, state, *draw(chance, kind, number))


CASES = list(cases(KILLS)) if KILLS else [each for each in cases(5) if each.kind in SHORT]


@pytest.fixture(scope="module")
def fleet(lab: Lab) -> Lab:
    """A fleet that is as asked for, with things that belong to others."""
    mine = {"example.com/team": "a"}
    node = {"metadata": {"labels": mine, "annotations": mine}}
    for name in GPUS:
        lab.kubectl("patch", "node", name, "-p", json.dumps(node))
    lab.kubectl("cordon", BY_HAND)
    converge(lab, State().wanted)
    theirs = {"metadata": {"labels": mine}, "data": {"theirs": "version: v1\n"}}
    config_map = ("configmap", "device-plugin-config", "-n", SPACE)
    lab.kubectl("patch", *config_map, "--type", "merge", "-p", json.dumps(theirs))
    start(lab, WORK)
    lab.wait_for(lambda: settled_taints(lab))
    return lab


def site(lab: Lab, state: State, folder: Path) -> Run:
    return lab.playbook("site", state.write(folder), variables=VARIABLES)


VARIABLES = {"gpu_operator_timeout": HELM_TIMEOUT}


def of_others(values: dict[str, str] | None) -> dict[str, str]:
    return {name: text for name, text in (values or {}).items() if not name.startswith(OURS)}


def belongings(lab: Lab) -> dict[str, object]:
    """What is not ours, and has to stay as it is."""
    found: dict[str, object] = {}
    for node in lab.json("nodes")["items"]:
        metadata, spec = node["metadata"], node["spec"]
        theirs = (of_others(metadata["labels"]), of_others(metadata.get("annotations")))
        taints = sorted(taint["key"] for taint in spec.get("taints", []))
        found[metadata["name"]] = (*theirs, spec.get("unschedulable", False), taints)
    document = lab.json("configmap", "device-plugin-config", "-n", SPACE)
    found["key"] = document["data"].get("theirs")
    found["labels"] = of_others(document["metadata"]["labels"])
    for kind in ("namespaces", "configmaps", "serviceaccounts", "deployments", "daemonsets"):
        found[kind] = sorted(lab.kubectl("get", kind, "-A", "-o", "name").split())
    return found


def orphans(lab: Lab) -> list[str]:
    """What a run that was killed could have left behind."""
    found = []
    lease = lab.json("lease", "gpufleet-sharing", "-n", SPACE)
    if lease["spec"].get("holderIdentity"):
        found.append(f"lease held by {lease['spec']['holderIdentity']}")
    for secret in lab.json("secrets", "-n", SPACE, "-l", "owner=helm")["items"]:
        labels = secret["metadata"]["labels"]
        if labels["status"].startswith("pending"):
            found.append(f"Helm revision {labels['version']} {labels['status']}")
    for revision in lab.json("controllerrevisions", "-n", SPACE)["items"]:
        state = revision["metadata"].get("annotations", {}).get("gpufleet.sharing/state", "good")
        if state == "started":
            found.append(f"revision {revision['revision']} {state}")
    found += [
        f"node {node['metadata']['name']} cordoned"
        for node in lab.json("nodes")["items"]
        if "gpufleet.sharing/cordoned" in node["metadata"].get("annotations", {})
    ]
    pods = lab.json("pods", "-n", SPACE)["items"]
    apps = Counter(pod["metadata"]["labels"].get("app") for pod in pods)
    if sorted(apps.values()) != [1, len(GPUS), len(GPUS)]:
        found.append(f"pods {dict(apps)}")
    others = [pod["metadata"]["name"] for pod in lab.json("pods", "-n", "work")["items"]]
    if len(others) != WORK.count:
        found.append(f"{len(others)} pods in work")
    return found


def amiss(lab: Lab, state: State) -> list[str]:
    """Where nodes are not as the inventory asks."""
    found = []
    for node in lab.json("nodes")["items"]:
        name, metadata = node["metadata"]["name"], node["metadata"]
        if name not in GPUS:
            continue
        wanted = state.profile_of(name)
        profile = parse_profile(wanted, state.profiles[wanted])
        key = config_key(profile, versioned=state.mode == "versioned")
        slots = str(state.profiles[wanted]["replicas"] * GPUS[name])
        seen = (
            node["status"]["allocatable"].get("nvidia.com/gpu"),
            json.loads(metadata["annotations"]["lab.gpufleet.sharing/loaded"])["key"],
            metadata["annotations"].get("gpufleet.sharing/config-hash"),
        )
        asked = (slots, key, to_note(config_hash(to_plugin_config(profile))))
        if seen != asked:
            found.append(f"{name}: {seen}, not {asked}")
    return found


def finish(lab: Lab, state: State, folder: Path) -> Run:
    """The next plain run; where Helm was killed a moment ago, it waits for that."""
    run = site(lab, state, folder).succeeded()
    if any("pending-" in line for line in run.answers.lines):
        print("KILL: Helm's revision was left pending, and is waited for")
    return run


def settled_pods(lab: Lab, state: State) -> bool:
    room = min(WORK.count, len(DEV) * state.crowd)
    phases = Counter(pod["status"].get("phase") for pod in pods_of(lab, WORK))
    return phases == Counter({"Running": room, "Pending": WORK.count - room}) + Counter()


def settled_taints(lab: Lab) -> bool:
    """A cordon's taint comes and goes a moment after it, by the control plane."""
    nodes = [node["spec"] for node in lab.json("nodes")["items"]]
    taints = [[taint["key"] for taint in node.get("taints", [])] for node in nodes]
    cordons = [node.get("unschedulable", False) for node in nodes]
    return ["node.kubernetes.io/unschedulable" in each for each in taints] == cordons


def tell(case: Case, killed: Killed, took: float) -> None:
    fate = "killed" if killed.in_time else "ended by itself"
    print(f"KILL {case}: {fate} after {len(killed.written)} writes; converged in {took:.0f} s")


@pytest.mark.full("another kill", keep=1)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_next_run_finishes_what_a_killed_one_has_begun(
    fleet: Lab, case: Case, tmp_path: Path
) -> None:
    before = belongings(fleet)
    command = fleet.command("site", case.state.write(tmp_path), variables=VARIABLES)
    killed = kill(fleet, command, case.moment, spare_helm=case.number % 10 == 9)
    left = lease_holder(fleet)
    began = time.monotonic()
    run = finish(fleet, case.state, tmp_path)
    tell(case, killed, time.monotonic() - began)
    fleet.wait_for(lambda: settled_pods(fleet, case.state) and settled_taints(fleet))
    assert amiss(fleet, case.state) == []
    assert orphans(fleet) == []
    assert belongings(fleet) == before
    if killed.in_time and left and not any("secrets" in write for write in killed.written):
        assert left in run.output  # whose lease is taken over


@pytest.mark.full("another kill")
def test_other_run_takes_the_place_of_a_killed_one(fleet: Lab, tmp_path: Path) -> None:
    """What was asked for in between is no revision that stays started for good."""
    last = CASES[-1].state
    command = fleet.command("site", turned(last, "profiles").write(tmp_path), variables=VARIABLES)
    assert kill(fleet, command, at_write(5)).in_time
    before, left = belongings(fleet), lease_holder(fleet)
    run = applied(fleet, last.wanted).succeeded()
    assert left
    assert left in run.output  # whose lease is taken over
    fleet.wait_for(lambda: settled_taints(fleet))
    assert amiss(fleet, last) == []
    assert orphans(fleet) == []
    assert belongings(fleet) == before


@pytest.mark.full("follows the last kill")
def test_nothing_is_left_to_do(fleet: Lab) -> None:
    assert differing(fleet, CASES[-1].state.wanted) == []
