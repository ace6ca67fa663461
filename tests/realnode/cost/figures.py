# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rounds say: throughput, fairness, latency, memory of a context. All of it is worked out
from the file of results; nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from ansible_collections.gpufleet.sharing.tests.realnode.cost.results import (
    LATENCY,
    LOADS,
    SMALL,
    Context,
    Results,
    Round,
)


@dataclass(frozen=True)
class Figure:
    """The median of repetitions, and the least and the greatest of them."""

    middle: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Latency:
    """Time of a step that is waited for, in µs: medians over the repetitions; longest of all."""

    p50: float
    p95: float
    p99: float
    longest: float


def total(one: Round) -> float:
    """Units a second of all pods together."""
    return sum(sample.rate for sample in one.samples)


def rounds_of(results: Results, load: str) -> dict[int, list[Round]]:
    """By replicas, from the least on."""
    found: dict[int, list[Round]] = {}
    for each in sorted(results.rounds, key=lambda each: each.replicas):
        if each.load == load:
            found.setdefault(each.replicas, []).append(each)
    return found


def alone(results: Results, load: str) -> float | None:
    """Units a second of one pod that has the GPU for itself; None: not measured."""
    found = rounds_of(results, load).get(1)
    rate = median(map(total, found)) if found else 0
    return rate or None


def throughput(results: Results, load: str) -> dict[int, Figure]:
    """What all pods get done together, as a multiple of what one pod alone does, by replicas."""
    base = alone(results, load)
    if base is None:
        return {}
    return {
        replicas: Figure.of([total(each) / base for each in found])
        for replicas, found in rounds_of(results, load).items()
    }


def fairness(results: Results, load: str) -> dict[int, float]:
    """The slowest pod's rate by that of the fastest, in the worst repetition, by replicas."""
    return {
        replicas: min(map(evenness, found))
        for replicas, found in rounds_of(results, load).items()
        if replicas > 1
    }


def evenness(one: Round) -> float:
    rates = [sample.rate for sample in one.samples]
    return min(rates) / max(rates) if max(rates) > 0 else 0.0


def latencies(results: Results, load: str = LATENCY) -> dict[int, Latency]:
    """Of the pods that wait for their steps, by the number of other pods beside each."""
    found: dict[int, Latency] = {}
    for replicas, here in rounds_of(results, load).items():
        samples = [
            sample
            for each in here
            for sample in each.samples
            if sample.p50 > 0 and (load != LATENCY or sample.load == SMALL)
        ]
        if samples:
            found[replicas - 1] = Latency(
                median(sample.p50 for sample in samples),
                median(sample.p95 for sample in samples),
                median(sample.p99 for sample in samples),
                max(sample.longest for sample in samples),
            )
    return found


def context_mib(contexts: Sequence[Context]) -> float | None:
    """What each process more takes of the GPU's memory, without its buffers; None where less than
    two numbers of processes were measured.
    """
    used = {each.replicas: each.used_mib - each.replicas * each.buffers_mib for each in contexts}
    if len(used) < 2:
        return None
    few, many = min(used), max(used)
    return (used[many] - used[few]) / (many - few)


def of_each_process(contexts: Sequence[Context]) -> float | None:
    """The same as nvidia-smi tells it of each process; None where it does not."""
    told = [mib - each.buffers_mib for each in contexts for mib in each.of_processes]
    return median(told) if told else None


def summary(results: Results, replicas: int) -> Iterator[str]:
    """Lines on what has just been measured."""
    for load in LOADS:
        figure = throughput(results, load).get(replicas)
        found = rounds_of(results, load).get(replicas)
        if found:
            rate = f"{median(map(total, found)):.4g} {found[0].samples[0].unit}/s"
            more = f", {figure.middle:.3f} of alone" if figure else ""
            fair = fairness(results, load).get(replicas)
            yield f"{load}: {rate}{more}" + (f", fairness {fair:.3f}" if fair else "")
    if latency := latencies(results).get(replicas - 1):
        yield f"small kernel: {latency.p50:.0f} µs, 99 % {latency.p99:.0f} µs"


def relative(results: Results) -> Mapping[str, dict[int, Figure]]:
    """Throughput of each load that was measured alone."""
    found = {load: throughput(results, load) for load in LOADS}
    return {load: figures for load, figures in found.items() if figures}
