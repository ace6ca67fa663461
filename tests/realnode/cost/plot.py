# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write docs/sharing-cost.md and its figure from results: `plot.py [FILE.json]`, by default
h100.json beside this file. In docs/sharing-cost.md only what is between the markers is replaced.
Without results it says so, and leaves everything as it is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:] = [str(ROOT / ".build" / "collections"), *sys.path[1:]]

from ansible_collections.gpufleet.sharing.tests.benchmark.performance import between  # noqa: E402  (found through the line above)
from ansible_collections.gpufleet.sharing.tests.realnode.cost import figures, page  # noqa: E402
from ansible_collections.gpufleet.sharing.tests.realnode.cost.results import (  # noqa: E402
    LATENCY,
    Results,
    load,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DOCUMENT = ROOT / "docs" / "sharing-cost.md"
FIGURE = ROOT / "docs" / "pictures" / "sharing-cost.svg"
MARKS = "osD^v"


def draw(results: Results, path: Path) -> None:
    """Draw throughput and fairness of each load, and latency, against pods on one GPU."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "gpufleet", "font.size": 9})
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.6))
    draw_throughput(results, left)
    draw_latency(results, right)
    figure.suptitle(f"{results.conditions['GPU']}, driver {results.conditions['driver']}", size=9)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def draw_throughput(results: Results, panel: Axes) -> None:
    counts = page.counts_of(results)
    panel.plot(counts, counts, ":", color="grey", label="as many GPUs", linewidth=1)
    for number, (name, found) in enumerate(figures.relative(results).items()):
        middles = [figure.middle for figure in found.values()]
        below = [figure.middle - figure.least for figure in found.values()]
        above = [figure.most - figure.middle for figure in found.values()]
        style = f"C{number}{MARKS[number]}-"
        label = page.NAMES[name].partition(":")[0]
        panel.errorbar(list(found), middles, (below, above), None, style, label=label, markersize=4)
    panel.set(xscale="log", yscale="log", xlabel="pods on one GPU")
    panel.set(title="throughput of all pods, one pod alone = 1")
    ticks(panel, counts)
    values = (0.25, 0.5, 1, 2, 4, 8)
    panel.set_yticks(values, [f"{value:g}" for value in values])
    panel.legend(fontsize=7, frameon=False)


def draw_latency(results: Results, panel: Axes) -> None:
    found = figures.latencies(results, LATENCY)
    for number, (name, part) in enumerate((("median", "p50"), ("99 %", "p99"))):
        values = [getattr(latency, part) / 1000 for latency in found.values()]
        panel.plot(list(found), values, f"C{number}{MARKS[number]}-", label=name, markersize=4)
    panel.set(yscale="log", xlabel="busy pods beside it", ylabel="ms")
    panel.set(title="time of a small kernel")
    ticks(panel, list(found))
    panel.legend(fontsize=7, frameon=False)


def ticks(panel: Axes, values: Sequence[int]) -> None:
    panel.set_xticks(values, [str(value) for value in values])
    panel.minorticks_off()
    panel.grid(alpha=0.3)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="plot.py", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=HERE / "h100.json")
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    parser.add_argument("--figure", type=Path, default=FIGURE)
    options = parser.parse_args(arguments)
    if not options.file.exists():
        print(f"plot.py: not measured yet: there is no {options.file}")
        return 0
    results = load(options.file)
    draw(results, options.figure)
    name = Path("pictures") / options.figure.name
    text = options.document.read_text(encoding="utf-8")
    filled = between(text, page.document(results, str(name)))
    options.document.write_text(filled, encoding="utf-8")
    print("\n".join([*page.constants_table(results), str(options.document), str(options.figure)]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
