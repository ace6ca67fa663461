# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the report tells: sums, groups, flags, findings; and its three forms, with hostile text."""

from __future__ import annotations

import json
import re
import stat
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.plugin_utils._report import (
    charts as _report_charts,
)
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._report.charts import (
    MAX_STRIPS,
    MIN_DISTANCE,
    spread_dots,
    stacked_bar,
    strips,
    timeline,
)
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._report.files import (
    ReportError,
    plan_files,
    write,
)
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._report.markdown import (
    as_markdown,
    code,
)
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._report.model import (
    NOT_TRIED,
    SEVERITIES,
    Report,
    Revision,
    as_dict,
    make_report,
    mappings_in,
    to_mapping,
)
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._report.page import (
    FOLDER,
    as_html,
    content_policy,
)
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._report.usage import (
    Usage,
    from_prometheus,
    read_usage,
)
from ansible_collections.gpufleet.sharing.tests.browser.fleets import fleet
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions, numbers

NOW = datetime(2026, 8, 1, 9, tzinfo=UTC)
LATER = datetime(2026, 8, 2, 9, tzinfo=UTC)
TONES = ("bad", "warn", "good")
MADE = "2026-08-01 09:00 UTC"
EVIL = "</script><!--<img src=x onerror=alert(1)>|`@all`\u2028**bold**"


def row(name: str = "a", **changes: Any) -> dict[str, Any]:
    known = {"group": "dev_gpus", "profile": "dev", "physical": 1, "replicas": 8}
    return {"node": name, **known, "expected": 8, "actual": 8, "problem": "", **changes}


def state(*rows: dict[str, Any], name: str = "east", **more: Any) -> dict[str, Any]:
    sharing = {"nodes": list(rows), **more.pop("sharing", {})}
    return {"name": name, "reached": True, "sharing": sharing, **more}


def report(*states: dict[str, Any]) -> Report:
    return make_report([], states)


def finding(**changes: Any) -> dict[str, Any]:
    words = {"code": "GS001", "severity": "error", "title": "T", "cause": "C", "why": "W"}
    return {**words, "fix": "F", "nodes": ["a"], "count": 1, "seen": "S", "follows": "", **changes}


def evil_report() -> Report:
    node = row(EVIL, group=EVIL, profile=EVIL, product=EVIL, problem=EVIL, used=9)
    history = {"revisions": [{"revision": 1, "state": EVIL, "when": EVIL, "who": EVIL}]}
    timed = {"revision": 2, "state": "good", "when": "2026-01-01T00:00:00Z", "what": EVIL}
    history["revisions"].append(timed)
    words = dict.fromkeys(("code", "severity", "title", "cause", "why", "fix", "seen"), EVIL)
    found = {"findings": [finding(**words, nodes=[f"{EVIL}2"], follows=EVIL)]}
    read = state(node, name=EVIL, sharing=found, history=history, notes=[EVIL], server=EVIL)
    lost = {"name": f"{EVIL}2", "reached": False, "reason": EVIL}
    return make_report([EVIL], [read, lost], EVIL)


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({}, []),
        ({"used": 8}, []),
        ({"used": 9}, ["above"]),
        ({"used": 0}, ["unused"]),
        ({"used": 0, "actual": 0, "problem": "x"}, ["differs"]),
        ({"used": 1, "actual": 0, "problem": "x"}, ["differs", "above"]),
        ({"ready": False}, ["not-ready"]),
        ({"ready": True, "used": 3}, []),
    ],
)
def test_flags_of_a_node(changes: dict[str, Any], flags: list[str]) -> None:
    (node,) = report(state(row(**changes))).nodes
    assert [flag.value for flag in node.flags] == flags


@pytest.mark.parametrize(
    ("used", "gpu", "flags"),
    [
        (4, 90, ["busy"]),
        (4, 89.9, []),
        (4, 9.9, ["idle"]),
        (0, 0, ["unused"]),
        (None, 0, []),
        (4, "nan", []),
        (4, "much", []),
    ],
)
def test_flags_by_usage(used: int | None, gpu: object, flags: list[str]) -> None:
    usage = {"a": {"gpu_utilisation": gpu}}
    (node,) = report(state(row(used=used), usage=usage)).nodes
    assert [flag.value for flag in node.flags] == flags


