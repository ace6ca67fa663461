# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the data of the report: clusters, nodes, sums, findings, revisions.

The results of modules come in as JSON. Missing fields count as unknown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from ...module_utils._common.text import plural, some
from .usage import Usage, read_usage

SCHEMA = 1
BUSY = 90.0  # percent of GPU time from which on a node is busy
IDLE = 10.0  # percent below which a node with used slots is idle
SEVERITIES = ("error", "warning", "info")
NOT_TRIED = "its play ended before it was read; see the output of the run"
Json = Mapping[str, object]


class Flag(StrEnum):
    """Something about a node that the report points out."""

    DIFFERS = "differs"
    ABOVE = "above"
    NOT_READY = "not-ready"
    UNUSED = "unused"
    BUSY = "busy"
    IDLE = "idle"


@dataclass(frozen=True)
class Node:
    """A node of the inventory and its state. Unknown numbers are None."""

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
        conditions = {
            Flag.DIFFERS: bool(self.problem),
            Flag.ABOVE: used is not None and used > self.actual,
            Flag.NOT_READY: self.ready is False,
            Flag.UNUSED: used == 0 and self.actual > 0,
            Flag.BUSY: gpu is not None and gpu >= BUSY,
            Flag.IDLE: gpu is not None and gpu < IDLE and bool(used),
        }
        return tuple(flag for flag, holds in conditions.items() if holds)


@dataclass(frozen=True)
class Sums:
    """Sums over nodes. used and free are None if they are unknown for every node."""

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
        """Used slots in percent of the allocatable ones."""
        if self.used is None or not self.actual:
            return None
        return round(100 * self.used / self.actual)


@dataclass(frozen=True)
class Group:
    """Nodes of one cluster with the same group and profile."""

    cluster: str
    group: str
    profile: str
    replicas: int | None
    sums: Sums


@dataclass(frozen=True)
class Occurrence:
    """A finding on one cluster. why and fix may name its nodes and pods."""

    cluster: str
    count: int
    nodes: tuple[str, ...]
    seen: str
    why: str = ""
    fix: str = ""

    @property
    def places(self) -> frozenset[tuple[str, str]]:
        return frozenset((self.cluster, node) for node in self.nodes)

    @property
    def seen_nodes(self) -> list[str]:
        """The nodes that seen names."""
        words = {word.rstrip(":,;.") for word in self.seen.split()}
        return [node for node in self.nodes if node in words]

    @property
    def unseen_nodes(self) -> list[str]:
        named = set(self.seen_nodes)
        return [node for node in self.nodes if node not in named]


@dataclass(frozen=True)
class FleetFinding:
    """One cause and all its occurrences in the fleet. It is as severe as the worst of them; why and
    fix are those of the first one.
    """

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

    @property
    def on_nodes(self) -> str:
        """1 node, 2 nodes; empty for a finding that is not about nodes."""
        return plural(self.count, "node") if self.places else ""

    @property
    def places(self) -> frozenset[tuple[str, str]]:
        return frozenset().union(*(at.places for at in self.occurrences))

    @property
    def reasons(self) -> dict[str, list[str]]:
        """Each text of why, and the clusters that it is about."""
        return _by_text((at.why, at.cluster) for at in self.occurrences)

    @property
    def fixes(self) -> dict[str, list[str]]:
        """Each text of fix, and the clusters that it is about."""
        return _by_text((at.fix, at.cluster) for at in self.occurrences)

    def explains(self, other: FleetFinding) -> bool:
        return other.follows == self.code and not self.places.isdisjoint(other.places)


@dataclass(frozen=True)
class Revision:
    """A revision in the history of a cluster."""

    cluster: str
    revision: int
    state: str
    when: str
    who: str
    what: str
    nodes: int


@dataclass(frozen=True)
class Cluster:
    """A cluster. If it was not reached, reason says why."""

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
    """The whole report except the time at which the clusters were read."""

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
        """The number of findings by severity, without those that follow from others."""
        counts = Counter(finding.severity for finding in self.findings if not finding.follows)
        return {severity: counts[severity] for severity in SEVERITIES}

    @property
    def status(self) -> str:
        """The state of the fleet: bad, warn or good."""
        if self.missing or self.sums.differing or self.severities()["error"]:
            return "bad"
        flags = self.sums.flags
        warn = self.severities()["warning"] or flags["above"] or flags["not-ready"]
        return "warn" if warn else "good"


