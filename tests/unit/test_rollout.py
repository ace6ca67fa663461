# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rollout: each step a node can need, batches, and how long a node is watched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils import (
    _capacity,
    _config_map,
    _errors,
    _observed,
    _profiles,
    _rollout,
)

GPU = "nvidia.com/gpu"
PROFILE = _profiles.parse_profile("p", {"replicas": 4})
TARGET = _rollout.Target("n1", PROFILE)
TEXT = _profiles.to_plugin_config(PROFILE)
WRITTEN = datetime(2026, 1, 1, tzinfo=UTC)
AFTER, BEFORE = WRITTEN + timedelta(seconds=5), WRITTEN - timedelta(seconds=1)
MAP = _config_map.ConfigMap(
    {"p": TEXT}, {"p": _config_map.Written(TARGET.hash, "2026-01-01T00:00:00Z")}
)
GOOD = _capacity.NodeState(
    "n1",
    {
        "nvidia.com/gpu.count": "2",
        "nvidia.com/gpu.replicas": "4",
        "nvidia.com/gpu.sharing-strategy": "time-slicing",
    },
    {},
    {GPU: 8},
)
UNSHARED = replace(
    GOOD,
    labels={"nvidia.com/gpu.count": "2", "nvidia.com/gpu.replicas": "1"},
    allocatable={GPU: 2},
)
DONE = replace(GOOD, annotations={"gpufleet.sharing/config-hash": TARGET.hash})
OLD_HASH = replace(GOOD, annotations={"gpufleet.sharing/config-hash": "old"})
PLUGIN = _observed.OperandPod(
    "plugin", "gpu-operator", "u1", "n1", _observed.PLUGIN_APP, True, False, AFTER, True
)
GFD = replace(PLUGIN, name="gfd", uid="u2", app=_observed.GFD_APP)
PODS = (PLUGIN, GFD)


def observation(
    node: _capacity.NodeState | None = GOOD,
    pods: Sequence[_observed.OperandPod] = PODS,
    config_map: _config_map.ConfigMap | None = MAP,
) -> _rollout.Observation:
    nodes = {} if node is None else {"n1": node}
    return _rollout.Observation(nodes, {"n1": pods}, config_map)


@pytest.mark.parametrize(
    ("observed", "step"),
    [
        pytest.param(observation(None), "skip", id="not in the cluster"),
        pytest.param(observation(replace(DONE, ready=False)), "skip", id="NotReady"),
        pytest.param(observation(DONE), "nothing", id="annotated"),
        pytest.param(observation(DONE, ()), "nothing", id="annotated, no pods"),
        pytest.param(observation(), "record", id="loaded already"),
        pytest.param(observation(OLD_HASH), "record", id="loaded already, old annotation"),
        pytest.param(
            observation(pods=[replace(pod, started=WRITTEN) for pod in PODS]),
            "record",
            id="started in the same second",
        ),
        pytest.param(observation(pods=()), "wait", id="no pods"),
        pytest.param(
            observation(pods=[replace(pod, leaving=True) for pod in PODS]), "wait", id="leaving"
        ),
        pytest.param(observation(UNSHARED), "wait", id="new pods, old numbers"),
        pytest.param(
            observation(pods=[PLUGIN, replace(GFD, started=BEFORE)]), "restart", id="one old pod"
        ),
        pytest.param(
            observation(pods=[PLUGIN, replace(GFD, started=None)]), "restart", id="not running"
        ),
        pytest.param(
            observation(pods=[*PODS, replace(GFD, started=BEFORE, leaving=True)]),
            "record",
            id="old pod leaving",
        ),
        pytest.param(observation(config_map=None), "restart", id="no ConfigMap yet"),
        pytest.param(
            observation(config_map=replace(MAP, data={"p": "version: v1\n"})),
            "restart",
            id="content yet to be written",
        ),
        pytest.param(
            observation(config_map=replace(MAP, written={})), "restart", id="time not known"
        ),
    ],
)
def test_plan_rollout_step(observed: _rollout.Observation, step: str) -> None:
    plan = _rollout.plan_rollout([TARGET], observed)
    assert plan.steps == {"n1": _rollout.Step(step)}
    assert plan.nodes(_rollout.Step(step)) == ["n1"]
    assert bool(plan) is (step not in ("skip", "nothing"))


def test_plan_rollout_diff_shows_changing_nodes() -> None:
    nodes = {"n1": OLD_HASH, "n2": replace(DONE, name="n2"), "n3": replace(GOOD, name="n3")}
    observed = _rollout.Observation(nodes, {"n1": PODS, "n3": PODS}, MAP)
    targets = [_rollout.Target(name, PROFILE) for name in ("n3", "n2", "n1", "n4")]
    plan = _rollout.plan_rollout(targets, observed)
    assert list(plan.steps) == ["n1", "n2", "n3", "n4"]
    after = f"{TARGET.hash} (record)"
    assert plan.diff() == {"before": {"n1": "old", "n3": ""}, "after": {"n1": after, "n3": after}}