def test_sums_and_groups() -> None:
    made = report(
        state(
            row("b", used=3),
            row("a", used=10, actual=4, problem="has 4"),
            row("c", group="prod", profile="default", used=None, physical=None, expected=None),
        ),
        state(row("a", used=1), name="west"),
    )
    assert [(n.cluster, n.node) for n in made.nodes] == [
        ("east", "a"),
        ("east", "b"),
        ("east", "c"),
        ("west", "a"),
    ]
    sums = made.sums
    assert (sums.nodes, sums.physical, sums.expected, sums.actual) == (4, 3, 24, 28)
    assert (sums.used, sums.free, sums.differing, sums.share) == (14, 12, 1, 50)
    found = [(g.cluster, g.group, g.profile, g.sums.nodes, g.sums.used) for g in made.groups]
    assert found == [
        ("east", "dev_gpus", "dev", 2, 13),
        ("east", "prod", "default", 1, None),
        ("west", "dev_gpus", "dev", 1, 1),
    ]
    assert sum(group.sums.actual for group in made.groups) == sums.actual


def test_fields_that_are_not_there_are_not_known() -> None:
    """As of a sharing_info that knows neither use nor findings."""
    made = report(state(row()))
    assert (made.sums.used, made.sums.free, made.sums.share) == (None, None, None)
    assert not made.findings_known
    page = as_html(made, MADE)
    assert page != as_html(report(state(row(), sharing={"findings": []})), MADE)
    assert "h-occupancy" not in page
    assert mentions(as_markdown(made, MADE), "- used", "- free")


def test_clusters_that_were_not_reached() -> None:
    lost = {"name": "west", "reached": False, "reason": "timed out"}
    made = make_report(["east", "west", "north"], [state(row()), lost])
    assert made.missing == ["west", "north"]
    assert [c.reason for c in made.clusters] == ["", "timed out", NOT_TRIED]
    assert numbers(made.verdict) == [1, 2, 3]  # 2 of 3 clusters, and 1 node
    assert made.status == "bad"


@pytest.mark.parametrize(
    ("states", "status", "counts", "words"),
    [
        ([state(row(used=1))], "good", [1], ""),
        ([state()], "good", [], ""),
        ([state(row(problem="x"))], "bad", [1, 1], ""),
        ([state(row(used=9))], "warn", [1, 1], ""),
        ([state(row(ready=False))], "warn", [1], ""),
        ([state(row(), sharing={"findings": [finding()]})], "bad", [1, 1], "error"),
        (
            [state(row(), sharing={"findings": [finding(severity="warning")]})],
            "warn",
            [1, 1],
            "warning",
        ),
        ([state(row(), sharing={"findings": [finding(severity="info")]})], "good", [1], ""),
    ],
)
def test_verdict(
    states: list[dict[str, Any]], status: str, counts: list[float], words: str
) -> None:
    made = report(*states)
    assert made.status == status
    assert numbers(made.verdict) == counts
    assert mentions(made.verdict, words)


def test_findings_that_say_the_same_are_one() -> None:
    east = [
        finding(code="GS003", severity="info"),
        finding(nodes=["a", "b"], count=2),
        finding(code="GS002", nodes=["a"], count=40, follows="GS001"),
        finding(code="GS004", fix=["one", "two"], nodes=None, count=None),
        finding(code="GS009", severity="strange"),
    ]
    west = [finding(count=None, seen="other")]
    made = report(
        state(row(), sharing={"findings": east}),
        state(row(), name="west", sharing={"findings": west}),
    )
    assert [f.code for f in made.findings] == ["GS001", "GS002", "GS004", "GS003", "GS009"]
    first, _after, second = made.findings[:3]
    assert [(at.cluster, at.count, at.seen) for at in first.occurrences] == [
        ("east", 2, "S"),
        ("west", 1, "other"),
    ]
    assert first.count == 3
    assert second.fix == "one\ntwo"
    assert second.count == 0


def test_one_cause_on_two_clusters_is_one_finding() -> None:
    """Its commands and its severity may differ: as severe as on the worst of them."""
    east = finding(code="GS022", severity="warning", fix="`kubectl uncordon a`")
    west = finding(code="GS022", fix="`kubectl uncordon b`", nodes=["b"])
    made = report(
        state(row(), sharing={"findings": [east]}),
        state(row("b"), name="west", sharing={"findings": [west]}),
    )
    (only,) = made.findings
    assert (only.severity, only.count) == ("error", 2)
    assert made.severities() == {"error": 1, "warning": 0, "info": 0}
    assert only.fixes == {"`kubectl uncordon a`": ["east"], "`kubectl uncordon b`": ["west"]}
    for text in (as_markdown(made, MADE), as_html(made, MADE)):
        assert mentions(text, "kubectl uncordon a", "kubectl uncordon b")


