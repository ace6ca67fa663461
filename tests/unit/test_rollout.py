# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rollout: each step a node can need, batches, and how long a node is watched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    FleetError,
    SharingError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.assignments import LabelChange
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.operands import (
    GFD_APP,
    MPS_APP,
    PLUGIN_APP,
    OperandPod,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.config_map import (
    ConfigMap,
    KeyRecord,
    plan_config_map,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.model import Profile
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rendering import (
    to_plugin_config,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    parse_profile,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.batches import (
    batch_sizes,
    split_into_batches,
    spread,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.desired import (
    Desired,
    Observation,
    Target,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.plan import (
    RolloutPlan,
    Step,
    plan_rollout,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.settle import (
    NotSettled,
    WaitTimes,
    not_settled,
    wait_until_settled,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions, numbers

GPU = "nvidia.com/gpu"
LABEL = "nvidia.com/device-plugin.config"
HASH = "gpufleet.sharing/config-hash"
PROFILE = parse_profile("p", {"replicas": 4})
OTHER = parse_profile("p", {"replicas": 6})
TARGET = Target("n1", PROFILE, key="p")
LABELLED = replace(TARGET, label="p")
TEXT = to_plugin_config(PROFILE)
WRITTEN = datetime(2026, 1, 1, tzinfo=UTC)
AFTER, BEFORE = WRITTEN + timedelta(seconds=5), WRITTEN - timedelta(seconds=1)
NOTED = KeyRecord(TARGET.hash, "2026-01-01T00:00:00Z")
MAP = ConfigMap({"p": TEXT}, {"p": NOTED})
NEW_KEY = replace(MAP, written={"p": replace(NOTED, replaced=False)})
OLD_LABELS = {"nvidia.com/gpu.count": "2", "nvidia.com/gpu.replicas": "1"}
GOOD = NodeState(
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
    labels=OLD_LABELS,
    allocatable={GPU: 2},
)
DONE = replace(GOOD, annotations={HASH: TARGET.hash})
OLD_HASH = replace(GOOD, annotations={HASH: "old"})
PLUGIN = OperandPod("plugin", "gpu-operator", "u1", "n1", PLUGIN_APP, True, False, AFTER, True)
GFD = replace(PLUGIN, name="gfd", uid="u2", app=GFD_APP)
PODS = (PLUGIN, GFD)
OLD_PODS = tuple(replace(pod, started=BEFORE) for pod in PODS)


def labelled(label: str, node: NodeState = GOOD) -> NodeState:
    return replace(node, labels={**node.labels, LABEL: label})


def observation(
    node: NodeState | None = GOOD,
    pods: Sequence[OperandPod] = PODS,
    config_map: ConfigMap | None = MAP,
) -> Observation:
    nodes = {} if node is None else {"n1": node}
    return Observation(nodes, {"n1": pods}, config_map)


@pytest.mark.parametrize(
    ("observed", "step"),
    [
        pytest.param(observation(None), "skip", id="not in the cluster"),
        pytest.param(observation(replace(DONE, ready=False)), "skip", id="NotReady"),
        pytest.param(observation(DONE), "nothing", id="annotated"),
        pytest.param(observation(DONE, ()), "nothing", id="annotated, no pods"),
        pytest.param(observation(DONE, OLD_PODS), "nothing", id="annotated, key written again"),
        pytest.param(
            observation(replace(DONE, allocatable={GPU: 4})),
            "nothing",
            id="annotated, newer than the key: not for a restart to mend",
        ),
        pytest.param(
            observation(replace(DONE, allocatable={GPU: 4}), OLD_PODS),
            "restart",
            id="annotated, started while the key had other content",
        ),
        pytest.param(
            observation(replace(DONE, allocatable={GPU: 4}), OLD_PODS, NEW_KEY),
            "nothing",
            id="annotated, the key never had other content",
        ),
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
def test_plan_rollout_step(observed: Observation, step: str) -> None:
    plan = plan_rollout([TARGET], observed)
    assert plan.steps == {"n1": Step(step)}
    assert plan.nodes(Step(step)) == ["n1"]
    assert bool(plan) is (step not in ("skip", "nothing"))


@pytest.mark.parametrize(
    ("observed", "step", "refreshed"),
    [
        pytest.param(observation(labelled("p")), "record", False, id="has the label"),
        pytest.param(
            observation(labelled("p"), OLD_PODS, NEW_KEY), "record", False, id="moved to a new key"
        ),
        pytest.param(
            observation(labelled("p", UNSHARED), OLD_PODS, NEW_KEY),
            "restart",
            False,
            id="moved to a new key, and not there",
        ),
        pytest.param(
            observation(labelled("p"), OLD_PODS), "restart", False, id="key had other content"
        ),
        pytest.param(observation(labelled("p", DONE)), "nothing", False, id="annotated"),
        pytest.param(observation(labelled("q", DONE)), "flip", False, id="relabelled by hand"),
        pytest.param(observation(DONE), "flip", False, id="label taken away by hand"),
        pytest.param(observation(labelled("", DONE)), "flip", False, id="empty label is none"),
        pytest.param(observation(labelled("q"), ()), "flip", False, id="no pods"),
        pytest.param(
            observation(labelled("q"), OLD_PODS), "restart", False, id="may hold older content"
        ),
        pytest.param(
            observation(labelled("q"), OLD_PODS, NEW_KEY), "flip", True, id="the key is new"
        ),
        pytest.param(
            observation(labelled("q"), PODS, NEW_KEY), "flip", False, id="it has the new key"
        ),
        pytest.param(
            observation(labelled("q"), [replace(PLUGIN, ready=False, crashes=1), GFD], NEW_KEY),
            "restart",
            False,
            id="it waits to be started again",
        ),
        pytest.param(
            observation(labelled("q"), OLD_PODS, None), "flip", True, id="no ConfigMap yet"
        ),
        pytest.param(
            observation(labelled("q"), OLD_PODS, ConfigMap({"q": TEXT})),
            "flip",
            True,
            id="key yet to be written",
        ),
        pytest.param(
            observation(labelled("q"), OLD_PODS, replace(NEW_KEY, data={"p": "version: v1\n"})),
            "restart",
            False,
            id="key edited by hand",
        ),
        pytest.param(
            observation(labelled("q"), OLD_PODS, replace(MAP, written={})),
            "restart",
            False,
            id="key of somebody else, age not known",
        ),
        pytest.param(
            observation(
                labelled("q"),
                OLD_PODS,
                replace(MAP, written={}, created="2025-01-01T00:00:00Z"),
            ),
            "flip",
            False,
            id="key as old as the ConfigMap, for all that is known",
        ),
        pytest.param(
            observation(replace(labelled("q"), ready=False)), "skip", False, id="NotReady"
        ),
    ],
)
def test_plan_rollout_of_a_label(observed: Observation, step: str, refreshed: bool) -> None:
    plan = plan_rollout([LABELLED], observed)
    assert plan.steps == {"n1": Step(step)}
    assert plan.refresh == ({"n1"} if refreshed else set())
    before = observed.nodes["n1"].labels.get(LABEL) or None
    moves = step in ("flip", "restart") and before != "p"
    assert plan.labels == ({"n1": LabelChange("n1", before, "p")} if moves else {})


def test_plan_rollout_without_a_label_nothing_tells_that_a_new_key_was_read() -> None:
    plan = plan_rollout([TARGET], observation(GOOD, OLD_PODS, NEW_KEY))
    assert plan.steps == {"n1": Step.RESTART}


@pytest.mark.parametrize(
    ("label", "changes"),
    [("p", {"n1": LabelChange("n1", "p", None)}), ("", {})],
)
def test_plan_rollout_takes_a_label_away(label: str, changes: dict[str, LabelChange]) -> None:
    plan = plan_rollout([TARGET], observation(labelled(label)))
    assert plan.labels == changes
    assert plan.nodes(Step.FLIP) == list(changes)


def test_plan_rollout_of_several_nodes() -> None:
    nodes = {"n1": OLD_HASH, "n2": replace(DONE, name="n2"), "n3": replace(GOOD, name="n3")}
    observed = Observation(nodes, {"n1": PODS, "n3": PODS}, MAP)
    targets = [Target(name, PROFILE, key="p") for name in ("n3", "n2", "n1", "n4")]
    plan = plan_rollout(targets, observed)
    assert list(plan.steps) == ["n1", "n2", "n3", "n4"]
    assert plan.changing == ["n1", "n3"]
    assert plan.nodes(Step.NOTHING, Step.SKIP) == ["n2", "n4"]
    assert plan.before == {"n1": "old", "n2": TARGET.hash, "n3": "", "n4": ""}
    assert plan.after == dict.fromkeys(plan.steps, TARGET.hash)


@dataclass
class Sim:
    """One node, whose plugin does as NVIDIA's does: label at once, content at a restart."""

    node: NodeState
    pods: tuple[OperandPod, ...]
    config_map: ConfigMap

    def observe(self) -> Observation:
        return observation(self.node, self.pods, self.config_map)

    def write(self, profile: Profile, key: str, at: datetime) -> None:
        """What the module profiles does before."""
        text = to_plugin_config(profile)
        plan = plan_config_map(self.config_map, {key: text}, now=at)
        data = {**self.config_map.data, **plan.put}
        self.config_map = replace(self.config_map, data=data, written=plan.record)

    def apply(self, plan: RolloutPlan, at: datetime) -> None:
        """What the rollout does, and what becomes of it."""
        step, change = plan.steps["n1"], plan.labels.get("n1")
        labels = dict(self.node.labels)
        if change:
            labels[LABEL] = change.after or ""
        if step is Step.RESTART:
            self.pods = tuple(
                replace(pod, uid=f"{pod.uid}+", started=at + timedelta(seconds=2))
                for pod in self.pods
            )
        if step not in (Step.SKIP, Step.NOTHING):
            hashes = {HASH: plan.after["n1"]}
            self.node = replace(self.node, labels=labels, annotations=hashes)


@given(
    replicas=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    versioned=st.lists(st.booleans(), min_size=6, max_size=6),
    assigned=st.booleans(),
)
def test_plan_after_apply_is_nothing(
    replicas: list[int], versioned: list[bool], assigned: bool
) -> None:
    """Whatever revisions a fleet goes through, in either mode: back, forth and to the same."""
    sim = Sim(GOOD, OLD_PODS, ConfigMap({}, created="2025-01-01T00:00:00Z"))
    for number, count in enumerate(replicas):
        profile = parse_profile("p", {"replicas": count})
        assignments = {"n1": "p" if assigned else None}
        desired = Desired({"p": profile}, "p", assignments, versioned[number])
        at = WRITTEN + timedelta(hours=number)
        targets = list(desired.targets().values())
        foreseen = plan_rollout(targets, sim.observe())
        sim.write(profile, targets[0].key, at)
        plan = plan_rollout(targets, sim.observe())
        assert bool(plan) <= bool(foreseen), "a plan that was made before the keys were written"
        sim.apply(plan, at)
        assert not plan_rollout(targets, sim.observe())


@pytest.mark.parametrize(
    ("versioned", "assigned", "label", "key"),
    [
        (False, "p", "p", "p"),
        (False, None, None, "d"),
        (True, "p", "p.{}", "p.{}"),
        (True, None, "d.{}", "d.{}"),
    ],
)
def test_desired_target(versioned: bool, assigned: str | None, label: str | None, key: str) -> None:
    profiles = {"p": PROFILE, "d": replace(PROFILE, name="d")}
    desired = Desired(profiles, "d", {"n1": assigned}, versioned, {"n1": 2}, {"n1": "rack"})
    digits = TARGET.hash[:8]
    expected = Target(
        "n1",
        profiles[assigned or "d"],
        2,
        label and label.format(digits),
        key.format(digits),
        "rack",
    )
    assert desired.target("n1") == expected
    assert desired.targets() == {"n1": expected}
    assert replace(desired, groups={}, gpus={}).target("n1").group == (assigned or "d")


def test_desired_target_of_an_undefined_profile() -> None:
    desired = Desired({"p": PROFILE}, "p", {"n1": "q"})
    with pytest.raises(FleetError, match=r"O\(profile\).*n1.*'q'"):
        desired.targets()


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


@pytest.mark.parametrize(
    ("groups", "order"),
    [
        ({}, ["a", "b", "c", "d"]),
        ({"a": "x", "b": "x", "c": "y", "d": "y"}, ["a", "c", "b", "d"]),
        ({"a": "x", "b": "x", "c": "x", "d": "y"}, ["a", "b", "d", "c"]),
    ],
)
def test_spread(groups: dict[str, str], order: list[str]) -> None:
    assert spread(["d", "c", "b", "a"], groups) == order


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    spec=st.lists(st.sampled_from(["1", "3", "5%", "25%", "100%"]), min_size=1, max_size=4),
)
def test_spread_keeps_all_nodes_and_proportions(sizes: list[int], spec: list[str]) -> None:
    """In each stretch from the first node on, so at the end of each batch, each group has its
    share, give or take one node.
    """
    groups = {
        f"n{number}-{group}": f"g{group}"
        for group, size in enumerate(sizes)
        for number in range(size)
    }
    order = spread(groups, groups)
    assert sorted(order) == sorted(groups)
    batches = split_into_batches(order, spec)
    assert [node for batch in batches for node in batch] == order
    assert all(batches)
    for length in range(1, len(order) + 1):
        counts = Counter(groups[node] for node in order[:length])
        for group, size in enumerate(sizes):
            assert abs(counts[f"g{group}"] - size * length / len(order)) <= len(sizes) / 2 + 1


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
    assert batch_sizes(spec, total) == expected


@pytest.mark.parametrize("entry", [0, "0", "0%", "101%", "-1", "1.5", "all", "", None, "%", True])
def test_batch_sizes_refuses(entry: object) -> None:
    with pytest.raises(SharingError) as caught:
        batch_sizes([entry], 4)
    assert mentions(caught.value, "batches", f"'{entry}'", "1%", "100%")


def test_split_into_batches_keeps_order() -> None:
    assert split_into_batches(["a", "b", "c", "d"], [1, "50%"]) == [["a"], ["b", "c"], ["d"]]


@dataclass
class FakeWatchedFleet:
    """A fleet in which seconds pass only while somebody waits; events are the seconds at which
    something changes, that people waiting are woken for.
    """

    see: Callable[[float], Observation]
    events: Sequence[float] = ()
    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)
    changed: Collection[str] = ("n1", "stranger")

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
