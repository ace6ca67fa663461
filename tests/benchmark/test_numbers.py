# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmark makes of what it has measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.gpufleet.sharing.tests.benchmark.audit import (
    AuditLog,
    read_event,
    read_events,
    refused,
    traffic,
)
from ansible_collections.gpufleet.sharing.tests.benchmark.measure import lists_of
from ansible_collections.gpufleet.sharing.tests.benchmark.neighbour import latency
from ansible_collections.gpufleet.sharing.tests.benchmark.performance import (
    BEGIN,
    END,
    between,
    document,
)
from ansible_collections.gpufleet.sharing.tests.benchmark.ratios import Verdict, growth, verdicts
from ansible_collections.gpufleet.sharing.tests.benchmark.raw import JSON, page_of
from ansible_collections.gpufleet.sharing.tests.benchmark.results import (
    CHANGE,
    K8S_INFO,
    K8S_LOOP,
    KUBECTL,
    LABEL_ALL,
    MODULE,
    NOTHING,
    RAW,
    SITE,
    SITE_SMALL,
    TASK,
    Cell,
    Results,
    extrapolate,
    load,
    merged,
)
from ansible_collections.gpufleet.sharing.tests.benchmark.table import (
    render,
    render_neighbour,
    render_sweep,
)

ME = "system:serviceaccount:benchmark:worker"


def line(
    verb: str = "patch",
    *,
    user: str = ME,
    agent: str = "gpufleet.sharing",
    at: float = 0.0,
    took: float = 0.1,
    resource: str = "nodes",
    code: int = 200,
    uri: str = "/api/v1/nodes",
) -> str:
    """One line of an audit log; times are seconds within a minute."""
    return json.dumps(
        {
            "stage": "ResponseComplete",
            "verb": verb,
            "requestURI": uri,
            "user": {"username": user},
            "userAgent": agent,
            "objectRef": {"resource": resource},
            "responseStatus": {"code": code},
            "requestReceivedTimestamp": f"2026-11-25T16:00:{at:09.6f}Z",
            "stageTimestamp": f"2026-11-25T16:00:{at + took:09.6f}Z",
        }
    )


def test_traffic_lasts_from_the_first_request_to_the_last_answer() -> None:
    lines = [
        line("get", at=2, took=5),
        line(at=1, took=0.5),
        line(user="lab-gpusim", at=0, took=30),
        line("create", resource="selfsubjectaccessreviews", at=3),
        line(agent="kubectl/v1", at=10),
    ]
    events = list(read_events(lines, ME))
    assert len(events) == 4
    sums = traffic(events, "gpufleet.sharing")
    assert (sums.requests, sums.writes) == (3, 1)
    assert sums.seconds == pytest.approx(6)
    assert sums.ended - sums.began == pytest.approx(6)
    assert traffic(events).seconds == pytest.approx(9.1)
    assert traffic([]).requests == 0


def test_user_is_the_whole_name() -> None:
    assert list(read_events([line(user="x", agent=json.dumps(ME))], ME)) == []


def test_refused_requests_are_found() -> None:
    events = [read_event(line(code=code)) for code in (200, 429, 409)]
    assert [event.code for event in refused(events)] == [429]


