# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was measured, as values that go to a file and come back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

# What pods do, as load.cu names it
SATURATING, MEMORY = "saturating", "memory"
SHORT, LONG, BURSTY = "short_steps", "long_steps", "bursty"
LOADS = (SATURATING, MEMORY, SHORT, LONG, BURSTY)
LATENCY = "latency"  # one pod runs small kernels, all others saturate
SMALL = "small"


class Failed(Exception):
    """Something could not be measured, in words."""


@dataclass(frozen=True)
class Sample:
    """What one pod did in one phase, as load.cu tells it.

    late is in seconds behind the common start, rate in units a second, p50 to longest in µs of a
    step that was waited for. free_mib is the GPU's memory that was free just before the phase.
    """

    pod: str
    load: str
    uuid: str
    late: float
    seconds: float
    steps: int
    rate: float
    unit: str
    p50: float
    p95: float
    p99: float
    longest: float
    free_mib: float
    total_mib: float
    taken_mib: float
    error: str


@dataclass(frozen=True)
class Round:
    """All pods in one phase, side by side."""

    replicas: int
    load: str
    repetition: int
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Context:
    """Memory when all pods have opened the GPU, and each has its buffers, and none works yet.

    of_processes is what nvidia-smi tells, where it does.
    """

    replicas: int
    used_mib: float
    buffers_mib: float  # of each pod
    of_processes: tuple[float, ...] = ()


@dataclass
class Results:
    """One run. conditions are texts for people; memory and frameworks are as they were found."""

    conditions: dict[str, str] = field(default_factory=dict)
    rounds: list[Round] = field(default_factory=list)
    contexts: list[Context] = field(default_factory=list)
    memory: list[dict[str, Any]] = field(default_factory=list)
    frameworks: list[dict[str, Any]] = field(default_factory=list)
    flips: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def put_rounds(self, replicas: int, rounds: Iterable[Round]) -> None:
        """Put the rounds of so many replicas in the place of those that are there."""
        self.rounds = [each for each in self.rounds if each.replicas != replicas] + list(rounds)

    def save(self, path: Path) -> None:
        """Write all of it; who reads meanwhile gets the file before or the file after."""
        told = asdict(self)
        lines = [f" {json.dumps(key)}: {_lines(value)}" for key, value in told.items()]
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(path.name + ".new")
        beside.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
        os.replace(beside, path)  # noqa: PTH105  (atomic by name)


def _lines(value: Any) -> str:  # noqa: ANN401  (of any shape)
    """JSON with a line for each entry of a list."""
    if not isinstance(value, list) or not value:
        return json.dumps(value)
    return "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]"


def load(path: Path) -> Results:
    """Read results that were saved."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw["rounds"] = [
        Round(**{**each, "samples": tuple(Sample(**one) for one in each["samples"])})
        for each in raw["rounds"]
    ]
    raw["contexts"] = [
        Context(**{**each, "of_processes": tuple(each["of_processes"])}) for each in raw["contexts"]
    ]
    return Results(**raw)


def read_samples(text: str) -> list[Sample]:
    """The lines of load.cu in a pod's log; what is no such line is left out."""
    found = []
    for line in text.splitlines():
        try:
            told: Mapping[str, Any] = json.loads(line)
            found.append(Sample(**told))
        except (ValueError, TypeError):
            continue
    return found
