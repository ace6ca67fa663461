# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""MPS, MIG and time-slicing on nodes of every kind: each test goes on where the one before has
stopped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.capacity import (
    expected_allocatable,
    physical_devices,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    checked_profiles,
)
from ansible_collections.gpufleet.sharing.tests.integration.answers import naming, texts_of
from ansible_collections.gpufleet.sharing.tests.integration.labtools import (
    ROOT,
    Lab,
    Run,
    boot,
    remains,
    shut_down,
    write_inventory,
)
from ansible_collections.gpufleet.sharing.tests.integration.modules import (
    Wanted,
    applied,
    call,
    differing,
    planned,
)

MIG_STATE = "nvidia.com/mig.config.state"
FLEET = ROOT / "tests" / "lab" / "fleets" / "mig.yml"
PROFILES: dict[str, Any] = {
    "default": {"replicas": 1},
    "four": {"replicas": 4},
    "renamed": {"replicas": 4, "rename_by_default": True},
    "mps": {"strategy": "mps", "replicas": 16},
    "sliced": {"replicas": 2, "mig": "all-1g.10gb"},
    "whole": {"replicas": 2, "mig": "all-disabled"},
    "typo": {"replicas": 2, "mig": "all-9g.90gb"},
    "own-keys": "sharing: {timeSlicing: {resources: [{name: gpu, replicas: 3}]}}",
}
MIG_NAMES = ["nvidia.com/mig-1g.10gb", "mixed", "mig.strategy", "single"]
MIXED = {
    "default": {"replicas": 1},
    "four": {"replicas": 4},
    "small": {"resources": [{"name": "mig-1g.10gb", "replicas": 2}]},
    "renamed": {
        "rename_by_default": True,
        "resources": [{"name": "mig-1g.10gb", "replicas": 3}, {"name": "gpu", "replicas": 2}],
    },
}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    booted = boot(f"strategies-{os.getpid()}", FLEET)
    yield booted
    shut_down(booted)


def groups_of(nodes: Mapping[str, str | None]) -> dict[str, Any]:
    """Each node in a group of its own."""
    return {
        f"of_{node.replace('-', '_')}": {
            "hosts": {node: {}},
            "vars": {"gpu_sharing_profile": profile} if profile else {},
        }
        for node, profile in nodes.items()
    }


def values_of(strategy: str, version: str) -> dict[str, Any]:
    return {"mig": {"strategy": strategy}, "devicePlugin": {"version": version}}


def site(lab: Lab, folder: Path, nodes: Mapping[str, str | None]) -> Run:
    """Run the playbook."""
    inventory = write_inventory(folder, groups_of(nodes), {"gpu_sharing_profiles": PROFILES})
    values = {"gpu_operator_values": values_of("single", "v0.19.3")}
    return lab.playbook("site", inventory, variables=values)


def asking(
    nodes: Mapping[str, str | None],
    profiles: Mapping[str, Any] | None = None,
    strategy: str = "single",
    version: str = "v0.19.3",
) -> Wanted:
    """The same for the modules of site."""
    return Wanted(groups_of(nodes), profiles or PROFILES, values=values_of(strategy, version))


def agrees(
    lab: Lab, nodes: Mapping[str, str | None], profiles: Mapping[str, Any]
) -> dict[str, dict[str, int]]:
    """What the filter expects of each node is what the node has. Returns it."""
    found = {}
    for document in lab.json("nodes")["items"]:
        name, labels = document["metadata"]["name"], document["metadata"]["labels"]
        if name not in nodes:
            continue
        profile = checked_profiles(profiles)[nodes[name] or "default"]
        devices = physical_devices(NodeState(name, labels), None)
        expected = expected_allocatable(profile, devices)
        allocatable = document["status"]["allocatable"]
        actual = {resource: int(allocatable.get(resource, 0)) for resource in expected}
        assert actual == expected, name
        found[name] = {resource: slots for resource, slots in expected.items() if slots}
    return found


@contextmanager
def mig_state(lab: Lab, node: str, state: str) -> Iterator[None]:
    """Say for a while what only NVIDIA's MIG manager says."""
    lab.kubectl("label", "node", node, f"{MIG_STATE}={state}", "--overwrite")
    yield
    lab.kubectl("label", "node", node, f"{MIG_STATE}=success", "--overwrite")


