# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gallery of broken fleets: the ConfigMap of profiles, and labels that name its keys."""

from __future__ import annotations

import pytest

from ansible_collections.gpufleet.sharing.tests.integration.answers import mentions
from ansible_collections.gpufleet.sharing.tests.integration.fleettools import (
    CONFIG_MAP,
    LABEL,
    NAMESPACE,
    config_map,
    profiles,
)
from ansible_collections.gpufleet.sharing.tests.integration.gallery import Gallery
from ansible_collections.gpufleet.sharing.tests.integration.modules import call

DEV = ("dev-gpu-01", "dev-gpu-02")
AFTER = ("GS038", "GS042", "GS043")


def write_key(gallery: Gallery, key: str, text: str | None) -> None:
    gallery.patch("configmap", CONFIG_MAP, {"data": {key: text}}, "-n", NAMESPACE)


def test_gs012_no_config_map(gallery: Gallery) -> None:
    gallery.lab.kubectl("delete", "configmap", CONFIG_MAP, "-n", NAMESPACE)
    assert "gpufleet.sharing.site" in gallery.fires("GS012").fix
    gallery.repair()


@pytest.mark.full("the rest of the gallery")
def test_gs013_config_map_in_another_namespace(gallery: Gallery) -> None:
    data = config_map(gallery.lab)
    gallery.lab.kubectl("delete", "configmap", CONFIG_MAP, "-n", NAMESPACE)
    moved = {"apiVersion": "v1", "kind": "ConfigMap", "data": data}
    gallery.lab.apply({**moved, "metadata": {"name": CONFIG_MAP, "namespace": "default"}})
    found = gallery.fires("GS013")
    gallery.repair()
    gallery.run(found.fix)


@pytest.mark.full("the rest of the gallery")
def test_gs014_no_default_key(gallery: Gallery) -> None:
    """It hurts at the first restart, also where the label names another key."""
    write_key(gallery, "default", None)
    gallery.fires("GS014")
    gallery.lab.wait_for(lambda: "default" not in config_map(gallery.lab))
    gallery.restart_plugin("dev-gpu-01")
    found = gallery.fires("GS014", *AFTER, settled=["GS038", "GS043"])
    assert "gpufleet.sharing.site" in found.fix
    gallery.repair()


@pytest.mark.full("the rest of the gallery")
def test_gs015_label_without_its_key(gallery: Gallery) -> None:
    write_key(gallery, "dev", None)
    found = gallery.fires("GS015", *AFTER)
    assert found.nodes == DEV
    gallery.restart_plugin("dev-gpu-01")
    gallery.fires("GS015", *AFTER, settled=["GS038", "GS043"])
    gallery.repair()


@pytest.mark.full("the rest of the gallery")
def test_gs016_file_that_the_plugin_refuses(gallery: Gallery) -> None:
    """The recipe's no-sharing profile, written literally."""
    literal = config_map(gallery.lab)["dev"].replace("replicas: 8", "replicas: 1")
    write_key(gallery, "dev", literal)
    found = gallery.fires("GS016", "GS018", *AFTER)
    assert found.nodes == DEV
    gallery.restart_plugin("dev-gpu-01")
    gallery.fires("GS016", "GS018", *AFTER, settled=["GS038", "GS043"])
    gallery.repair()


@pytest.mark.full("the rest of the gallery")
def test_gs017_setting_in_the_wrong_place(gallery: Gallery) -> None:
    text = config_map(gallery.lab)["dev"]
    write_key(gallery, "dev", text + "flags:\n  renameByDefault: true\n")
    found = gallery.fires("GS017", settled=["GS018"])
    assert "renameByDefault" in found.seen
    gallery.repair()


def test_gs018_key_edited_by_hand(gallery: Gallery) -> None:
    """Nothing happens, until the plugin of a node restarts."""
    text = config_map(gallery.lab)["dev"]
    write_key(gallery, "dev", text.replace("replicas: 8", "replicas: 6"))
    assert gallery.fires("GS018").nodes == DEV
    gallery.lab.kubectl("annotate", "pods", "-n", NAMESPACE, "--all", "look=again", "--overwrite")
    gallery.restart_plugin("dev-gpu-01")
    gallery.fires("GS018", *AFTER, settled=["GS043"])
    gallery.repair()


@pytest.mark.full("the rest of the gallery")
def test_gs024_label_set_by_hand(gallery: Gallery) -> None:
    gallery.lab.kubectl("label", "node", "dev-gpu-01", f"{LABEL}=default", "--overwrite")
    found = gallery.fires("GS024", *AFTER, settled=["GS043"])
    assert mentions(found.cause, LABEL, "default", "dev")
    gallery.repair()


@pytest.mark.full("the rest of the gallery")
def test_gs024_label_that_names_nothing(gallery: Gallery) -> None:
    """The missing key and the failing side-car are not told as causes of their own."""
    gallery.lab.kubectl("label", "node", "dev-gpu-01", f"{LABEL}=devv", "--overwrite")
    gallery.fires("GS024", *AFTER, settled=["GS015", "GS038"])
    gallery.repair()


@pytest.mark.full("the rest of the gallery")
def test_gs039_content_that_was_not_loaded(gallery: Gallery) -> None:
    """As after a run that was killed between writing and restarting."""
    six = profiles(dev=6)
    call(gallery.lab, "profiles", {"profiles": six})
    edited = gallery.given(profiles=six)
    found = edited.fires("GS039", *AFTER, settled=["GS043"])
    assert found.nodes == DEV
    edited.repair()
    edited.is_healthy()
    gallery.repair()
