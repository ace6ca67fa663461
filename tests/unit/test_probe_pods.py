# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pod of the probe is doing, and what its failure means."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._probe import pods as probe_pods
from ansible_collections.gpufleet.sharing.plugins.module_utils._probe.plan import (
    ProbeTarget,
    TwoSlots,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._probe.pods import (
    Failure,
    ProbePod,
    SlotCount,
    Stage,
    events_text,
    failure_of_extra_pod,
    failure_of_seen_gpus,
    failure_of_two_slots,
    gone,
    insufficient,
    read_pod,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions, numbers

GPU = "nvidia.com/gpu"
UUID = "GPU-5f8c1d1a-0000-1111-2222-333344445555"
MIG = "MIG-5f8c1d1a-0000-1111-2222-333344445556"
SHORT = f"0/6 nodes are available: 1 Insufficient {GPU}, 5 node(s) didn't satisfy plugin(s)."
TARGET = ProbeTarget("n", "p", expected=8, allocatable=8, used=2, pods=6, two=TwoSlots.REFUSED)
FEWER = replace(TARGET, allocatable=7)
SAME = SlotCount(8, 2)


def document(phase: str = "Pending", node: str = "n", **status: Any) -> dict[str, Any]:
    metadata = {"name": "p", "uid": "u"}
    if status.pop("leaving", False):
        metadata["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    return {
        "metadata": metadata,
        "spec": {"nodeName": node} if node else {},
        "status": {"phase": phase, **status},
    }


def waits(reason: str, message: str = "") -> dict[str, Any]:
    return {"name": "hold", "state": {"waiting": {"reason": reason, "message": message}}}


def ended(code: int, message: str = "", reason: str = "Error") -> dict[str, Any]:
    end = {"exitCode": code, "reason": reason, "message": message}
    return {"name": "look", "state": {"terminated": end}}


def scheduled(reason: str, message: str) -> list[dict[str, Any]]:
    return [{"type": "PodScheduled", "status": "False", "reason": reason, "message": message}]


RUNS = {"name": "hold", "state": {"running": {}}}
DISRUPTED = [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]


@pytest.mark.parametrize(
    ("found", "stage", "cause", "why"),
    [
        (document(node=""), Stage.PENDING, "", ()),
        (
            document(node="", conditions=scheduled("Unschedulable", SHORT)),
            Stage.UNSCHEDULABLE,
            "Unschedulable",
            (SHORT,),
        ),
        (
            document(node="", conditions=scheduled("SchedulingGated", "")),
            Stage.PENDING,
            "",
            (),
        ),
        (document(), Stage.STARTING, "", ()),
        (document(containerStatuses=[waits("ContainerCreating")]), Stage.STARTING, "", ()),
        (
            document(
                initContainerStatuses=[waits("CreateContainerError", "no\n  CDI device")],
                containerStatuses=[waits("PodInitializing")],
            ),
            Stage.STUCK,
            "CreateContainerError",
            ("no CDI device",),
        ),
        (document("Running", containerStatuses=[RUNS]), Stage.RUNNING, "", ()),
        (document("Running", containerStatuses=[]), Stage.STARTING, "", ()),
        (document("Running", containerStatuses=[RUNS], leaving=True), Stage.GONE, "", ()),
        (
            document("Failed", reason="UnexpectedAdmissionError", message="too large"),
            Stage.REFUSED,
            "UnexpectedAdmissionError",
            ("too large",),
        ),
        (
            document("Failed", reason="Preempting", conditions=DISRUPTED),
            Stage.GONE,
            "Preempting",
            (),
        ),
        (
            document("Failed", initContainerStatuses=[ended(127, "nvidia-smi: not found")]),
            Stage.ENDED,
            "Error",
            ("look", "127", "nvidia-smi: not found"),
        ),
        (
            document(
                "Succeeded",
                initContainerStatuses=[ended(0)],
                containerStatuses=[ended(0, reason="Completed") | {"name": "hold"}],
            ),
            Stage.ENDED,
            "Completed",
            ("hold", "0"),
        ),
        (
            document("Failed", reason="DeadlineExceeded", message="too long"),
            Stage.ENDED,
            "DeadlineExceeded",
            ("too long",),
        ),
    ],
)
def test_stage(found: dict[str, Any], stage: Stage, cause: str, why: tuple[str, ...]) -> None:
    pod = read_pod(found)
    assert (pod.name, pod.uid, pod.stage, pod.cause) == ("p", "u", stage, cause)
    assert bool(pod.why) is bool(why)
    assert mentions(pod.why, *why)


def test_long_words_are_cut() -> None:
    pod = read_pod(document("Failed", message="x" * 1000))
    assert len(pod.why) == 404


@pytest.mark.parametrize(
    ("said", "gpus"),
    [
        (f"GPU 0: NVIDIA A10 (UUID: {UUID})", (UUID,)),
        (f"GPU 0: A100 (UUID: {UUID})\n  MIG 1g.5gb Device 0: (UUID: {MIG})", (MIG,)),
        ("No devices found.", ()),
        ("", ()),
    ],
)
def test_gpus_of_a_pod(said: str, gpus: tuple[str, ...]) -> None:
    assert read_pod(document(initContainerStatuses=[ended(0, said)])).gpus == gpus


def test_pod_that_is_gone_keeps_what_it_ended_with() -> None:
    refused = ProbePod("p", "u", Stage.REFUSED, "why")
    assert gone(refused) is refused
    running = ProbePod("p", "u", Stage.RUNNING, gpu_list=UUID)
    assert gone(running) == ProbePod("p", "u", Stage.GONE, gpu_list=UUID)


@pytest.mark.parametrize(
    ("why", "resources"),
    [
        (SHORT, [GPU]),
        (f"1 Insufficient {GPU}.shared. preemption: 0/6", [f"{GPU}.shared"]),
        (f"1 Insufficient cpu, 1 Insufficient {GPU}.", ["cpu", GPU]),
        ("1 Too many pods.", []),
    ],
)
def test_what_the_scheduler_is_short_of(why: str, resources: list[str]) -> None:
    assert insufficient(ProbePod("p", "u", Stage.UNSCHEDULABLE, why)) == resources
    assert insufficient(ProbePod("p", "u", Stage.STARTING, why)) == []


def failure(
    stage: Stage,
    why: str = "",
    cause: str = "",
    now: SlotCount = SAME,
    told: str = "",
    target: ProbeTarget = TARGET,
) -> Failure:
    pods = [ProbePod("a", "a", Stage.RUNNING), ProbePod("b", "b", stage, why, cause)]
    return probe_pods.failure_to_run(target, pods, now, told, 30)


@pytest.mark.parametrize(
    ("found", "busy", "facts"),
    [
        (
            failure(Stage.REFUSED, "no", "UnexpectedAdmissionError"),
            False,
            ("UnexpectedAdmissionError", "no"),
        ),
        (failure(Stage.GONE), True, ()),
        (failure(Stage.ENDED, "container look", "Error"), False, ("Error", "container look")),
        (failure(Stage.ENDED), False, ()),
        (
            failure(Stage.STUCK, "no CDI", "CreateContainerError"),
            False,
            ("CreateContainerError", "no CDI"),
        ),
        (
            failure(Stage.STUCK, "", "CreateContainerError", told="x"),
            False,
            ("CreateContainerError", "x"),
        ),
        (
            failure(Stage.STUCK, "not found", "ErrImagePull"),
            False,
            ("image", "ErrImagePull", "not found"),
        ),
        (
            failure(Stage.UNSCHEDULABLE, SHORT, now=SlotCount(7, 2), target=FEWER),
            False,
            (GPU, "1", "2", "6", "7", "8"),
        ),
        (
            failure(Stage.UNSCHEDULABLE, SHORT),
            True,
            (GPU,),
        ),
        (
            failure(Stage.UNSCHEDULABLE, SHORT, now=SlotCount(8, 4)),
            True,
            ("2",),
        ),
        (
            failure(Stage.UNSCHEDULABLE, SHORT, now=SlotCount(4, 2)),
            True,
            (GPU, "8", "4"),
        ),
        (
            failure(Stage.UNSCHEDULABLE, "1 Too many pods."),
            True,
            ("1 Too many pods.",),
        ),
        (failure(Stage.STARTING, told="still"), False, ("30 s", "(still)")),
        (failure(Stage.STARTING), False, ("30 s",)),
        (failure(Stage.PENDING), False, ("scheduler", "30 s")),
    ],
)
def test_failure_to_run(found: Failure, busy: bool, facts: tuple[str, ...]) -> None:
    assert found.busy is busy
    assert found.text
    assert mentions(found.text, *facts)


@pytest.mark.parametrize(
    ("stage", "why", "now", "failure"),
    [
        (Stage.UNSCHEDULABLE, SHORT, SAME, None),
        (Stage.UNSCHEDULABLE, "1 Too many pods.", SAME, (True, "1 Too many pods.")),
        (Stage.PENDING, "", SAME, (False, "30 s")),
        (Stage.GONE, "out", SAME, (True, "out")),
        (Stage.RUNNING, "", SlotCount(8, 1), (True, "1")),
        (Stage.RUNNING, "", SlotCount(9, 2), (True, "9")),
        (Stage.RUNNING, "", SAME, (False, GPU)),
        (Stage.REFUSED, "", SlotCount(8, 4), (False, GPU)),
    ],
)
def test_one_more(stage: Stage, why: str, now: SlotCount, failure: tuple[bool, str] | None) -> None:
    found = failure_of_extra_pod(TARGET, ProbePod("m", "u", stage, why), now, 30)
    if failure is None:
        assert found is None
    else:
        assert found
        assert found.busy is failure[0]
        assert failure[1] in found.text


@pytest.mark.parametrize(
    ("wanted", "answer", "wrong"),
    [
        (TwoSlots.REFUSED, TwoSlots.REFUSED, False),
        (TwoSlots.REFUSED, TwoSlots.ADMITTED, True),
        (TwoSlots.ADMITTED, TwoSlots.REFUSED, True),
        (TwoSlots.EITHER, TwoSlots.REFUSED, False),
        (TwoSlots.EITHER, TwoSlots.ADMITTED, False),
    ],
)
def test_answer_to_a_request_of_two(wanted: TwoSlots, answer: TwoSlots, wrong: bool) -> None:
    target = ProbeTarget("n", "p", two=wanted)
    found = failure_of_two_slots(target, answer)
    assert (found is not None) is wrong
    if found:
        assert mentions(found.text, answer.value, wanted.value, "profile p", "failRequestsGreater")


def test_seen_gpus() -> None:
    sees, blind = (
        ProbePod("a", "a", Stage.RUNNING, gpu_list=UUID),
        ProbePod("b", "b", Stage.RUNNING),
    )
    assert failure_of_seen_gpus([sees, blind], required=False) is None
    found = failure_of_seen_gpus([sees, blind], required=True)
    assert found
    assert numbers(found.text) == [1, 2]
    both = ProbePod("c", "c", Stage.RUNNING, gpu_list=f"{UUID} {UUID[:-1]}6")
    found = failure_of_seen_gpus([both], required=True)
    assert found
    assert numbers(found.text) == [2]


def event(kind: str, reason: str, message: str, at: str) -> dict[str, str]:
    return {"type": kind, "reason": reason, "message": message, "lastTimestamp": at}


PULLING = event("Normal", "Pulling", "Pulling image x", "1")


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([], ""),
        ([PULLING], "Pulling image x"),
        ([event("Normal", "Pulled", "", "2"), PULLING], ""),
        (
            [event("Warning", "Failed", "b", "3"), event("Warning", "Failed", "a", "2"), PULLING],
            "Failed: b",
        ),
    ],
)
def test_events(events: list[dict[str, str]], text: str) -> None:
    told = events_text(events)
    assert bool(told) is bool(text)
    assert told.endswith(text)