def labels(lab: Lab, node: str) -> dict[str, str]:
    return dict(lab.json("node", node)["metadata"]["labels"])


def test_mps_time_slicing_and_mig_strategy_single(lab: Lab) -> None:
    nodes = {"whole-01": "mps", "alike-01": "four", "old-01": "renamed"}
    applied(lab, asking(nodes)).succeeded()
    assert agrees(lab, nodes, PROFILES) == {
        "whole-01": {"nvidia.com/gpu": 32},
        "alike-01": {"nvidia.com/gpu": 56},  # 2 GPUs, 7 devices each, 4 slots
        "old-01": {"nvidia.com/gpu.shared": 4},
    }
    assert labels(lab, "whole-01")["nvidia.com/gpu.sharing-strategy"] == "mps"
    assert differing(lab, asking(nodes)) == []


def test_no_sharing_mps_on_an_old_card_and_the_plugins_own_keys(lab: Lab) -> None:
    nodes = {"whole-01": "own-keys", "alike-01": None, "old-01": "mps"}
    applied(lab, asking(nodes)).succeeded()
    assert agrees(lab, nodes, PROFILES) == {
        "whole-01": {"nvidia.com/gpu": 6},
        "alike-01": {"nvidia.com/gpu": 14},
        "old-01": {"nvidia.com/gpu": 16},
    }


def test_what_a_node_cannot_do_by_mps_is_refused_before_any_write(lab: Lab) -> None:
    more = PROFILES | {"mps": {"strategy": "mps", "replicas": 17}}
    lab.forget_requests()
    run = applied(lab, asking({"old-01": "mps", "alike-01": "mps"}, more))
    run.fails_with("old-01", "mps", 17, 16, "7.0")  # replicas, clients, compute capability
    run.fails_with("alike-01", "mps", "MIG")
    assert lab.writes() == []


def test_mig_by_profile_in_check_mode_writes_nothing(lab: Lab) -> None:
    lab.forget_requests()
    run = planned(lab, asking({"whole-01": "sliced"})).succeeded()
    run.names("after", "whole-01", "all-1g.10gb").names("after", "whole-01", "sliced")
    assert lab.writes() == []


@pytest.mark.full("another case of MIG")
def test_mig_by_profile_cuts_the_gpus_before_the_label_moves(lab: Lab, tmp_path: Path) -> None:
    nodes = {"whole-01": "sliced", "alike-01": "whole"}
    lab.forget_requests()
    site(lab, tmp_path, nodes).succeeded()
    assert agrees(lab, nodes, PROFILES) == {
        "whole-01": {"nvidia.com/gpu": 28},
        "alike-01": {"nvidia.com/gpu": 4},
    }
    writes = [request for request in lab.writes() if "/nodes/whole-01" in request]
    assert len(writes) == 3  # MIG, the profile's label, the note of what is loaded
    assert differing(lab, asking(nodes)) == []


@pytest.mark.full("another case of MIG")
def test_mig_configuration_that_does_not_exist_leaves_the_profile_alone(lab: Lab) -> None:
    run = applied(lab, asking({"whole-01": "typo"}))
    run.fails_with("whole-01", MIG_STATE, "failed")
    assert labels(lab, "whole-01")["nvidia.com/device-plugin.config"] == "sliced"
    # MPS has to be gone before MIG strategy mixed comes: the plugin refuses to start with both
    applied(lab, asking({"whole-01": "sliced", "old-01": None})).succeeded()


@pytest.mark.full("another case of MIG")
def test_profile_is_not_changed_while_the_mig_manager_is_at_work(lab: Lab, tmp_path: Path) -> None:
    with mig_state(lab, "whole-01", "pending"):
        lab.forget_requests()
        applied(lab, asking({"whole-01": "four"})).succeeded().names("maintenance", "whole-01")
        assert not [request for request in lab.writes() if "/nodes/" in request]
        inventory = write_inventory(tmp_path, {"gpus": {"hosts": {"whole-01": {}}}})
        lab.forget_requests()
        lab.playbook("uninstall", inventory).fails_with("MIG", "whole-01")
        assert lab.writes() == []


@pytest.mark.full("another case of MIG")
def test_other_mig_configuration_waits_for_the_mig_manager(lab: Lab) -> None:
    with mig_state(lab, "whole-01", "rebooting"):
        lab.forget_requests()
        applied(lab, asking({"whole-01": "whole"})).succeeded().names("maintenance", "whole-01")
        assert not [request for request in lab.writes() if "/nodes/" in request]


