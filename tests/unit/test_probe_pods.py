# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pod of the probe is doing, and who or what is to blame."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils import _probe_pods
from ansible_collections.gpufleet.sharing.plugins.module_utils._probe import Target, Two
from ansible_collections.gpufleet.sharing.plugins.module_utils._probe_pods import (
    Blame,
    Count,
    ProbePod,
    Stage,
)

GPU = "nvidia.com/gpu"
UUID = "GPU-5f8c1d1a-0000-1111-2222-333344445555"
MIG = "MIG-5f8c1d1a-0000-1111-2222-333344445556"
SHORT = f"0/6 nodes are available: 1 Insufficient {GPU}, 5 node(s) didn't satisfy plugin(s)."
TARGET = Target("n", "p", expected=8, allocatable=8, used=2, pods=6, two=Two.REFUSED)
FEWER = replace(TARGET, allocatable=7)
SAME = Count(8, 2)


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
        (document(node=""), Stage.PENDING, "", ""),
        (
            document(node="", conditions=scheduled("Unschedulable", SHORT)),
            Stage.UNSCHEDULABLE,
            "Unschedulable",
            SHORT,
        ),
        (
            document(node="", conditions=scheduled("SchedulingGated", "")),
            Stage.PENDING,
            "",
            "",
        ),
        (document(), Stage.STARTING, "", ""),
        (document(containerStatuses=[waits("ContainerCreating")]), Stage.STARTING, "", ""),
        (
            document(
                initContainerStatuses=[waits("CreateContainerError", "no\n  CDI device")],
                containerStatuses=[waits("PodInitializing")],
            ),
            Stage.STUCK,
            "CreateContainerError",
            "no CDI device",
        ),
        (document("Running", containerStatuses=[RUNS]), Stage.RUNNING, "", ""),
        (document("Running", containerStatuses=[]), Stage.STARTING, "", ""),
        (document("Running", containerStatuses=[RUNS], leaving=True), Stage.GONE, "", ""),
        (
            document("Failed", reason="UnexpectedAdmissionError", message="too large"),
            Stage.REFUSED,
            "UnexpectedAdmissionError",
            "too large",
        ),
        (
            document("Failed", reason="Preempting", conditions=DISRUPTED),
            Stage.GONE,
            "Preempting",
            "",
        ),
        (
            document("Failed", initContainerStatuses=[ended(127, "nvidia-smi: not found")]),
            Stage.ENDED,
            "Error",
            "container look, exit code 127: nvidia-smi: not found",
        ),
        (
            document(
                "Succeeded",
                initContainerStatuses=[ended(0)],
                containerStatuses=[ended(0, reason="Completed") | {"name": "hold"}],
            ),
            Stage.ENDED,
            "Completed",
            "container hold, exit code 0",
        ),
        (
            document("Failed", reason="DeadlineExceeded", message="too long"),
            Stage.ENDED,
            "DeadlineExceeded",
            "too long",
        ),
    ],
)
def test_stage(found: dict[str, Any], stage: Stage, cause: str, why: str) -> None:
    pod = _probe_pods.read_pod(found)
    assert (pod.name, pod.uid, pod.stage, pod.cause, pod.why) == ("p", "u", stage, cause, why)


def test_long_words_are_cut() -> None:
    pod = _probe_pods.read_pod(document("Failed", message="x" * 1000))
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
def test_gpus_that_a_pod_tells(said: str, gpus: tuple[str, ...]) -> None:
    assert _probe_pods.read_pod(document(initContainerStatuses=[ended(0, said)])).gpus == gpus


def test_pod_that_is_gone_keeps_what_it_ended_with() -> None:
    refused = ProbePod("p", "u", Stage.REFUSED, "why")
    assert _probe_pods.gone(refused) is refused
    running = ProbePod("p", "u", Stage.RUNNING, said=UUID)
    assert _probe_pods.gone(running) == ProbePod("p", "u", Stage.GONE, said=UUID)


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
    assert _probe_pods.insufficient(ProbePod("p", "u", Stage.UNSCHEDULABLE, why)) == resources
    assert _probe_pods.insufficient(ProbePod("p", "u", Stage.STARTING, why)) == []


def blamed(
    stage: Stage,
    why: str = "",
    cause: str = "",
    now: Count = SAME,
    told: str = "",
    target: Target = TARGET,
) -> Blame:
    pods = [ProbePod("a", "a", Stage.RUNNING), ProbePod("b", "b", stage, why, cause)]
    return _probe_pods.blame(target, pods, now, told, 30)