@pytest.mark.parametrize("nodes", [20, 5_000])
def test_one_severity_for_each_finding_in_all_files(nodes: int) -> None:
    made = report(*fleet(nodes, clusters=2))
    rows = mappings_in(as_dict(made)["findings"])
    expected = [(one["severity"], one["code"]) for one in rows]
    page = re.findall(
        r'class="finding (\w+)[^>]*>\s*<summary><span class="tag (\w+)">(\w+)</span> <code>(\w+)',
        as_html(made, MADE),
    )
    assert [(one[2], one[3]) for one in page] == expected
    assert all(len({*one[:3]}) == 1 for one in page)
    shown = re.findall(r"^- `(\w+)` \*\*`(GS\d+)`", as_markdown(made, MADE), re.MULTILINE)
    roots = [(one["severity"], one["code"]) for one in rows if not one["follows"]]
    assert shown == roots
    assert made.severities() == {name: [s for s, _c in roots].count(name) for name in SEVERITIES}


def test_markdown_shows_what_follows_from_what() -> None:
    root, other = finding(code="GS024"), finding(code="GS021", nodes=["b"])
    after = finding(code="GS043", follows="GS024", cause="nvidia.com/gpu is 4", count=1)
    found = {"findings": [after, other, root]}
    lines = as_markdown(report(state(row(), sharing=found)), MADE).splitlines()
    at = {code: n for n, line in enumerate(lines) for code in re.findall(r"GS\d+", line)}
    assert at["GS021"] < at["GS024"] < at["GS043"]
    assert lines[at["GS024"]].startswith("- ")
    assert lines[at["GS043"]].startswith("  - follows: ")
    assert mentions(lines[at["GS043"]], "nvidia.com/gpu is 4")


def test_markdown_has_whole_commands() -> None:
    """Each in a line of its own, as it runs; one that is too long is left out, not cut."""
    names = [f"gpu-{n:03}.example.com" for n in range(60)]
    command, longer = (f"kubectl uncordon {' '.join(names * by)}" for by in (1, 20))
    fix = f"Ask first: `{command}`; or `{longer}`."
    found = {"findings": [finding(fix=fix, nodes=names)]}
    text = as_markdown(report(state(sharing=found)), MADE)
    assert command in [line.strip() for line in text.splitlines()]
    assert names[0] not in text.replace(command, "").partition("fix:")[2]
    assert mentions(text, "Ask first", f"{len(longer):,}")


def test_markdown_names_each_node_once() -> None:
    seen = "a b: the label is x"
    found = [
        finding(code="GS024", seen=seen, nodes=["a", "b"], count=2, fix="`kubectl get node a`"),
        finding(code="GS043", nodes=["a", "b"], seen="a b: too few", follows="GS024"),
        finding(code="GS038", nodes=["d", "e", "f"], count=3, seen="d: pod x fails"),
        finding(code="GS012", nodes=["a", "b", "d", "e", "f"], count=5, seen="nothing"),
    ]
    rows = (row(name, problem="too few") for name in "abcdef")
    text = as_markdown(report(state(*rows, sharing={"findings": found})), MADE)
    lines = [line for line in text.splitlines() if "kubectl" not in line]
    words = re.findall(r"\b[a-f]\b", "\n".join(lines))
    assert sorted(words) == list("abcdef")


def test_usage_given_wins_over_prometheus() -> None:
    answers = {
        "gpu_utilisation": answer(
            ({"Hostname": "a"}, "10"),
            ({"Hostname": "a"}, "20"),
            ({"Hostname": "pod-7", "node": "b"}, "30.04"),
            ({"kubernetes_node": "c"}, "NaN"),
            ({"Hostname": "elsewhere"}, "99"),
            ({}, "99"),
        )
    }
    found, _mixed = read_usage({"b": {"gpu_utilisation": 5}}, answers, {"a", "b", "c"})
    assert found == {"a": Usage(15.0), "b": Usage(5.0)}
    for nothing in (None, "", {}, {"data": None}, {"data": {"result": None}}):
        assert from_prometheus(nothing, {"a"}) == {}


