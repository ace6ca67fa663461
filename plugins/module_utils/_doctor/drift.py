# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the differences between a cluster and its inventory, from the results of a plan."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

from .._common.documents import dig, list_at, mapping_at, text_at
from .._common.table import alike, format_first_rows
from .._common.text import both, plural, some
from .._provider.cluster_policy import DevicePluginConfig

COLUMNS = ("kind", "where", "group", "nodes", "what")
MOST_LINES = 50
MOST_NAMES = 3  # of nodes with the same difference
CONTENT, POINTER, OPERATOR, REVISION = "content", "pointer", "operator", "revision"
OF_CLUSTER = {  # kinds that are not of a node, and what differs
    CONTENT: "the ConfigMap",
    POINTER: "the device plugin config",
    OPERATOR: "the Helm release",
    REVISION: "the newest revision",
}
MAINTENANCE = "maintenance"  # the kind of a difference that passes by itself
ADVICE = "Run plan to see what site would do."


@dataclass(frozen=True)
class Difference:
    """One difference from the inventory: its kind, where it is, and what differs."""

    kind: str
    where: str
    what: str

    @property
    def node(self) -> str:
        """Its node; empty for a difference of the cluster."""
        return "" if self.kind in OF_CLUSTER else self.where


@dataclass(frozen=True)
class Planned:
    """The results of the modules in check mode, and of sharing_info, as JSON. release is what
    differs in the Helm release; empty if nothing does.
    """

    profiles: Mapping[str, object]
    release: str
    pointer: Mapping[str, object]
    rollout: Mapping[str, object]
    verified: Mapping[str, object]

    @property
    def groups(self) -> dict[str, str]:
        """The group of each node of the inventory."""
        rows = list_at(self.verified, "nodes")
        return {text_at(row, "node"): text_at(row, "group") for row in rows}


def find_drift(planned: Planned) -> list[Difference]:
    """All differences, causes first."""
    return [
        *_content(planned.profiles),
        *_operator(planned),
        *_labels(planned.rollout),
        *_nodes(planned.rollout, mapping_at(planned.verified, "unavailable")),
        *_allocatable(planned.verified),
    ]


def drift_report(planned: Planned) -> dict[str, object]:
    """JSON types: {findings: [{kind, where, what}], table: [lines], verdict: line, count: int}. The
    last line of the table is the verdict. count leaves out nodes under maintenance, which are named
    only.
    """
    differences = find_drift(planned)
    said = drift_verdict(differences, planned)
    return {
        "findings": [asdict(difference) for difference in differences],
        "table": [*_table(differences, planned.groups), said],
        "verdict": said,
        "count": sum(difference.kind != MAINTENANCE for difference in differences),
    }


def drift_verdict(differences: Iterable[Difference], planned: Planned) -> str:
    """What differs, in one line."""
    bad = [each for each in differences if each.kind != MAINTENANCE]
    nodes = {each.node for each in bad if each.node}
    left_out = mapping_at(planned.verified, "unavailable").keys() - nodes
    left = f"; {plural(len(left_out), 'node')} left out" if left_out else ""
    known = len(planned.groups)
    if not bad:
        return f"No drift: {plural(known - len(left_out), 'node')} as the inventory says{left}."
    parts = [text for kind, text in OF_CLUSTER.items() if any(each.kind == kind for each in bad)]
    if nodes:
        parts.append(f"{len(nodes)} of {plural(max(known, len(nodes)), 'node')}")
    verb = "differs" if len(parts) == 1 and len(nodes) < 2 else "differ"
    return f"Drift: {both(parts)} {verb} from the inventory{left}. {ADVICE}"


def _table(differences: Iterable[Difference], groups: Mapping[str, str]) -> list[str]:
    """One row for all nodes of a group with the same difference."""
    rows = [
        {**asdict(each), "group": groups.get(each.node), "of": "" if each.node else each.where}
        for each in differences
    ]
    shown = [
        {
            **same[0],
            "where": some([str(row["where"]) for row in same], MOST_NAMES),
            "nodes": None if same[0]["of"] else len(same),
        }
        for same in alike(rows, ("kind", "of", "group", "what"))
    ]
    return format_first_rows(COLUMNS, shown, MOST_LINES, "rows") if shown else []


def _content(profiles: Mapping[str, object]) -> Iterator[Difference]:
    rewritten = set(map(str, list_at(profiles, "rewritten")))
    for key in map(str, list_at(profiles, "written")):
        edited = "its content differs from the profile"
        yield Difference(CONTENT, f"key {key}", edited if key in rewritten else "it is missing")
    if dig(profiles, "differs") and not list_at(profiles, "written"):
        yield Difference(CONTENT, "ConfigMap", "its namespace or its annotations differ")


def _operator(planned: Planned) -> Iterator[Difference]:
    if dig(planned.pointer, "differs"):
        has, wanted = (
            DevicePluginConfig(
                text_at(planned.pointer, side, "name"), text_at(planned.pointer, side, "default")
            )
            for side in ("before", "after")
        )
        yield Difference(
            POINTER, "ClusterPolicy", f"its device plugin config is {has}, not {wanted}"
        )
    if planned.release:
        yield Difference(OPERATOR, "Helm release", planned.release)


def _labels(rollout: Mapping[str, object]) -> Iterator[Difference]:
    for change in list_at(rollout, "changes"):
        has, wanted = (text_at(change, side) or "none" for side in ("before", "after"))
        yield Difference("label", text_at(change, "node"), f"its label is {has}, not {wanted}")


def _nodes(rollout: Mapping[str, object], tolerated: Container[str]) -> Iterator[Difference]:
    """tolerated: nodes that are not judged. Those under maintenance are among them, but named."""
    moved = {text_at(change, "node") for change in list_at(rollout, "changes")}
    for node in map(str, list_at(rollout, "restarted")):
        if node not in moved:
            yield Difference("plugin", node, "its plugin runs older content")
    if dig(rollout, "unfinished"):
        what = "the newest revision differs from the inventory, or its run did not succeed"
        yield Difference(REVISION, "history", what)
    paused = mapping_at(rollout, "maintenance")
    for kind, name, what in (
        ("plugin", "recorded", "what its plugin has loaded is not recorded"),
        ("plugin", "waited", "its plugin has not settled yet"),
        ("node", "missing", "it is not in the cluster"),
        ("node", "unavailable", "it is NotReady"),
        ("cordon", "uncordoned", "a killed run has left it cordoned"),
    ):
        missing = set(map(str, list_at(rollout, "missing"))) if name == "unavailable" else set()
        for node in map(str, list_at(rollout, name)):
            reason = paused.get(node) if name == "unavailable" else None
            if node not in missing and (reason or kind != "node" or node not in tolerated):
                yield Difference(MAINTENANCE if reason else kind, node, reason or what)


def _allocatable(verified: Mapping[str, object]) -> Iterator[Difference]:
    for node, problem in sorted(mapping_at(verified, "differing").items()):
        yield Difference("allocatable", node, problem)
