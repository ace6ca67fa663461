# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made of the rounds: sums, medians, fairness, tables. The figures here are invented, and
measure nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.plugin_utils._advice import measured as _measured
from ansible_collections.gpufleet.sharing.tests.benchmark.performance import between
from ansible_collections.gpufleet.sharing.tests.realnode.cost import figures, page, plot
from ansible_collections.gpufleet.sharing.tests.realnode.cost.results import (
    BURSTY,
    LATENCY,
    MEMORY,
    SATURATING,
    SHORT,
    SMALL,
    Context,
    Results,
    Round,
    Sample,
    load,
    read_samples,
)

ROOT = Path(__file__).resolve().parents[3]


def sample(**told: Any) -> Sample:
    about: dict[str, Any] = {
        "pod": "p0",
        "load": SATURATING,
        "uuid": "GPU-1",
        "late": 0.001,
        "seconds": 2.5,
        "steps": 100,
        "rate": 100.0,
        "unit": "FLOP",
        "p50": 0.0,
        "p95": 0.0,
        "p99": 0.0,
        "longest": 0.0,
        "free_mib": 80000.0,
        "total_mib": 81047.0,
        "taken_mib": 0.0,
        "error": "",
    }
    return Sample(**about | told)


def one(of: str, repetition: int, *rates: float, **told: object) -> Round:
    pods = tuple(sample(load=of, rate=rate, **told) for rate in rates)
    return Round(len(rates), of, repetition, pods)


def latency(replicas: int, p50: float) -> Round:
    small = sample(load=SMALL, unit="steps", p50=p50, p95=2 * p50, p99=3 * p50, longest=9 * p50)
    return Round(replicas, LATENCY, 1, (small, *(sample() for _pod in range(replicas - 1))))


def results() -> Results:
    found = Results(
        conditions={"GPU": "A GPU", "driver": "1", "memory": "81559 MiB"},
        rounds=[
            *(one(SATURATING, n, rate) for n, rate in enumerate((100.0, 110.0, 90.0), 1)),
            one(SATURATING, 1, 45.0, 50.0),
            one(SATURATING, 2, 46.0, 46.0),
            one(SATURATING, 3, 40.0, 45.0),
            one(SHORT, 1, 1000.0, unit="steps", p50=100.0),
            one(SHORT, 1, 230.0, 230.0, unit="steps", p50=2000.0),
            one(BURSTY, 1, 50.0, unit="steps", p50=700.0),
            one(BURSTY, 1, 49.0, 50.0, unit="steps", p50=900.0),
            latency(1, 10.0),
            latency(2, 1610.0),
        ],
        contexts=[Context(1, 3000, 2050), Context(2, 5600, 2050, (2590.0, 2610.0))],
    )
    found.frameworks = [
        {
            "name": "pytorch-call",
            "framework": "pytorch",
            "version": "2.11",
            "environment": {},
            "fraction": "0.25",
            "reserved_mib": 2.0,
            "attempts": [
                {"gib": 10, "taken": True, "error": ""},
                {"gib": 30, "taken": False, "error": "OutOfMemoryError: 19.79 GiB allowed"},
            ],
        },
        {"name": "jax-nothing", "error": "no libcuda"},
    ]
    found.memory = [
        {
            "pod": "oom-late",
            "phase": "Failed",
            "container": {"exitCode": 3, "reason": "Error"},
            "said": [{"error": "cudaMalloc: out of memory", "unit": "MiB", "rate": 1024.0}],
            "events": [],
        }
    ]
    return found


def test_throughput_is_by_the_median_of_one_pod_alone() -> None:
    found = figures.throughput(results(), SATURATING)
    assert found[1] == figures.Figure(1.0, 0.9, 1.1)
    assert (found[2].middle, found[2].least, found[2].most) == (0.92, 0.85, 0.95)


def test_throughput_without_a_pod_alone_is_not_known() -> None:
    shared = Results(rounds=[one(SATURATING, 1, 50.0, 50.0)])
    assert figures.throughput(shared, SATURATING) == {}
    assert figures.throughput(results(), MEMORY) == {}
    assert figures.relative(shared) == {}


def test_a_pod_alone_that_does_nothing_is_no_base() -> None:
    assert figures.alone(Results(rounds=[one(SATURATING, 1, 0.0)]), SATURATING) is None


def test_fairness_is_that_of_the_worst_repetition() -> None:
    assert figures.fairness(results(), SATURATING) == {2: pytest.approx(40 / 45)}
    assert figures.evenness(one(SATURATING, 1, 0.0, 0.0)) == 0
    assert figures.evenness(one(SATURATING, 1, 0.0, 5.0)) == 0


def test_latency_is_that_of_the_pod_that_waits() -> None:
    found = figures.latencies(results())
    assert found == {
        0: figures.Latency(10.0, 20.0, 30.0, 90.0),
        1: figures.Latency(1610.0, 3220.0, 4830.0, 14490.0),
    }
    assert figures.latencies(results(), SHORT)[1].p50 == 2000