def answer(*series: tuple[dict[str, str], str]) -> dict[str, Any]:
    """What Prometheus answers to an instant query."""
    result = [{"metric": labels, "value": [0, value]} for labels, value in series]
    return {"status": "success", "data": {"result": result}}


@pytest.mark.parametrize("label", ["hostname", "Hostname", "node", "kubernetes_node"])
def test_usage_is_matched_by_each_label_of_a_node(label: str) -> None:
    """dcgm-exporter of GPU Operator v26.7.0 sets hostname, an older one Hostname."""
    answers = {"gpu_utilisation": answer(({label: "a"}, "40"))}
    assert read_usage({}, answers, ["a"]) == ({"a": Usage(40.0)}, [])


def test_relabelled_node_wins_over_the_name_of_a_host_engine() -> None:
    """A remote host engine names its own host, which may be a node, too."""
    answers = {"gpu_utilisation": answer(({"hostname": "b", "node": "a"}, "40"))}
    assert read_usage({}, answers, ["a", "b"]) == ({"a": Usage(40.0)}, [])


ONE_OF_TWO = ({"hostname": "a", "cluster": "east"}, "10"), ({"hostname": "a"}, "90")
OTHERS = ({"hostname": "a", "cluster": "x"}, "10"), ({"hostname": "a", "cluster": "y"}, "90")
SAME = (({"hostname": "a"}, "50"),)
ANOTHER = ({"node": "a", "cluster": "x"}, "90"), ({"node": "b", "cluster": "east"}, "20")


@pytest.mark.parametrize(
    ("series", "mixed", "expected"),
    [
        (ONE_OF_TWO, (), {"a": Usage(10.0)}),  # by the label cluster
        (OTHERS, (), {}),  # which of both is not known
        (ANOTHER, (), {"b": Usage(20.0)}),  # a is in another cluster
        (SAME, SAME, {}),  # several exporters with GPUs of their own
        (SAME, (), {"a": Usage(50.0)}),
    ],
)
def test_equal_names_in_two_clusters_do_not_mix(
    series: tuple[tuple[dict[str, str], str], ...],
    mixed: tuple[tuple[dict[str, str], str], ...],
    expected: dict[str, Usage],
) -> None:
    answers = {"gpu_utilisation": answer(*series), "mixed": answer(*mixed)}
    left_out = [] if expected else ["a"]
    assert read_usage({}, answers, ["a", "b"], "east") == (expected, left_out)


def test_mixed_names_are_a_note_of_the_cluster() -> None:
    answers = {"gpu_utilisation": answer(*SAME), "mixed": answer(*SAME)}
    found = report(state(row(), prometheus=answers))
    assert not found.usage_known
    (note,) = found.clusters[0].notes
    assert mentions(note, "a", "gpu_sharing_prometheus_url", "cluster")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"used": 2}, {"used": 25.0, "free": 75.0}),
        ({"used": 8}, {"used": 100.0}),
        ({"used": 10}, {"used": 80.0, "above": 20.0}),
        ({"used": 2, "actual": 4}, {"used": 25.0, "free": 25.0, "missing": 50.0}),
        ({}, {"unknown": 100.0}),
        ({"used": 0, "actual": 0}, {"missing": 100.0}),
        ({"used": 0, "actual": 0, "expected": 0}, {}),
    ],
)
def test_bar(changes: dict[str, Any], parts: dict[str, float]) -> None:
    found = stacked_bar(report(state(row(**changes))).sums)
    assert {part.kind: part.width for part in found} == parts
    assert [part.start for part in found] == [
        sum(part.width for part in found[:at]) for at in range(len(found))
    ]


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, "none"),
        ({"used": 0, "actual": 0}, "none"),
        ({"used": 0}, "unused"),
        ({"used": 4}, "some"),
        ({"used": 5}, "most"),
        ({"used": 8}, "full"),
        ({"used": 9}, "above"),
        ({"used": 1, "actual": 0}, "above"),
    ],
)
def test_level(changes: dict[str, Any], level: str) -> None:
    assert _report_charts.level(report(state(row(**changes))).nodes[0]) == level