@pytest.mark.parametrize(
    ("found", "busy", "text"),
    [
        (
            blamed(Stage.REFUSED, "no", "UnexpectedAdmissionError"),
            False,
            "turned a pod down: Unexp",
        ),
        (blamed(Stage.GONE), True, "removed by somebody else"),
        (blamed(Stage.ENDED, "container look", "Error"), False, "ended (Error): container look"),
        (blamed(Stage.ENDED), False, "a container ended (no reason given)"),
        (
            blamed(Stage.STUCK, "no CDI", "CreateContainerError"),
            False,
            "slots are given, but no container starts: CreateContainerError: no CDI. Look at",
        ),
        (blamed(Stage.STUCK, "", "CreateContainerError", told="x"), False, "ContainerError: x."),
        (
            blamed(Stage.STUCK, "not found", "ErrImagePull"),
            False,
            "the image cannot be pulled: ErrImagePull: not found. Name one",
        ),
        (
            blamed(Stage.UNSCHEDULABLE, SHORT, now=Count(7, 2), target=FEWER),
            False,
            "only 1 of 2 pods ran, though 6 slots should be free: nvidia.com/gpu is 7, expected 8",
        ),
        (
            blamed(Stage.UNSCHEDULABLE, SHORT),
            True,
            "others held slots of nvidia.com/gpu meanwhile, and have given them back",
        ),
        (
            blamed(Stage.UNSCHEDULABLE, SHORT, now=Count(8, 4)),
            True,
            "others took 2 slots meanwhile",
        ),
        (
            blamed(Stage.UNSCHEDULABLE, SHORT, now=Count(4, 2)),
            True,
            "allocatable of nvidia.com/gpu went from 8 to 4 meanwhile",
        ),
        (
            blamed(Stage.UNSCHEDULABLE, "1 Too many pods."),
            True,
            "no room for the probe's pods: 1 Too",
        ),
        (blamed(Stage.STARTING, told="still"), False, "not started within 30 s (still). Where"),
        (blamed(Stage.STARTING), False, "(no event says why)"),
        (blamed(Stage.PENDING), False, "no scheduler has looked at a pod for 30 s"),
    ],
)
def test_blame(found: Blame, busy: bool, text: str) -> None:
    assert found.busy is busy
    assert text in found.text


@pytest.mark.parametrize(
    ("stage", "why", "now", "blame"),
    [
        (Stage.UNSCHEDULABLE, SHORT, SAME, None),
        (Stage.UNSCHEDULABLE, "1 Too many pods.", SAME, (True, "for another reason: 1 Too many")),
        (Stage.PENDING, "", SAME, (False, "no scheduler has looked at one pod more for 30 s")),
        (Stage.GONE, "", SAME, (True, "removed by somebody else")),
        (Stage.RUNNING, "", Count(8, 1), (True, "others gave 1 slots back meanwhile")),
        (Stage.RUNNING, "", Count(9, 2), (True, "went from 8 to 9 meanwhile")),
        (Stage.RUNNING, "", SAME, (False, "nvidia.com/gpu is 8, expected 8")),
        (Stage.REFUSED, "", Count(8, 4), (False, "one pod more got a slot")),
    ],
)
def test_one_more(stage: Stage, why: str, now: Count, blame: tuple[bool, str] | None) -> None:
    found = _probe_pods.blame_more(TARGET, ProbePod("m", "u", stage, why), now, 30)
    if blame is None:
        assert found is None
    else:
        assert found
        assert found.busy is blame[0]
        assert blame[1] in found.text


@pytest.mark.parametrize(
    ("wanted", "answer", "wrong"),
    [
        (Two.REFUSED, Two.REFUSED, False),
        (Two.REFUSED, Two.ADMITTED, True),
        (Two.ADMITTED, Two.REFUSED, True),
        (Two.EITHER, Two.REFUSED, False),
        (Two.EITHER, Two.ADMITTED, False),
    ],
)
def test_answer_to_a_request_of_two(wanted: Two, answer: Two, wrong: bool) -> None:
    target = Target("n", "p", two=wanted)
    found = _probe_pods.blame_two(target, answer)
    assert (found is not None) is wrong
    if found:
        assert f"was {answer.value}, and profile p has it {wanted.value}" in found.text


def test_sight() -> None:
    sees, blind = ProbePod("a", "a", Stage.RUNNING, said=UUID), ProbePod("b", "b", Stage.RUNNING)
    assert _probe_pods.blame_sight([sees, blind], required=False) is None
    found = _probe_pods.blame_sight([sees, blind], required=True)
    assert found
    assert found.text.startswith("1 of 2 pods did not tell a GPU")
    both = ProbePod("c", "c", Stage.RUNNING, said=f"{UUID} {UUID[:-1]}6")
    found = _probe_pods.blame_sight([both], required=True)
    assert found
    assert "asked for one slot sees 2 GPUs" in found.text


def event(kind: str, reason: str, message: str, at: str) -> dict[str, str]:
    return {"type": kind, "reason": reason, "message": message, "lastTimestamp": at}


PULLING = event("Normal", "Pulling", "Pulling image x", "1")


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([], ""),
        ([PULLING], "an image is still being pulled: Pulling image x"),
        ([event("Normal", "Pulled", "", "2"), PULLING], ""),
        (
            [event("Warning", "Failed", "b", "3"), event("Warning", "Failed", "a", "2"), PULLING],
            "Failed: b",
        ),
    ],
)
def test_events(events: list[dict[str, str]], text: str) -> None:
    assert _probe_pods.events_text(events) == text
