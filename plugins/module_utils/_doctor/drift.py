# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the differences between a cluster and its inventory, from the results of a plan."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import asdict, dataclass

from .._common.documents import dig, list_at, mapping_at, text_at
from .._common.table import format_first_rows

COLUMNS = ("kind", "where", "what")
MOST_LINES = 50
MAINTENANCE = "maintenance"  # the kind of a difference that passes by itself


@dataclass(frozen=True)
class Difference:
    """One difference from the inventory: its kind, where it is, and what differs."""

    kind: str
    where: str
    what: str


@dataclass(frozen=True)
class Planned:
    """The results of the modules in check mode, and of sharing_info, as JSON."""

    profiles: Mapping[str, object]
    operator_differs: bool
    pointer: Mapping[str, object]
    rollout: Mapping[str, object]
    verified: Mapping[str, object]


def find_drift(planned: Planned) -> list[Difference]:
    """All differences, causes first."""
    return [
        *_content(planned.profiles),
        *_operator(planned),
        *_labels(planned.rollout),
        *_nodes(planned.rollout, mapping_at(planned.verified, "unavailable")),
        *_allocatable(planned.verified),
    ]


def drift_report(differences: list[Difference]) -> dict[str, object]:
    """JSON types: {findings: [{kind, where, what}], table: [lines], count: int}. count leaves out
    nodes under maintenance, which are named only.
    """
    rows = [asdict(difference) for difference in differences]
    lines = format_first_rows(COLUMNS, rows, MOST_LINES) if rows else ["No drift."]
    count = sum(difference.kind != MAINTENANCE for difference in differences)
    return {"findings": rows, "table": lines, "count": count}


def _content(profiles: Mapping[str, object]) -> Iterator[Difference]:
    rewritten = set(map(str, list_at(profiles, "rewritten")))
    for key in map(str, list_at(profiles, "written")):
        edited = "its content differs from the profile"
        yield Difference("content", f"key {key}", edited if key in rewritten else "it is missing")
    if dig(profiles, "differs") and not list_at(profiles, "written"):
        yield Difference("content", "ConfigMap", "its namespace or its annotations differ")


def _operator(planned: Planned) -> Iterator[Difference]:
    if dig(planned.pointer, "differs"):
        has, wanted = (
            f"{text_at(planned.pointer, side, 'name') or 'nothing'}"
            f" ({text_at(planned.pointer, side, 'default') or 'no default'})"
            for side in ("before", "after")
        )
        yield Difference(
            "pointer", "ClusterPolicy", f"its device plugin config is {has}, not {wanted}"
        )
    if planned.operator_differs:
        yield Difference("operator", "Helm release", "its chart or values differ")


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
        yield Difference("revision", "history", what)
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