@pytest.mark.parametrize(("count", "columns"), [(3, 40), (100, 60), (1000, 120)])
def test_strip_has_a_cell_for_each_node(count: int, columns: int) -> None:
    nodes = report(state(*(row(f"n{n:04}", used=n % 10) for n in range(count)))).nodes
    (strip,) = strips(nodes)
    assert strip.columns == columns
    assert strip.lines * columns >= count > (strip.lines - 1) * columns
    assert sum(strip.counts.values()) == count
    assert sum(path.count("M") for path in strip.paths.values()) == count
    assert sorted(strip.nodes) == list(range(count))
    used = [nodes[index].used or 0 for index in strip.nodes]
    assert used == sorted(used, reverse=True)


def test_strips_are_bounded() -> None:
    nodes = report(state(*(row(f"n{n}", group=f"g{n}") for n in range(100)))).nodes
    assert len(strips(nodes)) == MAX_STRIPS


def test_timeline() -> None:
    def revision(when: str, cluster: str = "east") -> Revision:
        return Revision(cluster, 1, "good", when, "", "", 1)

    assert timeline([revision("yesterday")]) is None
    whens = ("2026-01-03T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00")
    found = timeline([*map(revision, whens), revision(whens[0], "west")])
    assert found is not None
    assert (found.start, found.end) == ("2026-01-01", "2026-01-03")
    assert {line.cluster: [dot.at for dot in line.dots] for line in found.lines} == {
        "east": [2.0, 50.0, 98.0],
        "west": [98.0],
    }


@pytest.mark.parametrize(
    "places", [[], [50.0], [50.0, 50.0, 50.1], [97.0, 98.0, 98.0], [2.0] * 200]
)
def test_dots_stand_apart_within_the_line(places: list[float]) -> None:
    found = spread_dots(places)
    gap = min(MIN_DISTANCE, 96 / max(len(places), 1))
    assert all(other - one > gap - 0.02 for one, other in pairwise(found))
    assert all(1.5 <= place <= 98 for place in found)