def make_report(names: Sequence[str], states: Sequence[Json], limit: str = "") -> Report:
    """Make the report from the state of each cluster. A cluster in names without a state counts as
    not reached.
    """
    by_name = {to_text(state.get("name")): state for state in states}
    order = [*dict.fromkeys([*names, *by_name])]
    clusters = [by_name.get(name, {"name": name, "reason": NOT_TRIED}) for name in order]
    usages = [_usage(state) for state in clusters]
    pairs = list(zip(clusters, usages, strict=True))
    nodes = tuple(node for state, (usage, _mixed) in pairs for node in _nodes(state, usage))
    report = Report(
        clusters=tuple(_cluster(state, mixed) for state, (_of_nodes, mixed) in pairs),
        nodes=nodes,
        groups=_groups(nodes),
        findings=_findings(clusters),
        revisions=tuple(revision for state in clusters for revision in _revisions(state)),
        sums=add_up(nodes),
        limit=limit,
    )
    return replace(report, verdict=_verdict(report))


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
    """The report as JSON."""
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


def to_text(value: object) -> str:
    """A value as a string: the entries of a list as lines, None and False as an empty string."""
    if isinstance(value, list | tuple):
        return "\n".join(to_text(entry) for entry in value)
    return "" if value is None or value is False else str(value)


def to_int(value: object) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None


def mappings_in(value: object) -> list[Json]:
    """The mappings in a list; an empty list for any other value."""
    listed = value if isinstance(value, list | tuple) else []
    return [entry for entry in listed if isinstance(entry, Mapping)]


def to_mapping(value: object) -> Json:
    return value if isinstance(value, Mapping) else {}


def _flat(nested: dict[str, object], name: str) -> dict[str, object]:
    """A mapping with the keys of its inner mapping moved up."""
    inner = nested.pop(name)
    return nested | dict(to_mapping(inner))


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _cluster(state: Json, mixed: Sequence[str]) -> Cluster:
    """mixed are nodes that Prometheus mixes with others."""
    sharing = to_mapping(state.get("sharing"))
    return Cluster(
        name=to_text(state.get("name")),
        reached=bool(state.get("reached")),
        reason=to_text(state.get("reason")),
        server=to_text(state.get("server")),
        version=to_text(state.get("version")),
        verdict=to_text(sharing.get("verdict")),
        findings_known=isinstance(sharing.get("findings"), list),
        notes=tuple(_notes(state, mixed)),
    )


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


def _nodes(state: Json, usage: Mapping[str, Usage]) -> list[Node]:
    rows = mappings_in(to_mapping(state.get("sharing")).get("nodes"))
    cluster = to_text(state.get("name"))
    nodes = [_node(cluster, row, usage.get(to_text(row.get("node")), Usage())) for row in rows]
    return sorted(nodes, key=lambda node: node.node)


def _usage(state: Json) -> tuple[dict[str, Usage], list[str]]:
    """The usage of its nodes, and the nodes that Prometheus mixes with others."""
    rows = mappings_in(to_mapping(state.get("sharing")).get("nodes"))
    names = {to_text(row.get("node")) for row in rows}
    cluster = to_text(state.get("name"))
    return read_usage(state.get("usage"), state.get("prometheus"), names, cluster)


def _notes(state: Json, mixed: Sequence[str]) -> Iterator[str]:
    yield from (to_text(note) for note in _list(state.get("notes")) if note)
    if mixed:
        yield (
            f"Prometheus has several nodes of the name {some(mixed)}, so their utilization is left"
            " out. Set gpu_sharing_prometheus_url on each cluster, or give the series a label"
            " cluster with the cluster's name in the inventory."
        )


def _node(cluster: str, row: Json, usage: Usage) -> Node:
    actual, used = to_int(row.get("actual")) or 0, to_int(row.get("used"))
    free = to_int(row.get("free"))
    if free is None and used is not None:
        free = max(actual - used, 0)
    ready = row.get("ready")
    return Node(
        cluster=cluster,
        node=to_text(row.get("node")),
        group=to_text(row.get("group")),
        profile=to_text(row.get("profile")),
        product=to_text(row.get("product")),
        physical=to_int(row.get("physical")),
        replicas=to_int(row.get("replicas")),
        resource=to_text(row.get("resource")),
        expected=to_int(row.get("expected")),
        actual=actual,
        used=used,
        free=free,
        ready=ready if isinstance(ready, bool) else None,
        problem=to_text(row.get("problem")),
        usage=usage,
    )


