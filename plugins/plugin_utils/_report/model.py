# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: what the report tells of a fleet: its nodes, sums, findings, history.

What modules have found comes in as JSON; fields that are missing there count as not known.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from ...module_utils._common.text import plural
from .usage import Usage, read_usage

SCHEMA = 1
BUSY = 90.0  # percent of GPU time from which a node is busy
IDLE = 10.0  # percent below which a node with used slots is idle
SEVERITIES = ("error", "warning", "info")
NOT_TRIED = "its play ended before it was read; see the output of the run"
Json = Mapping[str, object]


class Flag(StrEnum):
    """What is worth a look about a node."""

    DIFFERS = "differs"
    ABOVE = "above"
    NOT_READY = "not-ready"
    UNUSED = "unused"
    BUSY = "busy"
    IDLE = "idle"


@dataclass(frozen=True)
class Node:
    """A node of the inventory, and what was found of it. Numbers are None where not known."""

    cluster: str
    node: str
    group: str
    profile: str
    product: str
    physical: int | None
    replicas: int | None
    resource: str
    expected: int | None
    actual: int
    used: int | None
    free: int | None
    ready: bool | None
    problem: str
    usage: Usage

    @property
    def flags(self) -> tuple[Flag, ...]:
        gpu, used = self.usage.gpu_utilisation, self.used
        found = {
            Flag.DIFFERS: bool(self.problem),
            Flag.ABOVE: used is not None and used > self.actual,
            Flag.NOT_READY: self.ready is False,
            Flag.UNUSED: used == 0 and self.actual > 0,
            Flag.BUSY: gpu is not None and gpu >= BUSY,
            Flag.IDLE: gpu is not None and gpu < IDLE and bool(used),
        }
        return tuple(flag for flag, holds in found.items() if holds)


@dataclass(frozen=True)
class Sums:
    """Sums over nodes. Used and free are None where no node's are known."""

    nodes: int
    physical: int
    expected: int
    actual: int
    used: int | None
    free: int | None
    flags: dict[str, int]

    @property
    def differing(self) -> int:
        return self.flags[Flag.DIFFERS.value]

    @property
    def share(self) -> int | None:
        """Used slots, in per cent of those that there are."""
        if self.used is None or not self.actual:
            return None
        return round(100 * self.used / self.actual)


@dataclass(frozen=True)
class Group:
    """Nodes of one cluster that have group and profile in common."""

    cluster: str
    group: str
    profile: str
    replicas: int | None
    sums: Sums


@dataclass(frozen=True)
class Occurrence:
    """A finding on one cluster."""

    cluster: str
    count: int
    nodes: tuple[str, ...]
    seen: str


@dataclass(frozen=True)
class FleetFinding:
    """One cause, and all its occurrences."""

    code: str
    severity: str
    title: str
    cause: str
    why: str
    fix: str
    follows: str
    occurrences: tuple[Occurrence, ...]

    @property
    def count(self) -> int:
        return sum(occurrence.count for occurrence in self.occurrences)


@dataclass(frozen=True)
class Revision:
    """What a cluster was asked to be, once."""

    cluster: str
    revision: int
    state: str
    when: str
    who: str
    what: str
    nodes: int


@dataclass(frozen=True)
class Cluster:
    """A cluster, read or not: then reason says why."""

    name: str
    reached: bool
    reason: str
    server: str
    version: str
    verdict: str
    findings_known: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """Everything that a report tells, but for the time at which it was made."""

    clusters: tuple[Cluster, ...]
    nodes: tuple[Node, ...]
    groups: tuple[Group, ...]
    findings: tuple[FleetFinding, ...]
    revisions: tuple[Revision, ...]
    sums: Sums
    limit: str = ""
    verdict: str = ""

    @property
    def missing(self) -> list[str]:
        return [cluster.name for cluster in self.clusters if not cluster.reached]

    @property
    def findings_known(self) -> bool:
        return any(cluster.findings_known for cluster in self.clusters)

    @property
    def usage_known(self) -> bool:
        return any(node.usage.known for node in self.nodes)

    @property
    def notes(self) -> list[str]:
        return [f"{cluster.name}: {note}" for cluster in self.clusters for note in cluster.notes]

    def severities(self) -> dict[str, int]:
        """How many findings there are of each severity, those that follow from others left out."""
        found = Counter(finding.severity for finding in self.findings if not finding.follows)
        return {severity: found[severity] for severity in SEVERITIES}

    @property
    def status(self) -> str:
        """How the fleet is: bad, warn or good."""
        if self.missing or self.sums.differing or self.severities()["error"]:
            return "bad"
        flags = self.sums.flags
        troubled = self.severities()["warning"] or flags["above"] or flags["not-ready"]
        return "warn" if troubled else "good"


