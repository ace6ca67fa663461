# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many clusters in one run of site, against one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

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


def run(number: int, nodes: int, folder: Path, say: Callable[[str], None]) -> int:
    """Boot the labs, settle them, and time site on all of them and on one. Returns 0 when the one
    that is shut down at last fails alone.
    """
    fleet = Fleet.of(nodes)
    with ExitStack() as stack:
        labs = []
        for count in range(1, number + 1):
            say(f"Lab {count} of {number}, {nodes} nodes")
            name = f"c{count:02}"
            labs.append(stack.enter_context(booted(name, fleet, folder / name)))
        kubeconfigs = {f"c{count:02}": lab.kubeconfig for count, lab in enumerate(labs, 1)}
        every = clusters_inventory(folder / "every", fleet, kubeconfigs)
        first = dict(list(kubeconfigs.items())[:1])
        one = clusters_inventory(folder / "one", fleet, first)
        return compare(labs, every, one, say)


def compare(labs: list[BenchLab], every: Path, one: Path, say: Callable[[str], None]) -> int:
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
    recap = {
        host: (int(changed), int(unreachable) + int(failed))
        for host, changed, unreachable, failed in RECAP.findall(broken.output)
    }
    bad = sorted(host for host, (_changed, failed) in recap.items() if failed)
    print(
        f"\nsite with nothing to do, {len(labs[0].fleet.names)} nodes a cluster:\n"
        f"  {single.seconds:.2f} s  1 cluster\n"
        f"  {multiple.seconds:.2f} s  {len(labs)} clusters, {multiple.seconds / single.seconds:.2f}"
        f" times as long, {writes} writes, largest process {multiple.memory / 1e6:.0f} MB\n"
        f"  {broken.seconds:.2f} s  with c{len(labs):02} shut down:"
        f" {len(recap) - len(bad)} done, failed: {', '.join(bad)}"
    )
    print(broken.output[-2500:])
    return int(writes > 0 or bad != [f"c{len(labs):02}"])


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
