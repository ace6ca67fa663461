# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the engine of the doctor: what a check is, what a finding is, and which finding follows
from which. Pure.

A finding has a stable code. Its texts are templates, so that messages and docs/findings.md use the
same words. A finding that only follows from another one on the same node names that one: one cause
appears as one finding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from .snapshot import NodeTrace, Snapshot
from .texts import text_values


class Severity(Enum):
    """error: workloads are affected, or will be at the next restart. warning: needs a look.
    info: good to know.
    """

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True)
class Match:
    """One occurrence of what a check looks for: the nodes, if any, and the values for the texts.

    severity replaces that of the check.
    """

    nodes: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    severity: Severity | None = None


@dataclass(frozen=True)
class Check:
    """What can be found. cause, seen, why and fix are templates of the values of a match, of node
    (the first one), nodes (the first ones; all in the format q) and count ({count:node} with its
    noun); cause, which groups matches, of the values only. Commands are between backticks, with
    values in the format q. follows holds the codes that explain the finding on the same node. reads
    lists what the check needs; without it the check does not run. advice lists what the value
    advice can be.
    """

    code: str
    title: str
    cause: str
    seen: str
    why: str
    fix: str
    find: Callable[[Snapshot], Iterable[Match]]
    severity: Severity = Severity.ERROR
    follows: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """All matches with one cause. follows is the code of the root finding; empty for a root."""

    code: str
    severity: Severity
    title: str
    cause: str
    nodes: tuple[str, ...]
    count: int
    seen: str
    why: str
    fix: str
    follows: str = ""

    def row(self) -> dict[str, object]:
        """As JSON."""
        return {**vars(self), "severity": self.severity.value, "nodes": list(self.nodes)}


def per_node(
    find: Callable[[NodeTrace, Snapshot], Iterable[Mapping[str, str] | Match]],
) -> Callable[[Snapshot], Iterator[Match]]:
    """Matches of one node each. find yields each match on a node of the cluster, or its values."""

    def find_on_all(snapshot: Snapshot) -> Iterator[Match]:
        for trace in snapshot.existing():
            for found in find(trace, snapshot):
                match = found if isinstance(found, Match) else Match(values=found)
                yield replace(match, nodes=(trace.node,))

    return find_on_all


def diagnose(snapshot: Snapshot, checks: Sequence[Check]) -> list[Finding]:
    """The findings in a snapshot: roots, worst first, each with what follows from it."""
    runnable = [check for check in checks if not set(check.reads) & snapshot.unreadable.keys()]
    matches = {check.code: list(check.find(snapshot)) for check in runnable}
    roots = _Roots({check.code: check.follows for check in runnable}, matches)
    found = [finding for check in runnable for finding in _group(check, matches[check.code], roots)]
    return _ordered(_as_severe_as_consequences(found))


def _as_severe_as_consequences(found: Sequence[Finding]) -> list[Finding]:
    """A root is at least as severe as what follows from it on its nodes."""
    later = [finding for finding in found if finding.follows]

    def raised(root: Finding) -> Finding:
        consequences = [finding.severity for finding in later if _explains(root, finding)]
        return replace(root, severity=_worst([root.severity, *consequences]))

    return [finding if finding.follows else raised(finding) for finding in found]


def _worst(severities: Iterable[Severity]) -> Severity:
    return min(severities, key=list(Severity).index)


class _Roots:
    """Which finding explains which, node by node."""

    def __init__(
        self, follows: Mapping[str, tuple[str, ...]], matches: Mapping[str, Iterable[Match]]
    ) -> None:
        self._follows = follows
        self._nodes = {
            code: {node for match in found for node in match.nodes}
            for code, found in matches.items()
        }

    def of(self, code: str, node: str) -> str:
        """The root of a finding on a node; empty if the finding is a root itself."""
        for cause in self._follows[code]:
            if node in self._nodes.get(cause, ()):
                return self.of(cause, node) or cause
        return ""


def _group(check: Check, matches: Iterable[Match], roots: _Roots) -> Iterator[Finding]:
    """One finding for each cause and root."""
    groups: dict[tuple[str, str], list[Match]] = defaultdict(list)
    for match in matches:
        cause = check.cause.format_map(match.values)
        by_root: dict[str, list[str]] = defaultdict(list)
        for node in match.nodes:
            by_root[roots.of(check.code, node)].append(node)
        for root, nodes in by_root.items():
            groups[cause, root].append(replace(match, nodes=tuple(nodes)))
        if not match.nodes:
            groups[cause, ""].append(match)
    for (cause, root), same in groups.items():
        yield _finding(check, cause, root, same)


def _finding(check: Check, cause: str, root: str, matches: Sequence[Match]) -> Finding:
    nodes = tuple(sorted({node for match in matches for node in match.nodes}))
    first = min(matches, key=lambda match: match.nodes)
    count = len(nodes) or len(matches)
    node = first.nodes[0] if first.nodes else ""
    values = text_values(first.values, count, node, nodes)
    return Finding(
        code=check.code,
        severity=_worst(match.severity or check.severity for match in matches),
        title=check.title,
        cause=cause,
        nodes=nodes,
        count=count,
        seen=check.seen.format_map(values),
        why=check.why.format_map(values),
        fix=check.fix.format_map(values),
        follows=root,
    )


def _ordered(found: Sequence[Finding]) -> list[Finding]:
    """Roots, worst first, each followed by the findings that follow from it."""
    worst = list(Severity)
    roots = [finding for finding in found if not finding.follows]
    roots.sort(key=lambda finding: (worst.index(finding.severity), finding.code, finding.cause))
    ordered: list[Finding] = []
    for position, root in enumerate(roots):
        ordered.append(root)
        ordered += [
            finding
            for finding in found
            if _explains(root, finding)
            and not any(_explains(later, finding) for later in roots[position + 1 :])
        ]
    return ordered


def _explains(root: Finding, finding: Finding) -> bool:
    return finding.follows == root.code and not set(root.nodes).isdisjoint(finding.nodes)