def test_context_is_what_each_process_more_takes() -> None:
    assert figures.context_mib(results().contexts) == 550
    assert figures.context_mib(results().contexts[:1]) is None
    assert figures.of_each_process(results().contexts) == 550
    assert figures.of_each_process([]) is None


def test_summary() -> None:
    lines = list(figures.summary(results(), 2))
    assert lines[0] == "saturating: 92 FLOP/s, 0.920 of alone, fairness 0.889"
    assert lines[-1] == "small kernel: 1610 µs, 99 % 4830 µs"
    assert list(figures.summary(Results(), 2)) == []


def test_results_come_back_from_their_file(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "cost.json"
    results().save(file)
    assert load(file) == results()
    assert [path.name for path in file.parent.iterdir()] == ["cost.json"]


def test_rounds_take_the_place_of_those_before() -> None:
    found = results()
    found.put_rounds(2, [one(SATURATING, 1, 1.0, 1.0)])
    assert [each.repetition for each in found.rounds if each.replicas == 2] == [1]
    assert sum(each.replicas == 1 for each in found.rounds) == 6


def test_samples_are_read_out_of_a_log(tmp_path: Path) -> None:
    file = tmp_path / "cost.json"
    Results(rounds=[Round(1, SATURATING, 1, (sample(),))]).save(file)
    line = file.read_text().split('"samples": [')[1].split("]")[0]
    assert read_samples(f'warning\n{line}\n{{"pod": 1}}\n[1]\n{line[:-5]}') == [sample()]


@pytest.mark.parametrize(
    ("shared", "facts"),
    [
        ({2: 1.99, 4: 3.9, 8: 7.9}, ("up to 8 replicas", "8 pods do 7.90 times")),
        ({2: 1.95, 4: 3.7, 8: 5.0}, ("up to 4 replicas", "with 8")),
        ({2: 1.3, 4: 1.5, 8: 1.4}, ("4 replicas", "1.50 times")),
        ({2: 0.92, 4: 0.92, 8: 0.91}, ("no throughput", "9 %")),
        ({2: 0.46, 4: 0.46}, ("do not", "54 %", "MPS", "MIG")),
    ],
)
def test_advice(shared: dict[int, float], facts: tuple[str, ...]) -> None:
    advice = page.advice(shared)
    assert [fact for fact in facts if fact not in advice] == []


def test_constants_that_differ_are_told() -> None:
    told = list(page.constants(results()))
    measured = {name: here for name, _used, here, _verdict in told}
    assert measured == {
        "CONTEXT_MIB": 550.0,
        "DRIVER_MIB": 512,
        "SATURATED_LOSS": pytest.approx(8),
        "SHORT_STEPS_LOSS": pytest.approx(54),
        "WAIT_MS": pytest.approx(1.6),
    }
    assert [name for name, _used, _here, verdict in told if verdict] == ["CONTEXT_MIB"]
    assert all(used == getattr(_measured, name) for name, used, _here, _verdict in told)
    nothing = list(page.constants(Results()))
    assert all(here is None and not verdict for _name, _used, here, verdict in nothing)


def test_document() -> None:
    text = page.document(results(), "pictures/x.svg")
    assert "![Throughput and latency against pods on one GPU](pictures/x.svg)" in text
    assert "| saturating: fp32 kernels, always one queued | 0.92 (0.85 to 0.95) | 0.889 |" in text
    assert "| 0.46 | 1.000 | 1000 steps/s of 100 µs |" in text
    assert "| a small kernel beside pods that saturate the GPU | 1 | 1.6 ms | 3.2 ms |" in text
    assert "- **short synchronous steps**: do not" in text
    assert "takes about 1.6 ms more for each neighbor" in text
    assert "| exclusive, 1 | 100% | 100% | 10 µs |" in text
    assert "| light, 2 | 46% | 99% | 1.6 ms |" in text
    assert "| standard, 4" not in text
    assert "uses 550 MiB for its CUDA context" in text
    assert "| 1.0 GiB, `cudaMalloc: out of memory` | phase Failed, status 3 (Error)" in text
    assert "| pytorch 2.11 | `torch.cuda.set_per_process_memory_fraction(0.25)` |" in text
    assert "| allocated | refused: OutOfMemoryError: 19.79 GiB allowed |" in text
    assert "did not run: no libcuda" in text
    assert "- GPU: A GPU" in text
    assert "### Left out" not in text
    assert all(line.count("|") == 6 for line in text.splitlines() if "status 3" in line)


def test_document_of_a_run_that_was_cut_off() -> None:
    text = page.document(Results(notes=["8 replicas: left out, no time"]), "x.svg")
    assert "Not measured." in text
    assert "What happens when memory runs out: not measured." in text
    assert "- 8 replicas: left out, no time" in text


def test_without_results_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "x.md"
    assert plot.main([str(tmp_path / "none.json"), "--document", str(document)]) == 0
    assert "not measured yet" in capsys.readouterr().out
    assert not document.exists()


def test_the_page_has_its_markers() -> None:
    text = (ROOT / "docs" / "sharing-cost.md").read_text(encoding="utf-8")
    assert between(text, "x").count("<!-- measured: ") == 2
