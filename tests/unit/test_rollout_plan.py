# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a rollout: each step that a node can need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.gpufleet.sharing.plugins.module_utils._fleet.assignments import LabelChange
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.operands import (
    OperandPod,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import NodeState
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.config_map import (
    ConfigMap,
    plan_config_map,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.model import Profile
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rendering import (
    to_plugin_config,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.validation import (
    parse_profile,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.desired import (
    Desired,
    Observation,
    Target,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.loaded import (
    LoadedNote,
    note_of,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.plan import (
    RolloutPlan,
    Step,
    plan_rollout,
)
from ansible_collections.gpufleet.sharing.tests.unit.rollout_values import (
    AFTER,
    BEFORE,
    DONE,
    GFD,
    GOOD,
    GPU,
    HASH,
    LABEL,
    LABELLED,
    LOADED,
    MAP,
    NEW_KEY,
    NOTED,
    PLUGIN,
    PODS,
    PROFILE,
    TARGET,
    TEXT,
    UNSHARED,
    WRITTEN,
    labelled,
    observation,
)

OLD_HASH = replace(GOOD, annotations={HASH: "old"})
NEWER_HASH = replace(GOOD, annotations={HASH: f"v2:{TARGET.hash}"})
UNNOTED = replace(GOOD, annotations={HASH: TARGET.hash})  # by a release that left no note
OLD_PODS = tuple(replace(pod, created=BEFORE) for pod in PODS)
RESTARTED = tuple(replace(pod, restarts={"main": 1}) for pod in OLD_PODS)
NEW_PODS = tuple(replace(pod, uid=f"{pod.uid}+") for pod in OLD_PODS)  # whatever clocks say
AGAIN = WRITTEN + timedelta(hours=1)
LATER_PODS = tuple(replace(pod, created=AGAIN + timedelta(seconds=1)) for pod in NEW_PODS)
WRITTEN_AGAIN = replace(
    MAP, written={"p": replace(NOTED, at=AGAIN.isoformat())}, changed=AGAIN.isoformat()
)
EDITED = replace(MAP, data={"p": "version: v1\n"})
BEGUN_NOTE = LoadedNote("p", TARGET.hash, NOTED.at, old=["u1", "u2"])
BEGUN = replace(GOOD, annotations={LOADED: str(BEGUN_NOTE)})


@pytest.mark.parametrize(
    ("observed", "step"),
    [
        pytest.param(observation(None), "skip", id="not in the cluster"),
        pytest.param(observation(replace(DONE, ready=False)), "skip", id="NotReady"),
        pytest.param(observation(DONE), "nothing", id="annotated"),
        pytest.param(observation(DONE, ()), "nothing", id="annotated, no pods"),
        pytest.param(observation(DONE, RESTARTED), "nothing", id="restarted, the key is as it was"),
        pytest.param(
            observation(replace(DONE, allocatable={GPU: 4}), RESTARTED),
            "nothing",
            id="other slots, the key is as it was: not for a restart to mend",
        ),
        pytest.param(
            observation(DONE, OLD_PODS, WRITTEN_AGAIN), "nothing", id="same pods, key written again"
        ),
        pytest.param(
            observation(DONE, RESTARTED, WRITTEN_AGAIN),
            "restart",
            id="restarted while the key had other content, same slots",
        ),
        pytest.param(
            observation(DONE, [LATER_PODS[0], GFD], WRITTEN_AGAIN),
            "nothing",
            id="key edited and put back, then one pod replaced",
        ),
        pytest.param(
            observation(DONE, [replace(PLUGIN, uid="u3"), GFD], WRITTEN_AGAIN),
            "restart",
            id="replaced while the key had other content, same slots",
        ),
        pytest.param(
            observation(DONE, LATER_PODS, WRITTEN_AGAIN), "nothing", id="replaced since then"
        ),
        pytest.param(
            observation(DONE, OLD_PODS, EDITED), "nothing", id="key edited by hand, same pods"
        ),
        pytest.param(
            observation(DONE, RESTARTED, EDITED), "restart", id="key edited by hand, restarted"
        ),
        pytest.param(observation(UNNOTED, OLD_PODS), "nothing", id="no note, right numbers"),
        pytest.param(
            observation(replace(UNNOTED, allocatable={GPU: 4}), OLD_PODS),
            "restart",
            id="no note, other numbers",
        ),
        pytest.param(
            observation(replace(UNNOTED, allocatable={GPU: 4}), OLD_PODS, NEW_KEY),
            "nothing",
            id="no note, the key never had other content",
        ),
        pytest.param(observation(BEGUN), "restart", id="killed before the pods were deleted"),
        pytest.param(
            observation(BEGUN, [replace(PLUGIN, uid="u3"), GFD]), "restart", id="one deleted"
        ),
        pytest.param(observation(BEGUN, NEW_PODS), "record", id="killed after the restart"),
        pytest.param(
            observation(replace(BEGUN, allocatable={GPU: 4}), NEW_PODS),
            "wait",
            id="killed in the restart",
        ),
        pytest.param(
            observation(BEGUN, NEW_PODS, WRITTEN_AGAIN), "restart", id="begun with other content"
        ),
        pytest.param(
            observation(OLD_HASH, RESTARTED), "restart", id="rebooted between write and plan"
        ),
        pytest.param(observation(), "record", id="loaded already"),
        pytest.param(observation(OLD_HASH), "record", id="loaded already, old annotation"),
        pytest.param(observation(NEWER_HASH), "record", id="annotation of a newer release"),
        pytest.param(
            observation(pods=[replace(pod, created=WRITTEN) for pod in PODS]),
            "restart",
            id="created in the same second",
        ),
        pytest.param(observation(pods=()), "wait", id="no pods"),
        pytest.param(
            observation(pods=[replace(pod, leaving=True) for pod in PODS]), "wait", id="leaving"
        ),
        pytest.param(observation(UNSHARED), "wait", id="new pods, old numbers"),
        pytest.param(
            observation(pods=[PLUGIN, replace(GFD, created=BEFORE)]), "restart", id="one old pod"
        ),
        pytest.param(
            observation(pods=[PLUGIN, replace(GFD, created=None)]), "restart", id="age not known"
        ),
        pytest.param(
            observation(pods=[*PODS, replace(GFD, created=BEFORE, leaving=True)]),
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
        pytest.param(
            observation(config_map=replace(MAP, written={}, created=AFTER.isoformat())),
            "record",
            id="of others, created in the same second",
        ),
        pytest.param(
            observation(pods=OLD_PODS, config_map=replace(MAP, written={}, created=NOTED.at)),
            "restart",
            id="of others, created later",
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
        self.config_map = replace(
            self.config_map, data=data, written=plan.record, changed=at.isoformat()
        )

    def apply(self, plan: RolloutPlan, target: Target, at: datetime) -> None:
        """What the rollout does, and what becomes of it."""
        step, change = plan.steps["n1"], plan.labels.get("n1")
        labels = dict(self.node.labels)
        if change:
            labels[LABEL] = change.after or ""
        if step is Step.RESTART:
            self.pods = tuple(
                replace(pod, uid=f"{pod.uid}+", created=at + timedelta(seconds=2))
                for pod in self.pods
            )
        if step not in (Step.SKIP, Step.NOTHING):
            note = note_of(target, self.config_map, self.pods)
            hashes = {HASH: plan.after["n1"], LOADED: str(note)}
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
        sim.apply(plan, targets[0], at)
        assert not plan_rollout(targets, sim.observe())


@dataclass
class Node(Sim):
    """A node that also knows which file its plugin really has."""

    loaded: str = ""
    at: datetime = WRITTEN
    files: Mapping[str, str] = field(default_factory=dict)  # those in its pods, maybe old ones

    def sync(self) -> None:
        """What a kubelet does a minute later, at a start, or when it is asked to."""
        self.files = self.config_map.data

    def load(self) -> None:
        """As a start of the plugin, or a change of the label, does."""
        self.loaded = self.files[self.node.labels.get(LABEL) or "p"]

    def reboot(self) -> None:
        self.pods = tuple(
            replace(pod, restarts={"main": sum(pod.restarts.values()) + 1}) for pod in self.pods
        )
        self.sync()
        self.load()

    def roll(self, target: Target, *, killed: bool = False) -> Step:
        """One run, by the writes of Writer.apply and Writer.record; killed before it deletes."""
        plan = plan_rollout([target], self.observe())
        step = plan.steps["n1"]
        if plan.refresh:
            self.sync()
        note = note_of(target, self.config_map, self.pods, old=True)
        if step is Step.FLIP:
            note = replace(note, old=())
        if step in (Step.FLIP, Step.RESTART):
            labels = {**self.node.labels, LABEL: target.label or ""}
            self.node = replace(self.node, labels=labels, annotations={LOADED: str(note)})
            if plan.labels:
                self.load()
        if step is Step.RESTART and not killed:
            self.sync()
            self.load()
            self.pods = tuple(
                replace(pod, uid=f"{pod.uid}+", created=self.at, restarts={}) for pod in self.pods
            )
        if not killed and step not in (Step.NOTHING, Step.SKIP):
            settled = note_of(target, self.config_map, self.pods)
            annotations = {HASH: target.hash, LOADED: str(settled)}
            self.node = replace(self.node, annotations=annotations)
        return step


@settings(max_examples=500, deadline=None)
@given(
    events=st.lists(
        st.sampled_from(["2", "3", "sync", "reboot", "roll", "killed", "to p", "to q"]), max_size=12
    )
)
def test_plugin_has_the_right_file_whatever_happened(events: list[str]) -> None:
    """Profiles have the same slots and differ in what no number shows; reboots come at any time."""
    profiles = {
        name: Profile(name, replace(PROFILE.content, flags=(("gdsEnabled", name == "q"),)))
        for name in ("p", "q")
    }
    start = {name: to_plugin_config(profile) for name, profile in profiles.items()}
    sim = Node(GOOD, OLD_PODS, ConfigMap(start, created="2026-01-02T00:00:00Z"))
    sim.sync()
    sim.load()
    target = Target("n1", profiles["p"], key="p", label="p")
    for number, event in enumerate(events):
        sim.at = WRITTEN + timedelta(days=2, hours=number)
        if event in ("2", "3"):
            flags = (("mofedEnabled", event == "2"),)
            profiles[target.key] = Profile(target.key, replace(PROFILE.content, flags=flags))
            sim.write(profiles[target.key], target.key, sim.at)
        elif event == "reboot":
            sim.reboot()
        elif event == "sync":
            sim.sync()
        elif event in ("roll", "killed"):
            sim.roll(target, killed=event == "killed")
        key = event.removeprefix("to ") if event.startswith("to ") else target.key
        target = Target("n1", profiles[key], key=key, label=key)
    sim.at = WRITTEN + timedelta(days=3)
    sim.roll(target)
    assert sim.loaded == to_plugin_config(target.profile)
    assert sim.roll(target) is Step.NOTHING
