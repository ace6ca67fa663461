# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes a profile may be brought to, and when."""

from __future__ import annotations

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    FleetError,
    RefusedError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.admission import (
    check_nodes,
    check_not_busy,
    check_present,
    did_you_mean,
    notices_removal,
    waiting_for_mig,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.plugin import Plugin
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    parse_profile,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

PLAIN = parse_profile("plain", {"replicas": 4})
MPS = parse_profile("mps", {"strategy": "mps", "replicas": 20})
CUT = parse_profile("cut", {"replicas": 1, "mig": "all-1g.5gb"})
OLD_GPU = {"nvidia.com/gpu.compute.major": "7", "nvidia.com/gpu.compute.minor": "0"}
CAPABLE = {"nvidia.com/mig.capable": "true"}
AT_WORK = {**CAPABLE, "nvidia.com/mig.config.state": "pending"}
REBOOTING = {**CAPABLE, "nvidia.com/mig.config.state": "rebooting"}
DONE = {
    **CAPABLE,
    "nvidia.com/mig.config": "all-1g.5gb",
    "nvidia.com/mig.config.state": "success",
}


def states(**labels: dict[str, str]) -> dict[str, NodeState]:
    return {name: NodeState(name, found) for name, found in labels.items()}


@pytest.mark.parametrize(
    ("version", "notices"),
    [(None, True), ((0, 18, 1), False), ((0, 18, 2), True), ((0, 20, 0), True), ((1, 0, 0), True)],
)
def test_notices_removal(version: tuple[int, int, int] | None, notices: bool) -> None:
    assert notices_removal(Plugin(version=version)) is notices


@pytest.mark.parametrize(
    ("missing", "meant"),
    [
        ("GPU-Node-01", "gpu-node-01"),
        ("gpu_node_01", "gpu-node-01"),
        ("gpu-node-01.example.com", "gpu-node-01"),
        ("gpunode01", "gpu-node-01"),
        ("ip-10-0-1-2", "ip-10-0-1-2.eu-west-1.compute.internal"),
        ("10.0.0.8", ""),  # the domain of an address is part of it
        ("web-01", ""),
    ],
)
def test_name_that_is_meant(missing: str, meant: str) -> None:
    others = ["gpu-node-01", "ip-10-0-1-2.eu-west-1.compute.internal", "10.1.2.3"]
    found = did_you_mean([missing], others)
    assert bool(found) == bool(meant)
    assert mentions(found, *([meant, missing] if meant else []))


def test_each_node_is_meant_once() -> None:
    found = did_you_mean(["gpu_1", "gpu_2", "gpu_3"], ["gpu-1", "gpu-2"])
    assert mentions(found, "gpu-1 for gpu_1", "gpu-2 for gpu_2")
    assert "gpu_3" not in found


def test_missing_nodes_are_refused_with_what_to_do() -> None:
    check_present([], ["a"], "https://x")
    with pytest.raises(FleetError) as caught:
        check_present(["GPU-1", "b"], ["gpu-1"], "https://x")
    facts = ("GPU-1, b", "https://x", "gpu-1 for GPU-1", "gpu_sharing_node_name")
    assert mentions(caught.value, *facts, "O(unavailable_nodes)")


def test_check_nodes_names_each_that_cannot_be_shared_so() -> None:
    found = states(n2=OLD_GPU, n1=OLD_GPU, n3={})
    with pytest.raises(FleetError) as caught:
        check_nodes(found, dict.fromkeys(found, MPS))
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == ["n1", "n2"]
    for problem in caught.value.problems:
        assert mentions(problem, "profile 'mps'", "20", "MPS", "16")


@pytest.mark.parametrize("labels", [AT_WORK, REBOOTING])
def test_check_not_busy(labels: dict[str, str]) -> None:
    found = states(n1=labels, n2=CAPABLE)
    check_not_busy(found, ["n2"])
    with pytest.raises(RefusedError, match=r"MIG manager.*\bn1\b"):
        check_not_busy(found, ["n2", "n1"])


@pytest.mark.parametrize(
    ("labels", "waits"),
    [
        pytest.param(DONE, False, id="it is there"),
        pytest.param(CAPABLE, True, id="it has not been reached"),
        pytest.param({**DONE, "nvidia.com/mig.config.state": "pending"}, True, id="at work"),
        pytest.param({**DONE, "nvidia.com/mig.config.state": "failed"}, True, id="failed"),
        pytest.param({**DONE, "nvidia.com/mig.config": "all-2g.10gb"}, True, id="cut otherwise"),
    ],
)
def test_uncut(labels: dict[str, str], waits: bool) -> None:
    found = states(n1=labels, n2=AT_WORK)
    meant = {"n1": CUT, "n2": PLAIN}
    assert waiting_for_mig(found, meant) == ({"n1"} if waits else set())


def test_uncut_of_a_node_that_has_no_mig_and_needs_none() -> None:
    off = parse_profile("off", {"replicas": 4, "mig": "all-disabled"})
    found = states(n1={"nvidia.com/mig.capable": "false"})
    assert waiting_for_mig(found, {"n1": off}) == set()
