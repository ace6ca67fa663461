# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Delays as a real kubelet has them: node status by periods, back-off that grows, and what is
forgotten. Each test leaves the node as it was.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from labclient import PROFILES, Client, LabCommand, slices, until

pytestmark = [pytest.mark.lab, pytest.mark.full("slow timings, on a lab of its own")]
NODE = "prod-gpu-01"  # two GPUs
PERIOD = 4.0  # seconds
SETTINGS = {
    "publish_period": "4s",
    "publish": "50ms..150ms",
    "refresh": "100ms..300ms",
    "crash_backoff_max": "16s",
    "forget": "6s",
}


@pytest.fixture(scope="module")
def slow(lab_command: LabCommand) -> Client:
    name = lab_command.unique("timing")
    chosen = [word for pair in SETTINGS.items() for word in ("--set", "=".join(pair))]
    lab_command.run("up", "--name", name, "--timing", "fast", *chosen)
    found = Client(lab_command.environment_of(name))
    found.install_operator()
    return found


@pytest.fixture(autouse=True)
def shared(slow: Client) -> Iterator[None]:
    settle(slow, 8)
    yield
    slow.profiles(PROFILES)
    slow.label(NODE, None)
    slow.restart(NODE)
    settle(slow, 8)


def settle(client: Client, slots: int, resource: str = "nvidia.com/gpu") -> None:
    """Wait until node status and plugin agree, for longer than a period."""
    since = time.monotonic()

    def steady() -> bool:
        nonlocal since
        if client.allocatable(NODE, resource) != slots or "error" in client.loaded(NODE):
            since = time.monotonic()
        return time.monotonic() - since > PERIOD + 0.5

    until(steady, f"{slots} slots: {client.loaded(NODE)}")


def has_loaded(client: Client, key: str) -> None:
    until(lambda: client.loaded(NODE).get("key") == key, f"{key} loaded: {client.loaded(NODE)}")


def status_writes(client: Client) -> int:
    """How often the kubelet of the node has written its status so far."""
    count = 0
    with Path(client.environment["GPULAB_AUDIT_LOG"]).open(encoding="utf-8") as log:
        for line in log:
            if not line.endswith("\n") or f"/api/v1/nodes/{NODE}/status" not in line:
                continue
            event = json.loads(line)
            count += event["user"]["username"] == "lab-gpusim" and event["verb"] == "patch"
    return count


def test_what_comes_and_goes_between_two_status_writes_is_never_seen(slow: Client) -> None:
    before = status_writes(slow)
    asked = started = time.monotonic()
    slow.label(NODE, "dev")

    def seen() -> bool:
        nonlocal asked, started
        started, asked = asked, time.monotonic()
        return slow.allocatable(NODE) == 16

    until(seen, "slots of dev")  # a status has been written, but not before started
    until(lambda: status_writes(slow) > before, "its line in the log")
    before = status_writes(slow)
    for key in ("no-sharing", "dev"):
        slow.label(NODE, key)
        has_loaded(slow, key)
    if time.monotonic() - started > PERIOD - 1:
        pytest.skip("the machine is too slow to do it within a period")
    slow.keeps(NODE, 16, PERIOD + 1)
    assert status_writes(slow) == before


def test_old_name_of_a_resource_is_forgotten(slow: Client) -> None:
    renamed = slices(3).replace("resources:", "renameByDefault: true, resources:")
    slow.profiles({**PROFILES, "renamed": renamed})
    slow.annotate_pods(NODE)
    slow.label(NODE, "renamed")
    until(lambda: slow.allocatable(NODE) == 0, "old name served no more")
    assert slow.capacity(NODE) == 8
    until(lambda: slow.capacity(NODE) == 0, "old name forgotten")
    assert slow.capacity(NODE, "nvidia.com/gpu.shared") == 6


def test_pauses_between_crashes_grow(slow: Client) -> None:
    """The first is at once, then 1, 2 and 4 s, as the pod's status tells them in whole seconds."""
    slow.profiles({**PROFILES, "bad": slices(1)})
    slow.annotate_pods(NODE)
    slow.label(NODE, "bad")
    restarts: dict[int, float] = {}

    def crashed() -> bool:
        pod = slow.pod(NODE)
        assert pod
        statuses = pod["status"]["containerStatuses"]
        (plugin,) = [status for status in statuses if status["name"] == "nvidia-device-plugin"]
        if plugin["restartCount"]:
            ended = plugin["lastState"]["terminated"]["finishedAt"]
            restarts[plugin["restartCount"]] = datetime.fromisoformat(ended).timestamp()
        return len(restarts) == 4

    until(crashed, "four restarts")
    gaps = [later - earlier for earlier, later in itertools.pairwise(restarts.values())]
    assert all(gap >= least for gap, least in zip(gaps, (1, 2, 4), strict=True)), restarts