def _groups(nodes: Sequence[Node]) -> tuple[Group, ...]:
    members: dict[tuple[str, str, str], list[Node]] = defaultdict(list)
    for node in nodes:
        members[node.cluster, node.group, node.profile].append(node)
    return tuple(
        Group(*key, replicas=group[0].replicas, sums=add_up(group))
        for key, group in sorted(members.items())
    )


def by_root(
    findings: Iterable[FleetFinding],
) -> list[tuple[FleetFinding, list[FleetFinding]]]:
    """The roots, worst first, each with what follows from it; what has lost its root is one."""
    rest = sorted(findings, key=_sort_key)
    groups: list[tuple[FleetFinding, list[FleetFinding]]] = []
    for root in [finding for finding in rest if not finding.follows]:
        after = [finding for finding in rest if root.explains(finding)]
        groups.append((root, after))
        rest = [finding for finding in rest if finding is not root and finding not in after]
    return groups + [(finding, []) for finding in rest]


def _findings(states: Sequence[Json]) -> tuple[FleetFinding, ...]:
    """Findings of all clusters. Those of the same cause are one, and follow their root."""
    merged: dict[tuple[str, ...], list[FleetFinding]] = defaultdict(list)
    for state in states:
        for row in mappings_in(to_mapping(state.get("sharing")).get("findings")):
            one = _finding(to_text(state.get("name")), row)
            merged[one.code, one.title, one.cause, one.follows].append(one)
    groups = by_root(_merge(same) for same in merged.values())
    return tuple(finding for root, after in groups for finding in (root, *after))


def _merge(same: Sequence[FleetFinding]) -> FleetFinding:
    worst = min(same, key=_rank)
    occurrences = tuple(at for finding in same for at in finding.occurrences)
    return replace(same[0], severity=worst.severity, occurrences=occurrences)


def _finding(cluster: str, row: Json) -> FleetFinding:
    nodes = tuple(to_text(name) for name in _list(row.get("nodes")))
    count = to_int(row.get("count"))
    why, fix = to_text(row.get("why")), to_text(row.get("fix"))
    count = len(nodes) if count is None else count
    return FleetFinding(
        code=to_text(row.get("code")),
        severity=to_text(row.get("severity")),
        title=to_text(row.get("title")),
        cause=to_text(row.get("cause")),
        why=why,
        fix=fix,
        follows=to_text(row.get("follows")),
        occurrences=(Occurrence(cluster, count, nodes, to_text(row.get("seen")), why, fix),),
    )


def _by_text(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for text, cluster in pairs:
        if text:
            found[text].append(cluster)
    return dict(found)


def _rank(finding: FleetFinding) -> int:
    known = finding.severity in SEVERITIES
    return SEVERITIES.index(finding.severity) if known else len(SEVERITIES)


def _sort_key(finding: FleetFinding) -> tuple[int, int, str, str]:
    return _rank(finding), -finding.count, finding.code, finding.cause


def _revisions(state: Json) -> list[Revision]:
    rows = mappings_in(to_mapping(state.get("history")).get("revisions"))
    return [
        Revision(
            cluster=to_text(state.get("name")),
            revision=to_int(row.get("revision")) or 0,
            state=to_text(row.get("state")),
            when=to_text(row.get("when")),
            who=to_text(row.get("who")),
            what=to_text(row.get("what")),
            nodes=to_int(row.get("nodes")) or 0,
        )
        for row in rows
    ]


def _verdict(report: Report) -> str:
    """The state of the fleet in one line."""
    sums, reached = report.sums, len(report.clusters) - len(report.missing)
    statements = []
    if report.missing:
        statements.append(f"{len(report.missing)} of {len(report.clusters)} clusters not reached")
    if sums.differing:
        differ = "differs" if sums.differing == 1 else "differ"
        of_nodes = f"{sums.differing:,} of {plural(sums.nodes, 'node')}"
        statements.append(f"{of_nodes} {differ} from the inventory")
    elif sums.nodes:
        statements.append(f"no node of {sums.nodes:,} differs from the inventory")
    elif reached:
        statements.append("no nodes to look at")
    counts = report.severities()
    severe = [plural(counts[kind], kind) for kind in ("error", "warning") if counts[kind]]
    if severe:
        statements.append(f"findings: {', '.join(severe)}")
    if sums.flags["above"]:
        statements.append(f"{plural(sums.flags['above'], 'node')} above capacity")
    line = "; ".join(statements)
    return f"{line[:1].upper()}{line[1:]}."
