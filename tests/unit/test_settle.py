# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a node is settled, and how long a rollout waits for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.operands import (
    GFD_APP,
    MPS_APP,
    PLUGIN_APP,
    OperandPod,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    parse_profile,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.desired import (
    Observation,
    Target,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.settle import (
    NotSettled,
    WaitTimes,
    not_settled,
    wait_until_settled,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions, numbers
from ansible_collections.gpufleet.sharing.tests.unit.rollout_values import (
    GFD,
    GOOD,
    GPU,
    LABELLED,
    MAP,
    OLD_LABELS,
    PLUGIN,
    PODS,
    TARGET,
    UNSHARED,
    labelled,
    observation,
)


@pytest.mark.parametrize(
    ("target", "node", "pods", "stage", "facts"),
    [
        (TARGET, GOOD, PODS, None, ()),
        (TARGET, None, PODS, "node", ()),
        (TARGET, replace(GOOD, ready=False), PODS, "node", ("NotReady",)),
        (TARGET, labelled("q"), PODS, "node", (" q", "no label")),
        (LABELLED, labelled("q"), PODS, "node", (" q", " p")),
        (LABELLED, labelled("p"), PODS, None, ()),
        (TARGET, GOOD, [GFD], "pods", (PLUGIN_APP,)),
        (TARGET, GOOD, [PLUGIN], "pods", (GFD_APP,)),
        (TARGET, GOOD, [PLUGIN, replace(GFD, leaving=True)], "pods", (GFD_APP,)),
        (
            TARGET,
            GOOD,
            [replace(PLUGIN, has_config_manager=False), GFD],
            "pods",
            ("plugin", "config-manager"),
        ),
        (TARGET, GOOD, [PLUGIN, replace(GFD, ready=False)], "pods", ("gfd",)),
        (
            TARGET,
            GOOD,
            [PLUGIN, replace(GFD, ready=False, waits_for="ImagePullBackOff")],
            "pods",
            ("gfd", "ImagePullBackOff"),
        ),
        (
            TARGET,
            GOOD,
            [PLUGIN, replace(GFD, ready=False, waits_for="CrashLoopBackOff", crashes=2)],
            "pods",
            ("gfd", "CrashLoopBackOff", "2"),
        ),
        (
            replace(TARGET, profile=parse_profile("p", {"strategy": "mps", "replicas": 4})),
            GOOD,
            PODS,
            "pods",
            (MPS_APP,),
        ),
        (TARGET, replace(GOOD, allocatable={GPU: 2}), PODS, "allocatable", (GPU, "2", "8")),
        (TARGET, replace(GOOD, labels=OLD_LABELS), PODS, "labels", ()),
    ],
)
def test_not_settled(
    target: Target,
    node: NodeState | None,
    pods: Sequence[OperandPod],
    stage: str | None,
    facts: tuple[str, ...],
) -> None:
    state = not_settled(target, node, pods)
    assert (state and state.stage) == stage
    assert state is None or not state.final
    assert mentions(state and state.reason, *facts)


@dataclass
class FakeWatchedFleet:
    """A fleet in which seconds pass only while somebody waits; events are the seconds at which
    something changes, that people waiting are woken for.
    """

    see: Callable[[float], Observation]
    events: Sequence[float] = ()
    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)
    changed: Collection[str] = ("n1", "n9")

    def now(self) -> float:
        return self.seconds

    def observe(self) -> Observation:
        return self.see(self.seconds)

    def wait(self, seconds: float) -> Collection[str]:
        assert seconds >= 0
        self.waits.append(seconds)
        until = self.seconds + seconds
        event = next((at for at in self.events if self.seconds < at <= until), None)
        self.seconds = until if event is None else event
        return () if event is None else self.changed


def watch(
    see: Callable[[float], Observation],
    events: Sequence[float] = (),
    *,
    timeout: float = 20,
    stable: float = 3,
    old_pods: Sequence[str] = (),
) -> tuple[Mapping[str, NotSettled], float]:
    """What wait_until_settled says, and when."""
    fleet = FakeWatchedFleet(see, events)
    wait = WaitTimes(timeout, stable)
    return wait_until_settled([TARGET], fleet, wait, old_pods), fleet.seconds


@pytest.mark.parametrize(("stable", "until"), [(0, 0), (3, 3)])
def test_wait_until_settled_good_from_the_start(stable: float, until: float) -> None:
    unsettled, seconds = watch(lambda _: observation(), stable=stable)
    assert not unsettled
    assert seconds == pytest.approx(until)


def test_wait_until_settled_looks_when_something_changes() -> None:
    """And every 10 seconds, to say how far it is; not again and again."""
    fleet = FakeWatchedFleet(lambda _: observation(UNSHARED), [1, 2, 15])
    reported: list[int] = []
    unsettled = wait_until_settled([TARGET], fleet, WaitTimes(20, 3), report=reported.append)
    assert unsettled
    assert fleet.waits == [10, 10, 10, 8, 5]
    assert reported == [0] * 6


def test_wait_until_settled_does_not_believe_flapping() -> None:
    """A plugin starts on the default profile, which may look right, before it reads the label."""

    def see(seconds: float) -> Observation:
        return observation(UNSHARED if 2 <= seconds < 6 else GOOD)

    unsettled, until = watch(see, [2, 6])
    assert not unsettled
    assert until == pytest.approx(6 + 3)


def test_wait_until_settled_counts_again_where_a_blink_was_missed_between_two_looks() -> None:
    """Watches bring both changes at once: what is seen is as before, and stays believed."""
    unsettled, until = watch(lambda _: observation(), [1])
    assert not unsettled
    assert until == pytest.approx(3)


@pytest.mark.parametrize(("labels", "until"), [(2, 3), (3, 3), (15, 15)])
def test_wait_until_settled_for_labels_beside_the_slots(labels: float, until: float) -> None:
    """Labels come late; slots have to stay meanwhile, not once more after them."""

    def see(seconds: float) -> Observation:
        return observation(GOOD if seconds >= labels else replace(GOOD, labels=OLD_LABELS))

    unsettled, seconds = watch(see, [labels])
    assert not unsettled
    assert seconds == pytest.approx(until)


def test_wait_until_settled_tells_of_labels_that_do_not_come() -> None:
    unsettled, seconds = watch(lambda _: observation(replace(GOOD, labels=OLD_LABELS)), [1, 2])
    assert unsettled["n1"].stage == "labels"
    assert seconds == pytest.approx(20)


def test_wait_until_settled_counts_again_where_slots_went_before_labels_came() -> None:
    def see(seconds: float) -> Observation:
        now = GOOD if seconds >= 10 else replace(GOOD, labels=OLD_LABELS)
        return observation(UNSHARED if 8 <= seconds < 9 else now)

    unsettled, seconds = watch(see, [8, 9, 10])
    assert not unsettled
    assert seconds == pytest.approx(9 + 3)


def test_wait_until_settled_flapping_for_ever() -> None:
    def see(seconds: float) -> Observation:
        return observation(UNSHARED if seconds % 3 < 1 else GOOD)

    unsettled, until = watch(see, range(1, 21))
    assert {node: state.stage for node, state in unsettled.items()} == {"n1": "stable"}
    assert numbers(unsettled["n1"].reason) == [3]
    assert until == pytest.approx(20)


def test_wait_until_settled_gives_up_with_reason() -> None:
    unsettled, until = watch(lambda _: observation(UNSHARED))
    assert {node: state.stage for node, state in unsettled.items()} == {"n1": "allocatable"}
    assert mentions(unsettled["n1"].reason, GPU)
    assert numbers(unsettled["n1"].reason) == [2, 8]
    assert until == pytest.approx(20)


@pytest.mark.parametrize(
    ("at_first", "crashes", "leaving", "until"),
    [
        (0, 3, False, 4),
        (0, 2, False, 20),
        (0, 3, True, 20),
        (3, 3, False, 20),  # of what the node had before, such as what is now taken back
        (3, 6, False, 4),
        (9, 10, False, 20),
        (9, 3, False, 4),  # counted anew since
    ],
)
def test_wait_until_settled_does_not_wait_for_a_plugin_that_crashes_and_crashes(
    at_first: int, crashes: int, leaving: bool, until: float
) -> None:
    def see(seconds: float) -> Observation:
        pod = replace(PLUGIN, ready=False, leaving=leaving)
        if seconds < 4:
            return observation(pods=[replace(pod, restarts={"main": at_first, "side": 99}), GFD])
        waiting = replace(pod, waits_for="CrashLoopBackOff", crashes=crashes, crashing="main")
        return observation(pods=[waiting, GFD])

    unsettled, seconds = watch(see, [4])
    assert unsettled["n1"].final is (until == 4)
    assert seconds == pytest.approx(until)


def test_wait_until_settled_waits_for_the_others_beside_a_hopeless_one() -> None:
    second = replace(TARGET, node="n2")

    def see(seconds: float) -> Observation:
        crashes = 0 if seconds < 5 else 5
        crashing = replace(PLUGIN, ready=False, crashes=crashes, waits_for="CrashLoopBackOff")
        nodes = {"n1": GOOD, "n2": replace(GOOD if seconds >= 5 else UNSHARED, name="n2")}
        return Observation(nodes, {"n1": [crashing, GFD], "n2": PODS}, MAP)

    fleet = FakeWatchedFleet(see, [5], changed=["n1", "n2"])
    unsettled = wait_until_settled([TARGET, second], fleet, WaitTimes(20, 3))
    assert list(unsettled) == ["n1"]
    assert fleet.seconds == pytest.approx(8)


def test_wait_until_settled_node_leaves_and_comes_back() -> None:
    def see(seconds: float) -> Observation:
        return observation(None if seconds < 5 else GOOD)

    unsettled, until = watch(see, [5])
    assert not unsettled
    assert until == pytest.approx(8)


def test_wait_until_settled_node_that_breaks_after_it_was_believed_counts_as_broken() -> None:
    """While the others of its batch are waited for."""
    second = replace(TARGET, node="n2")

    def see(seconds: float) -> Observation:
        nodes = {"n1": GOOD if seconds < 6 else UNSHARED, "n2": replace(UNSHARED, name="n2")}
        return Observation(nodes, dict.fromkeys(nodes, PODS), MAP)

    fleet = FakeWatchedFleet(see, [6])
    reported: list[int] = []
    unsettled = wait_until_settled(
        [TARGET, second], fleet, WaitTimes(20, 3), report=reported.append
    )
    assert {node: state.stage for node, state in unsettled.items()} == dict.fromkeys(
        ["n1", "n2"], "allocatable"
    )
    assert max(reported) == 1
    assert reported[-1] == 0


def test_wait_until_settled_old_pods_go() -> None:
    old = replace(PLUGIN, uid="u0", leaving=True)
    unsettled, until = watch(
        lambda seconds: observation(pods=[*PODS, old] if seconds < 4 else PODS),
        [4],
        old_pods=["u0"],
    )
    assert not unsettled
    assert until == pytest.approx(4 + 3)


def test_wait_until_settled_old_pods_stay() -> None:
    unsettled, _until = watch(lambda _: observation(), old_pods=["u1"])
    assert {node: state.stage for node, state in unsettled.items()} == {"n1": "pods"}


def test_wait_until_settled_without_targets() -> None:
    fleet = FakeWatchedFleet(lambda _: observation())
    assert wait_until_settled([], fleet, WaitTimes(0, 0)) == {}
    assert fleet.waits == []
