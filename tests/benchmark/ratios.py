# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to hold, from one run of the benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ansible_collections.gpufleet.sharing.tests.benchmark.results import (
    CHANGE,
    K8S_INFO,
    K8S_LOOP,
    KUBECTL,
    LABEL_ALL,
    MODULE,
    NOTHING,
    RAW,
    RAW_ROLLOUT,
    READ,
    ROLLOUT,
    SITE,
    SITE_SMALL,
    TASK,
    Cell,
    Results,
)

MEMORY = 250e6  # bytes
REQUESTS = 15
SLACK = 1.1
PEER = 3  # times the processor time of the least that a play can do
MANY = 1000  # nodes from which on what is the same for any fleet no longer counts
OWN_MODULES = (MODULE, ROLLOUT)


@dataclass(frozen=True)
class Verdict:
    """One thing that has to hold. firm: it does not depend on how busy the machine is."""

    what: str
    value: float
    limit: float
    unit: str
    at_least: bool = False
    firm: bool = False

    @property
    def ok(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        value, limit = (_number(number, self.unit) for number in (self.value, self.limit))
        return f"{'ok' if self.ok else 'MISSED':7} {self.what}: {value} ({sign} {limit})"


def verdicts(results: Results) -> list[Verdict]:
    """Judge whatever was measured; what was left out is not judged."""
    found = [
        *_ratio(
            results,
            "label all, against the raw ceiling",
            (MODULE, LABEL_ALL),
            (RAW, LABEL_ALL),
            1.3 if results.nodes >= MANY else 2,
        ),
        *_ratio(
            results,
            "label all, kubectl against it",
            (KUBECTL, LABEL_ALL),
            (MODULE, LABEL_ALL),
            2,
            at_least=True,
        ),
        *_ratio(
            results,
            "label all, a loop against the whole task",
            (K8S_LOOP, LABEL_ALL),
            (TASK, LABEL_ALL),
            50,
            at_least=True,
        ),
        *_ratio(
            results,
            "nothing to do, against the raw list of metadata",
            (MODULE, NOTHING),
            (RAW, NOTHING),
            2,
        ),
        *_ratio(
            results,
            "nothing to do, rollout against its raw lists",
            (ROLLOUT, NOTHING),
            (RAW_ROLLOUT, NOTHING),
            2,
        ),
        *_ratio(results, "read state, against the raw list", (MODULE, READ), (RAW, READ), 2),
        *_ratio(
            results,
            f"whole site with nothing to do, {results.nodes} nodes against 10",
            (SITE, NOTHING),
            (SITE_SMALL, NOTHING),
            2,
        ),
    ]
    return [*found, *_processor(results), *_firm(results), *_well(results)]


def _processor(results: Results) -> Iterator[Verdict]:
    """Processor time depends less than seconds on what else the machine does."""
    site, peer = results.cell(SITE_SMALL, NOTHING), results.cell(K8S_INFO, NOTHING)
    if site and peer and site.processor and peer.processor:
        what = "processor time of whole site with nothing to do, against a play with one k8s_info"
        yield Verdict(what, site.processor / peer.processor, PEER, "x")


def _firm(results: Results) -> Iterator[Verdict]:
    """Counts, which are the same on every machine."""
    for name in (MODULE, TASK, ROLLOUT, SITE):
        if cell := results.cell(name, NOTHING):
            yield Verdict(f"nothing to do, writes of {_short(name)}", cell.writes, 0, "", firm=True)
    for name, column in ((MODULE, NOTHING), (ROLLOUT, NOTHING), (MODULE, READ)):
        if cell := results.cell(name, column):
            what = f"{column}, requests of {_short(name)}"
            yield Verdict(what, cell.requests, REQUESTS, "", firm=True)
    if memory := max(_memory(results), default=0):
        yield Verdict("peak memory of one module", memory, MEMORY, "MB", firm=True)


def _memory(results: Results) -> Iterator[int]:
    for name in OWN_MODULES:
        for column in (LABEL_ALL, NOTHING, CHANGE, READ):
            if (cell := results.cell(name, column)) and cell.memory:
                yield cell.memory


def _well(results: Results) -> Iterator[Verdict]:
    if busy := results.neighbour.get("busy"):
        yield Verdict("GET of another client while all are labeled, 99 %", busy["p99"], 1, "s")


def _ratio(
    results: Results,
    what: str,
    above: tuple[str, str],
    below: tuple[str, str],
    limit: float,
    *,
    at_least: bool = False,
) -> Iterator[Verdict]:
    upper, lower = results.cell(*above), results.cell(*below)
    if upper and lower and lower.seconds:
        yield Verdict(what, upper.seconds / lower.seconds, limit, "x", at_least=at_least)


def growth(smaller: Results, larger: Results) -> list[Verdict]:
    """How everything of ours has grown between two sizes: no faster than the number of nodes, and a
    tenth for two runs on a machine that is never quite still. Seconds are those of whole programs:
    from first to last answer, what is done with the last page of a list would not count, which is
    half of a small fleet and little of a large one.
    """
    limit = SLACK * larger.nodes / smaller.nodes
    span = f"{smaller.nodes} to {larger.nodes} nodes"
    parts: tuple[tuple[str, Callable[[Cell], float]], ...] = (
        ("seconds", lambda cell: cell.wall or cell.seconds),
        ("memory", lambda cell: float(cell.memory or 0)),
    )
    found = []
    for row in larger.rows:
        if not row.name.startswith("this collection"):
            continue
        for column, cell in row.cells.items():
            before = smaller.cell(row.name, column)
            for name, read in parts:
                if before and read(before):
                    what = f"{name} of {_short(row.name)}, {column}, from {span}"
                    found.append(Verdict(what, read(cell) / read(before), limit, "x"))
    return found


def _short(name: str) -> str:
    return name.removeprefix("this collection, ")


def _number(number: float, unit: str) -> str:
    if unit == "MB":
        return f"{number / 1e6:.0f} MB"
    if unit == "s":
        return f"{number:.3f} s"
    return f"{number:.2f} x" if unit else f"{number:.0f}"
