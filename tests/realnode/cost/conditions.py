# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where and with what it was measured, as texts."""

from __future__ import annotations

import datetime
import os
import re

from ansible_collections.gpufleet.sharing.tests.benchmark.machine import commit
from ansible_collections.gpufleet.sharing.tests.realnode.cost.cluster import Cluster
from ansible_collections.gpufleet.sharing.tests.realnode.cost.measure import ask_driver, run_tool
from ansible_collections.gpufleet.sharing.tests.realnode.cost.schedule import COOL, WARM

STAND_IN = "none: a stand-in without a GPU; no figure means anything"


def conditions(cluster: Cluster, plugin: str, *, stand_in: bool) -> dict[str, str]:
    """GPU, driver, Kubernetes, plugin, date."""
    said = ask_driver("--query-gpu=name,driver_version,memory.total")
    told = [each.strip() for each in said.split(",")]
    gpu, driver, memory = told if len(told) == 3 else ("unknown", "unknown", "unknown")
    info = cluster.node()["status"]["nodeInfo"]
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "GPU": STAND_IN if stand_in else gpu,
        "driver": driver,
        "memory": f"{memory} MiB",
        "time-slice": "default",
        "CUDA compiler": first_version(["nvcc", "--version"], r"release ([0-9.]+)"),
        "kubelet": str(info.get("kubeletVersion")),
        "container runtime": str(info.get("containerRuntimeVersion")),
        "kernel": str(info.get("kernelVersion")),
        "device plugin": plugin or plugin_version(cluster),
        "processor cores": str(os.cpu_count()),
        "collection": commit(),
    }


def effort(seconds: float, repetitions: int) -> dict[str, str]:
    return {
        "seconds of each measurement": f"{seconds:g}, {WARM:g} before and {COOL:g} after it",
        "repetitions": str(repetitions),
    }


def plugin_version(cluster: Cluster) -> str:
    """The version in the name of the plugin's image."""
    found = cluster.get("pods", "-A", "-l", "app=nvidia-device-plugin-daemonset")["items"]
    images = [each["image"] for pod in found for each in pod["spec"]["containers"]]
    tags = (image.rpartition(":")[2] for image in images if "device-plugin" in image)
    return next(tags, "unknown")


def first_version(command: list[str], pattern: str) -> str:
    done = run_tool(command, f"{os.environ.get('PATH', '')}:/usr/local/cuda/bin")
    if done is None:
        return "none"
    match = re.search(pattern, done.stdout)
    return match[1] if match else "unknown"
