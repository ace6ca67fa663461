# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Capacity: the slots a node should have with a profile, and the verdict on those it has."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import SharingError
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.capacity import (
    REPLICAS_LABEL,
    Verdict,
    expected_allocatable,
    judge,
    labels_fit,
    mps_problem,
    physical_devices,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import (
    NodeState,
    node_metadata,
    node_state,
    read_quantity,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.model import (
    NO_MIG,
    Profile,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    parse_profile,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

GPU = "nvidia.com/gpu"
SHARED = "nvidia.com/gpu.shared"
MIG = "nvidia.com/mig-1g.5gb"
NONE = Profile("none")
FOUR = parse_profile("four", {"replicas": 4})
RENAMED = parse_profile("renamed", {"replicas": 4, "rename_by_default": True})
MIXED = parse_profile("mixed", {"resources": [{"name": MIG, "replicas": 2}]})
COUNT_2 = {"nvidia.com/gpu.count": "2"}
CUT = {"nvidia.com/mig.strategy": "single", "nvidia.com/gpu.product": "A100-MIG-1g.5gb-SHARED"}
MIXED_7 = {"nvidia.com/mig.strategy": "mixed", "nvidia.com/mig-1g.5gb.count": "7"}
ALL_CUT = {**COUNT_2, **MIXED_7, "nvidia.com/gpu.replicas": "0"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8", 8),
        (8, 8),
        ("8k", 8000),
        ("0", 0),
        ("1M", 10**6),
        ("1Ki", 1024),
        ("2Ei", 2 * 2**60),
        ("1e3", 1000),
        ("1E3", 1000),
        ("5e-1", 1),
        ("1E", 10**18),
        ("1.5", 2),
        ("500m", 1),
        (".5k", 500),
        ("+3", 3),
        ("-1", -1),
    ],
)
def test_read_quantity(text: object, expected: int) -> None:
    assert read_quantity(text) == expected


@pytest.mark.parametrize("text", ["", None, "x", "1 k", "1kk", "1ki", "1e", "0x8", "1Kie3", "."])
def test_read_quantity_unknown_is_not_zero(text: object) -> None:
    with pytest.raises(SharingError, match=re.escape(f"'{text}'")):
        read_quantity(text)


def test_node_state_of_a_metadata_only_list_is_unknown_not_zero() -> None:
    document = {"metadata": {"name": "n", "labels": {"nvidia.com/gpu.count": "2"}}}
    with pytest.raises(SharingError, match=r"\bn\b"):
        node_state(document)
    found = node_metadata(document)
    assert (found.name, found.has_gpus) == ("n", True)
    assert not node_metadata({"metadata": {"name": "n"}}).has_gpus


@pytest.mark.parametrize(
    ("labels", "allocatable", "expected"),
    [
        ({}, {}, False),
        ({"nvidia.com/gpu.present": "true"}, {}, True),
        ({"nvidia.com/gpu.present": "false"}, {}, False),
        ({"nvidia.com/gpu.count": "1"}, {}, True),
        ({}, {GPU: 0}, False),
        ({}, {GPU: 1}, True),
        ({}, {"nvidia.com/gpu.shared": 4}, True),
        ({}, {"nvidia.com/mig-1g.24gb-me": 2}, True),
        ({}, {"nvidia.com/hostdev": 8}, False),
        ({}, {"nvidia.com/GA102GL_A10": 1}, False),
    ],
)
def test_has_gpus(labels: dict[str, str], allocatable: dict[str, int], expected: bool) -> None:
    assert NodeState("n", labels, {}, allocatable).has_gpus is expected


@pytest.mark.parametrize(
    ("labels", "stated", "expected"),
    [
        ({}, None, {}),
        ({}, 4, {GPU: 4}),
        (COUNT_2, None, {GPU: 2}),
        (COUNT_2, 4, {GPU: 4}),
        ({"nvidia.com/gpu.count": "many"}, None, {}),
        # MIG strategy single: MIG devices in the place of GPUs, whatever the inventory states
        ({**CUT, "nvidia.com/gpu.count": "14"}, 2, {GPU: 14}),
        # mixed: all GPUs cut, some cut (labels do not tell how many), none cut
        ({**COUNT_2, **MIXED_7, "nvidia.com/gpu.replicas": "0"}, None, {GPU: 0, MIG: 7}),
        ({**COUNT_2, **MIXED_7, "nvidia.com/gpu.replicas": "1"}, 2, {MIG: 7}),
        ({**COUNT_2, "nvidia.com/mig.strategy": "mixed"}, None, {GPU: 2}),
        ({**MIXED_7, "nvidia.com/mig-1g.5gb.count": "x"}, None, {}),
    ],
)
def test_physical_devices(
    labels: dict[str, str], stated: int | None, expected: dict[str, int]
) -> None:
    assert physical_devices(NodeState("n", labels), stated) == expected


@pytest.mark.parametrize(
    ("profile", "devices", "expected"),
    [
        (NONE, {GPU: 2}, {GPU: 2, SHARED: 0}),
        (FOUR, {GPU: 2}, {GPU: 8, SHARED: 0}),
        (RENAMED, {GPU: 2}, {GPU: 0, SHARED: 8}),
        (MIXED, {GPU: 1, MIG: 7}, {GPU: 1, SHARED: 0, MIG: 14, MIG + ".shared": 0}),
        (FOUR, {}, {}),
    ],
)
def test_expected_allocatable(
    profile: Profile, devices: dict[str, int], expected: dict[str, int]
) -> None:
    assert expected_allocatable(profile, devices) == expected


@pytest.mark.parametrize(
    ("profile", "allocatable", "stated", "resource", "expected", "facts"),
    [
        (NONE, {GPU: 2}, None, GPU, 2, ()),
        (NONE, {GPU: 8}, None, GPU, 2, (GPU, 8, 2)),
        (FOUR, {GPU: 8}, None, GPU, 8, ()),
        (FOUR, {GPU: 8}, 2, GPU, 8, ()),
        (FOUR, {GPU: 2}, None, GPU, 8, (GPU, 2, 8)),
        (FOUR, {}, None, GPU, 8, (GPU, 0, 8)),
        (FOUR, {GPU: 8, SHARED: 8}, None, GPU, 8, (SHARED, 8, 0)),
        (RENAMED, {GPU: 0, SHARED: 8}, None, SHARED, 8, ()),
        (RENAMED, {SHARED: 8}, None, SHARED, 8, ()),
        (RENAMED, {GPU: 8}, None, SHARED, 8, (SHARED, 0, 8)),
        (RENAMED, {GPU: 2, SHARED: 8}, None, SHARED, 8, (GPU, 2, 0)),
        (
            FOUR,
            {GPU: 12},
            3,
            GPU,
            12,
            ("gpus", 3, 2),
        ),
    ],
)
def test_judge_compares(
    profile: Profile,
    allocatable: dict[str, int],
    stated: int | None,
    resource: str,
    expected: int,
    facts: tuple[object, ...],
) -> None:
    verdict = judge(NodeState("n", COUNT_2, {}, allocatable), profile, stated)
    assert (verdict.resource, verdict.expected) == (resource, expected)
    assert mentions(verdict.problem, *facts)
    assert verdict.physical == (stated or 2)
    assert verdict.actual == allocatable.get(resource, 0)
    assert verdict.ok is not bool(facts)


def test_judge_unknown_gpus() -> None:
    verdict = judge(NodeState("n", {}, {}, {GPU: 2}), FOUR, None)
    assert mentions(verdict.problem, "nvidia.com/gpu.count")
    assert verdict == Verdict("n", None, GPU, None, 2, verdict.problem)


def test_judge_believes_inventory_without_label() -> None:
    assert judge(NodeState("n", {}, {}, {GPU: 8}), FOUR, 2).ok


def test_judge_not_ready() -> None:
    node = NodeState("n", COUNT_2, {}, {GPU: 8}, ready=False)
    assert mentions(judge(node, FOUR, None).problem, "NotReady")


@pytest.mark.parametrize("name", ["1g.24gb-me", "1g.24gb.me", "1g.24gb.me.all", "1g.24gb.gfx"])
def test_judge_knows_mig_devices_with_attributes(name: str) -> None:
    resource = f"nvidia.com/mig-{name}"
    profile = parse_profile("p", {"resources": [{"name": resource, "replicas": 2}]})
    labels = {**ALL_CUT, f"{resource}.count": "8", f"{resource}.replicas": "2"}
    del labels["nvidia.com/mig-1g.5gb.count"]
    none, all_of_them = (
        judge(NodeState("n", labels, {}, {GPU: 0, resource: slots}), profile, None)
        for slots in (0, 16)
    )
    assert (none.physical, none.expected, none.actual) == (8, 16, 0)
    assert mentions(none.problem, resource, 0, 16)
    assert all_of_them.ok
    label = {**labels, f"{resource}.sharing-strategy": "time-slicing"}
    for configuration in (name, name.replace(".me", "+me", 1).replace(".gfx", "+gfx")):
        cut = replace(profile, mig=f"all-{configuration}")
        assert labels_fit(NodeState("n", label), cut)
        assert not labels_fit(NodeState("n", COUNT_2 | {"nvidia.com/mig.strategy": "mixed"}), cut)


CUT_WHOLE = {**COUNT_2, "nvidia.com/gpu.replicas": "0", "nvidia.com/mig.strategy": "mixed"}
ONE, TEN = "nvidia.com/mig-1g.5gb", "nvidia.com/mig-1g.10gb"


@pytest.mark.parametrize(
    ("labels", "allocatable", "shared", "missing", "ok"),
    [
        pytest.param(
            {**COUNT_2, "nvidia.com/gpu.replicas": "1"}, {GPU: 2}, [ONE], (ONE,), False, id="no MIG"
        ),
        pytest.param(
            {
                **COUNT_2,
                "nvidia.com/gpu.replicas": "0",
                "nvidia.com/mig.strategy": "mixed",
                f"{TEN}.count": "7",
            },
            {TEN: 7},
            [ONE],
            (ONE,),
            False,
            id="other MIG devices",
        ),
        pytest.param(COUNT_2, {GPU: 8}, [GPU, ONE], (ONE,), True, id="a file for several kinds"),
        pytest.param(MIXED_7 | COUNT_2, {GPU: 4, ONE: 28}, [GPU, ONE], (), True, id="GPUs unknown"),
        pytest.param(COUNT_2, {GPU: 8}, [GPU], (), True, id="all there"),
    ],
)
def test_judge_tells_what_a_profile_shares_and_a_node_does_not_have(
    labels: dict[str, str],
    allocatable: dict[str, int],
    shared: list[str],
    missing: tuple[str, ...],
    ok: bool,
) -> None:
    resources = [{"name": name, "replicas": 4} for name in shared]
    verdict = judge(
        NodeState("n", labels, {}, allocatable), parse_profile("p", {"resources": resources}), None
    )
    assert (verdict.missing, verdict.ok) == (missing, ok)
    assert ok or mentions(verdict.problem, *missing)


@pytest.mark.parametrize(
    ("labels", "allocatable", "profile", "verdict", "facts"),
    [
        (ALL_CUT, {GPU: 0, MIG: 14}, MIXED, (MIG, 7, 14, 14), ()),
        (ALL_CUT, {GPU: 0, MIG: 7}, MIXED, (MIG, 7, 14, 7), (MIG, 7, 14)),
        (ALL_CUT, {MIG: 7}, NONE, (MIG, 7, 7, 7), ()),
        (ALL_CUT, {MIG: 7}, FOUR, (MIG, 7, 7, 7), (GPU, MIG)),  # it shares what is not there
        (ALL_CUT, {GPU: 2, MIG: 7}, FOUR, (MIG, 7, 7, 7), (GPU, 2, 0)),
        (
            {**CUT, "nvidia.com/gpu.count": "14"},
            {GPU: 56},
            FOUR,
            (GPU, 14, 56, 56),
            (),
        ),
        (
            {"nvidia.com/gpu.count": "0", "nvidia.com/gpu.product": "A100-MIG-INVALID"},
            {GPU: 0},
            FOUR,
            (GPU, 0, 0, 0),
            ("MIG", "single"),
        ),
    ],
)
def test_judge_mig(
    labels: dict[str, str],
    allocatable: dict[str, int],
    profile: Profile,
    verdict: tuple[object, ...],
    facts: tuple[object, ...],
) -> None:
    found = judge(NodeState("n", labels, {}, allocatable), profile, None)
    assert (found.resource, found.physical, found.expected, found.actual) == verdict
    assert bool(found.problem) is bool(facts)
    assert mentions(found.problem, *facts)


@pytest.mark.parametrize(
    ("profile", "mig_replicas", "mig_strategy", "gpu_replicas", "expected"),
    [
        (MIXED, "2", "time-slicing", "0", True),
        (MIXED, "1", "none", "0", False),
        (MIXED, "2", "time-slicing", "1", True),
        (MIXED, "2", "time-slicing", "4", False),
        (FOUR, "1", "none", "4", True),
    ],
)
def test_labels_fit_mig(
    profile: Profile,
    mig_replicas: str,
    mig_strategy: str,
    gpu_replicas: str,
    expected: bool,
) -> None:
    labels = {
        **MIXED_7,
        f"{MIG}.replicas": mig_replicas,
        f"{MIG}.sharing-strategy": mig_strategy,
        f"{GPU}.replicas": gpu_replicas,
    }
    assert labels_fit(NodeState("n", labels), profile) is expected


@pytest.mark.parametrize(
    ("profile", "replicas", "strategy", "expected"),
    [
        (NONE, "1", "none", True),
        (NONE, "1", None, True),
        (NONE, "4", "time-slicing", False),
        (FOUR, "4", "time-slicing", True),
        (FOUR, "4", "mps", False),
        (FOUR, "1", "none", False),
        (FOUR, None, None, False),
        (RENAMED, "4", "time-slicing", True),
    ],
)
def test_labels_fit(
    profile: Profile, replicas: str | None, strategy: str | None, expected: bool
) -> None:
    labels = {REPLICAS_LABEL: replicas, "nvidia.com/gpu.sharing-strategy": strategy}
    present = {name: value for name, value in labels.items() if value is not None}
    assert labels_fit(NodeState("n", present), profile) is expected


@pytest.mark.parametrize(
    ("labels", "mig", "expected"),
    [
        ({}, "all-1g.5gb", True),  # the operator's MIG strategy is none: labels tell nothing
        (CUT, "all-1g.5gb", True),
        (CUT, "all-2g.10gb", False),
        (CUT, "all-disabled", False),
        (MIXED_7, "all-1g.5gb", True),
        (MIXED_7, "all-disabled", False),
        ({"nvidia.com/mig.strategy": "single"}, "all-1g.5gb", False),
        ({"nvidia.com/mig.strategy": "single"}, "all-disabled", True),
        ({"nvidia.com/mig.strategy": "single"}, "our-own", True),
        ({"nvidia.com/mig.strategy": "single"}, None, True),
    ],
)
def test_labels_fit_waits_for_mig(labels: dict[str, str], mig: str | None, expected: bool) -> None:
    profile = Profile("p", mig=mig)
    plain = {"nvidia.com/gpu.replicas": "1", "nvidia.com/mig-1g.5gb.replicas": "1"}
    assert labels_fit(NodeState("n", {**plain, **labels}), profile) is expected


MPS = parse_profile("m", {"strategy": "mps", "replicas": 20})
CAPABILITY = {"nvidia.com/gpu.compute.major": "7", "nvidia.com/gpu.compute.minor": "0"}


@pytest.mark.parametrize(
    ("labels", "profile", "facts"),
    [
        ({}, MPS, ()),
        ({**CAPABILITY, "nvidia.com/gpu.compute.minor": "5"}, MPS, ()),
        ({**CAPABILITY, "nvidia.com/gpu.compute.major": "10"}, MPS, ()),
        (CAPABILITY, MPS, ("20", "MPS", "16", "7.0")),
        (CAPABILITY, FOUR, ()),
        (
            {"nvidia.com/gpu.deploy.gpu-feature-discovery": "false"},
            MPS,
            ("MPS", "nvidia.com/gpu.deploy.gpu-feature-discovery"),
        ),
        (CUT, MPS, ("MPS", "MIG")),
        (MIXED_7, MPS, ("MPS", "MIG")),
        (MIXED_7, FOUR, ()),
    ],
)
def test_mps_problem(labels: dict[str, str], profile: Profile, facts: tuple[str, ...]) -> None:
    problem = mps_problem(NodeState("n", labels), profile)
    assert bool(problem) is bool(facts)
    assert mentions(problem, *facts)


def test_profile_that_turns_mig_off_may_come_to_mps_from_mig() -> None:
    cut = {"nvidia.com/gpu.product": "A100-MIG-1g.5gb", **CAPABILITY}
    content = parse_profile("mps", {"strategy": "mps", "replicas": 17}).content
    node = NodeState("n", cut)
    stays = mps_problem(node, Profile("mps", content))
    assert mentions(stays, "MPS", "MIG")
    leaves = Profile("mps", content, NO_MIG)
    assert mentions(mps_problem(node, leaves), "MPS", "16", "17")
    newer = NodeState("n", cut | {"nvidia.com/gpu.compute.major": "8"})
    assert mps_problem(newer, leaves) == ""
