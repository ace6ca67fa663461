# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: everything that the doctor can find, and how it is told. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import FleetError
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import plural, some
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.checks import (
    content as _find_content,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.checks import (
    nodes as _find_nodes,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.checks import (
    operator as _find_operator,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.checks import (
    plugin as _find_plugin,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.checks import (
    pods as _find_pods,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.engine import (
    Check,
    Finding,
    Severity,
    diagnose,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.snapshot import (
    NodeTrace,
    Snapshot,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.capacity import REPLICAS_LABEL
from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.state import COUNT_LABEL

CHECKS: tuple[Check, ...] = (
    *_find_operator.CHECKS,
    *_find_content.CHECKS,
    *_find_nodes.CHECKS,
    *_find_plugin.CHECKS,
    *_find_pods.CHECKS,
)
_SHOWN_NODES = 5


def find_all(snapshot: Snapshot) -> list[Finding]:
    return diagnose(snapshot, CHECKS)


def check_codes(codes: Collection[str]) -> None:
    """Raises FleetError where one of them is not the code of a finding."""
    if unknown := sorted(set(codes) - {check.code for check in CHECKS}):
        raise FleetError(
            f"No finding has the code {some(unknown)}, which is to be accepted."
            f" Codes go from {CHECKS[0].code} to {CHECKS[-1].code};"
            " docs/findings.md describes each."
        )


def split(
    found: Sequence[Finding], accepted: Collection[str]
) -> tuple[list[Finding], list[Finding]]:
    """What to tell, and what somebody has accepted by its code: that, and what follows from it."""
    known = [finding for finding in found if {finding.code, finding.follows} & {*accepted}]
    return [finding for finding in found if finding not in known], known


def counts(found: Sequence[Finding]) -> dict[str, int]:
    """Roots of at least each severity."""
    worst = list(Severity)
    told = [worst.index(finding.severity) for finding in found if not finding.follows]
    return {
        severity.value: sum(level <= position for level in told)
        for position, severity in enumerate(worst)
    }


def verdict(found: Sequence[Finding], nodes: int, accepted: Sequence[Finding] = ()) -> str:
    """One line: how many things are broken, and on how many nodes, and what was accepted. What
    follows is not counted.
    """
    roots = Counter(finding.severity for finding in found if not finding.follows)
    codes = sorted({finding.code for finding in accepted if not finding.follows})
    besides = f"; accepted: {', '.join(codes)}" if codes else ""
    looked = f"{plural(nodes, 'node')} looked at"
    if not roots:
        return f"Nothing found, {looked}{besides}"
    told = [
        plural(roots[severity], word)
        for severity, word in (
            (Severity.ERROR, "error"),
            (Severity.WARNING, "warning"),
            (Severity.INFO, "note"),
        )
        if roots[severity]
    ]
    hurt = {node for finding in found for node in finding.nodes if _is_bad(finding)}
    touched = f", {len(hurt)} of them with errors or warnings" if hurt else ""
    return f"{', '.join(told)}; {looked}{touched}{besides}"


def _is_bad(finding: Finding) -> bool:
    return finding.severity is not Severity.INFO


def findings_table(found: Sequence[Finding]) -> list[str]:
    """Lines for people: each root with what was seen, why it matters and what to do; below it, in
    one line each, what follows.
    """
    lines: list[str] = []
    for finding in found:
        where = f" ({some(list(finding.nodes), _SHOWN_NODES)})" if finding.nodes else ""
        if finding.follows:
            lines.append(f"  follows: {finding.code} {finding.title}: {finding.cause}{where}")
            continue
        lines += [
            *([""] if lines else []),
            f"{finding.code} {finding.severity.value}: {finding.title}{_nodes(finding)}",
            f"  seen: {finding.seen}",
            f"  why: {finding.why}",
            f"  do: {finding.fix}",
        ]
    return lines


def _nodes(finding: Finding) -> str:
    return f" ({plural(len(finding.nodes), 'node')})" if finding.nodes else ""


def trace_row(trace: NodeTrace) -> dict[str, object]:
    """The links between the inventory and the slots of a node, as JSON."""
    view, plugin = trace.view, trace.plugin
    labels = view.state.labels if view else {}
    capacity = view.capacity if view else {}
    counted = labels.get(COUNT_LABEL)
    return {
        "label": trace.label,
        "key": trace.key,
        "key_exists": trace.content is not None,
        "hash": trace.hash,
        "loaded_hash": trace.loaded_hash,
        "plugin_pod": plugin.state if plugin else "",
        "config_manager": plugin.pod.has_config_manager if plugin else None,
        "capacity": sum(capacity.get(name, 0) for name in trace.verdict.resource.split(", ")),
        "gfd": f"{counted} x {labels.get(REPLICAS_LABEL, '?')}" if counted else "",
    }
