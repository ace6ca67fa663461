# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gallery of broken fleets: plugin, MPS, GPU feature discovery, and slots that differ."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.tests.integration.answers import mentions
from ansible_collections.gpufleet.sharing.tests.integration.fleettools import (
    LABEL,
    NAMESPACE,
    REFUSE,
)
from ansible_collections.gpufleet.sharing.tests.integration.gallery import Gallery, open_gallery
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    FLEET,
    GROUPS,
    PROFILES,
    Lab,
    boot,
    shut_down,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import call

NODE = "dev-gpu-01"
AFTER = ("GS037", "GS038", "GS042", "GS043")
PLUGIN = ("daemonset/nvidia-device-plugin-daemonset", "-n", NAMESPACE)
ON_NODE = ("--field-selector", f"spec.nodeName={NODE}")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A restarted side-car takes its time to hear of the label, so that this can be seen."""
    booted = boot(f"gallery-plugin-{os.getpid()}", FLEET, "switch_delay=6s")
    yield booted
    shut_down(booted)


@pytest.fixture(scope="module")
def opened(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    return open_gallery(lab, tmp_path_factory.mktemp("gallery"))


@pytest.fixture
def gallery(opened: Gallery) -> Iterator[Gallery]:
    yield from opened.scenario()


def annotate(gallery: Gallery, node: str, *annotations: str) -> None:
    gallery.lab.kubectl("annotate", "node", node, *annotations, "--overwrite")


def with_profile(gallery: Gallery, name: str, profile: dict[str, Any]) -> Gallery:
    """prod-gpu-02 gets another profile, by the module and by hand."""
    profiles = {**PROFILES, name: profile}
    call(gallery.lab, "profiles", {"profiles": profiles})
    gallery.lab.kubectl("label", "node", "prod-gpu-02", f"{LABEL}={name}", "--overwrite")
    alone: dict[str, Any] = {
        "prod_gpus": {"hosts": {"prod-gpu-01": {}}},
        "others": {"hosts": {"prod-gpu-02": {}}, "vars": {"gpu_sharing_profile": name}},
    }
    return gallery.given(profiles=profiles, groups={**GROUPS, **alone})


def without_profile(gallery: Gallery) -> None:
    gallery.lab.kubectl("label", "node", "prod-gpu-02", f"{LABEL}-")


@pytest.mark.full("the rest of the gallery")
def test_gs037_taint_that_nobody_tolerates(gallery: Gallery) -> None:
    gallery.lab.kubectl("taint", "node", NODE, "team=a:NoSchedule")
    gallery.lab.kubectl("delete", "pod", "-n", NAMESPACE, *ON_NODE)
    found = gallery.fires("GS037", *AFTER, settled=["GS043"])
    assert mentions(found.cause, "team=a:NoSchedule")
    gallery.lab.kubectl("taint", "node", NODE, "team-")


def test_gs038_plugin_that_crashes(gallery: Gallery) -> None:
    """For a reason that only its log tells: its file is right."""
    annotate(gallery, NODE, f"{REFUSE}=4")
    gallery.restart_plugin(NODE)
    found = gallery.fires("GS038", *AFTER, settled=["GS043"])
    annotate(gallery, NODE, f"{REFUSE}-")
    gallery.run(found.fix, 1)


@pytest.mark.full("the rest of the gallery")
def test_gs040_old_plugin_that_misses_a_removed_label(gallery: Gallery) -> None:
    def use(version: str) -> None:
        body = {"spec": {"devicePlugin": {"version": version}}}
        gallery.patch("clusterpolicy", "cluster-policy", body)
        image = "jsonpath={.spec.template.spec.containers[0].image}"
        gallery.lab.wait_for(
            lambda: gallery.lab.kubectl("get", *PLUGIN, "-o", image).endswith(version)
        )
        gallery.lab.kubectl("rollout", "status", *PLUGIN, "--timeout=90s")

    before = gallery.lab.json("clusterpolicy", "cluster-policy")["spec"]["devicePlugin"]["version"]
    use("v0.17.1")
    gallery.is_healthy()
    gallery.lab.kubectl("label", "node", "prod-gpu-01", f"{LABEL}=dev")
    gallery.lab.wait_for(lambda: gallery.lab.allocatable()["prod-gpu-01"] == "16")
    gallery.lab.kubectl("label", "node", "prod-gpu-01", f"{LABEL}-")
    found = gallery.fires("GS040", *AFTER, settled=["GS043"])
    assert mentions(found.cause, "v0.17.1", "dev")
    gallery.run(found.fix)
    gallery.is_healthy()
    gallery.lab.kubectl("label", "node", "prod-gpu-01", f"{LABEL}-")
    use(before)


@pytest.mark.full("the rest of the gallery")
def test_gs041_more_mps_clients_than_an_old_card_takes(gallery: Gallery) -> None:
    annotate(gallery, "prod-gpu-02", "lab.gpufleet.sharing/product=Tesla-V100-SXM2-16GB")
    mps = with_profile(gallery, "mps", {"replicas": 20, "strategy": "mps"})
    found = mps.fires("GS041", *AFTER, settled=["GS043"])
    assert mentions(found.seen, 16)  # clients at most
    without_profile(gallery)
    annotate(gallery, "prod-gpu-02", "lab.gpufleet.sharing/product=NVIDIA-A100-SXM4-80GB")


@pytest.mark.full("the rest of the gallery")
def test_gs042_gpu_feature_discovery_missing(gallery: Gallery) -> None:
    gallery.lab.kubectl("taint", "node", NODE, "team=a:NoSchedule")
    gfd = ("-l", "app=gpu-feature-discovery")
    gallery.lab.kubectl("delete", "pod", "-n", NAMESPACE, *ON_NODE, *gfd)
    found = gallery.fires("GS042")
    assert found.nodes == (NODE,)
    gallery.lab.kubectl("taint", "node", NODE, "team-")


@contextmanager
def standing_still(lab: Lab) -> Iterator[None]:
    """Nothing happens to plugins inside a with statement."""
    record = Path(lab.environ["GPULAB_STATE"], "lab.json").read_text(encoding="utf-8")
    processes = {process["name"]: process["pid"] for process in json.loads(record)["processes"]}
    os.kill(processes["gpusim"], signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(processes["gpusim"], signal.SIGCONT)


@pytest.mark.full("the rest of the gallery")
def test_gs043_the_default_for_a_moment(gallery: Gallery) -> None:
    """After each restart of its plugin a labelled node has the default's slots: wait."""
    gallery.restart_plugin(NODE)
    gallery.lab.wait_for(lambda: gallery.lab.allocatable()[NODE] == "4")
    with standing_still(gallery.lab):
        found = gallery.fires("GS043")
    assert mentions(found.cause, "nvidia.com/gpu", 4, 8)


@pytest.mark.full("the rest of the gallery")
def test_gs059_plugin_that_is_no_pod(gallery: Gallery) -> None:
    """As with a node image that brings a plugin: the number is there, and no pod."""
    with standing_still(gallery.lab):
        gallery.lab.kubectl("taint", "node", NODE, "team=a:NoSchedule")
        gallery.restart_plugin(NODE)
        found = gallery.fires("GS059")
    gallery.lab.kubectl("taint", "node", NODE, "team-")
    assert mentions(found.seen, 8, "nvidia.com/gpu")


@pytest.mark.full("the rest of the gallery")
def test_gs044_resource_left_behind(gallery: Gallery) -> None:
    renamed = with_profile(gallery, "renamed", {"replicas": 2, "rename_by_default": True})
    found = renamed.fires("GS044")
    assert mentions(found.cause, "nvidia.com/gpu", 0)
    without_profile(gallery)
    found = gallery.fires("GS044")
    assert mentions(found.cause, "nvidia.com/gpu.shared", 0)
    gone = {"nvidia.com/gpu.shared": None}  # what a restarted kubelet does
    body = {"status": {"capacity": gone, "allocatable": gone}}
    gallery.patch("node", "prod-gpu-02", body, "--subresource=status")
