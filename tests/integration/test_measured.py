# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipe with the delays of real nodes (`lab up --timing measured`) and the waits that users
have: node status every 10 s, labels of GFD up to a minute late, back-off that grows.

In the order of the file; most of the time is waiting. KILLS or FAULTS makes it the long run;
without them a change, and a refused one, are what is left.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.tests.integration.fleettools import (
    REFUSE,
    follow,
    replicas,
    state,
)
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    ROOT,
    Lab,
    boot,
    shut_down,
    write_inventory,
)
from ansible_collections.gpufleet.sharing.tests.integration.sampler import Sampler

LONG = pytest.mark.skipif(
    not (os.environ.get("KILLS") or os.environ.get("FAULTS")), reason="part of the long run"
)
NODES = """\
groups:
  dev-gpu: {nodes: 2, gpus: 1, product: NVIDIA-A10, memory: 23028}
  prod-gpu: {nodes: 1, gpus: 2, product: NVIDIA-A100-SXM4-80GB, memory: 81920}
timing: measured
settings: {label_lag: 0s..20s}  # a minute for real: this is to end today
"""
SLOTS = {"dev-gpu-01": "8", "dev-gpu-02": "8", "prod-gpu-01": "8"}


def groups(dev: str) -> dict[str, Any]:
    """Two nodes with a profile, and one with the default."""
    hosts: dict[str, Any] = {"dev-gpu-01": {}, "dev-gpu-02": {}}
    return {
        "dev_gpus": {"hosts": hosts, "vars": {"gpu_sharing_profile": dev}},
        "prod_gpus": {"hosts": {"prod-gpu-01": {}}},
    }


def waits() -> dict[str, Any]:
    """The waits of the roles' defaults, which other tests make shorter."""
    found: dict[str, Any] = {}
    for role, names in {
        "gpu_nodes": ("gpu_sharing_rollout_stable_seconds", "gpu_sharing_rollout_timeout"),
        "gpu_operator": ("gpu_operator_timeout",),
    }.items():
        text = (ROOT / "roles" / role / "defaults" / "main.yml").read_text()
        for name in names:
            (default,) = re.findall(rf"\b{name}(?::| \| default\() ?(\d+)", text)
            found[name] = int(default)
    return found


WAITS = waits()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    fleet = tmp_path_factory.mktemp("fleet") / "measured.yml"
    fleet.write_text(NODES)
    booted = boot(f"measured-{os.getpid()}", fleet)
    yield booted
    shut_down(booted)


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inventory(tmp_path_factory.mktemp("measured") / "inventory", groups("dev"))


def test_first_run(lab: Lab, inventory: Path) -> None:
    timed = follow(lab, "site", inventory, **WAITS)
    timed.run.succeeded()
    print(f"first site: {timed.took:.0f} s")
    assert lab.allocatable() == SLOTS


@LONG
def test_second_run_changes_nothing(lab: Lab, inventory: Path) -> None:
    lab.forget_requests()
    timed = follow(lab, "site", inventory, **WAITS)
    assert timed.run.succeeded().changed == {"localhost": 0}
    print(f"nothing to do: {timed.took:.0f} s")
    assert lab.writes() == []


def test_content(lab: Lab, inventory: Path) -> None:
    with Sampler(lab) as sampler:
        timed = follow(lab, "site", inventory, **WAITS, **replicas(dev=6))
    timed.run.succeeded()
    print(f"dev 8 -> 6: {timed.took:.0f} s; seen {sampler.changes}")
    assert lab.allocatable() == SLOTS | {"dev-gpu-01": "6", "dev-gpu-02": "6"}
    assert sampler.changed <= {"dev-gpu-01", "dev-gpu-02"}


def test_content_that_the_plugin_refuses_is_taken_back(lab: Lab, inventory: Path) -> None:
    """The canary's plugin crashes with growing pauses; nobody else is touched."""
    before = state(lab)
    lab.kubectl("annotate", "nodes", "--all", f"{REFUSE}=5")
    with Sampler(lab) as sampler:
        timed = follow(lab, "site", inventory, **WAITS, **replicas(dev=5))
    timed.run.failed()
    assert timed.run.broken == ["rollout"]
    print(f"refused, and taken back: {timed.took:.0f} s; seen {sampler.changes}")
    lab.kubectl("annotate", "nodes", "--all", f"{REFUSE}-")
    after = state(lab)
    assert (after.data, after.labels, after.allocatable) == (
        before.data,
        before.labels,
        before.allocatable,
    )
    assert sampler.changed <= {"dev-gpu-01"}
    assert timed.took < WAITS["gpu_sharing_rollout_timeout"]  # a crash is not waited out


@LONG
def test_label_that_leads_to_a_refused_file_is_taken_back(lab: Lab, tmp_path: Path) -> None:
    """Where the plugin crashes, the label alone would wait for the kubelet's pauses."""
    moved = write_inventory(tmp_path / "inventory", groups("five"))
    before = state(lab)
    lab.kubectl("annotate", "nodes", "--all", f"{REFUSE}=5")
    with Sampler(lab) as sampler:
        timed = follow(lab, "site", moved, **WAITS, **replicas(dev=6, five=5))
    timed.run.failed()
    lab.kubectl("annotate", "nodes", "--all", f"{REFUSE}-")
    print(f"refused label, and taken back: {timed.took:.0f} s; seen {sampler.changes}")
    assert (state(lab).labels, state(lab).allocatable) == (before.labels, before.allocatable)
    assert sampler.changed <= {"dev-gpu-01"}
    assert timed.took < WAITS["gpu_sharing_rollout_timeout"]


@LONG
def test_no_drift_is_left(lab: Lab, inventory: Path) -> None:
    for name in ("site", "drift"):
        lab.playbook(name, inventory, variables=WAITS | replicas(dev=6)).succeeded()