def make_report(names: Sequence[str], states: Sequence[Json], limit: str = "") -> Report:
    """The report of some clusters, out of what was read of each; a cluster of names without a
    state counts as not reached.
    """
    by_name = {text(state.get("name")): state for state in states}
    order = [*dict.fromkeys([*names, *by_name])]
    read = [by_name.get(name, {"name": name, "reason": NOT_TRIED}) for name in order]
    nodes = tuple(node for state in read for node in _nodes(state))
    made = Report(
        clusters=tuple(_cluster(state) for state in read),
        nodes=nodes,
        groups=_groups(nodes),
        findings=_findings(read),
        revisions=tuple(one for state in read for one in _revisions(state)),
        sums=add_up(nodes),
        limit=limit,
    )
    return replace(made, verdict=_verdict(made))


def add_up(nodes: Iterable[Node]) -> Sums:
    listed = list(nodes)
    flags = Counter(flag for node in listed for flag in node.flags)
    return Sums(
        nodes=len(listed),
        physical=_sum(node.physical for node in listed) or 0,
        expected=_sum(node.expected for node in listed) or 0,
        actual=sum(node.actual for node in listed),
        used=_sum(node.used for node in listed),
        free=_sum(node.free for node in listed),
        flags={flag.value: flags[flag] for flag in Flag},
    )


def totals(report: Report) -> dict[str, object]:
    """The sums over all clusters, as JSON."""
    return {
        "clusters": len(report.clusters),
        "reached": len(report.clusters) - len(report.missing),
        "findings": report.severities(),
        **asdict(report.sums),
    }


def as_dict(report: Report) -> dict[str, object]:
    """The report as JSON for machines."""
    return {
        "schema": SCHEMA,
        "status": report.status,
        "verdict": report.verdict,
        "limit": report.limit,
        "totals": totals(report),
        "clusters": [
            asdict(cluster)
            | {"totals": asdict(add_up(n for n in report.nodes if n.cluster == cluster.name))}
            for cluster in report.clusters
        ],
        "groups": [_flat(asdict(group), "sums") for group in report.groups],
        "nodes": [
            _flat(asdict(node), "usage") | {"flags": [flag.value for flag in node.flags]}
            for node in report.nodes
        ],
        "findings": [asdict(finding) | {"count": finding.count} for finding in report.findings],
        "revisions": [asdict(revision) for revision in report.revisions],
    }


def text(value: object) -> str:
    """A text; the lines of a list; nothing for nothing."""
    if isinstance(value, list | tuple):
        return "\n".join(text(entry) for entry in value)
    return "" if value is None or value is False else str(value)


def number(value: object) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None


def entries(value: object) -> list[Json]:
    """The mappings of a list; nothing where there is no list."""
    listed = value if isinstance(value, list | tuple) else []
    return [entry for entry in listed if isinstance(entry, Mapping)]


def mapping(value: object) -> Json:
    return value if isinstance(value, Mapping) else {}


def _flat(whole: dict[str, object], name: str) -> dict[str, object]:
    inner = whole.pop(name)
    return whole | dict(mapping(inner))


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _cluster(state: Json) -> Cluster:
    sharing = mapping(state.get("sharing"))
    return Cluster(
        name=text(state.get("name")),
        reached=bool(state.get("reached")),
        reason=text(state.get("reason")),
        server=text(state.get("server")),
        version=text(state.get("version")),
        verdict=text(sharing.get("verdict")),
        findings_known=isinstance(sharing.get("findings"), list),
        notes=tuple(text(note) for note in _list(state.get("notes")) if note),
    )


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


