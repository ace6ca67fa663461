# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of the device plugin from the operator's DaemonSets."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.plugin import (
    Version,
    operator_plugin,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._provider.plugin import read_plugin


def daemonset(app: str, image: str = "", **variables: str) -> dict[str, Any]:
    env = [{"name": name, "value": value} for name, value in variables.items()]
    main = {"name": "nvidia-device-plugin" if "plugin" in app else app, "image": image, "env": env}
    side = {"name": "config-manager", "env": [{"name": "MPS_ROOT", "value": "of the side-car"}]}
    pod = {"metadata": {"labels": {"app": app}}, "spec": {"containers": [main, side]}}
    return {"spec": {"template": pod}}


PLUGIN, GFD = "nvidia-device-plugin-daemonset", "gpu-feature-discovery"


def test_without_daemonsets_it_is_the_plugin_of_an_operator_with_default_values() -> None:
    assert read_plugin([]) == operator_plugin("single")
    assert read_plugin([], "mixed").mig_strategy == "mixed"
    assert "migStrategy" not in read_plugin([], "").shadowed
    assert read_plugin([], None, (0, 19, 3)).version == (0, 19, 3)
    assert read_plugin([daemonset("something-else", A="b")]).version is None


def test_version_strategy_and_environment_are_read() -> None:
    found = read_plugin(
        [
            daemonset(PLUGIN, "nvcr.io/nvidia/k8s-device-plugin:v0.19.3", MIG_STRATEGY="mixed"),
            daemonset(GFD, "nvcr.io/nvidia/k8s-device-plugin:v0.1.0", GFD_NO_TIMESTAMP="true"),
        ]
    )
    assert (found.version, found.mig_strategy) == ((0, 19, 3), "mixed")
    assert found.shadowed["migStrategy"] == "MIG_STRATEGY"
    assert found.shadowed["gfd.noTimestamp"] == "GFD_NO_TIMESTAMP"
    assert "gdsEnabled" not in found.shadowed


@pytest.mark.parametrize(
    ("variables", "given", "strategy", "shadowed"),
    [
        ({"PASS_DEVICE_SPECS": "true"}, None, "", False),
        ({"MIG_STRATEGY": "single"}, None, "single", True),
        ({"PASS_DEVICE_SPECS": "true", "MIG_STRATEGY": "single"}, "", "", False),
        ({"PASS_DEVICE_SPECS": "true"}, "single", "single", True),
        ({"MIG_STRATEGY": "single"}, "mixed", "mixed", True),
    ],
)
def test_strategy_that_the_run_sets_wins(
    variables: dict[str, str], given: str | None, strategy: str, shadowed: bool
) -> None:
    found = read_plugin([daemonset(PLUGIN, "plugin@sha256:0", **variables)], given)
    assert (found.mig_strategy, "migStrategy" in found.shadowed) == (strategy, shadowed)
    assert found.version is None


@pytest.mark.parametrize(
    ("image", "to_be", "version"),
    [
        ("plugin:v0.19.3", (0, 20, 0), (0, 19, 3)),  # the old one reads the new files first
        ("plugin:v0.20.0", (0, 18, 1), (0, 18, 1)),
        ("plugin:v0.20.0", None, (0, 20, 0)),
        ("plugin@sha256:0", (0, 20, 0), (0, 20, 0)),
        ("plugin@sha256:0", None, None),
    ],
)
def test_older_of_two_versions_counts(
    image: str, to_be: Version | None, version: Version | None
) -> None:
    found = read_plugin([daemonset(PLUGIN, image, A="b")], None, to_be)
    assert found.version == version
