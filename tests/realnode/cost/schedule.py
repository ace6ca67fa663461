# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who does what when: the phases of all pods of a session, and what became of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.gpufleet.sharing.tests.realnode.cost.results import (
    LATENCY,
    LOADS,
    SATURATING,
    SMALL,
    Failed,
    Round,
    Sample,
)

WARM, COOL, GAP = 0.3, 0.2, 0.3  # seconds; the first two as in load.cu
# What a pod takes for itself: 2 GiB to copy, and 1 MiB of results, which takes 2
BUFFERS_MIB = 2050
MOST_LATE = 0.2  # seconds behind the common start, of which WARM must leave something


@dataclass(frozen=True)
class Turn:
    """One phase of all pods. offset is in seconds after the common start."""

    load: str
    repetition: int
    offset: float
    seconds: float

    @property
    def end(self) -> float:
        return self.offset + WARM + self.seconds + COOL

    def mode(self, place: int) -> str:
        """What the pod of this number does."""
        if self.load != LATENCY:
            return self.load
        return SMALL if place == 0 else SATURATING


def turns(seconds: float, repetitions: int) -> list[Turn]:
    """All loads one after the other, then all again: what changes with time hits all alike."""
    found: list[Turn] = []
    offset = 0.0
    for repetition in range(1, repetitions + 1):
        for load in (*LOADS, LATENCY):
            turn = Turn(load, repetition, round(offset, 3), seconds)
            found.append(turn)
            offset = turn.end + GAP
    return found


def phases(planned: Sequence[Turn], place: int) -> list[str]:
    """The arguments of load.cu for the pod of this number."""
    return [f"{turn.mode(place)}@{turn.offset:g}+{turn.seconds:g}" for turn in planned]


def rounds(
    planned: Sequence[Turn], replicas: int, told: Mapping[str, Sequence[Sample]]
) -> Iterator[Round]:
    """The phases that all pods have ended; told are the samples of each pod, in order."""
    for number, turn in enumerate(planned):
        if all(len(samples) > number for samples in told.values()):
            here = tuple(samples[number] for samples in told.values())
            yield Round(replicas, turn.load, turn.repetition, here)


def complaint(one: Round) -> str:
    """Why a round does not count: a pod began late, or was refused something. Empty: it counts."""
    for sample in one.samples:
        told = f"{one.load}, repetition {one.repetition}, {one.replicas} replicas: pod {sample.pod}"
        if sample.error:
            return f"{told} said {sample.error!r}"
        if sample.late > MOST_LATE:
            return f"{told} began {sample.late:.2f} s late"
    return ""


def same_gpu(found: Sequence[Round]) -> None:
    """Raise Failed where pods saw several GPUs. One that was refused the GPU has seen none."""
    uuids = sorted({sample.uuid for each in found for sample in each.samples if sample.uuid})
    if len(uuids) > 1:
        raise Failed(f"pods saw several GPUs: {', '.join(uuids)}")
