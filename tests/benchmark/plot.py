# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write docs/performance.md and its figure from results: `plot.py [FILE.json ...]`, by default all
of .build/bench. In docs/performance.md only what is between the markers is replaced.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:] = [str(ROOT / ".build" / "collections"), *sys.path[1:]]

from ansible_collections.gpufleet.sharing.tests.benchmark.performance import between, document  # noqa: E402  (found through the line above)
from ansible_collections.gpufleet.sharing.tests.benchmark.ratios import growth  # noqa: E402
from ansible_collections.gpufleet.sharing.tests.benchmark.results import (  # noqa: E402
    K8S_INFO,
    LABEL_ALL,
    NOTHING,
    SITE_SMALL,
    Results,
    load,
)

DOCS = ROOT / "docs"
BENCH = ROOT / ".build" / "bench"
PANELS = (LABEL_ALL, NOTHING)


def draw(results: Sequence[Results], path: Path) -> None:
    """Draw seconds against nodes, both on logarithmic scales, a panel for each kind of work."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "gpufleet", "font.size": 9})
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(PANELS), figsize=(11, 6.2))
    names = list(dict.fromkeys(row.name for each in results for row in each.rows))
    names = [name for name in names if name not in (SITE_SMALL, K8S_INFO)]  # of one size
    lines = {}
    for panel, column in zip(panels, PANELS, strict=True):
        for number, name in enumerate(names):
            points = [
                (each.nodes, cell.seconds) for each in results if (cell := each.cell(name, column))
            ]
            if points:
                nodes, seconds = zip(*points, strict=True)
                style = f"C{number}" + ("--" if "this collection" not in name else "-") + "o"
                (lines[name],) = panel.plot(nodes, seconds, style, label=name, markersize=4)
        panel.set(title=column, xlabel="GPU nodes", ylabel="seconds", xscale="log", yscale="log")
        panel.set_xticks([each.nodes for each in results], [str(each.nodes) for each in results])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    figure.legend(handles=list(lines.values()), loc="lower center", ncols=3, frameon=False)
    figure.tight_layout(rect=(0, 0.12, 1, 1))
    figure.savefig(path, metadata={"Date": None})


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="plot.py", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="results as bench.py wrote them")
    parser.add_argument("--document", type=Path, default=DOCS / "performance.md")
    options = parser.parse_args(arguments)
    numbered = [path for path in BENCH.glob("*.json") if path.stem.isdigit()]
    results = sorted(map(load, options.files or numbered), key=lambda each: each.nodes)
    if not results:
        print(f"plot.py: no results in {BENCH}; make bench NODES=200", file=sys.stderr)
        return 1
    figure = options.document.with_suffix(".svg")
    draw(results, figure)
    grown = [verdict for pair in pairwise(results) for verdict in growth(*pair)]
    text = options.document.read_text(encoding="utf-8")
    filled = between(text, document(results, grown, figure.name))
    options.document.write_text(filled, encoding="utf-8")
    print("\n".join(map(str, grown)))
    print(f"{options.document}\n{figure}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