@pytest.mark.parametrize(
    ("node", "pods", "reason"),
    [
        (GOOD, PODS, ""),
        (None, PODS, "the node has left the cluster"),
        (replace(GOOD, ready=False), PODS, "node is NotReady"),
        (GOOD, [GFD], "no device plugin pod (nvidia-device-plugin-daemonset) on the node"),
        (GOOD, [PLUGIN], "no GPU feature discovery pod (gpu-feature-discovery) on the node"),
        (
            GOOD,
            [PLUGIN, replace(GFD, leaving=True)],
            "no GPU feature discovery pod (gpu-feature-discovery) on the node",
        ),
        (
            GOOD,
            [replace(PLUGIN, has_config_manager=False), GFD],
            "pod plugin has no config-manager: the operator has no pointer",
        ),
        (GOOD, [PLUGIN, replace(GFD, ready=False)], "pod gfd is not ready"),
        (replace(GOOD, allocatable={GPU: 2}), PODS, "nvidia.com/gpu is 2, expected 8"),
        (
            replace(GOOD, labels={"nvidia.com/gpu.count": "2", "nvidia.com/gpu.replicas": "1"}),
            PODS,
            "labels of GPU feature discovery do not show the profile yet",
        ),
    ],
)
def test_unsettled(
    node: _capacity.NodeState | None, pods: Sequence[_observed.OperandPod], reason: str
) -> None:
    assert _rollout.unsettled(TARGET, node, pods) == reason


@pytest.mark.parametrize(
    ("spec", "total", "expected"),
    [
        (["1", "25%"], 10, [1, 3, 3, 3]),
        ([], 7, [7]),
        ([2], 5, [2, 2, 1]),
        (["100%"], 3, [3]),
        (["1%"], 3, [1, 1, 1]),
        ([10], 3, [3]),
        ([1, 2, 3], 10, [1, 2, 3, 3, 1]),
        ([1], 0, []),
        ([], 0, []),
    ],
)
def test_batch_sizes_cuts(spec: list[object], total: int, expected: list[int]) -> None:
    assert _rollout.batch_sizes(spec, total) == expected


@pytest.mark.parametrize("entry", [0, "0", "0%", "101%", "-1", "1.5", "all", "", None, "%", True])
def test_batch_sizes_refuses(entry: object) -> None:
    with pytest.raises(_errors.SharingError) as caught:
        _rollout.batch_sizes([entry], 4)
    assert f"gpu_sharing_rollout_batches has the entry '{entry}'; allowed:" in str(caught.value)


def test_cut_keeps_order() -> None:
    assert _rollout.cut(["a", "b", "c", "d"], [1, "50%"]) == [["a"], ["b", "c"], ["d"]]


@dataclass
class FakeTime:
    """Seconds that pass only when somebody pauses."""

    seconds: float = 0.0

    def now(self) -> float:
        return self.seconds

    def pause(self, seconds: float) -> None:
        self.seconds += seconds


def watch(
    observe: Callable[[float], _rollout.Observation],
    *,
    timeout: float = 20,
    stable: float = 3,
    old_pods: Sequence[str] = (),
) -> tuple[Mapping[str, str], float]:
    """What wait_until_settled says, and when."""
    time = FakeTime()
    reasons = _rollout.wait_until_settled(
        [TARGET],
        lambda: observe(time.seconds),
        _rollout.Patience(timeout, stable),
        _rollout.Clock(time.now, time.pause),
        old_pods,
    )
    return reasons, time.seconds


@pytest.mark.parametrize(("stable", "until"), [(0, 0), (3, 3)])
def test_wait_until_settled_good_from_the_start(stable: float, until: float) -> None:
    reasons, seconds = watch(lambda _: observation(), stable=stable)
    assert not reasons
    assert seconds == pytest.approx(until)


def test_wait_until_settled_looks_often_at_first_and_then_each_second() -> None:
    looks: list[float] = []

    def observe(seconds: float) -> _rollout.Observation:
        looks.append(seconds)
        return observation(UNSHARED)

    watch(observe, timeout=5)
    assert looks == pytest.approx([0, 0.2, 0.5, 0.95, 1.625, 2.625, 3.625, 4.625, 5])


def test_wait_until_settled_does_not_believe_flapping() -> None:
    """A plugin starts on the default profile, which may look right, before it reads the label."""

    def observe(seconds: float) -> _rollout.Observation:
        return observation(UNSHARED if 2 <= seconds < 6 else GOOD)

    reasons, until = watch(observe)
    assert not reasons
    assert until == pytest.approx(6.625 + 3)


def test_wait_until_settled_flapping_for_ever() -> None:
    reasons, until = watch(lambda seconds: observation(UNSHARED if seconds % 3 < 1 else GOOD))
    assert reasons == {"n1": "looks right, but not yet for 3 s"}
    assert until == pytest.approx(20)


def test_wait_until_settled_gives_up_with_reason() -> None:
    reasons, until = watch(lambda _: observation(UNSHARED))
    assert reasons == {"n1": "nvidia.com/gpu is 2, expected 8"}
    assert until == pytest.approx(20)


def test_wait_until_settled_old_pods_go() -> None:
    old = replace(PLUGIN, uid="u0", leaving=True)
    reasons, until = watch(
        lambda seconds: observation(pods=[*PODS, old] if seconds < 4 else PODS), old_pods=["u0"]
    )
    assert not reasons
    assert until == pytest.approx(4.625 + 3)


def test_wait_until_settled_old_pods_stay() -> None:
    reasons, _calls = watch(lambda _: observation(), old_pods=["u1"])
    assert reasons == {"n1": "its old pods have not gone yet"}


def test_wait_until_settled_without_targets() -> None:
    clock = _rollout.Clock(lambda: 0, lambda _: None)
    patience = _rollout.Patience(0, 0)
    assert _rollout.wait_until_settled([], observation, patience, clock) == {}