def _nodes(state: Json) -> list[Node]:
    rows = entries(mapping(state.get("sharing")).get("nodes"))
    names = {text(row.get("node")) for row in rows}
    usage = read_usage(state.get("usage"), state.get("prometheus"), names)
    cluster = text(state.get("name"))
    found = [_node(cluster, row, usage.get(text(row.get("node")), Usage())) for row in rows]
    return sorted(found, key=lambda node: node.node)


def _node(cluster: str, row: Json, usage: Usage) -> Node:
    actual, used = number(row.get("actual")) or 0, number(row.get("used"))
    free = number(row.get("free"))
    if free is None and used is not None:
        free = max(actual - used, 0)
    ready = row.get("ready")
    return Node(
        cluster=cluster,
        node=text(row.get("node")),
        group=text(row.get("group")),
        profile=text(row.get("profile")),
        product=text(row.get("product")),
        physical=number(row.get("physical")),
        replicas=number(row.get("replicas")),
        resource=text(row.get("resource")),
        expected=number(row.get("expected")),
        actual=actual,
        used=used,
        free=free,
        ready=ready if isinstance(ready, bool) else None,
        problem=text(row.get("problem")),
        usage=usage,
    )


def _groups(nodes: Sequence[Node]) -> tuple[Group, ...]:
    alike: dict[tuple[str, str, str], list[Node]] = defaultdict(list)
    for node in nodes:
        alike[node.cluster, node.group, node.profile].append(node)
    return tuple(
        Group(*key, replicas=same[0].replicas, sums=add_up(same))
        for key, same in sorted(alike.items())
    )


def _findings(states: Sequence[Json]) -> tuple[FleetFinding, ...]:
    """Findings of all clusters; those that say the same are one."""
    occurrences: dict[FleetFinding, list[Occurrence]] = defaultdict(list)
    for state in states:
        for found in entries(mapping(state.get("sharing")).get("findings")):
            nodes = tuple(text(name) for name in _list(found.get("nodes")))
            count = number(found.get("count"))
            occurrences[_without_occurrences(found)].append(
                Occurrence(
                    cluster=text(state.get("name")),
                    count=len(nodes) if count is None else count,
                    nodes=nodes,
                    seen=text(found.get("seen")),
                )
            )
    made = (replace(finding, occurrences=tuple(at)) for finding, at in occurrences.items())
    return tuple(sorted(made, key=_weight))


def _without_occurrences(found: Json) -> FleetFinding:
    return FleetFinding(
        code=text(found.get("code")),
        severity=text(found.get("severity")),
        title=text(found.get("title")),
        cause=text(found.get("cause")),
        why=text(found.get("why")),
        fix=text(found.get("fix")),
        follows=text(found.get("follows")),
        occurrences=(),
    )


def _weight(finding: FleetFinding) -> tuple[int, bool, int, str]:
    known = finding.severity in SEVERITIES
    rank = SEVERITIES.index(finding.severity) if known else len(SEVERITIES)
    return rank, bool(finding.follows), -finding.count, finding.code


def _revisions(state: Json) -> list[Revision]:
    found = entries(mapping(state.get("history")).get("revisions"))
    return [
        Revision(
            cluster=text(state.get("name")),
            revision=number(one.get("revision")) or 0,
            state=text(one.get("state")),
            when=text(one.get("when")),
            who=text(one.get("who")),
            what=text(one.get("what")),
            nodes=number(one.get("nodes")) or 0,
        )
        for one in found
    ]


def _verdict(report: Report) -> str:
    """The fleet in a line."""
    sums, reached = report.sums, len(report.clusters) - len(report.missing)
    said = []
    if report.missing:
        said.append(f"{len(report.missing)} of {len(report.clusters)} clusters not reached")
    if sums.differing:
        said.append(f"{sums.differing:,} of {sums.nodes:,} nodes differ from the inventory")
    elif sums.nodes:
        said.append(f"no node of {sums.nodes:,} differs from the inventory")
    elif reached:
        said.append("no nodes to look at")
    counted = report.severities()
    grave = [plural(counted[kind], kind) for kind in ("error", "warning") if counted[kind]]
    if grave:
        said.append(f"findings: {', '.join(grave)}")
    if sums.flags["above"]:
        said.append(f"{plural(sums.flags['above'], 'node')} above capacity")
    line = "; ".join(said)
    return f"{line[:1].upper()}{line[1:]}."
