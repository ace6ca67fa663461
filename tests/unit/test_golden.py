# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Golden values: rendered files, their hashes and their keys, byte for byte.

Fleets carry these hashes in annotations and these keys in labels. If one of them changes, every
node of such a fleet restarts its device plugin.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.hashing import config_hash
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.keys import config_key
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.plugin import (
    Plugin,
    operator_plugin,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rendering import (
    to_plugin_config,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    parse_profile,
)


class Golden(NamedTuple):
    definition: Any
    hash: str
    file: str
    mig_strategy: str = "single"
    operator: bool = True  # the GPU Operator runs the plugin, and its environment wins over flags


GOLDEN = {
    "none": Golden({"replicas": 1}, "f6586708ae18", ("version: v1\n")),
    "none-by-strategy": Golden({"strategy": "none"}, "f6586708ae18", ("version: v1\n")),
    "short": Golden(
        {"replicas": 4},
        "cba137d5d1f5",
        (
            "version: v1\n"
            "sharing:\n"
            "  timeSlicing:\n"
            "    renameByDefault: false\n"
            "    failRequestsGreaterThanOne: true\n"
            "    resources:\n"
            "    - name: nvidia.com/gpu\n"
            "      replicas: 4\n"
        ),
    ),
    "survey": Golden(
        {"replicas": "4", "rename_by_default": "yes", "fail_requests_greater_than_one": "off"},
        "e54b7ef5e684",
        (
            "version: v1\n"
            "sharing:\n"
            "  timeSlicing:\n"
            "    renameByDefault: true\n"
            "    failRequestsGreaterThanOne: false\n"
            "    resources:\n"
            "    - name: nvidia.com/gpu\n"
            "      replicas: 4\n"
        ),
    ),
    "renamed": Golden(
        {"replicas": 8, "rename_by_default": True},
        "1dfaefdaf803",
        (
            "version: v1\n"
            "sharing:\n"
            "  timeSlicing:\n"
            "    renameByDefault: true\n"
            "    failRequestsGreaterThanOne: true\n"
            "    resources:\n"
            "    - name: nvidia.com/gpu\n"
            "      replicas: 8\n"
        ),
    ),
    "mps": Golden(
        {"strategy": "mps", "replicas": 10},
        "fe1eb1ad259e",
        (
            "version: v1\n"
            "sharing:\n"
            "  mps:\n"
            "    renameByDefault: false\n"
            "    failRequestsGreaterThanOne: true\n"
            "    resources:\n"
            "    - name: nvidia.com/gpu\n"
            "      replicas: 10\n"
        ),
    ),
    "mig-layout": Golden(
        {"replicas": 2, "mig": "all-1g.5gb"},
        "36cbfc9d8fd2",
        (
            "version: v1\n"
            "sharing:\n"
            "  timeSlicing:\n"
            "    renameByDefault: false\n"
            "    failRequestsGreaterThanOne: true\n"
            "    resources:\n"
            "    - name: nvidia.com/gpu\n"
            "      replicas: 2\n"
        ),
    ),
    "mig-resources": Golden(
        {
            "resources": [
                {"name": "gpu", "replicas": 3},
                {"name": "nvidia.com/mig-1g.5gb", "replicas": 2},
            ]
        },
        "b383e7a807bd",
        (
            "version: v1\n"
            "sharing:\n"
            "  timeSlicing:\n"
            "    renameByDefault: false\n"
            "    failRequestsGreaterThanOne: true\n"
            "    resources:\n"
            "    - name: nvidia.com/gpu\n"
            "      replicas: 3\n"
            "    - name: nvidia.com/mig-1g.5gb\n"
            "      replicas: 2\n"
        ),
        mig_strategy="mixed",
    ),
    "text": Golden(
        (
            "# shared by the team\n"
            "version: v1\n"
            "sharing:\n"
            "  timeSlicing:\n"
            "    resources:\n"
            "      - name: nvidia.com/gpu\n"
            "        replicas: 0x10\n"
        ),
        "cf76eb6c7fd7",
        (
            "version: v1\n"
            "sharing:\n"
            "  timeSlicing:\n"
            "    renameByDefault: false\n"
            "    failRequestsGreaterThanOne: false\n"
            "    resources:\n"
            "    - name: nvidia.com/gpu\n"
            "      replicas: 16\n"
        ),
    ),
    "plugin-keys": Golden(
        {
            "version": "v1",
            "sharing": {
                "timeSlicing": {
                    "renameByDefault": False,
                    "resources": [{"name": "nvidia.com/gpu", "replicas": 4}],
                }
            },
        },
        "0622cbe25773",
        (
            "version: v1\n"
            "sharing:\n"
            "  timeSlicing:\n"
            "    renameByDefault: false\n"
            "    failRequestsGreaterThanOne: false\n"
            "    resources:\n"
            "    - name: nvidia.com/gpu\n"
            "      replicas: 4\n"
        ),
    ),
    "mps-plugin-keys": Golden(
        {
            "sharing": {"mps": {"resources": [{"name": "gpu", "replicas": 2}]}},
            "mig": "all-disabled",
        },
        "e4039a902ef2",
        (
            "version: v1\n"
            "sharing:\n"
            "  mps:\n"
            "    renameByDefault: false\n"
            "    failRequestsGreaterThanOne: true\n"
            "    resources:\n"
            "    - name: nvidia.com/gpu\n"
            "      replicas: 2\n"
        ),
    ),
    "flags": Golden(
        {
            "flags": {
                "gdsEnabled": True,
                "mofedEnabled": False,
                "plugin": {"cdiAnnotationPrefix": "cdi.k8s.io/"},
                "gfd": {"noTimestamp": True, "outputFile": "y"},
            }
        },
        "a6607ec0bc2e",
        (
            "version: v1\n"
            "flags:\n"
            "  gdsEnabled: true\n"
            "  mofedEnabled: false\n"
            "  plugin:\n"
            "    cdiAnnotationPrefix: cdi.k8s.io/\n"
            "  gfd:\n"
            "    noTimestamp: true\n"
            '    outputFile: "y"\n'
        ),
    ),
    "all-flags": Golden(
        {
            "flags": {
                "migStrategy": "none",
                "failOnInitError": True,
                "plugin": {"deviceListStrategy": ["envvar", "cdi-cri"], "passDeviceSpecs": True},
                "gfd": {"sleepInterval": "1m30s"},
            },
            "sharing": {
                "timeSlicing": {
                    "failRequestsGreaterThanOne": True,
                    "resources": [{"name": "gpu", "replicas": 3}],
                }
            },
        },
        "78a5236caa1a",
        (
            "version: v1\n"
            "flags:\n"
            "  migStrategy: none\n"
            "  failOnInitError: true\n"
            "  plugin:\n"
            "    passDeviceSpecs: true\n"
            "    deviceListStrategy:\n"
            "    - envvar\n"
            "    - cdi-cri\n"
            "  gfd:\n"
            "    sleepInterval: 1m30s\n"
            "sharing:\n"
            "  timeSlicing:\n"
            "    renameByDefault: false\n"
            "    failRequestsGreaterThanOne: true\n"
            "    resources:\n"
            "    - name: nvidia.com/gpu\n"
            "      replicas: 3\n"
        ),
        operator=False,
    ),
    "longest-interval": Golden(
        ("flags: {gfd: {sleepInterval: 9223372036854775807ns}}"),
        "1dbf333de48c",
        ("version: v1\nflags:\n  gfd:\n    sleepInterval: infinite\n"),
        operator=False,
    ),
    "imex": Golden(
        {"imex": {"channelIDs": [0], "required": True}},
        "bf45bdf843bd",
        ("version: v1\nimex:\n  channelIDs:\n  - 0\n  required: true\n"),
    ),
    "no-imex": Golden(
        {
            "imex": {"channelIDs": []},
            "sharing": {"timeSlicing": {"resources": [{"name": "gpu", "replicas": 2}]}},
        },
        "d0841ade9934",
        (
            "version: v1\n"
            "sharing:\n"
            "  timeSlicing:\n"
            "    renameByDefault: false\n"
            "    failRequestsGreaterThanOne: false\n"
            "    resources:\n"
            "    - name: nvidia.com/gpu\n"
            "      replicas: 2\n"
        ),
    ),
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": Golden(
        {"replicas": 2},
        "36cbfc9d8fd2",
        (
            "version: v1\n"
            "sharing:\n"
            "  timeSlicing:\n"
            "    renameByDefault: false\n"
            "    failRequestsGreaterThanOne: true\n"
            "    resources:\n"
            "    - name: nvidia.com/gpu\n"
            "      replicas: 2\n"
        ),
    ),
    "A.b_c-9": Golden(
        {"replicas": 1000000, "fail_requests_greater_than_one": False},
        "a6dc797fb87d",
        (
            "version: v1\n"
            "sharing:\n"
            "  timeSlicing:\n"
            "    renameByDefault: false\n"
            "    failRequestsGreaterThanOne: false\n"
            "    resources:\n"
            "    - name: nvidia.com/gpu\n"
            "      replicas: 1000000\n"
        ),
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_file_and_hash(name: str) -> None:
    golden = GOLDEN[name]
    plugin = operator_plugin(golden.mig_strategy) if golden.operator else Plugin()
    profile = parse_profile(name, golden.definition, plugin)
    text = to_plugin_config(profile)
    assert text.encode() == golden.file.encode()
    assert config_hash(text) == golden.hash
    assert config_key(profile, versioned=False) == name
    assert config_key(profile, versioned=True) == f"{name}.{golden.hash[:8]}"


def test_hash_of_a_file_that_the_plugin_rejects_is_that_of_its_bytes() -> None:
    assert config_hash("{") == "021fb596db81"
    assert config_hash("version: v1\nunknown: 1\n") == "0d90914481b8"
