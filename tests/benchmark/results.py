# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was measured, as values that go to a file and come back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

LABEL_ALL = "label all"
NOTHING = "nothing to do"
CHANGE = "change 10 %"
READ = "read state"
COLUMNS = (LABEL_ALL, NOTHING, CHANGE, READ)

MODULE = "this collection, module"
TASK = "this collection, whole task"
ROLLOUT = "this collection, rollout in check mode"
SITE = "this collection, whole site"
SITE_SMALL = "this collection, whole site at 10 nodes"
K8S_INFO = "kubernetes.core, a play with one k8s_info at 10 nodes"
K8S_LIST = "kubernetes.core, one task with a list"
K8S_LOOP = "kubernetes.core, a loop"
KUBECTL = "kubectl, by selector or file"
KUBECTL_NAMES = "kubectl, by names"
RAW = "raw ceiling"
RAW_ROLLOUT = "raw ceiling, the lists of rollout"
ORDER = (
    *(RAW, MODULE, TASK, KUBECTL, KUBECTL_NAMES, K8S_LIST, K8S_LOOP),
    *(RAW_ROLLOUT, ROLLOUT, K8S_INFO, SITE_SMALL, SITE),
)


@dataclass(frozen=True)
class Cell:
    """One kind of work by one contender. Seconds are those of the best round, and wall is what the
    whole program took in it; bytes received are as on the wire, memory is in bytes, of the largest
    process; None: not measured. sampled: worked out from some nodes.
    """

    seconds: float
    requests: int
    writes: int
    wall: float = 0.0
    memory: int | None = None
    received: int | None = None
    sampled: bool = False
    received_sampled: bool = False
    rounds: tuple[float, ...] = ()
    processor: float | None = None  # seconds of processor time of the whole program


@dataclass
class Row:
    """One contender. wall: seconds are those of a whole program, not of its requests."""

    name: str
    wall: bool
    cells: dict[str, Cell] = field(default_factory=dict)


@dataclass
class Results:
    """One run of the benchmark."""

    nodes: int
    facts: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    neighbour: dict[str, Any] = field(default_factory=dict)
    sweep: dict[str, float] = field(default_factory=dict)
    verdicts: list[dict[str, Any]] = field(default_factory=list)

    def cell(self, row: str, column: str) -> Cell | None:
        found = (each.cells.get(column) for each in self.rows if each.name == row)
        return next(found, None)

    def add(self, row: str, column: str, cell: Cell, *, wall: bool) -> None:
        """Put a cell into its row, which is made when there is none."""
        found = next((each for each in self.rows if each.name == row), None)
        if found is None:
            found = Row(row, wall)
            self.rows = sorted([*self.rows, found], key=lambda each: ORDER.index(each.name))
        found.cells[column] = cell

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Results:
    """Read results that were saved."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw["rows"] = [
        Row(
            row["name"],
            row["wall"],
            {
                column: Cell(**{**cell, "rounds": tuple(cell["rounds"])})
                for column, cell in row["cells"].items()
            },
        )
        for row in raw["rows"]
    ]
    return Results(**raw)


def merged(rounds: Sequence[Cell], relayed: Cell | None = None) -> Cell:
    """One cell of several rounds: the best seconds, since what else a machine does can only cost
    time, the worst of everything else, and what a round through the relay has received.
    """
    best = min(rounds, key=lambda cell: cell.seconds)
    return Cell(
        seconds=best.seconds,
        requests=max(cell.requests for cell in rounds),
        writes=max(cell.writes for cell in rounds),
        wall=best.wall,
        memory=max((cell.memory for cell in rounds if cell.memory is not None), default=None),
        received=relayed.received if relayed else None,
        sampled=any(cell.sampled for cell in rounds),
        received_sampled=relayed.sampled if relayed else False,
        rounds=tuple(round(cell.seconds, 4) for cell in rounds),
        processor=min((cell.processor for cell in rounds if cell.processor), default=None),
    )


def extrapolate(few: Cell, many: Cell, sample: tuple[int, int], nodes: int) -> Cell:
    """What all nodes would take, when two numbers of them were measured: what does not depend on
    nodes is counted once.
    """
    less, more = sample

    def line(first: float, last: float) -> float:
        return first + max(0.0, last - first) / (more - less) * (nodes - less)

    received = None
    if few.received is not None and many.received is not None:
        received = round(line(few.received, many.received))
    return Cell(
        seconds=line(few.seconds, many.seconds),
        requests=round(line(few.requests, many.requests)),
        writes=round(line(few.writes, many.writes)),
        wall=line(few.wall, many.wall),
        memory=many.memory,
        received=received,
        sampled=True,
    )
