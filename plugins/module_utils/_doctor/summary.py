# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: a summary of findings for people: accepted codes, counts, verdict and table. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from .._common.text import plural, some
from .engine import Finding, Severity

_SHOWN_NODES = 5
_NOUNS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def split_accepted(
    found: Sequence[Finding], codes: Collection[str]
) -> tuple[list[Finding], list[Finding]]:
    """The findings to report, and the accepted ones: those with one of the codes, and what follows
    from them.
    """
    accepted = [finding for finding in found if {finding.code, finding.follows} & {*codes}]
    return [finding for finding in found if finding not in accepted], accepted


def counts(found: Sequence[Finding]) -> dict[str, int]:
    """Roots of at least each severity."""
    worst = list(Severity)
    roots = [worst.index(finding.severity) for finding in found if not finding.follows]
    return {
        severity.value: sum(level <= position for level in roots)
        for position, severity in enumerate(worst)
    }


def verdict(found: Sequence[Finding], nodes: int, accepted: Sequence[Finding] = ()) -> str:
    """One line: the roots of each severity, the nodes, and the accepted codes."""
    roots = Counter(finding.severity for finding in found if not finding.follows)
    codes = sorted({finding.code for finding in accepted if not finding.follows})
    ending = f"; accepted: {', '.join(codes)}" if codes else ""
    checked = f"{plural(nodes, 'node')} checked"
    if not roots:
        return f"No findings, {checked}{ending}"
    numbers = [
        plural(roots[severity], noun) for severity, noun in _NOUNS.items() if roots[severity]
    ]
    bad = [finding for finding in found if finding.severity is not Severity.INFO]
    affected = {node for finding in bad for node in finding.nodes}
    on_nodes = f", {len(affected)} of them with errors or warnings" if affected else ""
    return f"{', '.join(numbers)}; {checked}{on_nodes}{ending}"


def findings_table(found: Sequence[Finding]) -> list[str]:
    """Lines for people: each root with what was seen, why it matters and what to do; below it one
    line for each finding that follows from it.
    """
    lines: list[str] = []
    for finding in found:
        if finding.follows:
            where = f" ({some(list(finding.nodes), _SHOWN_NODES)})" if finding.nodes else ""
            lines.append(f"  follows: {finding.code} {finding.title}: {finding.cause}{where}")
            continue
        count = f" ({plural(len(finding.nodes), 'node')})" if finding.nodes else ""
        lines += [
            *([""] if lines else []),
            f"{finding.code} {finding.severity.value}: {finding.title}{count}",
            f"  seen: {finding.seen}",
            f"  why: {finding.why}",
            f"  fix: {finding.fix}",
        ]
    return lines
