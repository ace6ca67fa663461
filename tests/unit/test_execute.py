# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carrying a rollout out: batches, what is written when, and how it is taken back; on a fleet that
does not hold still.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    ClusterError,
    LeaseError,
    RefusedError,
    SharingError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.names import (
    LOADED_ANNOTATION,
    PROFILES_ANNOTATION,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.disruption import Disruption
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.config_map import (
    plan_config_map,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.hashing import from_note
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.model import Profile
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rendering import (
    to_plugin_config,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout import (
    drain,
    execute,
    gpu_pods,
    guard,
    write,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.batches import (
    ordered_nodes,
    split_into_batches,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.desired import (
    Desired,
    Target,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.execute import Executor
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.guard import DisruptionGuard
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.outcome import (
    STOPPED,
    Outcome,
    RolloutError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.plan import (
    RolloutPlan,
    Step,
    plan_rollout,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.settings import Settings
from ansible_collections.gpufleet.sharing.tests.unit import fake_fleet
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions, numbers
from ansible_collections.gpufleet.sharing.tests.unit.fake_fleet import (
    HASH,
    LABEL,
    MAP,
    NODES,
    PODS,
    SETTINGS,
    FakeFleet,
    profiles,
)

FOUR = [f"n{number}" for number in range(1, 5)]
OLD, NEW = profiles(default=2, dev=8), profiles(default=2, dev=6)
TO_DEV: Mapping[str, str | None] = MappingProxyType(dict.fromkeys(FOUR, "dev"))


@dataclass
class Scene:
    """A fleet that has old, and a rollout that brings new."""

    fleet: FakeFleet
    old: Desired
    new: Desired
    settings: Settings = SETTINGS
    lines: list[str] = field(default_factory=list)
    checks: list[int] = field(default_factory=list)  # how much was written before each check
    check: Callable[[], None] = lambda: None

    @property
    def targets(self) -> dict[str, Target]:
        return self.new.targets()

    def plan(self, desired: Desired | None = None) -> RolloutPlan:
        wanted = desired or self.new
        return plan_rollout(wanted.targets().values(), self.fleet.observe())

    def executor(self, *, back: bool = True, **changed: Any) -> Executor:
        def check() -> None:
            self.checks.append(len(self.fleet.api.writes()))
            self.check()

        return Executor(
            cluster=fake_fleet.cluster(self.fleet),
            live=fake_fleet.live(self.fleet),
            targets=self.targets,
            settings=replace(self.settings, **changed),
            check=check,
            report=self.lines.append,
            previous=self.old if back else None,
        )

    def run(self, *, back: bool = True, **changed: Any) -> Outcome:
        executor = self.executor(back=back, **changed)
        executor.execute(self.plan())
        return executor.outcome

    def fails(self, **changed: Any) -> list[str]:
        """What a rollout says that fails, in lines."""
        with pytest.raises(RolloutError) as caught:
            self.run(**changed)
        return str(caught.value).splitlines()

    def hashes(self) -> dict[str, str]:
        nodes = self.fleet.observe().nodes.values()
        return {node.name: from_note(node.annotations.get(HASH, "")) for node in nodes}

    def labels(self) -> dict[str, str | None]:
        nodes = self.fleet.observe().nodes.values()
        return {node.name: node.labels.get(LABEL) for node in nodes}

    def is_at(self, desired: Desired) -> bool:
        """Whether the whole fleet has it, and a plan over it finds nothing."""
        shown = all(
            self.fleet.slots(node) == [2 * target.profile.replicas]
            for node, target in desired.targets().items()
            if f"{NODES}/{node}" in self.fleet.api.objects
        )
        return shown and not self.plan(desired)


@pytest.fixture(autouse=True)
def prompt_kubelets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read anew at once, so that the first wait is the canary's."""
    monkeypatch.setattr(write, "REFRESH", 0)


def scene(
    old: Mapping[str, Profile] = OLD,
    new: Mapping[str, Profile] = NEW,
    *,
    before: Mapping[str, str | None] = TO_DEV,
    after: Mapping[str, str | None] = TO_DEV,
    modes: tuple[bool, bool] = (False, False),
    written: bool = True,
    annotated: bool = True,
) -> Scene:
    """Nodes that have old, annotated with it; the keys of new are written where said."""
    had = Desired(old, "default", before, modes[0])
    fleet = FakeFleet()
    fleet.write(old, versioned=modes[0])
    fleet.write({"default": old["default"]})  # what the operator's pointer names
    fleet.settle(10)
    for node, target in had.targets().items():
        fleet.add(node, label=target.label, annotated=target.hash if annotated else "")
    fleet.settle(600)
    found = Scene(fleet, had, Desired(new, "default", after, modes[1]))
    assert not annotated or found.is_at(had)
    if written:
        fleet.write(new, versioned=modes[1])
    fleet.settle(600)
    fleet.touched.clear()
    fleet.api.requests.clear()
    return found


def refuse_dev(found: Scene, *nodes: str) -> None:
    """Plugins of some nodes (all, where none are named) refuse the new content of dev."""
    text = to_plugin_config(found.new.profiles["dev"])
    found.fleet.refuses = lambda node, loaded: loaded == text and (not nodes or node in nodes)


MODES = [
    pytest.param((False, False), id="in place"),
    pytest.param((True, True), id="versioned"),
    pytest.param((False, True), id="to versioned"),
    pytest.param((True, False), id="to in place"),
]


@pytest.mark.parametrize("modes", MODES)
def test_carry_out(modes: tuple[bool, bool]) -> None:
    found = scene(modes=modes)
    assert set(found.plan().steps.values()) == {Step.FLIP if any(modes) else Step.RESTART}
    done = found.run()
    assert (done.touched, done.failed) == (FOUR, {})
    assert found.is_at(found.new)
    assert found.fleet.slots(*FOUR) == [12] * 4
    assert len(found.lines) == 3
    assert [numbers(line.split(",")[0]) for line in found.lines] == [
        [1, 1, 3],
        [2, 2, 3],
        [1, 3, 3],
    ]
    found.fleet.api.requests.clear()
    found.run()
    assert found.fleet.api.writes() == []


def test_notes_have_the_version_of_the_hash_and_older_ones_are_understood() -> None:
    """A new release of the collection finds nothing to do on a fleet of the one before."""
    found = scene()
    found.run()
    notes = {node.name: node.annotations for node in found.fleet.observe().nodes.values()}
    digest = found.targets["n1"].hash
    for texts in notes.values():
        assert texts[HASH] == f"v1:{digest}"
        assert json.loads(texts[LOADED_ANNOTATION])["hash"] == f"v1:{digest}"
    keys = found.fleet.api.objects[MAP]["metadata"]["annotations"]
    assert json.loads(keys[PROFILES_ANNOTATION])["dev"]["hash"] == f"v1:{digest}"
    older = {PROFILES_ANNOTATION: keys[PROFILES_ANNOTATION].replace("v1:", "")}
    found.fleet.api.objects[MAP]["metadata"]["annotations"] = older
    for name, texts in notes.items():
        older = {key: text.replace("v1:", "") for key, text in texts.items()}
        found.fleet.edit(name, annotations=older)
    found.fleet.refresh_config_map()
    found.fleet.settle(600)
    assert found.is_at(found.new)
    config_map = found.fleet.observe().config_map
    files = {name: to_plugin_config(profile) for name, profile in NEW.items()}
    assert not plan_config_map(config_map, files, now=found.fleet.time)


def test_carry_out_tells_how_long_it_takes() -> None:
    found = scene()
    found.run()
    assert numbers(found.lines[0]) == [0, 1, 1, 3, 4]
    assert numbers(found.lines[1]) == [1, 2, 2, 3, 4, 24]


def test_carry_out_asks_before_each_write_whether_it_still_may() -> None:
    """Of a batch: files of pods, labels, pods, annotations. Without the lease none is written."""
    found = scene()
    found.run(batches=["100%"])
    assert sorted(set(found.checks)) == found.checks[:3] == [0, 4, 12]

    def lose() -> None:
        raise LeaseError("lost")

    another = scene()
    another.check = lose
    with pytest.raises(LeaseError):
        another.run()
    assert another.fleet.api.writes() == []


def test_wait_for_nodes_ends_with_the_lease() -> None:
    """Once another run may write, or Ansible has ended, nobody needs the result."""
    whole, found = scene(), scene()
    whole.run(batches=["100%"])

    def lose() -> None:
        if found.checks[-1] == 12:  # all pods of the batch are restarted
            raise LeaseError("lost")

    found.check = lose
    with pytest.raises(LeaseError):
        found.run(batches=["100%"])
    assert found.fleet.seconds < whole.fleet.seconds


def test_carry_out_pauses_between_batches() -> None:
    quick, found = scene(), scene()
    quick.run()
    found.run(pause=100)
    assert found.fleet.seconds - quick.fleet.seconds == pytest.approx(200, abs=3)


def test_carry_out_records_what_was_loaded_before() -> None:
    """An annotation lost: the numbers are right and the pods are newer than the content."""
    found = scene(new=OLD, annotated=False)
    assert set(found.plan().steps.values()) == {Step.RECORD}
    assert found.run().touched == []
    assert found.is_at(found.new)
    assert {line.split()[0] for line in found.fleet.api.writes()} == {"PATCH"}


@pytest.mark.parametrize("modes", MODES)
@pytest.mark.parametrize("annotated", [True, False])
def test_failing_canary_is_taken_back(modes: tuple[bool, bool], annotated: bool) -> None:
    found = scene(modes=modes, annotated=annotated)
    refuse_dev(found)
    told = found.fails()
    assert {1, 3, 60} == set(numbers(told[0]))  # batch 1 of 3, seconds
    assert told[3].split()[:2] == ["n1", "pods"]
    assert 1 in numbers(told[-2])  # nodes that are back
    assert found.fleet.slots(*FOUR) == [16] * 4
    assert found.labels() == {n: t.label for n, t in found.old.targets().items()}
    assert found.hashes()["n1"] == found.old.target("n1").hash
    changed = {node for nodes in found.fleet.touched for node in nodes}
    assert changed == {"n1"}
    if annotated:
        assert found.is_at(found.old)


@pytest.mark.parametrize("modes", MODES)
def test_failing_last_batch_is_taken_back_batch_by_batch(modes: tuple[bool, bool]) -> None:
    found = scene(modes=modes)
    refuse_dev(found, "n4")
    told = found.fails()
    assert 4 in numbers(told[-2])  # nodes that are back
    assert found.is_at(found.old)
    assert max(map(len, found.fleet.touched)) == 2


def test_failing_batch_stays_where_it_is_not_to_be_taken_back() -> None:
    found = scene()
    refuse_dev(found, "n2")
    told = found.fails(on_failure="stop")
    assert told[-1] == STOPPED
    assert found.fleet.slots(*FOUR) == [12, 0, 12, 16]
    # The cause is mended: a plain run goes on where this one stopped.
    found.fleet.refuses = lambda _node, _text: False
    found.fleet.restart("n2")
    found.fleet.settle(10)
    found.run()
    assert found.is_at(found.new)


def test_failing_batch_without_a_revision_to_go_back_to() -> None:
    found = scene()
    refuse_dev(found)
    assert found.fails(back=False)[-1].endswith(STOPPED)
    assert found.fleet.slots(*FOUR) == [0, 16, 16, 16]


@pytest.mark.parametrize(("most", "fails"), [(0, True), (1, True), (2, False)])
def test_max_failures(most: int, fails: bool) -> None:
    """All failures count, not those of one batch."""
    found = scene()
    refuse_dev(found, "n1", "n4")
    if fails:
        found.fails(max_failures=most)
        assert found.is_at(found.old)
        return
    done = found.run(max_failures=most)
    assert sorted(done.failed) == ["n1", "n4"]
    assert found.fleet.slots(*FOUR) == [0, 12, 12, 0]
    assert [node for node, text in found.hashes().items() if not text] == ["n1", "n4"]


def test_going_back_fails_too() -> None:
    found = scene()
    found.fleet.refuses = lambda node, _text: node == "n1" and found.fleet.seconds > 1200
    told = found.fails()
    assert numbers(told[4]).count(1) >= 2  # 1 of 1 nodes is not back
    assert told[7].split()[:2] == ["n1", "pods"]


def test_going_back_cannot_be_written() -> None:
    found = scene()
    refuse_dev(found)
    found.fleet.api.fault = lambda method, path: 500 if (method, path) == ("PATCH", MAP) else 0
    assert mentions(found.fails()[-1], "PATCH", MAP, 500)


def test_going_back_names_nodes_without_a_profile_of_before() -> None:
    found = scene()
    before = {node: "dev" for node in FOUR if node != "n2"}
    found.old = replace(found.old, assignments=before)
    refuse_dev(found, "n2")
    told = found.fails()
    assert mentions(told[-2], "n2")
    assert found.fleet.slots("n1", "n3", "n4") == [16] * 3


def test_going_back_of_nodes_that_moved_to_a_profile_that_changed_too() -> None:
    """dev changes, and n1 moves from dev to wide: it goes back to dev as it was."""
    old, new = profiles(default=2, dev=8, wide=3), profiles(default=2, dev=6, wide=4)
    found = scene(old, new, after={**TO_DEV, "n1": "wide"})
    text = to_plugin_config(new["wide"])
    found.fleet.refuses = lambda _node, loaded: loaded == text
    found.fails(batches=["100%"])
    assert found.is_at(found.old)


def test_going_back_reaches_nodes_that_a_killed_run_has_moved() -> None:
    found = scene()
    executor = found.executor()
    executor._run_batch(["n1", "n2"], "killed after it")
    refuse_dev(found, "n3")
    told = found.fails()
    assert 3 in numbers(told[-2])  # nodes that are back
    assert found.is_at(found.old)


def test_going_back_reaches_nodes_that_restarted_by_themselves() -> None:
    """They have loaded the new content, whatever their annotation says."""
    found = scene()
    refuse_dev(found, "n2")
    during(found, lambda: found.fleet.restart("n4"))
    told = found.fails()
    assert 4 in numbers(told[-2])  # nodes that are back
    assert found.is_at(found.old)


def test_going_back_leaves_a_default_that_was_renamed() -> None:
    """Nodes without a label, whose content stays, are not touched by another name of it."""
    old, new = profiles(default=2), profiles(base=2, default=2)
    found = scene(old, new, before=dict.fromkeys(FOUR), after=dict.fromkeys(FOUR))
    found.new = replace(found.new, default_profile="base")
    assert not found.plan()


class Killed(BaseException):
    """What SIGKILL is: nothing is done about it."""


def kill(found: Scene, waits: int = 2) -> None:
    """A run is killed while its canary settles."""

    def die() -> None:
        raise Killed

    during(found, die, waits)
    with pytest.raises(Killed):
        found.run()
    found.lines.clear()
    found.fleet.touched.clear()
    found.fleet.api.requests.clear()


@pytest.mark.parametrize("modes", MODES)
@pytest.mark.parametrize("later", [0, 600])
def test_killed_run_is_continued_with_its_canary(modes: tuple[bool, bool], later: float) -> None:
    found = scene(modes=modes)
    kill(found)
    assert found.hashes()["n1"] == ""
    if later:
        found.fleet.settle(later)
        found.fleet.touched.clear()
    found.run()
    assert found.is_at(found.new)
    if later:  # it has got there by itself
        assert [node for nodes in found.fleet.touched for node in nodes if node == "n1"] == []


def test_node_begun_by_a_killed_run_is_the_canary() -> None:
    found = scene()
    refuse_dev(found)
    kill(found, 2)
    told = found.fails()
    assert numbers(found.lines[0]) == [1]  # waits before the first batch
    assert numbers(told[0]) == [1, 1, 60]  # and fails without a batch
    assert found.fleet.slots(*FOUR) == [16] * 4
    assert found.is_at(found.old)


def test_nodes_that_are_on_their_way_for_another_reason_are_waited_for_last() -> None:
    new = {**NEW, "default": OLD["default"]}
    found = scene(after={**TO_DEV, "n4": "default"}, before={**TO_DEV, "n4": "default"}, new=new)
    found.fleet.edit("n4", annotations={HASH: None})
    found.fleet.restart("n4")
    found.fleet.settle(1)
    assert found.plan().nodes(Step.WAIT) == ["n4"]
    done = found.run()
    assert numbers(found.lines[-1]) == [1]
    assert done.touched == ["n1", "n2", "n3"]
    assert found.is_at(found.new)


def test_nodes_on_their_way_without_a_revision_before() -> None:
    found = scene()
    kill(found)
    found.run(back=False)
    assert numbers(found.lines[-1]) == [1]
    assert found.is_at(found.new)


@pytest.mark.parametrize(("most", "fails"), [(0, True), (1, False)])
def test_nodes_that_do_not_get_there_for_another_reason_take_nothing_back(
    most: int, fails: bool
) -> None:
    found = scene(after={**TO_DEV, "n4": "default"}, before={**TO_DEV, "n4": "default"})
    found.fleet.edit("n4", annotations={HASH: None})
    found.fleet.refuses = lambda node, _text: node == "n4"
    found.fleet.restart("n4")
    found.fleet.settle(10)
    if fails:
        told = found.fails(max_failures=most)
        assert numbers(told[0]) == [1, 1, 60]
        assert told[3].split()[:2] == ["n4", "pods"]
        assert told[-1] == STOPPED
    else:
        assert list(found.run(max_failures=most).failed) == ["n4"]
    assert found.fleet.slots(*FOUR) == [12, 12, 12, 0]


# ---- what happens meanwhile


def during(found: Scene, what: Callable[[], object], waits: int = 2) -> None:
    """Something happens at the nth wait: while the canary settles."""
    found.fleet.on_wait = [*[lambda: None] * (waits - 1), what]


@pytest.mark.parametrize("modes", MODES)
def test_node_leaves_before_its_turn(modes: tuple[bool, bool]) -> None:
    found = scene(modes=modes)
    during(found, lambda: found.fleet.remove("n3"))
    done = found.run()
    assert found.is_at(replace(found.new, assignments=dict.fromkeys(("n1", "n2", "n4"), "dev")))
    assert done.touched == ["n1", "n2", "n4"]
    assert list(done.skipped) == ["n3"]
    assert "NotReady" not in done.skipped["n3"]


def test_node_becomes_not_ready_before_its_turn() -> None:
    found = scene()
    during(found, lambda: found.fleet.set_ready("n3", ready=False))
    done = found.run()
    assert list(done.skipped) == ["n3"]
    assert mentions(done.skipped["n3"], "NotReady")
    assert found.fleet.slots(*FOUR) == [12, 12, 16, 12]
    found.fleet.set_ready("n3", ready=True)
    found.run()
    assert found.is_at(found.new)


UPGRADE = "nvidia.com/gpu-driver-upgrade-state"
PAUSED = {"nvidia.com/gpu.deploy.device-plugin": "paused-for-driver-upgrade"}


@pytest.mark.parametrize("labels", [PAUSED, {UPGRADE: "drain-required"}])
def test_paused_node_is_left_out_and_never_the_canary(labels: dict[str, str]) -> None:
    found = scene()
    found.fleet.edit("n1", labels=labels)
    assert found.plan().nodes(Step.SKIP) == ["n1"]
    done = found.run()
    assert (done.touched, done.failed) == (["n2", "n3", "n4"], {})
    assert found.fleet.slots(*FOUR) == [16, 12, 12, 12]


@pytest.mark.parametrize("node", ["n1", "n3"])
@pytest.mark.parametrize("modes", MODES)
def test_driver_upgrade_in_mid_rollout_fails_nobody(node: str, modes: tuple[bool, bool]) -> None:
    """The canary while it settles, or a node before its turn."""
    found = scene(modes=modes)

    def upgrade() -> None:
        found.fleet.edit(node, labels={UPGRADE: "pod-restart-required", **PAUSED})
        found.fleet.refuses = lambda name, _text: name == node
        found.fleet.restart(node)

    during(found, upgrade)
    done = found.run()
    assert done.failed == {}
    assert mentions(done.skipped[node], UPGRADE, "pod-restart-required")
    others = [name for name in FOUR if name != node]
    assert found.fleet.slots(*others) == [12] * 3
    found.fleet.refuses = lambda _name, _text: False
    found.fleet.edit(node, labels={UPGRADE: "upgrade-done", **dict.fromkeys(PAUSED, "true")})
    found.fleet.restart(node)
    found.fleet.settle(600)
    found.run()
    assert found.is_at(found.new)


def test_config_map_goes_in_mid_run() -> None:
    found = scene()
    during(found, lambda: found.fleet.api.drop(MAP))
    with pytest.raises(SharingError, match=r"\bdev\b.*ConfigMap.*'dev'"):
        found.run()
    assert found.fleet.slots(*FOUR) == [12, 16, 16, 16]


def test_config_map_that_has_gone_cannot_be_taken_back() -> None:
    found = scene()
    refuse_dev(found)
    during(found, lambda: found.fleet.api.drop(MAP))
    assert mentions(found.fails()[-1], "key dev", "ConfigMap")


def test_trouble_of_the_watches_is_told() -> None:
    found = scene()
    found.fleet.trouble = "The watch of /api/v1/nodes broke: timed out."
    refuse_dev(found)
    assert found.fleet.trouble in found.fails()


def test_canary_is_a_node_that_is_there() -> None:
    found = scene()
    refuse_dev(found)
    executor, plan = found.executor(), found.plan()
    found.fleet.set_ready("n1", ready=False)
    with pytest.raises(RolloutError) as caught:
        executor.execute(plan)
    assert set(numbers(str(caught.value).splitlines()[0])) == {1, 3, 60}
    assert executor.outcome.touched == ["n2"]
    assert found.fleet.slots(*FOUR) == [16] * 4


def test_nobody_is_left() -> None:
    found = scene()
    executor, plan = found.executor(), found.plan()
    for node in FOUR:
        found.fleet.remove(node)
    executor.execute(plan)
    assert len(found.lines) == 1
    assert mentions(found.lines[0], *FOUR)
    assert found.fleet.api.writes() == []


@pytest.mark.parametrize("modes", MODES)
def test_node_is_made_again_before_its_turn(modes: tuple[bool, bool]) -> None:
    """It has neither label nor annotation."""
    found = scene(modes=modes)

    def again() -> None:
        found.fleet.remove("n3")
        found.fleet.add("n3")

    during(found, again)
    found.run()
    assert found.is_at(found.new)


@pytest.mark.parametrize("modes", MODES)
def test_node_is_relabelled_by_hand_before_its_turn(modes: tuple[bool, bool]) -> None:
    found = scene(modes=modes)
    during(found, lambda: found.fleet.edit("n3", labels={LABEL: "default"}))
    found.run()
    assert found.is_at(found.new)


def test_node_is_relabelled_by_hand_while_it_settles() -> None:
    found = scene()
    during(found, lambda: found.fleet.edit("n1", labels={LABEL: "default"}))
    told = found.fails()
    assert told[3].split()[:2] == ["n1", "node"]
    assert mentions(told[3], "default", "dev")
    assert found.is_at(found.old)


def test_pods_are_restarted_by_somebody_before_their_turn() -> None:
    """They have the new content then; they are not restarted again."""
    found = scene()
    during(found, lambda: found.fleet.restart("n4"))
    found.run()
    assert found.is_at(found.new)
    deleted = [line for line in found.fleet.api.writes() if line.startswith("DELETE")]
    assert len(deleted) == 6


def test_pod_goes_while_it_is_to_see_a_new_key() -> None:
    found = scene(modes=(True, True))
    gone: list[str] = []

    def fault(method: str, path: str) -> int:
        if method == "PATCH" and path.startswith(PODS) and not gone:
            gone.append(path)
            return 404
        return 0

    found.fleet.api.fault = fault
    found.run()
    assert gone
    assert found.is_at(found.new)


def test_node_leaves_while_it_is_written() -> None:
    found = scene()
    found.fleet.api.fault = lambda method, path: (
        404 if method == "PATCH" and path == f"{NODES}/n1" else 0
    )
    found.run(max_failures=1)


@pytest.mark.parametrize("modes", MODES)
def test_content_is_edited_in_mid_run(modes: tuple[bool, bool]) -> None:
    """No other node is to load what somebody has written."""
    found = scene(modes=modes)
    key = found.new.target("n1").key
    text = to_plugin_config(profiles(dev=3)["dev"])
    during(found, lambda: found.fleet.api.patch(MAP, {"data": {key: text}}))
    with pytest.raises(SharingError, match=f"{key}.*ConfigMap.*'dev'"):
        found.run()
    assert found.fleet.slots("n2", "n3", "n4") == [16] * 3


def test_content_is_edited_while_kubelets_read_their_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the canary is to load it."""
    monkeypatch.setattr(write, "REFRESH", 2)
    found = scene(modes=(True, True))
    key = found.new.target("n1").key
    text = to_plugin_config(profiles(dev=3)["dev"])
    during(found, lambda: found.fleet.api.patch(MAP, {"data": {key: text}}), 1)
    with pytest.raises(SharingError, match=f"{key}.*ConfigMap.*'dev'"):
        found.run()
    assert found.fleet.slots(*FOUR) == [16] * 4


def test_labels_wait_for_kubelets_that_read_a_new_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "REFRESH", 2)
    found = scene(modes=(True, True))
    written: list[list[str]] = []

    def look() -> None:
        written.append([line for line in found.fleet.api.writes() if "/leases" not in line])

    found.fleet.on_wait = [look, look]
    found.run()
    pods = [f"PATCH {fake_fleet.PODS}/" in line for line in written[0]]
    assert pods
    assert all(pods)
    assert written[1] == written[0]
    assert found.is_at(found.new)


def test_annotation_that_is_wrong_after_there_and_back() -> None:
    """dev goes from 8 to 6; n3 restarts by itself, and has 6; dev goes back to 8, before its turn.
    Its annotation says 8 all the while.
    """
    found = scene()
    found.fleet.restart("n3")
    found.fleet.settle(600)
    assert found.fleet.slots(*FOUR) == [16, 16, 12, 16]
    found.fleet.write(OLD)
    found.fleet.settle(600)
    found.new = found.old
    assert found.plan().changing == ["n3"]
    found.run()
    assert found.is_at(found.old)


def test_annotation_of_a_node_that_did_not_get_back_from_a_label_by_hand() -> None:
    """Its old annotation would say that all is well."""
    found = scene(new=OLD)
    found.fleet.edit("n1", labels={LABEL: "default"})
    found.fleet.settle(600)
    found.fleet.refuses = lambda _node, _text: True
    found.fails(on_failure="stop")
    assert found.hashes()["n1"] == ""


def test_touched_node_that_is_not_ready_is_told_when_going_back() -> None:
    found = scene(modes=(True, True))
    during(found, lambda: found.fleet.set_ready("n1", ready=False))
    told = found.fails()
    assert told[3].split()[:2] == ["n1", "node"]
    assert mentions(told[3], "NotReady")
    assert any(numbers(line).count(1) == 2 for line in told[4:])  # 1 of 1 nodes is not back
    assert found.labels()["n1"] == found.old.target("n1").label


ASSIGNED = st.sampled_from(["dev", "default", None])


@hypothesis_settings(max_examples=25, deadline=None)
@given(
    count=st.integers(1, 9),
    spec=st.lists(st.sampled_from(["1", "2", "30%", "100%"]), min_size=1, max_size=3),
    modes=st.tuples(st.booleans(), st.booleans()),
    bad=st.sets(st.integers(1, 9), max_size=2),
    default=st.integers(1, 3),
    assigned=st.lists(st.tuples(ASSIGNED, ASSIGNED), min_size=9, max_size=9),
)
def test_no_more_than_one_batch_is_off_and_it_ends_old_or_new(
    count: int,
    spec: list[str],
    modes: tuple[bool, bool],
    bad: set[int],
    default: int,
    assigned: list[tuple[str | None, str | None]],
) -> None:
    names = [f"n{number}" for number in range(1, count + 1)]
    before, after = (dict(zip(names, each, strict=False)) for each in zip(*assigned, strict=True))
    new = profiles(default=default, dev=6)
    found = scene(OLD, new, before=before, after=after, modes=modes)
    refuse_dev(found, *[f"n{number}" for number in bad] or ["none"])
    work = ordered_nodes(found.plan(), found.targets)
    most = max(map(len, split_into_batches(work, spec)), default=0)
    try:
        found.run(batches=spec)
    except RolloutError:
        assert found.is_at(found.old)
    else:
        assert found.is_at(found.new)
    assert max(map(len, found.fleet.touched), default=0) <= most


@hypothesis_settings(max_examples=25, deadline=None)
@given(
    waits=st.integers(1, 40),
    modes=st.tuples(st.booleans(), st.booleans()),
    assigned=st.lists(st.tuples(ASSIGNED, ASSIGNED), min_size=4, max_size=4),
    restarted=st.sets(st.sampled_from(FOUR)),
    regretted=st.booleans(),
)
def test_killed_run_converges(
    waits: int,
    modes: tuple[bool, bool],
    assigned: list[tuple[str | None, str | None]],
    restarted: set[str],
    regretted: bool,
) -> None:
    """Wherever it was killed, and whatever restarts meanwhile: the next run brings the fleet to
    what is asked for then, be it the same or what was before.
    """
    before, after = (dict(zip(FOUR, each, strict=True)) for each in zip(*assigned, strict=True))
    found = scene(OLD, profiles(default=3, dev=6), before=before, after=after, modes=modes)

    def die() -> None:
        raise Killed

    during(found, die, waits)
    with suppress(Killed):
        found.run()
    found.fleet.on_wait.clear()
    for node in sorted(restarted):
        found.fleet.restart(node)
    found.fleet.settle(10)
    found.fleet.settle(10)
    if regretted:
        found.old, found.new = found.new, found.old
        found.fleet.write(OLD, versioned=modes[0])
        found.fleet.settle(10)
    found.run()
    assert found.is_at(found.new)


# ---- pods that would be disrupted


@pytest.mark.parametrize("on_failure", ["rollback", "stop"])
@pytest.mark.parametrize("budget", [True, False])
def test_work_that_has_come_since_is_not_disrupted(on_failure: str, budget: bool) -> None:
    """Nor evicted against its budget: what was done until then is taken back, where asked for."""
    found = scene()
    during(found, lambda: found.fleet.workload("busy", "n2", 14))
    found.fleet.api.fault = lambda _method, path: 429 if path.endswith("/eviction") else 0
    how = "evict" if budget else "refuse"
    with pytest.raises(RolloutError) as caught:
        found.run(on_failure=on_failure, drain=how, drain_timeout=0.1)
    cause = caught.value.__cause__
    assert isinstance(cause, drain.DrainError if budget else RefusedError)
    assert numbers(str(cause).splitlines()[0]) == ([0.1, 1, 1] if budget else [1, 1])
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith("n2: work/busy: ")
    canary = 16 if on_failure == "rollback" else 12
    assert found.fleet.slots(*FOUR) == [canary, 16, 16, 16]
    assert "unschedulable" not in found.fleet.api.objects[f"{NODES}/n2"]["spec"]


def test_work_that_would_be_disrupted_is_evicted_and_its_node_uncordoned() -> None:
    found = scene()
    found.fleet.workload("busy", "n2", 14)
    found.fleet.workload("calm", "n3", 2)
    done = found.run(drain="evict")
    assert [pod.name for pod in done.evicted] == ["busy"]
    assert "/api/v1/namespaces/work/pods/calm" in found.fleet.api.objects
    assert found.is_at(found.new)
    assert not any(
        item["spec"].get("unschedulable")
        for path, item in found.fleet.api.objects.items()
        if path.startswith(NODES)
    )
    assert [1, 1] in [numbers(line) for line in found.lines]  # 1 node is drained of 1 pod


@pytest.mark.parametrize("refused", [True, False])
def test_node_is_uncordoned_whatever_becomes_of_its_batch(refused: bool) -> None:
    found = scene()
    found.fleet.workload("busy", "n1", 14)
    if refused:
        refuse_dev(found)
        found.fails(drain="evict")
    else:
        found.fleet.api.fault = lambda method, _path: 500 if method == "DELETE" else 0
        with pytest.raises(ClusterError) as caught:
            found.run(drain="evict")
        assert numbers(caught.value)[:2] == [2, 2]
    assert "unschedulable" not in found.fleet.api.objects[f"{NODES}/n1"]["spec"]


def test_work_is_left_at_its_own_risk() -> None:
    found = scene()
    found.fleet.workload("busy", "n1", 14)
    found.run(drain="ignore")
    assert found.is_at(found.new)
    assert "/api/v1/namespaces/work/pods/busy" in found.fleet.api.objects


def test_guard_lists_all_pods_where_there_are_many_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_pods, "ONE_BY_ONE", 2)
    found = scene()
    found.fleet.workload("busy", "n2", 14)
    found.fleet.workload("elsewhere", "n9", 14)
    disruption_guard = DisruptionGuard(fake_fleet.cluster(found.fleet), found.targets, {})
    disruptions = disruption_guard.find([*FOUR, "gone"], found.fleet.observe())
    assert [each.pod.name for each in disruptions] == ["busy"]
    assert disruption_guard.find(["gone"], found.fleet.observe()) == []


def test_guard_looks_at_each_pod_once_however_many_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def find_disruptions(*arguments: Any) -> list[Disruption]:
        looked.extend(pod.name for pod in arguments[3])
        return []

    monkeypatch.setattr(guard, "find_disruptions", find_disruptions)
    found = scene()
    for node in FOUR:
        found.fleet.workload(f"on-{node}", node, 14)
    disruption_guard = DisruptionGuard(fake_fleet.cluster(found.fleet), found.targets, {})
    disruption_guard.find(FOUR, found.fleet.observe())
    assert sorted(looked) == [f"on-{node}" for node in FOUR]


def test_interval() -> None:
    times = iter([0.0, 9.9, 10.0, 10.0, 15.0])
    interval = execute.Interval(lambda: next(times))
    assert [interval.is_over(), interval.is_over(), interval.is_over()] == [False, True, False]
