# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measuring: rounds in which one contender after the other does the same work on the same lab."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import urlsplit

from ansible_collections.gpufleet.sharing.tests.benchmark import raw
from ansible_collections.gpufleet.sharing.tests.benchmark.audit import Event, refused, traffic
from ansible_collections.gpufleet.sharing.tests.benchmark.benchlab import (
    NEIGHBOUR,
    BenchLab,
)
from ansible_collections.gpufleet.sharing.tests.benchmark.contenders import (
    AGENT,
    LABEL,
    NO_SAMPLE,
    Contender,
    Door,
    Sample,
    label_arguments,
    plan_rollout,
    raw_job,
    run_module,
    run_task,
)
from ansible_collections.gpufleet.sharing.tests.benchmark.fleet import all_with, unused
from ansible_collections.gpufleet.sharing.tests.benchmark.measured import Failed, Finished
from ansible_collections.gpufleet.sharing.tests.benchmark.neighbour import Neighbour, latency
from ansible_collections.gpufleet.sharing.tests.benchmark.relay import Relay
from ansible_collections.gpufleet.sharing.tests.benchmark.results import (
    CHANGE,
    K8S_INFO,
    LABEL_ALL,
    NOTHING,
    RAW,
    RAW_ROLLOUT,
    READ,
    ROLLOUT,
    SITE,
    Cell,
    Results,
    extrapolate,
    merged,
)

SLOW = 20.0  # seconds of labelling all nodes, with which one round is enough


@dataclass
class Gate:
    """A door, and the relay behind it if there is one."""

    door: Door
    relay: Relay | None = None


def straight(lab: BenchLab) -> Gate:
    return Gate(Door(lab, lab.kubeconfig, lab.server))


@contextmanager
def relayed(lab: BenchLab) -> Iterator[Gate]:
    """A door with a relay behind it, which makes everything slower: nothing is timed there."""
    with Relay(urlsplit(lab.server).port or 0) as relay:
        path = lab.write_kubeconfig(relay.port)
        yield Gate(Door(lab, path, f"https://127.0.0.1:{relay.port}"), relay)


@dataclass(frozen=True)
class Taken:
    """One measurement, and the events that it is made of."""

    cell: Cell
    events: list[Event]


def take(gate: Gate, work: Callable[[Door], Finished], agent: str = "") -> Taken:
    """Do some work on a calm lab and count what it takes. Raises Failed also where the API server
    has refused requests, since then nothing is comparable.
    """
    lab = gate.door.lab
    lab.calm()
    start = lab.mark()
    before = gate.relay.received if gate.relay else 0
    finished = work(gate.door)
    events = lab.events(start)
    if turned_down := refused(events):
        raise Failed(f"The API server refused {len(turned_down)} requests with 429.")
    sums = traffic(events, agent)
    cell = Cell(
        seconds=sums.seconds if agent else finished.seconds,
        requests=len(events),
        writes=sum(event.is_write for event in events),
        wall=finished.seconds,
        memory=finished.memory,
        processor=finished.processor or None,
        received=gate.relay.received - before if gate.relay else None,
    )
    return Taken(cell, events)


class Labels:
    """The rounds of labelling. Nothing reacts to labels meanwhile."""

    def __init__(self, lab: BenchLab, say: Callable[[str], None]) -> None:
        self._lab, self._say = lab, say
        self._cells: dict[tuple[str, str], list[Cell]] = {}
        self._relayed: dict[tuple[str, str], Cell] = {}

    def round(self, contenders: Sequence[Contender]) -> None:
        """Time each contender once, but not again those that are slow."""
        gate = straight(self._lab)
        for contender in contenders:
            before = self._cells.get((contender.name, LABEL_ALL))
            if before and (contender.once or before[0].seconds > SLOW):
                continue
            for column, cell in self._work(contender, gate, contender.sample).items():
                self._cells.setdefault((contender.name, column), []).append(cell)

    def relay_round(self, contenders: Sequence[Contender]) -> None:
        """Count the bytes of each contender."""
        with relayed(self._lab) as gate:
            for contender in contenders:
                sample = contender.sample
                if contender.relay_sample != NO_SAMPLE:
                    sample = contender.relay_sample
                for column, cell in self._work(contender, gate, sample).items():
                    self._relayed[contender.name, column] = cell

    def results(self) -> Iterator[tuple[str, str, Cell]]:
        """Contender, column and cell."""
        for (name, column), rounds in self._cells.items():
            yield name, column, merged(rounds, self._relayed.get((name, column)))

    def _work(self, contender: Contender, gate: Gate, sample: Sample) -> dict[str, Cell]:
        """Label all nodes, do it again, change every tenth."""
        value = fresh_value(self._lab)
        other = unused({value})
        self._say(f"{contender.name}{' (bytes)' if gate.relay else ''}")
        nothing = replace(contender, label=contender.nothing or contender.label)
        return {
            LABEL_ALL: self._label(contender, gate, sample, value),
            NOTHING: self._label(nothing, gate, sample, value),
            CHANGE: self._label(contender, gate, sample, value, other),
        }

    def _label(
        self, contender: Contender, gate: Gate, sample: Sample, value: str, other: str = ""
    ) -> Cell:
        names = self._lab.fleet.names
        less, more = sample
        if not 0 < less + more <= len(names):
            return self._measure(contender, gate, all_with(names, value, other))
        few = self._measure(contender, gate, all_with(names[-less:], value, other))
        many = self._measure(contender, gate, all_with(names[:more], value, other))
        return extrapolate(few, many, sample, len(names))

    def _measure(self, contender: Contender, gate: Gate, desired: Mapping[str, str]) -> Cell:
        taken = take(gate, lambda door: contender.label(door, desired), contender.agent)
        have = self._lab.labels(LABEL)
        if wrong := [name for name, label in desired.items() if have.get(name) != label]:
            raise Failed(f"{contender.name} has left {len(wrong)} nodes without their label.")
        return taken.cell


