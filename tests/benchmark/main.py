# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command behind `make bench`."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.gpufleet.sharing.tests.benchmark import clusters, machine, table
from ansible_collections.gpufleet.sharing.tests.benchmark.benchlab import BenchLab, booted
from ansible_collections.gpufleet.sharing.tests.benchmark.contenders import CONTENDERS, FEW, PEERS
from ansible_collections.gpufleet.sharing.tests.benchmark.fleet import Fleet
from ansible_collections.gpufleet.sharing.tests.benchmark.measure import (
    measure_labels,
    measure_neighbour,
    measure_peer,
    measure_reads,
    measure_site,
    measure_sweep,
)
from ansible_collections.gpufleet.sharing.tests.benchmark.measured import Failed
from ansible_collections.gpufleet.sharing.tests.benchmark.ratios import verdicts
from ansible_collections.gpufleet.sharing.tests.benchmark.results import (
    SITE_SMALL,
    Results,
)
from ansible_collections.gpufleet.sharing.tests.integration.labtools import ROOT

SMALL = 10
FOLDER = ROOT / ".build" / "bench"


@dataclass(frozen=True)
class Plan:
    """What a run measures."""

    nodes: int
    rounds: int
    full: bool
    sweep: bool


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench.py", description="Measure the collection and others on a lab of its own."
    )
    parser.add_argument("--nodes", type=int, default=200, help="GPU nodes, 20 or more (200)")
    parser.add_argument("--rounds", type=int, default=3, help="of those that are not slow (3)")
    parser.add_argument("--out", type=Path, help="JSON file (.build/bench/NODES.json)")
    parser.add_argument("--smoke", action="store_true", help="short: no peers, one round")
    parser.add_argument("--sweep", action="store_true", help="try numbers of threads, too")
    parser.add_argument(
        "--strict", action="store_true", help="fail for missed ratios of seconds, too"
    )
    parser.add_argument(
        "--clusters", type=int, default=0, help="measure site on that many labs of NODES instead"
    )
    options = parser.parse_args(arguments)
    if options.nodes < 20:
        parser.error("--nodes must be 20 or more")
    return options


def main(arguments: Sequence[str]) -> int:
    """Return 0 when all is well, 1 when something is missed or fails."""
    options = parse(arguments)
    # A shell that starts us in the background has SIGINT ignored, and labs would be left behind.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            if options.clusters:
                name = f"clusters-{options.clusters}x{options.nodes}.json"
                out = options.out or FOLDER / name
                return clusters.run(options.clusters, options.nodes, Path(folder), out, say)
            return run(options, Path(folder))
    except (Failed, subprocess.CalledProcessError) as error:
        print(f"bench.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench.py: interrupted", file=sys.stderr)
        return 130


def run(options: argparse.Namespace, folder: Path) -> int:
    full = not options.smoke
    plan = Plan(options.nodes, options.rounds if full else 1, full, options.sweep)
    results = Results(plan.nodes, machine.facts())
    if plan.full:
        say(f"A lab of {SMALL} nodes")
        with booted("small", Fleet.of(SMALL), folder / "small") as lab:
            settle(lab, runs=2)
            say("site, with nothing to do, and a play with one k8s_info")
            measure_site(lab, plan.rounds, results, SITE_SMALL)
            measure_peer(lab, plan.rounds, results)
    say(f"A lab of {plan.nodes} nodes")
    with booted("fleet", Fleet.of(plan.nodes), folder / "fleet") as lab:
        measure(lab, plan, results)
    found = verdicts(results)
    results.verdicts = [{**vars(each), "ok": each.ok} for each in found]
    out = options.out or FOLDER / ("smoke.json" if options.smoke else f"{plan.nodes}.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    results.save(out)
    print(report(results))
    print("\n".join(["", *map(str, found), "", str(out)]))
    return int(any(not each.ok and (each.firm or options.strict) for each in found))


def settle(lab: BenchLab, runs: int) -> None:
    """Install the recipe, and run it again so that everything is warm."""
    say("site, to settle")
    for _run in range(runs):
        lab.site()


def measure(lab: BenchLab, plan: Plan, results: Results) -> None:
    contenders = CONTENDERS + PEERS if plan.full else FEW
    counted = contenders if plan.full else FEW[:1]
    settle(lab, runs=2 if plan.full else 1)
    results.facts["object size"] = lab.object_size()
    say("site, with nothing to do")
    measure_site(lab, plan.rounds, results, count=plan.full)
    measure_reads(lab, contenders, counted, plan.rounds, results, say)
    measure_labels(lab, contenders, counted, plan.rounds, results, say)
    say("another client beside it")
    measure_neighbour(lab, results, *((200, 8) if plan.full else (40, 1)))
    if plan.sweep:
        measure_sweep(lab, results, say)


def report(results: Results) -> str:
    head = [
        "",
        f"{results.nodes} GPU nodes of {results.facts['object size'] / 1000:.1f} KB",
        *machine.lines(results.facts),
        "",
    ]
    parts = [table.render(results), "", table.render_neighbour(results)]
    if results.sweep:
        parts += ["", table.render_sweep(results)]
    return "\n".join([*head, *parts])


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
