# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The measured part of docs/sharing-cost.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from ansible_collections.gpufleet.sharing.plugins.plugin_utils._advice.measured import (
    CONTEXT_MIB,
    DRIVER_MIB,
    SATURATED_LOSS,
    SHORT_STEPS_LOSS,
    WAIT_MS,
)
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._advice.memory_budget import (
    memory_budget,
)
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._advice.replicas import REPLICAS
from ansible_collections.gpufleet.sharing.tests.realnode.cost import cases, figures
from ansible_collections.gpufleet.sharing.tests.realnode.cost.results import (
    BURSTY,
    LATENCY,
    LONG,
    MEMORY,
    SATURATING,
    SHORT,
    Results,
)

NAMES = {
    SATURATING: "saturating: fp32 kernels, always one queued",
    MEMORY: "memory-bound: copies, always one queued",
    SHORT: "short synchronous steps",
    LONG: "long synchronous steps",
    BURSTY: "bursty: a kernel, then 18 ms idle",
}
NEARLY = 0.9  # of what as many GPUs would do: pods run nearly as if each were alone
LITTLE = 0.85  # of what one pod alone does: the loss is bearable
GAIN = 1.1


def document(results: Results, figure: str) -> str:
    """Markdown: figure, tables, consequences, conditions."""
    parts = [
        f"![Throughput and latency against pods on one GPU]({figure})",
        "### Throughput",
        "All pods together, as a multiple of one pod alone. Fairness is the rate of the slowest pod"
        " divided by that of the fastest, in the worst repetition.",
        "\n".join(throughput_table(results)),
        "### Time of a step",
        "\n".join(latency_table(results)),
        "### Which work to share, and by how many replicas",
        "\n".join(f"- {line}" for line in consequences(results)),
        "The kinds of use of the filter `recommended_replicas`, by these measurements:",
        "\n".join(kinds_table(results)),
        "### Memory",
        "\n".join(memory_lines(results)),
        "### Settings that limit memory",
        "\n".join(framework_table(results)),
        "### Constants in use",
        "\n".join(constants_table(results)),
        "### Measured with",
        "\n".join(f"- {name}: {value}" for name, value in results.conditions.items()),
    ]
    if results.notes:
        parts += ["### Left out", "\n".join(f"- {each}" for each in results.notes)]
    return "\n\n".join(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def counts_of(results: Results) -> list[int]:
    return sorted({each.replicas for each in results.rounds})


def throughput_table(results: Results) -> Iterator[str]:
    """A row per load, a column per number of pods."""
    counts = [count for count in counts_of(results) if count > 1]
    rows = []
    for load, found in figures.relative(results).items():
        fair = figures.fairness(results, load)
        cells = [spread(found[count]) if count in found else "" for count in counts]
        worst = f"{min(fair.values()):.3f}" if fair else ""
        rows.append([NAMES[load], *cells, worst, rate_alone(results, load)])
    yield from table(["", *(f"{n} pods" for n in counts), "fairness", "one pod alone"], rows)


def spread(figure: figures.Figure) -> str:
    """The median, and the spread of the repetitions where it is visible."""
    apart = figure.most - figure.least
    more = f" ({figure.least:.2f} to {figure.most:.2f})" if apart >= 0.02 else ""
    return f"{figure.middle:.2f}{more}"


def rate_alone(results: Results, load: str) -> str:
    rate = figures.alone(results, load) or 0
    unit = figures.rounds_of(results, load)[1][0].samples[0].unit
    if unit == "FLOP":
        return f"{rate / 1e12:.1f} TFLOP/s"
    if unit == "bytes":
        return f"{rate / 1e9:.0f} GB/s"
    latency = figures.latencies(results, load).get(0)
    return f"{rate:.0f} steps/s" + (f" of {time(latency.p50)}" if latency else "")


def time(micros: float) -> str:
    return f"{micros:.0f} µs" if micros < 1000 else f"{micros / 1000:.1f} ms"


def latency_table(results: Results) -> Iterator[str]:
    """A small kernel beside busy neighbours, and the steps of pods that all do the same."""
    rows = []
    titles = {LATENCY: "a small kernel beside pods that saturate the GPU"}
    titles |= {load: f"{NAMES[load]}; all pods alike" for load in (SHORT, LONG, BURSTY)}
    for load, title in titles.items():
        for beside, latency in figures.latencies(results, load).items():
            values = (latency.p50, latency.p95, latency.p99, latency.longest)
            rows.append([title, str(beside), *map(time, values)])
    yield from table(["", "pods beside it", "median", "95 %", "99 %", "longest"], rows)


def consequences(results: Results) -> Iterator[str]:
    """Advice for a platform engineer. Each sentence follows from a figure."""
    for load, found in figures.relative(results).items():
        shared = {count: figure.middle for count, figure in found.items() if count > 1}
        if shared:
            yield f"**{NAMES[load].partition(':')[0]}**: {advice(shared)}"
    if (wait := wait_ms(results)) is not None:
        yield (
            f"**A synchronous step** takes about {wait:.1f} ms more for each neighbor that keeps"
            " the GPU busy. If latency matters, keep saturating work off the GPU, or use few"
            " replicas."
        )


def advice(shared: Mapping[int, float]) -> str:
    """One sentence on throughput by number of pods (2 or more)."""
    most = max(shared)
    free = [count for count, value in shared.items() if value >= NEARLY * count]
    if most in free:
        return (
            f"share it by up to {most} replicas, the highest number measured: {most} pods do"
            f" {shared[most]:.2f} times the work of one, each almost as fast as alone."
        )
    if free:
        return f"share it by up to {max(free)} replicas; with {most}, pods wait for each other."
    worst = min(shared.values())
    if max(shared.values()) >= GAIN:
        best = max(shared, key=lambda count: shared[count])
        return (
            f"sharing helps, most with {best} replicas:"
            f" {shared[best]:.2f} times the work of one pod."
        )
    if worst >= LITTLE:
        lost = max(0, (1 - worst) * 100)
        return (
            f"sharing adds no throughput and costs {lost:.0f} % of the total; each of n pods gets"
            " 1/n. Share it only if pods must not wait for each other to finish."
        )
    return (
        f"do not use time-slicing: {(1 - worst) * 100:.0f} % of the total is lost to"
        " switching. Make steps longer, or use MPS or MIG."
    )


def kinds_table(results: Results) -> Iterator[str]:
    """What a pod of each kind of use gets when all slots of the GPU are in use."""
    memory = results.conditions.get("memory", "").partition(" ")[0]
    rows = []
    for kind, replicas in REPLICAS.items():
        if replicas not in counts_of(results):
            continue
        saturated = figures.throughput(results, SATURATING).get(replicas)
        bursty = figures.throughput(results, BURSTY).get(replicas)
        latency = figures.latencies(results).get(replicas - 1)
        slot = f"{memory_budget(memory, replicas).per_slot} MiB" if memory.isdigit() else ""
        rows.append(
            [
                f"{kind}, {replicas}",
                f"{saturated.middle / replicas:.0%}" if saturated else "",
                f"{bursty.middle / replicas:.0%}" if bursty else "",
                time(latency.p50) if latency else "",
                slot,
            ]
        )
    yield from table(
        [
            "kind, replicas",
            "share of a GPU that all saturate",
            "rate of a bursty pod, of its rate alone",
            "a small kernel when all others saturate",
            "memory of a slot",
        ],
        rows,
    )


def wait_ms(results: Results) -> float | None:
    """What each busy neighbor adds to the median time of a small kernel; None: not measured."""
    found = figures.latencies(results)
    most = max(found, default=0)
    if not most or 0 not in found:
        return None
    return (found[most].p50 - found[0].p50) / most / 1000


def memory_lines(results: Results) -> Iterator[str]:
    """The context of a process, and what happens when memory runs out."""
    context = figures.context_mib(results.contexts)
    if context is not None:
        told = figures.of_each_process(results.contexts)
        more = f"; nvidia-smi shows {told:.0f} MiB for each" if told is not None else ""
        yield (
            f"Each process uses {context:.0f} MiB for its CUDA context before it allocates anything"
            f" (computed from the free memory beside 1 to"
            f" {max(c.replicas for c in results.contexts)} processes{more})."
        )
        yield ""
    if not results.memory:
        yield "What happens when memory runs out: not measured."
        return
    yield from table(
        ["pod", "what it did", "result", "how it ended", "warnings of Kubernetes"],
        (memory_row(each) for each in results.memory),
    )


DID = {
    "holder": "held 4 GiB and used them all the time",
    "hog": "allocated all memory and kept it for 10 s",
    "late": "opened the GPU before, and then requested 4 GiB",
    "newcomer": "started while no memory was left",
    "after": "opened the GPU before, and requested 4 GiB when memory was free again",
}


def memory_row(found: Mapping[str, Any]) -> list[str]:
    name = str(found["pod"]).rpartition("-")[2]
    errors = [f"`{one['error']}`" for one in found["said"] if one["error"]]
    taken = sum(one["rate"] for one in found["said"] if one["unit"] == "MiB")
    got = [f"{taken / 1024:.1f} GiB"] if taken else []
    container = found.get("container") or {}
    status = f"phase {found['phase']}"
    if "exitCode" in container:
        status += f", status {container['exitCode']} ({container.get('reason', '')})"
    events = [f"{each['reason']}: {each['message']}" for each in found["events"]]
    told = ", ".join([*got, *errors]) or "nothing"
    return [name, DID.get(name, ""), told, status, "; ".join(events) or "none"]


def framework_table(results: Results) -> Iterator[str]:
    """What each setting allocated and refused, in a pod of its own."""
    if not results.frameworks:
        yield "Not measured."
        return
    rows = []
    for told in results.frameworks:
        name = f"{told.get('framework', told['name'])} {told.get('version', '')}".strip()
        if told.get("error"):
            rows.append([name, cases.setting(told), "", "", f"did not run: {plain(told['error'])}"])
            continue
        small, big = (attempted(each) for each in told["attempts"])
        reserved = f"{told['reserved_mib'] / 1024:.1f} GiB"
        rows.append([name, cases.setting(told), reserved, small, big])
    head = ["", "setting", "reserved at start", "request of 10 GiB", "request of 30 GiB"]
    yield from table(head, rows)


def attempted(each: Mapping[str, Any]) -> str:
    return "allocated" if each["taken"] else f"refused: {plain(each['error'])}"


def plain(text: str) -> str:
    """The beginning of the text, escaped for a table."""
    first = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return first if len(first) <= 220 else first[:217] + "..."


def constants_table(results: Results) -> Iterator[str]:
    """The constants in use beside the measured values."""
    rows = [
        [f"`{name}`", f"{used:g}", "not measured" if here is None else f"{here:.3g}", verdict]
        for name, used, here, verdict in constants(results)
    ]
    yield from table(["constant", "in use", "measured here", ""], rows)


def constants(results: Results) -> Iterator[tuple[str, float, float | None, str]]:
    """Name, value in use, measured value or None, and what to do if they disagree."""
    found = (
        ("CONTEXT_MIB", CONTEXT_MIB, figures.context_mib(results.contexts), 30),
        ("DRIVER_MIB", DRIVER_MIB, driver_mib(results), 40),
        ("SATURATED_LOSS", SATURATED_LOSS, loss(results, SATURATING), 2),
        ("SHORT_STEPS_LOSS", SHORT_STEPS_LOSS, loss(results, SHORT), 5),
        ("WAIT_MS", WAIT_MS, wait_ms(results), 0.3),
    )
    for name, used, here, apart in found:
        agrees = here is None or abs(here - used) <= apart
        yield name, used, here, "" if agrees else "differs: change the constant"


def loss(results: Results, load: str) -> float | None:
    """Percent of the throughput of one pod alone that sharing loses, at worst."""
    found = figures.throughput(results, load)
    shared = [figure.middle for count, figure in found.items() if count > 1]
    return (1 - min(shared)) * 100 if shared else None


def driver_mib(results: Results) -> float | None:
    """The part of the reported memory that programs do not see."""
    told = results.conditions.get("memory", "").partition(" ")[0]
    seen = [sample.total_mib for each in results.rounds for sample in each.samples]
    return float(told) - median(seen) if told.replace(".", "", 1).isdigit() and seen else None