class Elements(HTMLParser):
    """The elements, attributes and the texts of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if self.names and self.names[-1] == "script" and data.strip():
            self.scripts.append(data)


def test_hostile_text_is_text_in_the_page() -> None:
    page = as_html(evil_report(), MADE)
    found = Elements(page)
    assert "img" not in found.names
    assert EVIL not in page
    assert not [name for name, _value in found.attributes if name.startswith("on")]
    assert not [name for name, _value in found.attributes if name == "style"]
    data = json.loads(found.scripts[0])
    assert data["nodes"][0][data["columns"].index("node")] == EVIL
    assert len(found.scripts) == 2


def test_page_loads_nothing_and_runs_only_its_own_script() -> None:
    page = as_html(report(*fleet(20)), MADE)
    found = Elements(page)
    addresses = [value for name, value in found.attributes if name in ("src", "href")]
    assert addresses == ["#nodes"]
    assert "url(" not in page
    assert "@import" not in page
    policy = next(value for _name, value in found.attributes if "default-src" in value)
    assert "unsafe" not in policy
    for element in ("style", "script"):
        (content,) = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
        assert content_policy(content, "").split("'")[3] in policy
    script = found.scripts[1]
    for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert unsafe not in script


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "",
        "a`b",
        "``",
        "a|b",
        "a\\|b",
        "line\nline\r\n# head",
        "@all",
        "x" * 500,
        "<b>",
        "\x00",
    ],
)
def test_code_span_is_one_line_and_closed(text: str) -> None:
    found = code(text)
    assert "\n" not in found
    assert len(found) < 200
    if found == "-":
        return
    fence = re.match("`+", found)
    assert fence
    assert found.endswith(fence[0])
    inner = found[len(fence[0]) : -len(fence[0])]
    assert fence[0] not in re.findall("`+", inner)


def test_hostile_text_stays_in_its_cell() -> None:
    lines = as_markdown(evil_report(), MADE).splitlines()
    heads = [line for line in lines if line.startswith("#")]
    assert len(heads) == 5
    tables = [line for line in lines if line.startswith("|")]
    counts = [len(re.findall(r"(?<!\\)\|", line)) for line in tables]
    assert counts == [10, 10, 10, 7, 7, 7, 6, 6, 6, 6]
    assert not [line for line in lines if "<" in re.sub(r"(`+).*?\1", "", line)]


@pytest.mark.parametrize(("nodes", "most"), [(20, 3_000), (5_000, 12_000)])
def test_sizes(nodes: int, most: int) -> None:
    made = report(*fleet(nodes, clusters=2, lost=True))
    assert len(as_markdown(made, MADE)) < most
    assert len(as_html(made, MADE)) < 45_000 + 200 * nodes


def test_markdown_is_short_even_where_everything_is_wrong() -> None:
    """A ticket of GitHub holds 65,536 characters."""
    words = "word " * 500
    rows = [row(f"n{n}", group=f"g{n}", problem=words, used=99) for n in range(500)]
    names = [f"n{n}" for n in range(500)]
    findings = [
        finding(code=f"GS{n:03}", title=words, why=words, fix=words, seen=words, nodes=names)
        for n in range(99)
    ]
    revisions = [{"revision": n, "who": words, "what": words} for n in range(99)]
    read = state(*rows, sharing={"findings": findings}, history={"revisions": revisions})
    lost = [{"name": f"c{n}", "reason": words} for n in range(99)]
    assert len(as_markdown(report(read, *lost), MADE)) < 40_000


def test_json_has_everything() -> None:
    data = as_dict(report(*fleet(20, lost=True)))
    assert json.loads(json.dumps(data)) == json.loads(json.dumps(data, default=str))
    assert data["schema"] == 1
    assert len(mappings_in(data["nodes"])) == 20
    totals = to_mapping(data["totals"])
    assert (totals["clusters"], totals["reached"], totals["nodes"]) == (2, 1, 20)
    assert {"node", "used", "gpu_utilisation", "flags"} <= mappings_in(data["nodes"])[0].keys()
    assert {"group", "actual", "used"} <= mappings_in(data["groups"])[0].keys()


def test_files_are_written_once_and_renewed(tmp_path: Path) -> None:
    page = tmp_path / "new" / "gpus.html"
    planned = plan_files(report(state(row())), page, NOW)
    assert planned.changed
    assert not page.parent.exists()
    shown = planned.diff()
    assert [Path(entry["after_header"]).suffix for entry in shown] == [".md", ".html", ".json"]
    assert shown[0]["after"].startswith("# ")
    write(planned)
    assert sorted(path.name for path in page.parent.iterdir()) == [
        "gpus.html",
        "gpus.json",
        "gpus.md",
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in page.parent.iterdir()} == {0o644}

    again = plan_files(report(state(row())), page, LATER)
    assert not again.changed
    assert again.diff() == []
    write(again)
    assert json.loads(page.with_suffix(".json").read_text())["made"] == "2026-08-02T09:00:00Z"
    assert plan_files(report(state(row(used=1))), page, LATER).changed
    for broken in ("", "[]", "{"):
        page.with_suffix(".json").write_text(broken)
        assert plan_files(report(state(row())), page, LATER).changed
    write(again)
    page.unlink()
    assert plan_files(report(state(row())), page, LATER).changed


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    made = report(state(row()))
    with pytest.raises(ReportError, match=r"gpus\.txt.*\.html"):
        plan_files(made, tmp_path / "gpus.txt", NOW)
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match="Not a directory"):
        plan_files(made, tmp_path / "file" / "gpus.html", NOW)
    planned = plan_files(made, tmp_path / "gpus.html", NOW)
    (tmp_path / "gpus.html").mkdir()
    with pytest.raises(ReportError, match="Is a directory"):
        write(planned)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "gpus.html"]


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("front", "back", "least"),
    [
        *((text, back, 4.5) for text in ("text", "soft") for back in ("page", "card", "hover")),
        *(
            (tone, back, 4.5)
            for tone in ("bad", "warn", "good")
            for back in ("card", f"{tone}-back")
        ),
        *((tone, "hover", 4.5) for tone in ("bad", "warn", "good")),
        ("accent", "card", 4.5),
        *((mark, "card", 3.0) for mark in ("above", "full", "none")),
        ("accent", "free", 3.0),
    ],
)
def test_contrast_of_colours(scheme: int, front: str, back: str, least: float) -> None:
    """WCAG 2 AA: 4.5 for text, 3 for what else has to be seen."""
    style = (FOLDER / "page.css").read_text()
    pairs = dict(re.findall(r"--([\w-]+): light-dark\((#\w+, #\w+)\)", style))
    one, other = (luminance(pairs[name].split(", ")[scheme]) for name in (front, back))
    lighter, darker = max(one, other), min(one, other)
    assert (lighter + 0.05) / (darker + 0.05) >= least