def measure_labels(
    lab: BenchLab,
    contenders: Sequence[Contender],
    counted: Sequence[Contender],
    rounds: int,
    results: Results,
    say: Callable[[str], None],
) -> None:
    """Fill the columns about labels, and count the bytes of some contenders.

    The simulator is stopped before: what reacts to labels takes the processor from whoever is
    measured.
    """
    labels = Labels(lab, say)
    lab.stop_simulator()
    for _round in range(rounds):
        labels.round(contenders)
    labels.relay_round(counted)
    wall = {contender.name: not contender.agent for contender in contenders}
    for name, column, cell in labels.results():
        results.add(name, column, cell, wall=wall[name])


def measure_reads(
    lab: BenchLab,
    contenders: Sequence[Contender],
    counted: Sequence[Contender],
    rounds: int,
    results: Results,
    say: Callable[[str], None],
) -> None:
    """Fill the columns about reading, on the settled fleet, and count the bytes of some."""
    for contender in contenders:
        if contender.read:
            say(f"{contender.name}, {READ}")
            turns, count = 1 if contender.once else rounds, contender in counted
            cell, _events = repeat(lab, contender.read, turns, contender.agent, count=count)
            results.add(contender.name, READ, cell, wall=not contender.agent)
    say(ROLLOUT)
    cell, events = repeat(lab, plan_rollout, rounds, AGENT)
    results.add(ROLLOUT, NOTHING, cell, wall=False)
    lists = lists_of(events)
    say(RAW_ROLLOUT)
    cell, _events = repeat(lab, lambda door: raw_job(door, lists=lists), rounds, raw.AGENT)
    results.add(RAW_ROLLOUT, NOTHING, cell, wall=False)


def lists_of(events: Sequence[Event]) -> list[tuple[str, str]]:
    """The lists that were read, without their pages, as jobs of the raw client."""
    paths = []
    for event in events:
        if event.verb == "list" and "continue=" not in event.uri:
            path, _question, query = event.uri.partition("?")
            rest = "&".join(part for part in query.split("&") if not part.startswith("limit="))
            paths.append(f"{path}?{rest}" if rest else path)
    return [(path, raw.JSON) for path in dict.fromkeys(paths)]


def repeat(
    lab: BenchLab, work: Callable[[Door], Finished], rounds: int, agent: str, *, count: bool = True
) -> tuple[Cell, list[Event]]:
    """Do work in some rounds, and in one through the relay if bytes are to be counted."""
    gate = straight(lab)
    taken = [take(gate, work, agent) for _round in range(rounds)]
    cells = [each.cell for each in taken]
    if not count:
        return merged(cells), taken[0].events
    with relayed(lab) as slow:
        counted = take(slow, work, agent)
    return merged(cells, counted.cell), taken[0].events


def measure_site(
    lab: BenchLab, rounds: int, results: Results, row: str = SITE, *, count: bool = True
) -> None:
    """Time the playbook site on a settled fleet."""
    cell, _events = repeat(lab, lambda door: lab.site(door.kubeconfig), rounds, "", count=count)
    results.add(row, NOTHING, cell, wall=True)


def measure_peer(lab: BenchLab, rounds: int, results: Results) -> None:
    """Time the least that a play can do on a cluster with kubernetes.core: read its nodes once."""
    task = {"kubernetes.core.k8s_info": {"kind": "Node"}}
    cell, _events = repeat(lab, lambda door: run_task(door, task, {}), rounds, "", count=False)
    results.add(K8S_INFO, NOTHING, cell, wall=True)


def measure_neighbour(lab: BenchLab, results: Results, samples: int, attempts: int) -> None:
    """Time somebody else's requests, while nothing happens and while all nodes are labelled, which
    is done again until there are samples enough.
    """
    lab.calm()
    idle, busy = list[float](), list[float]()
    with Neighbour(lab.connection(NEIGHBOUR, "bench-neighbour")) as neighbour:
        neighbour.wait_for(samples)
        idle = [took for _when, took in neighbour.samples]
        for _attempt in range(attempts):
            busy += label_beside(lab, neighbour)
            if len(busy) >= samples:
                break
    results.neighbour = {"idle": vars(latency(idle)), "busy": vars(latency(busy))}


def label_beside(lab: BenchLab, neighbour: Neighbour) -> list[float]:
    """Label all nodes by the module; return what the neighbour's requests took meanwhile."""
    desired = all_with(lab.fleet.names, fresh_value(lab))
    gate = straight(lab)
    taken = take(
        gate, lambda door: run_module(door, "node_profiles", label_arguments(door, desired)), AGENT
    )
    sums = traffic(taken.events, AGENT)
    return neighbour.between(sums.began, sums.ended)


def measure_sweep(lab: BenchLab, results: Results, say: Callable[[str], None]) -> None:
    """Time the raw client with other numbers of threads, and with short answers."""
    for accept, kind in ((raw.JSON, "whole nodes"), (raw.SHORT, "metadata")):
        for threads in (4, 8, 16, 32):
            todo = list(all_with(lab.fleet.names, fresh_value(lab)).items())
            work = partial(raw_job, patches=todo, threads=threads, accept=accept)
            name = f"{threads} threads, answers: {kind}"
            say(f"{RAW}, {name}")
            results.sweep[name] = take(straight(lab), work, raw.AGENT).cell.seconds


def fresh_value(lab: BenchLab) -> str:
    """A profile that no node is labelled with."""
    return unused(set(lab.labels(LABEL).values()))