@pytest.mark.full("another case of MIG")
def test_failed_mig_configuration_is_set_anew(lab: Lab) -> None:
    with mig_state(lab, "whole-01", "failed"):
        applied(lab, asking({"whole-01": "sliced"})).succeeded()
        assert labels(lab, "whole-01")[MIG_STATE] == "success"
        assert agrees(lab, {"whole-01": "sliced"}, PROFILES) == {"whole-01": {"nvidia.com/gpu": 28}}


@pytest.mark.full("another case of MIG")
def test_not_ready_node_keeps_its_profile_until_it_can_be_cut(lab: Lab) -> None:
    nodes = {"whole-01": "whole"}
    lab.kubectl("annotate", "node", "whole-01", "lab.gpufleet.sharing/ready=false")
    lab.kubectl("wait", "--for=condition=Ready=false", "node/whole-01", "--timeout=60s")
    applied(lab, asking(nodes)).succeeded().names("unavailable", "whole-01")
    found = labels(lab, "whole-01")
    assert found["nvidia.com/device-plugin.config"] == "sliced"
    assert found["nvidia.com/mig.config"] == "all-1g.10gb"
    lab.kubectl("annotate", "node", "whole-01", "lab.gpufleet.sharing/ready-")
    lab.kubectl("wait", "--for=condition=Ready", "node/whole-01", "--timeout=60s")
    applied(lab, asking(nodes)).succeeded()
    assert agrees(lab, nodes, PROFILES) == {"whole-01": {"nvidia.com/gpu": 4}}


@pytest.mark.full("another case of MIG")
def test_card_without_mig_needs_no_mig_turned_off(lab: Lab) -> None:
    nodes = {"old-01": "whole"}
    applied(lab, asking(nodes)).succeeded()
    assert agrees(lab, nodes, PROFILES) == {"old-01": {"nvidia.com/gpu": 2}}
    assert "nvidia.com/mig.config" not in labels(lab, "old-01")
    run = applied(lab, asking({"old-01": "sliced"}))
    run.fails_with("old-01", "all-1g.10gb", "MIG")


@pytest.mark.full("another case of MIG")
def test_from_mig_to_mps_in_one_run(lab: Lab) -> None:
    mps = {"strategy": "mps", "replicas": 49, "mig": "all-disabled"}
    applied(lab, asking({"whole-01": "sliced"})).succeeded()
    lab.forget_requests()
    run = applied(lab, asking({"whole-01": "mps"}, PROFILES | {"mps": mps}))
    run.fails_with("mps", 49, "MPS", 2, 48)
    assert lab.writes() == []
    fewer = PROFILES | {"mps": mps | {"replicas": 6}}
    applied(lab, asking({"whole-01": "mps"}, fewer)).succeeded()
    assert agrees(lab, {"whole-01": "mps"}, fewer) == {"whole-01": {"nvidia.com/gpu": 12}}
    applied(lab, asking({"whole-01": "sliced"})).succeeded()  # no MPS before strategy mixed


@pytest.mark.full("another case of MIG")
def test_mig_strategy_mixed_shares_devices_by_name(lab: Lab) -> None:
    """The strategy is set by the same run that brings the profiles."""
    nodes = {"whole-01": "small", "balanced-01": "renamed", "alike-01": "four", "empty-01": None}
    applied(lab, asking(nodes, MIXED, "mixed")).succeeded()
    assert agrees(lab, nodes, MIXED) == {
        "whole-01": {"nvidia.com/mig-1g.10gb": 28},
        "balanced-01": {
            "nvidia.com/mig-1g.10gb.shared": 6,
            "nvidia.com/mig-2g.20gb": 1,
            "nvidia.com/mig-3g.40gb": 1,
        },
        "alike-01": {"nvidia.com/gpu": 8},  # no longer cut
        "empty-01": {},
    }


def test_profile_that_only_another_strategy_advertises_is_refused(lab: Lab) -> None:
    lab.forget_requests()
    run = applied(lab, asking({"whole-01": "small"}, MIXED))
    run.fails_with("small", "nvidia.com/mig-1g.10gb", "mixed")
    mps = {"default": {"strategy": "mps", "replicas": 2}}
    run = applied(lab, asking({"alike-01": None}, mps, "mixed"))
    run.fails_with("default", "MPS", "mixed")
    assert lab.writes() == []


