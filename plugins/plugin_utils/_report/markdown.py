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

from ...module_utils._common.text import plural, some, split_commands
from .model import Flag, FleetFinding, Node, Report, by_root

BAR, ESCAPED = r"\\*\|", r"\\|"
MAX_GROUPS = 25
MAX_FINDINGS = 15
MAX_NODES = 20
MAX_NAMES = 8
MAX_REVISIONS = 8
MAX_PLACES = 3  # clusters of a finding
MAX_LENGTH = 160  # characters of a name or message
MAX_TEXT = 500  # of what was seen, why and what to do
MAX_COMMAND = 2_000  # a longer one is left out, because half of it does something else
MAX_FINDINGS_LENGTH = 15_000  # of all findings
GROUP_HEAD = ("cluster", "group", "profile", "nodes", "GPUs", "slots", "used", "free", "differ")
NODE_HEAD = ("node", "group", "slots", "expected", "used", "what")
REVISION_HEAD = ("revision", "when", "state", "who", "what")
FLAG_TEXTS = {
    Flag.ABOVE: "above capacity",
    Flag.NOT_READY: "not ready",
}


def as_markdown(report: Report, read_at: str) -> str:
    """The whole file. read_at is the time at which the clusters were read, for people."""
    shown = _shown_findings(report)
    named = frozenset(place for root, _lines in shown for place in root.places)
    parts = [
        ["# GPU sharing report", "", f"**{report.verdict}**", "", f"Read at {read_at}."],
        [f"Only what `--limit` {code(report.limit)} selects."] if report.limit else [],
        list(_unreached(report)),
        list(_totals(report)),
        list(_groups(report)),
        list(_findings(report, shown)),
        list(_nodes(report, named)),
        list(_revisions(report)),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def one_line(value: object) -> str:
    return re.sub(r"[\s\x00-\x1f\x7f]+", " ", str(value)).strip()


def code(value: object, most: int = MAX_LENGTH) -> str:
    """A value as a code span in one line, shortened to most characters."""
    line = one_line(value)
    if len(line) > most:
        line = f"{line[: most - 1]}…"
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


def _shown_findings(report: Report) -> list[tuple[FleetFinding, list[str]]]:
    """The first roots with their lines, as many as fit. A list of nodes leaves out those that are
    named elsewhere.
    """
    shown: list[tuple[FleetFinding, list[str]]] = []
    groups = by_root(report.findings)[:MAX_FINDINGS]
    places = (place for root, _after in groups for place in root.occurrences)
    named = {(place.cluster, node) for place in places for node in place.seen_nodes}
    room = MAX_FINDINGS_LENGTH
    for root, after in groups:
        lines = list(_finding(root, after, frozenset(named)))
        room -= sum(map(len, lines))
        if shown and room < 0:
            break
        shown.append((root, lines))
        named |= root.places
    return shown


def _findings(report: Report, shown: Sequence[tuple[FleetFinding, Sequence[str]]]) -> Iterator[str]:
    if not shown:
        return
    yield "## Findings"
    for _root, lines in shown:
        yield ""
        yield from lines
    if more := len(by_root(report.findings)) - len(shown):
        yield ""
        yield f"And {more} more."


def _finding(
    root: FleetFinding, after: Sequence[FleetFinding], named: frozenset[tuple[str, str]]
) -> Iterator[str]:
    """A root and what follows from it. Nodes that are named already are counted only."""
    count = f", {root.on_nodes}" if root.on_nodes else ""
    yield f"- {code(root.severity)} **{code(root.code)}** {code(root.title)}{count}"
    for place in root.occurrences[:MAX_PLACES]:
        others = [node for node in place.unseen_nodes if (place.cluster, node) not in named]
        parts = (code(place.seen, MAX_TEXT) if place.seen else "", _names(others))
        yield f"  - {code(place.cluster)}: {', on '.join(filter(None, parts))}"
    if more := len(root.occurrences[MAX_PLACES:]):
        yield f"  - and {plural(more, 'more cluster')}"
    for name, texts in (("why", root.reasons), ("fix", root.fixes)):
        for text, clusters in list(texts.items())[:MAX_PLACES]:
            about = f" ({_names(clusters)})" if len(texts) > 1 else ""
            yield from _text(f"{name}{about}", text)
    if root.follows:
        yield f"  - follows from: {code(root.follows)}"
    for finding in after[:MAX_NAMES]:
        count = f", {finding.on_nodes}" if finding.on_nodes else ""
        title = f"{code(finding.title)}: {code(finding.cause)}"
        yield f"  - follows: {code(finding.code)} {title}{count}"
    if more := len(after[MAX_NAMES:]):
        yield f"  - follows: {plural(more, 'more finding')}"


def _text(name: str, text: str) -> Iterator[str]:
    """An entry with a text, whose commands are whole, each in a block of its own."""
    head = f"  - {name}:"
    for part, is_command in split_commands(text):
        if not is_command:
            yield from ([] if head.strip() else [""])
            yield f"{head} {code(part, MAX_TEXT)}"
        elif len(part) > MAX_COMMAND:
            yield f"{head} a command of {len(part):,} characters, which the JSON file has"
        else:
            if head.strip():
                yield head
            yield from ("", "    ```console", f"    {one_line(part)}", "    ```")
        head = "   "


def _names(names: Sequence[str]) -> str:
    return some([code(name) for name in names], MAX_NAMES)


def _nodes(report: Report, named: frozenset[tuple[str, str]]) -> Iterator[str]:
    """Nodes that differ, are above capacity or are not ready, and that no finding names."""
    flagged = [
        node
        for node in report.nodes
        if {Flag.DIFFERS, *FLAG_TEXTS} & set(node.flags) and (node.cluster, node.node) not in named
    ]
    if not flagged:
        return
    yield "## Other nodes to look at" if named else "## Nodes to look at"
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
