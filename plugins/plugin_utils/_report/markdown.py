# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the report as Markdown, short enough for a ticket, for a fleet of any size.

Names and messages are untrusted. They are in code spans, where they are neither markup nor
mentions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ...module_utils._common.text import plural, some
from .model import Flag, FleetFinding, Node, Report

BAR, ESCAPED = r"\\*\|", r"\\|"
MAX_GROUPS = 25
MAX_FINDINGS = 15
MAX_NODES = 20
MAX_NAMES = 8
MAX_REVISIONS = 8
MAX_LENGTH = 160  # characters of a name or message
GROUP_HEAD = ("cluster", "group", "profile", "nodes", "GPUs", "slots", "used", "free", "differ")
NODE_HEAD = ("node", "group", "slots", "expected", "used", "what")
REVISION_HEAD = ("revision", "when", "state", "who", "what")
FLAG_TEXTS = {
    Flag.ABOVE: "above capacity",
    Flag.NOT_READY: "not ready",
}


def as_markdown(report: Report, read_at: str) -> str:
    """The whole file. read_at is the time at which the clusters were read, for people."""
    parts = [
        ["# GPU sharing report", "", f"**{report.verdict}**", "", f"Read at {read_at}."],
        [f"Only what `--limit` {code(report.limit)} selects."] if report.limit else [],
        list(_unreached(report)),
        list(_totals(report)),
        list(_groups(report)),
        list(_findings(report)),
        list(_nodes(report)),
        list(_revisions(report)),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def code(value: object) -> str:
    """A value as a code span in one line, shortened to MAX_LENGTH."""
    line = re.sub(r"[\s\x00-\x1f\x7f]+", " ", str(value)).strip()
    if len(line) > MAX_LENGTH:
        line = f"{line[: MAX_LENGTH - 1]}…"
    if not line:
        return "-"
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    space = " " if "`" in line else ""
    return f"{fence}{space}{line}{space}{fence}"


def _unreached(report: Report) -> Iterator[str]:
    missing = [cluster for cluster in report.clusters if not cluster.reached]
    for cluster in missing[:MAX_NODES]:
        yield f"- Not reached: {code(cluster.name)}: {code(cluster.reason)}"
    if len(missing) > MAX_NODES:
        yield f"- and {len(missing) - MAX_NODES} more"


def _totals(report: Report) -> Iterator[str]:
    sums = report.sums
    if not sums.nodes:
        return
    yield (
        f"{plural(sums.nodes, 'node')}, {plural(sums.physical, 'physical GPU')},"
        f" {plural(sums.actual, 'slot')} of {sums.expected:,} expected,"
        f" {_known(sums.used)} used, {_known(sums.free)} free."
    )


def _groups(report: Report) -> Iterator[str]:
    if not report.groups:
        return
    yield "## Groups"
    yield ""
    rows = [
        (
            *(code(name) for name in (group.cluster, group.group, group.profile)),
            *(_known(n) for n in (group.sums.nodes, group.sums.physical, group.sums.actual)),
            *(_known(n) for n in (group.sums.used, group.sums.free, group.sums.differing)),
        )
        for group in report.groups
    ]
    yield from _table(GROUP_HEAD, rows, MAX_GROUPS)


def _findings(report: Report) -> Iterator[str]:
    if not report.findings:
        return
    yield "## Findings"
    for finding in report.findings[:MAX_FINDINGS]:
        yield ""
        yield from _finding(finding)
    if len(report.findings) > MAX_FINDINGS:
        yield ""
        yield f"And {len(report.findings) - MAX_FINDINGS} more."


def _finding(finding: FleetFinding) -> Iterator[str]:
    count = f", {plural(finding.count, 'node')}" if finding.count else ""
    yield f"- {code(finding.severity)} **{code(finding.code)}** {code(finding.title)}{count}"
    for place in finding.occurrences[:3]:
        names = f": {_names(place.nodes, place.count)}" if place.nodes else ""
        seen = f": {code(place.seen)}" if place.seen else ""
        yield f"  - {code(place.cluster)}{names}{seen}"
    if len(finding.occurrences) > 3:
        yield f"  - and {len(finding.occurrences) - 3} more clusters"
    for name, text in (("why", finding.why), ("fix", finding.fix)):
        if text:
            yield f"  - {name}: {code(text)}"


def _names(names: Sequence[str], count: int) -> str:
    shown = some([code(name) for name in names[:MAX_NAMES]])
    rest = max(count, len(names)) - MAX_NAMES
    return shown if rest <= 0 else f"{shown} and {rest:,} more"


def _nodes(report: Report) -> Iterator[str]:
    """Nodes that differ, are above capacity or are not ready."""
    flagged = [node for node in report.nodes if {Flag.DIFFERS, *FLAG_TEXTS} & set(node.flags)]
    if not flagged:
        return
    yield "## Nodes to look at"
    yield ""
    rows = [
        (
            code(f"{node.cluster}/{node.node}"),
            code(node.group),
            *(_known(n) for n in (node.actual, node.expected, node.used)),
            _problems(node),
        )
        for node in flagged
    ]
    yield from _table(NODE_HEAD, rows, MAX_NODES)


def _problems(node: Node) -> str:
    flags = ", ".join(text for flag, text in FLAG_TEXTS.items() if flag in node.flags)
    return "; ".join(part for part in (code(node.problem) if node.problem else "", flags) if part)


def _revisions(report: Report) -> Iterator[str]:
    if not report.revisions:
        return
    yield "## Revisions"
    yield ""
    newest = sorted(report.revisions, key=lambda revision: revision.when, reverse=True)
    rows = [
        tuple(map(code, (f"{one.cluster} {one.revision}", one.when, one.state, one.who, one.what)))
        for one in newest
    ]
    yield from _table(REVISION_HEAD, rows, MAX_REVISIONS)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], most: int) -> Iterator[str]:
    for cells in (head, ["---"] * len(head), *rows[:most]):
        # A pipe ends a cell, even in a code span, unless exactly one backslash is before it
        yield f"| {' | '.join(re.sub(BAR, ESCAPED, cell) for cell in cells)} |"
    if len(rows) > most:
        yield ""
        yield f"And {len(rows) - most:,} more."


def _known(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
