# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How findings are grouped, what follows from what, how they are told and documented, and what the
doctor asks a cluster for.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from string import Formatter

import pytest
import yaml

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    ClusterError,
    FleetError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.catalog import (
    CHECKS,
    check_codes,
    counts,
    find_all,
    findings_table,
    split,
    trace_row,
    verdict,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.collect import collect
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.engine import (
    MOST_NAMES,
    Check,
    Finding,
    Match,
    Severity,
    diagnose,
    match_on,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.permissions import (
    DOCTOR,
    Scope,
    doctor_permissions,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.operands import PLUGIN_APP
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions, numbers
from ansible_collections.gpufleet.sharing.tests.unit.fake_snapshot import (
    CONFIG_MAP,
    LABEL,
    NS,
    POLICY,
    healthy,
    pod,
    roots,
    waiting,
)

DOCS = Path(__file__).resolve().parents[2] / "docs"


def check(
    code: str, *matches: Match, follows: tuple[str, ...] = (), severity: str = "error"
) -> Check:
    return Check(
        code=code,
        severity=Severity(severity),
        title=f"title {code}",
        cause="cause {x}",
        seen="{node} of {count} ({nodes}): {x}",
        why="why {x}",
        fix="mend {nodes}",
        find=lambda _snapshot: matches,
        follows=follows,
    )


def found(*checks: Check) -> list[tuple[str, str, tuple[str, ...], str]]:
    snapshot = healthy().look()
    told = diagnose(snapshot, checks)
    return [(each.code, each.cause, each.nodes, each.follows) for each in told]


def test_one_entry_for_all_nodes_with_the_same_cause() -> None:
    matches = [match_on(f"n{number:03}", x="a" if number % 2 else "b") for number in range(400)]
    (first, second) = diagnose(healthy().look(), [check("A", *reversed(matches))])
    assert (first.cause, first.count, len(first.nodes)) == ("cause a", 200, 200)
    assert first.nodes == tuple(sorted(first.nodes))
    assert first.seen.startswith("n001 of 200 (n001 n003 ")
    assert first.fix.endswith(" ...")
    assert len(first.fix.split()) == MOST_NAMES + 2
    assert second.cause == "cause b"


def test_what_is_not_about_nodes_is_counted_by_itself() -> None:
    (only,) = diagnose(healthy().look(), [check("A", Match((), {"x": "a"}), Match((), {"x": "a"}))])
    assert (only.nodes, only.count) == ((), 2)


def test_a_consequence_names_the_root_and_stands_behind_it() -> None:
    """Also where what it follows from is a consequence itself, and is told later."""
    late = check("C", match_on("n1", x="c"), match_on("n2", x="c"), follows=("B", "A"))
    middle = check("B", match_on("n1", x="b"), follows=("A",))
    root = check("A", match_on("n1", x="a"))
    assert found(late, middle, root) == [
        ("A", "cause a", ("n1",), ""),
        ("C", "cause c", ("n1",), "A"),
        ("B", "cause b", ("n1",), "A"),
        ("C", "cause c", ("n2",), ""),
    ]


def test_a_finding_of_all_nodes_is_split_by_root() -> None:
    root = check("A", match_on("n1", x="a"))
    after = check("B", Match(("n1", "n2"), {"x": "b"}), follows=("A",))
    assert found(root, after) == [
        ("A", "cause a", ("n1",), ""),
        ("B", "cause b", ("n1",), "A"),
        ("B", "cause b", ("n2",), ""),
    ]


def test_consequences_are_told_once_where_a_root_has_several_causes() -> None:
    root = check("A", match_on("n1", x="a"), match_on("n2", x="b"))
    after = check("B", Match(("n1", "n2"), {"x": "c"}), follows=("A",))
    assert [code for code, *_rest in found(root, after)] == ["A", "A", "B"]


def test_worst_first() -> None:
    checks = [
        check("A", match_on("n", x="a"), severity="info"),
        check("B", match_on("n", x="a"), severity="warning"),
        check("C", match_on("n", x="a")),
    ]
    assert [code for code, *_rest in found(*checks)] == ["C", "B", "A"]


def test_kinds_that_need_what_is_not_read_are_left_out() -> None:
    fleet = healthy()
    waiting(fleet.pod(PLUGIN_APP, "dev-1"), "CrashLoopBackOff", 3)
    fleet.drop(CONFIG_MAP)
    fleet.forbidden = {"/pods", "/device-plugin-config", "/configmaps"}
    told = fleet.find()
    assert {each.cause.split()[-1] for each in told} == {"pods", "ConfigMap"}
    assert mentions(told[0].seen, "ConfigMap", "injected 403")


def test_a_config_map_elsewhere_is_not_looked_for_where_we_may_not() -> None:
    fleet = healthy()
    fleet.drop(CONFIG_MAP)
    fleet.forbidden = {"/api/v1/configmaps"}
    assert roots(fleet.find()) == {"GS012"}


@pytest.mark.parametrize("path", ["/nodes", "/pods", "/api/v1/configmaps"])
def test_a_server_that_fails_is_no_finding(path: str) -> None:
    fleet = healthy()
    fleet.drop(CONFIG_MAP)
    api = fleet.api()
    api.fault = lambda _method, asked: 500 if asked.endswith(path) else 0
    snapshot = fleet.look()
    with pytest.raises(ClusterError):
        collect(api.cluster, snapshot.location, snapshot.desired, snapshot.known)


def test_looking_at_one_node_asks_for_one_node() -> None:
    fleet = healthy()
    fleet.labels("dev-1")[LABEL] = "default"
    fleet.labels("train-1")[LABEL] = "default"
    snapshot = fleet.look("dev-1")
    assert set(snapshot.traces) == {"dev-1"}
    assert [each.nodes for each in find_all(snapshot) if not each.follows] == [("dev-1",)]


def test_nodes_outside_the_limit_are_neither_judged_nor_unknown() -> None:
    fleet = healthy()
    fleet.labels("train-1")[LABEL] = "default"
    del fleet.assignments["train-1"]
    fleet.outside = {"train-1"}
    assert fleet.find() == []


def test_every_request_reads() -> None:
    fleet = healthy()
    api = fleet.api()
    snapshot = fleet.look()
    find_all(collect(api.cluster, snapshot.location, snapshot.desired, snapshot.known))
    assert api.writes() == []
    assert len(api.requests) == 7


def test_versioned_labels_are_judged_by_their_keys() -> None:
    snapshot = healthy().look()
    versioned = replace(snapshot, desired=replace(snapshot.desired, versioned=True))
    told = find_all(versioned)
    assert roots(told) == {"GS024"}
    assert len([each for each in told if not each.follows]) == 3


def test_chain_row_tells_the_links() -> None:
    fleet = healthy()
    fleet.add_pod(pod("one", slots=3))
    trace = fleet.look().traces["prod-1"]
    row = trace_row(trace)
    assert row.pop("hash") == row.pop("loaded_hash") != ""
    assert row == {
        "label": "",
        "key": "default",
        "key_exists": True,
        "plugin_pod": "Ready",
        "config_manager": True,
        "capacity": 8,
        "gfd": "2 x 4",
    }
    assert (trace.used, trace.free, trace.product) == (3, 5, "NVIDIA-A10")


def test_chain_row_of_a_node_without_anything() -> None:
    fleet = healthy()
    fleet.assignments["lost"] = None
    fleet.drop(POLICY)
    trace = fleet.look().traces["lost"]
    row = trace_row(trace)
    assert row["plugin_pod"] == row["gfd"] == row["hash"] == row["loaded_hash"] == ""
    assert (row["key_exists"], row["config_manager"], row["capacity"]) == (False, None, 0)
    assert (trace.used, trace.free, trace.product) == (0, 0, "")


def test_a_pod_that_is_leaving_gives_way_to_its_successor() -> None:
    fleet = healthy()
    old = fleet.pod(PLUGIN_APP, "dev-1")
    new = {**old, "metadata": {**old["metadata"], "name": "new", "uid": "new"}}
    old["metadata"]["deletionTimestamp"] = "now"
    fleet.add_pod(new)
    trace = fleet.look().traces["dev-1"]
    assert trace.plugin is not None
    assert trace.plugin.pod.name == "new"
    fleet.drop(f"/api/v1/namespaces/{NS}/pods/new")
    assert trace_row(fleet.look().traces["dev-1"])["plugin_pod"] == "Terminating"


def finding(severity: str, *nodes: str, follows: str = "") -> Finding:
    return Finding(
        code="GS999",
        severity=Severity(severity),
        title="Title",
        cause="cause",
        nodes=nodes,
        count=len(nodes),
        seen="seen",
        why="why",
        fix="fix",
        follows=follows,
    )


@pytest.mark.parametrize(
    ("severities", "facts"),
    [
        ([], [5]),
        (["info"], [1, 5]),
        (["error", "error"], [1, 2, 5]),  # of 1 node
        (["error", "warning", "info"], [1, 1, 1, 1, 5]),
    ],
)
def test_verdict_is_one_line(severities: list[str], facts: list[float]) -> None:
    line = verdict([finding(severity, "n") for severity in severities], 5)
    assert "\n" not in line
    assert numbers(line) == facts
    for severity in {*severities} - {"info"}:
        assert mentions(line, f"{severities.count(severity)} {severity}")


def test_consequences_are_not_counted() -> None:
    told = [finding("warning", "a"), finding("error", "a", follows="GS999")]
    assert mentions(verdict(told, 1), "1 warning")
    assert counts(told) == {"error": 0, "warning": 1, "info": 1}


def test_what_is_accepted_goes_with_what_follows_from_it() -> None:
    root = replace(finding("error", "n"), code="A")
    after = replace(finding("error", "n"), code="B", follows="A")
    other = replace(finding("warning", "n"), code="C")
    told, accepted = split([root, after, other], ["A"])
    assert (told, accepted) == ([other], [root, after])
    line = verdict(told, 1, accepted)
    assert mentions(line, "1 warning")
    assert line.endswith(" A")
    assert numbers(line) == [1, 1, 1]
    line = verdict([], 1, accepted)
    assert line.endswith(" A")
    assert numbers(line) == [1]


def test_codes_that_there_are_not() -> None:
    check_codes(["GS001", "GS054"])
    with pytest.raises(FleetError, match="GS055, gs001"):
        check_codes(["gs001", "GS055", "GS002"])


def test_table_tells_roots_in_full_and_consequences_in_a_line() -> None:
    told = [finding("error", *"abcdefg"), finding("error", "a", follows="GS999"), finding("info")]
    lines = findings_table(told)
    assert (len(lines), lines.index("")) == (10, 5)
    assert mentions(lines[0], "GS999", "error", "Title", "7")
    assert [line.split(": ")[1] for line in lines[1:4]] == ["seen", "why", "fix"]
    assert mentions(lines[4], "GS999", "Title", "cause", "(a)")
    assert mentions(lines[6], "GS999", "info", "Title")
    assert findings_table([]) == []


def test_codes_are_stable_and_in_order() -> None:
    """A code is never given to something else: add new ones at the end."""
    assert [check.code for check in CHECKS] == [
        f"GS{number:03}" for number in range(1, len(CHECKS) + 1)
    ]
    assert len(CHECKS) == 54


def test_no_finding_follows_from_itself() -> None:
    after = {check.code: set(check.follows) for check in CHECKS}
    assert set().union(*after.values()) <= after.keys()
    while after:
        free = {code for code, causes in after.items() if not causes & after.keys()}
        assert free, f"they follow from each other: {sorted(after)}"
        after = {code: causes for code, causes in after.items() if code not in free}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_texts_are_plain(check: Check) -> None:
    assert not check.title.endswith(".")
    assert check.seen.endswith(".") or check.seen.endswith("}")
    assert check.why.endswith(".")
    fields = {name for _text, name, *_rest in Formatter().parse(check.cause) if name}
    assert not fields & {"node", "nodes", "count"}


def test_documented_role_of_the_doctor_grants_what_it_looks_at() -> None:
    text = (DOCS / "doctor.md").read_text(encoding="utf-8")
    (block,) = (
        each for each in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "ClusterRole" in each
    )
    roles = [each for each in yaml.safe_load_all(block) if "rules" in each]
    granted = {
        (verb, resource, group)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    looks = {(each.verb, each.resource, each.group) for each in doctor_permissions(Scope(DOCTOR))}
    assert granted == looks
