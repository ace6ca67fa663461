# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: findings: what the doctor can find, how it is told, and what follows
from what. Pure.

A finding has a stable code. Its texts are templates, so that messages and docs/findings.md are made
of the same words. What only follows from another finding on the same node names it, so that one
broken thing is one thing to mend.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.snapshot import Snapshot

MOST_NAMES = 20


class Severity(Enum):
    """error: work is hurt, or will be at the next restart. warning: look at it. info: good to
    know.
    """

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True)
class Match:
    """One occurrence: the nodes that it is about, if any, and the values of the texts."""

    nodes: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)


def match_on(node: str, **values: str) -> Match:
    return Match((node,), values)


@dataclass(frozen=True)
class Check:
    """What can be found. cause, seen, why and fix are templates over the values of a match, over
    node (the first one), nodes (the first ones) and count; cause, which groups matches, over its
    values alone. follows holds the codes that explain it on the same node; reads what it needs to
    see.
    """

    code: str
    severity: Severity
    title: str
    cause: str
    seen: str
    why: str
    fix: str
    find: Callable[[Snapshot], Iterable[Match]]
    follows: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """Everything that was found with one cause. follows is the code of its root; empty for a
    root.
    """

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


def diagnose(snapshot: Snapshot, checks: Sequence[Check]) -> list[Finding]:
    """Findings in a snapshot: roots in the order of the checks, each with what follows from it."""
    looked = [check for check in checks if not set(check.reads) & snapshot.unreadable.keys()]
    matches = {check.code: list(check.find(snapshot)) for check in looked}
    roots = _Roots({check.code: check.follows for check in looked}, matches)
    found = [finding for check in looked for finding in _group(check, matches[check.code], roots)]
    return _ordered(found)


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
        """The root of a finding on a node; empty where it is one itself."""
        for cause in self._follows[code]:
            if node in self._nodes.get(cause, ()):
                return self.of(cause, node) or cause
        return ""


def _group(check: Check, matches: Iterable[Match], roots: _Roots) -> Iterator[Finding]:
    """One finding for each cause and root."""
    alike: dict[tuple[str, str], list[Match]] = defaultdict(list)
    for match in matches:
        cause = check.cause.format_map(match.values)
        split: dict[str, list[str]] = defaultdict(list)
        for node in match.nodes:
            split[roots.of(check.code, node)].append(node)
        for root, nodes in split.items():
            alike[cause, root].append(Match(tuple(nodes), match.values))
        if not match.nodes:
            alike[cause, ""].append(match)
    for (cause, root), same in alike.items():
        yield _finding(check, cause, root, same)


def _finding(check: Check, cause: str, root: str, matches: Sequence[Match]) -> Finding:
    nodes = tuple(sorted({node for match in matches for node in match.nodes}))
    first = min(matches, key=lambda match: match.nodes)
    count = len(nodes) or len(matches)
    values = {
        **first.values,
        "node": first.nodes[0] if first.nodes else "",
        "nodes": " ".join(nodes[:MOST_NAMES]) + (" ..." if len(nodes) > MOST_NAMES else ""),
        "count": str(count),
    }
    return Finding(
        code=check.code,
        severity=check.severity,
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
    """Roots, each with what follows from it behind it; the worst first."""
    worst = list(Severity)
    roots = [finding for finding in found if not finding.follows]
    roots.sort(key=lambda finding: (worst.index(finding.severity), finding.code, finding.cause))
    ordered: list[Finding] = []
    for position, root in enumerate(roots):
        ordered.append(root)
        if any(later.code == root.code for later in roots[position + 1 :]):
            continue
        ordered += [finding for finding in found if finding.follows == root.code]
    return ordered