def test_setting_that_the_plugin_is_too_old_for_is_refused(lab: Lab) -> None:
    policy = {"flags": {"plugin": {"sharedDevicesAllocationPolicy": "packed"}}}
    run = applied(lab, asking({"alike-01": None}, {"default": policy}, "mixed"))
    run.fails_with("flags.plugin.sharedDevicesAllocationPolicy", "v0.20.0", "v0.19.3")


@pytest.mark.full("an old plugin; unit tests have the rule")
def test_label_is_set_instead_of_removed_where_the_plugin_would_not_notice(lab: Lab) -> None:
    """Plugins before v0.18.2 miss the removal."""
    old = (MIXED, "mixed", "v0.18.1")
    applied(lab, asking({"alike-01": "four"}, *old)).succeeded()
    applied(lab, asking({"alike-01": None}, *old)).succeeded()
    assert labels(lab, "alike-01")["nvidia.com/device-plugin.config"] == "default"
    assert agrees(lab, {"alike-01": None}, MIXED) == {"alike-01": {"nvidia.com/gpu": 2}}
    assert differing(lab, asking({"alike-01": None}, *old)) == []


@pytest.mark.full("another case of MIG")
def test_uninstall_brings_the_mig_configuration_back(lab: Lab, tmp_path: Path) -> None:
    nodes = ("whole-01", "alike-01", "balanced-01", "empty-01", "old-01")
    hosts: dict[str, Any] = {node: {} for node in nodes}
    groups = {"gpus": {"hosts": hosts}}
    inventory = write_inventory(tmp_path, groups, {"gpu_sharing_profiles": MIXED})
    lab.playbook("uninstall", inventory).succeeded()
    assert labels(lab, "whole-01")["nvidia.com/mig.config"] == "all-disabled"
    assert labels(lab, "alike-01")["nvidia.com/mig.config"] == "all-1g.10gb"
    assert remains(lab) == []


@pytest.mark.full("a whole run of validate")
def test_validate_needs_no_cluster(lab: Lab, tmp_path: Path) -> None:
    groups = {
        "big": {"hosts": {"b-01": {}, "b-02": {}}, "vars": {"gpu_sharing_gpus": 8}},
        "cut": {"hosts": {"c-01": {}}, "vars": {"gpu_sharing_profile": "sliced"}},
    }
    nowhere = {"KUBECONFIG": None, "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    inventory = write_inventory(tmp_path / "good", groups, {"gpu_sharing_profiles": PROFILES})
    run = lab.playbook("validate", inventory, environ=nowhere).succeeded()
    run.names("big", "default", 2, "none", 1, "nvidia.com/gpu", 16)
    run.names("cut", "sliced", 1, "time-slicing", "all-1g.10gb")
    text = {"gpu_operator_values": "x"}
    run = lab.playbook("validate", inventory, environ=nowhere, variables=text)
    run.fails_with("gpu_operator_values")
    small = {"gpu_sharing_profiles": {"default": MIXED["small"], "sliced": PROFILES["sliced"]}}
    single = write_inventory(tmp_path / "single", groups, small)
    lab.playbook("validate", single, environ=nowhere).fails_with(*MIG_NAMES)
    existing = {"gpu_operator_manage": "existing"}  # its strategy is not known then
    lab.playbook("validate", single, environ=nowhere, variables=existing).succeeded()


@pytest.mark.full("a whole run of validate")
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"profiles": PROFILES | {"default": {"replicas": 0}}}, ["default", "replicas", 0]),
        ({"profiles": {"default": {"replicas": 2}}}, ["c-01", "sliced", "default"]),
        ({}, MIG_NAMES),
        ({"mig_strategy": "mixed"}, []),
    ],
    ids=["profile", "undefined", "single", "mixed"],
)
def test_what_validate_checks(lab: Lab, changes: dict[str, Any], named: list[str]) -> None:
    small = {"default": MIXED["small"], "sliced": PROFILES["sliced"]}
    given: dict[str, Any] = {"nodes": [{"name": "c-01", "profile": "sliced"}]}
    given |= {"default_profile": "default"}
    given |= {"profiles": small, "mig_strategy": "single"}
    answer = call(lab, "assignment_info", given | changes)
    assert bool(answer.get("failed")) == bool(named)
    if named:
        assert naming(texts_of(answer), *named)
