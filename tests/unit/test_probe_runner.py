# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a probe: what it creates, what it waits for, and what it reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._probe import runner
from ansible_collections.gpufleet.sharing.plugins.module_utils._probe.manifests import PodSettings
from ansible_collections.gpufleet.sharing.plugins.module_utils._probe.plan import (
    ProbeOutcome,
    ProbeResult,
    ProbeTarget,
    TwoSlots,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._probe.pods import (
    ProbePod,
    SlotCount,
    Stage,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._probe.runner import (
    ProbeOptions,
    Prober,
    run_all,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions, numbers

GPU = "nvidia.com/gpu"
SHORT = f"1 Insufficient {GPU}."
UUID = "GPU-5f8c1d1a-0000-1111-2222-333344445555"
TARGET = ProbeTarget("n", "p", expected=4, allocatable=4, pods=4, two=TwoSlots.REFUSED)
Fate = Callable[[float], tuple[Stage, str]]  # seconds since it was made -> stage and words


def at_once(stage: Stage, why: str = "") -> Fate:
    return lambda _age: (stage, why)


def later(seconds: float, then: Stage, first: Stage = Stage.STARTING, why: str = "") -> Fate:
    return lambda age: (then, "") if age >= seconds else (first, why)


@dataclass
class Script:
    """Pods that follow a script, by the end of their names; waiting advances the time."""

    fates: dict[str, Fate] = field(default_factory=dict)
    run: str = "run"
    time: float = 0.0
    made: dict[str, float] = field(default_factory=dict)
    asked: list[tuple[str, int]] = field(default_factory=list)  # names and slots
    gone: set[str] = field(default_factory=set)
    most: int = 0
    refusal: str = ""
    blind: bool = False
    told: list[object] = field(default_factory=list)

    def now(self) -> float:
        return self.time

    def create(self, pods: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        if self.refusal:
            return {pod["metadata"]["name"]: self.refusal for pod in pods}
        for pod in pods:
            (limit,) = pod["spec"]["containers"][0]["resources"]["limits"].values()
            self.asked.append((pod["metadata"]["name"], int(limit)))
            self.made[pod["metadata"]["name"]] = self.time
        self.most = max(self.most, len(self.made) - len(self.gone))
        return {}

    def pod(self, name: str) -> ProbePod:
        usual = {"two": at_once(Stage.REFUSED), "more": at_once(Stage.UNSCHEDULABLE, SHORT)}
        fates = {**usual, **self.fates}
        fate = next((f for end, f in fates.items() if name.endswith(end)), at_once(Stage.RUNNING))
        stage, why = fate(self.time - self.made[name])
        return ProbePod(name, name, stage, why, gpu_list="" if self.blind else UUID)

    def delete(self, names: Sequence[str]) -> None:
        self.gone |= set(names) & self.made.keys()

    def vanished(self, names: Sequence[str]) -> bool:
        return {name for name in names if name in self.made} <= self.gone

    def wait(self, seconds: float) -> None:
        self.time += seconds

    def events(self, _pod: ProbePod) -> list[object]:
        return self.told


def probe(
    script: Script, target: ProbeTarget = TARGET, now: SlotCount | None = None, **options: Any
) -> ProbeResult:
    counted = now or SlotCount(target.allocatable, target.used)
    how = ProbeOptions(PodSettings("image"), 30, lambda _target: counted, **options)
    prober = Prober(script, target, 1, how)
    run_all(script, [prober], 1)
    assert script.made.keys() == script.gone
    return prober.result


def test_course() -> None:
    script = Script()
    report = probe(script)
    assert script.asked == [
        ("run-1-two", 2),
        ("run-1-slot1", 1),
        ("run-1-slot2", 1),
        ("run-1-slot3", 1),
        ("run-1-slot4", 1),
        ("run-1-more", 1),
    ]
    assert (report.outcome, report.ran, report.more, report.two) == (
        ProbeOutcome.PASSED,
        4,
        "waits",
        "refused",
    )
    assert report.gpus == {UUID: 4}
    assert script.most == 5


def test_capped_probe_asks_for_all_others_and_one() -> None:
    script = Script()
    target = replace(TARGET, expected=10, allocatable=10, pods=3)
    assert probe(script, target).outcome is ProbeOutcome.PASSED
    assert script.asked[-1] == ("run-1-more", 8)


def test_single_slot_takes_no_request_of_two() -> None:
    script = Script()
    report = probe(script, replace(TARGET, used=3, pods=1))
    assert (report.outcome, report.two) == (ProbeOutcome.PASSED, "")
    assert [name for name, _slots in script.asked] == ["run-1-slot1", "run-1-more"]


def test_pods_that_come_late_are_waited_for() -> None:
    script = Script({"slot2": later(20, Stage.RUNNING), "two": later(9, Stage.REFUSED)})
    assert probe(script).outcome is ProbeOutcome.PASSED
    assert 29 <= script.time <= 31


@pytest.mark.parametrize("first", [Stage.UNSCHEDULABLE, Stage.STUCK])
def test_trouble_that_passes_is_none(first: Stage) -> None:
    script = Script({"slot2": later(3, Stage.RUNNING, first, SHORT)})
    assert probe(script).outcome is ProbeOutcome.PASSED


@pytest.mark.parametrize(
    ("fates", "ran", "seconds", "fact"),
    [
        ({"slot4": at_once(Stage.STUCK, "no CDI")}, 3, 5, "no CDI"),
        ({"slot4": at_once(Stage.ENDED, "exit code 1")}, 3, 0, "exit code 1"),
        ({"slot4": at_once(Stage.REFUSED, "refusal")}, 3, 0, "refusal"),
        ({"slot4": at_once(Stage.STARTING)}, 3, 30, "30 s"),
        ({"slot4": at_once(Stage.PENDING)}, 3, 30, "30 s"),
        ({"more": at_once(Stage.STARTING)}, 4, 0, GPU),
        ({"more": at_once(Stage.RUNNING)}, 4, 0, GPU),
        ({"more": at_once(Stage.PENDING)}, 4, 30, "30 s"),
        ({"two": at_once(Stage.RUNNING)}, 4, 0, TwoSlots.ADMITTED.value),
    ],
)
def test_failures(fates: dict[str, Fate], ran: int, seconds: float, fact: str) -> None:
    script = Script(fates)
    report = probe(script)
    assert (report.outcome, report.ran) == (ProbeOutcome.FAILED, ran)
    assert mentions(report.reason, fact)
    assert seconds <= script.time <= seconds + 1


def test_fewer_slots_than_promised() -> None:
    script = Script({"slot4": at_once(Stage.UNSCHEDULABLE, SHORT)})
    report = probe(script, replace(TARGET, allocatable=3))
    assert (report.outcome, report.ran) == (ProbeOutcome.FAILED, 3)
    assert mentions(report.reason, GPU, 3, 4)
    assert 5 <= script.time <= 6


@pytest.mark.parametrize(
    ("fates", "now", "fact"),
    [
        ({"slot4": at_once(Stage.UNSCHEDULABLE, SHORT)}, SlotCount(4, 1), "1"),
        ({"slot4": at_once(Stage.UNSCHEDULABLE, SHORT)}, None, GPU),
        ({"two": at_once(Stage.UNSCHEDULABLE, SHORT)}, SlotCount(4, 3), "3"),
        ({"slot4": at_once(Stage.GONE, "preempted")}, None, "preempted"),
        (
            {
                "slot4": later(1, Stage.GONE, Stage.RUNNING),
                "more": later(2, Stage.RUNNING, Stage.PENDING),
            },
            None,
            "",
        ),
        ({"more": at_once(Stage.RUNNING)}, SlotCount(6, 0), "6"),
    ],
)
def test_others_at_work(fates: dict[str, Fate], now: SlotCount | None, fact: str) -> None:
    report = probe(Script(fates), now=now)
    assert report.outcome is ProbeOutcome.BUSY
    assert mentions(report.reason, fact)


def test_pods_that_do_not_start_are_not_tried_twice() -> None:
    """The request of two has shown it; the other pods would take as long again."""
    script = Script({"two": at_once(Stage.STUCK, "no CDI")})
    report = probe(script)
    assert (report.outcome, report.ran) == (ProbeOutcome.FAILED, None)
    assert [name for name, _slots in script.asked] == ["run-1-two"]


def test_events_tell_of_a_slow_pull() -> None:
    pulling = {"type": "Normal", "reason": "Pulling", "message": "Pulling image x"}
    script = Script({"slot1": at_once(Stage.STARTING)}, told=[pulling])
    assert mentions(probe(script).reason, "Pulling image x")


@pytest.mark.parametrize(
    ("said", "outcome"),
    [("exceeded quota: run", ProbeOutcome.BUSY), ("denied by policy", ProbeOutcome.FAILED)],
)
def test_pods_that_the_server_does_not_take(said: str, outcome: ProbeOutcome) -> None:
    report = probe(Script(refusal=said))
    assert report.outcome is outcome
    assert report.reason.endswith(f": {said}")


def test_uuids_may_be_required() -> None:
    assert probe(Script(), require_uuids=True).outcome is ProbeOutcome.PASSED
    report = probe(Script(blind=True), require_uuids=True)
    assert numbers(report.reason) == [4, 4]
    assert probe(Script(blind=True)).outcome is ProbeOutcome.PASSED


@pytest.mark.parametrize(("most", "targets"), [(1, 16), (16, 16), (49, 10), (400, 1)])
def test_how_many_at_once(most: int, targets: int) -> None:
    assert runner.at_once(most) == targets


def test_targets_run_beside_each_other_but_not_all() -> None:
    script = Script({"slot1": later(10, Stage.RUNNING)})
    how = ProbeOptions(PodSettings("image"), 30, lambda _target: SlotCount(4, 0))
    probers = [Prober(script, TARGET, n, how) for n in range(1, 5)]
    run_all(script, probers, 2)
    assert [prober.result.outcome for prober in probers] == [ProbeOutcome.PASSED] * 4
    assert 20 <= script.time <= 23
    assert 5 < script.most <= 10