def test_audit_log_leaves_out_what_is_not_complete(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    file.write_text("one\ntwo\nthr")
    log = AuditLog(file)
    assert log.lines(0) == ["one", "two"]
    assert log.lines(4) == ["two"]
    assert log.lines(log.end()) == []


def test_lists_are_read_again_without_their_pages() -> None:
    uris = ("/a?limit=500", "/a?limit=500&continue=x", "/b?labelSelector=c&limit=500", "/a")
    events = [read_event(line("list", uri=uri)) for uri in uris]
    events.append(read_event(line("get", uri="/d")))
    assert lists_of(events) == [("/a", JSON), ("/b?labelSelector=c", JSON)]
    assert page_of("/b?labelSelector=c", "x=") == "/b?labelSelector=c&limit=500&continue=x%3D"


def test_merged_takes_the_best_seconds_and_the_worst_of_the_rest() -> None:
    rounds = [Cell(3, 10, 1, 4, 50), Cell(1, 11, 0, 2, 60), Cell(2, 10, 0, 3)]
    found = merged(rounds, Cell(9, 10, 0, 0, 99, 700))
    assert (found.seconds, found.requests, found.writes, found.wall) == (1, 11, 1, 2)
    assert (found.memory, found.received, found.rounds) == (60, 700, (3, 1, 2))
    assert merged([Cell(1, 1, 0)]).memory is None


@pytest.mark.parametrize(
    ("few", "many", "sample", "nodes", "seconds"),
    [(3, 14, (1, 12), 1000, 1002), (2.4, 6.4, (12, 32), 112, 22.4), (3, 2, (1, 12), 1000, 3)],
)
def test_extrapolate(
    few: float, many: float, sample: tuple[int, int], nodes: int, seconds: float
) -> None:
    found = extrapolate(Cell(few, 1, 1), Cell(many, 12, 12, 0, 5), sample, nodes)
    assert found.seconds == pytest.approx(seconds)
    assert found.sampled
    assert found.received is None


def test_extrapolate_counts() -> None:
    few, many = Cell(1, 4, 1, 1, 5, 100), Cell(2, 15, 12, 2, 6, 210)
    found = extrapolate(few, many, (1, 12), 101)
    assert (found.requests, found.writes, found.received, found.memory) == (104, 101, 1100, 6)


def test_latency() -> None:
    found = latency([number / 1000 for number in range(200)])
    assert (found.samples, found.p99, found.longest) == (200, 0.198, 0.199)
    assert latency([0.5]).p99 == 0.5


def sample(
    nodes: int = 1000,
    ours: float = 4.0,
    site: float = 12.0,
    writes: int = 0,
    processor: float = 4.5,
) -> Results:
    results = Results(nodes, {})
    results.add(RAW, LABEL_ALL, Cell(3.2, 1000, 1000, 0, None, 17_000_000), wall=False)
    results.add(RAW, NOTHING, Cell(0.5, 2, 0), wall=False)
    results.add(MODULE, LABEL_ALL, Cell(ours, 1004, 1002, 0, 90_000_000), wall=False)
    results.add(MODULE, NOTHING, Cell(0.6, 2, writes, 0, 70_000_000), wall=False)
    results.add(TASK, LABEL_ALL, Cell(6, 1004, 1002), wall=True)
    results.add(KUBECTL, LABEL_ALL, Cell(10.5, 1001, 1000), wall=False)
    results.add(K8S_LOOP, LABEL_ALL, Cell(1120, 3000, 1000, sampled=True), wall=True)
    results.add(SITE, NOTHING, Cell(site, 60, 0), wall=True)
    results.add(SITE_SMALL, NOTHING, Cell(8, 60, 0, processor=processor), wall=True)
    results.add(K8S_INFO, NOTHING, Cell(2, 5, 0, processor=1.5), wall=True)
    results.neighbour = {"idle": vars(latency([0.002])), "busy": vars(latency([0.004, 0.03]))}
    return results


def missed(results: Results) -> list[str]:
    return [each.what for each in verdicts(results) if not each.ok]


def test_verdicts() -> None:
    assert missed(sample()) == []
    assert missed(sample(ours=4.2)) == ["label all, against the raw ceiling"]
    assert missed(sample(ours=5.5))[1:] == ["label all, kubectl against it"]
    assert missed(sample(site=17)) == ["whole site with nothing to do, 1000 nodes against 10"]
    (slow,) = (each for each in verdicts(sample(processor=4.6)) if not each.ok)
    assert slow.value == pytest.approx(4.6 / 1.5)
    firm = [each for each in verdicts(sample(writes=1)) if each.firm and not each.ok]
    assert [str(each) for each in firm] == ["MISSED  nothing to do, writes of module: 1 (<= 0)"]
    assert verdicts(Results(20, {})) == []


def test_verdict_of_memory() -> None:
    results = sample()
    results.add(MODULE, CHANGE, Cell(1, 1, 1, 0, 251_000_000), wall=False)
    assert missed(results) == ["peak memory of one module"]
    assert str(Verdict("a", 251e6, 250e6, "MB")) == "MISSED  a: 251 MB (<= 250 MB)"
    assert str(Verdict("a", 2.5, 2, "x", at_least=True)) == "ok      a: 2.50 x (>= 2.00 x)"
    assert str(Verdict("a", 0.5, 1, "s")) == "ok      a: 0.500 s (<= 1.000 s)"


def test_growth_is_judged_for_our_own_rows() -> None:
    found = growth(sample(), sample(5000, ours=23))
    assert {each.limit for each in found} == {5.5}
    bad = [each.what for each in found if not each.ok]
    assert bad == ["seconds of module, label all, from 1000 to 5000 nodes"]
    assert not any("kubectl" in each.what for each in found)


def test_results_come_back_from_their_file(tmp_path: Path) -> None:
    results = sample()
    results.save(tmp_path / "results.json")
    assert load(tmp_path / "results.json") == results


def test_table() -> None:
    results = sample()
    results.sweep = {"16 threads": 3.2}
    text = render(results)
    lines = text.splitlines()
    assert lines[0].split("  ")[-1] == "read state"
    ours = next(number for number, text in enumerate(lines) if text.startswith(MODULE))
    assert "4.00 s" in lines[ours]
    assert "1004 (1002) req, peak 90 MB" in lines[ours + 1]
    assert "~1120 s*" in text
    assert "~3000 (~1000) req" in text
    assert "12.0 s*" in text
    assert "17.0 MB" in text
    assert "busy: median 17.0 ms, 99 % 30.0 ms, longest 30.0 ms of 2" in render_neighbour(results)
    assert render_sweep(results).endswith("3.20 s  16 threads")


def test_document() -> None:
    results = sample()
    results.facts = {
        "object size": 15000,
        "date": "2026-11-25 16:00 UTC",
        "versions": {"Python": "3.11"},
        "machine": {"cores": 2, "cpu": "CPU", "memory": "24 GiB"},
    }
    part = document([results], growth(results, results), "performance.svg")
    assert "### 1000 GPU nodes of 15.0 KB" in part
    assert f"| {MODULE} | 4.00 s<br>1004 requests<br>peak 90 MB |" in part
    assert "| 12.0 s\\*<br>60 requests |" in part
    text = between(f"before\n{BEGIN}\nold\n{END}\nafter\n", part)
    assert text.startswith(f"before\n{BEGIN}\n\n![")
    assert text.endswith(f"24 GiB\n\n{END}\nafter\n")
    assert "old" not in text
    with pytest.raises(ValueError, match="no <!-- measured: begin"):
        between("text", part)
