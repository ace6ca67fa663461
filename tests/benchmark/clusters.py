# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many clusters in one run of site, against one."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from ansible_collections.gpufleet.sharing.tests.benchmark import machine
from ansible_collections.gpufleet.sharing.tests.benchmark.benchlab import (
    BenchLab,
    booted,
    take_down,
)
from ansible_collections.gpufleet.sharing.tests.benchmark.fleet import (
    SETTLE,
    Fleet,
    clusters_inventory,
)
from ansible_collections.gpufleet.sharing.tests.benchmark.measured import Finished
from ansible_collections.gpufleet.sharing.tests.integration.labtools import RECAP


@dataclass(frozen=True)
class Compared:
    """Seconds of site with nothing to do on one cluster, on all, and on all when the last one is
    away. memory is in bytes, of the largest process; done and failed are of the last run.
    """

    clusters: int
    nodes: int
    one: float
    every: float
    away: float
    writes: int
    memory: int
    done: list[str]
    failed: list[str]

    @property
    def ok(self) -> bool:
        """Nothing was written, and the cluster that is away fails alone."""
        alone = self.failed == [name_of(self.clusters)]
        return self.writes == 0 and alone and len(self.done) == self.clusters - 1

    def __str__(self) -> str:
        return (
            f"site with nothing to do, {self.nodes} nodes a cluster:\n"
            f"{self.one:8.1f} s  1 cluster\n"
            f"{self.every:8.1f} s  {self.clusters} clusters, {self.every / self.one:.2f} times as"
            f" long, {self.writes} writes, largest process {self.memory / 1e6:.0f} MB\n"
            f"{self.away:8.1f} s  {name_of(self.clusters)} is shut down: {len(self.done)} done,"
            f" failed: {', '.join(self.failed) or 'none'}"
        )


def name_of(number: int) -> str:
    return f"c{number:02}"


def run(number: int, nodes: int, folder: Path, out: Path, say: Callable[[str], None]) -> int:
    """Boot the labs, settle them, and time site on one and on all of them. Returns 0 when the one
    that is shut down at last fails alone.
    """
    fleet = Fleet.of(nodes)
    with ExitStack() as stack:
        labs = []
        for count in range(1, number + 1):
            say(f"Lab {count} of {number}, {nodes} nodes")
            name = name_of(count)
            labs.append(stack.enter_context(booted(name, fleet, folder / name)))
        kubeconfigs = {name_of(count): lab.kubeconfig for count, lab in enumerate(labs, 1)}
        every = clusters_inventory(folder / "every", fleet, kubeconfigs)
        first = dict(list(kubeconfigs.items())[:1])
        one = clusters_inventory(folder / "one", fleet, first)
        found, output = compare(labs, every, one, say)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({**machine.facts(), **asdict(found)}, indent=1) + "\n", "utf-8")
    print("\n".join(["", str(found), "", *said_of(output, name_of(number)), "", str(out)]))
    return int(not found.ok)


def compare(
    labs: list[BenchLab], every: Path, one: Path, say: Callable[[str], None]
) -> tuple[Compared, str]:
    """Time the runs; also return what the last one has said."""
    say("site on all of them, to settle")
    play(labs, every)
    play(labs, every)
    say("site with nothing to do, one cluster")
    single, _writes = timed(labs, one)
    say(f"site with nothing to do, {len(labs)} clusters")
    multiple, writes = timed(labs, every)
    say("site with one cluster shut down")
    take_down(labs[-1].lab.name)
    broken = play(labs, every, fails=True)
    done, failed = ended(broken.output)
    found = Compared(
        clusters=len(labs),
        nodes=len(labs[0].fleet.names),
        one=single.seconds,
        every=multiple.seconds,
        away=broken.seconds,
        writes=writes,
        memory=multiple.memory,
        done=done,
        failed=failed,
    )
    return found, broken.output


def ended(output: str) -> tuple[list[str], list[str]]:
    """The clusters that are done, and those that have failed, by the recap of a run."""
    hosts = {
        host: int(unreachable) + int(failed)
        for host, _changed, unreachable, failed in RECAP.findall(output)
        if host != "localhost"
    }
    done = [host for host, bad in hosts.items() if not bad]
    return done, [host for host, bad in hosts.items() if bad]


def said_of(output: str, cluster: str) -> list[str]:
    """What a run has said of a cluster that failed."""
    lines = output.splitlines()
    starts = [n for n, line in enumerate(lines) if line.startswith(f"fatal: [{cluster}]")]
    found: list[str] = []
    for start in starts:
        end = next((n for n in range(start, len(lines)) if not lines[n]), len(lines))
        found += lines[start:end]
    return found


def timed(labs: list[BenchLab], inventory: Path) -> tuple[Finished, int]:
    """Run site once all labs are calm; also return the number of writes."""
    for lab in labs:
        lab.calm()
    starts = [lab.mark() for lab in labs]
    finished = play(labs, inventory)
    return finished, sum(
        event.is_write
        for lab, start in zip(labs, starts, strict=True)
        for event in lab.events(start)
    )


def play(labs: list[BenchLab], inventory: Path, *, fails: bool = False) -> Finished:
    """Run site with as many forks as there are labs."""
    first = labs[0]
    command = first.lab.command("site", inventory, variables=SETTLE)
    environ = {"ANSIBLE_FORKS": str(len(labs)), "KUBECONFIG": ""}
    return first.runner.run(command, fails=fails, **environ)
