# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes docs/findings.md from the texts of the findings. A test compares them.

.venv/bin/python tests/tools/findings_page.py
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Protocol

from collection_tree import ROOT

DOCTOR = "ansible_collections.gpufleet.sharing.plugins.module_utils._doctor"

PAGE = ROOT / "docs" / "findings.md"
CHECKS = "plugins/module_utils/_doctor/checks"
HEAD = f"""<!--
SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
SPDX-License-Identifier: GPL-3.0-or-later

Written by tests/tools/findings_page.py; change the texts in {CHECKS}/.
-->

# Findings

All findings of the [doctor](doctor.md), by code. A code never changes its meaning. `<words>` stand
for values. A finding that only follows from another one on the same node is listed below that one
and not counted; its cause is at least as severe. `file` defines the finding, in `{CHECKS}/`.

| code | severity | what | file |
|---|---|---|---|
"""


class _Severity(Protocol):
    value: str


class Check(Protocol):
    """What the page shows of a finding."""

    code: str
    severity: _Severity
    title: str
    seen: str
    why: str
    fix: str
    follows: tuple[str, ...]
    reads: tuple[str, ...]
    advice: tuple[str, ...]


class _Placeholder(str):
    """The name of a value, in any format. That of a count is a noun."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return f"{self} {spec}s" if len(spec) > 1 else str(self)


class _Placeholders(dict[str, _Placeholder]):
    """Shows each value of a template by its name."""

    def __missing__(self, name: str) -> _Placeholder:
        return _Placeholder(f"<{name}>")


def _filled(template: str) -> str:
    """Format values as code, so that Markdown does not read names as markup. Commands between
    backticks are code already.
    """
    parts = template.format_map(_Placeholders()).split("`")
    parts[::2] = [part.replace("<", "`<").replace(">", ">`") for part in parts[::2]]
    return "`".join(parts)


def _section(check: Check) -> str:
    parts = [
        f"## {check.code}",
        f"**{check.title}** ({check.severity.value})",
        f"Seen: {_filled(check.seen)}",
        f"Why it matters: {_filled(check.why)}",
        f"What to do: {_filled(check.fix)}",
    ]
    if check.advice:
        parts.append("`<advice>` is one of these:")
        parts.append("\n".join(f"- {_filled(text)}" for text in check.advice))
    if check.follows:
        links = ", ".join(f"[{code}](#{code.lower()})" for code in sorted(check.follows))
        parts.append(f"May follow from: {links}.")
    if check.reads:
        parts.append(f"Needs to read: {', '.join(check.reads)}.")
    return "\n\n".join(parts)


def _checks(module: str) -> Sequence[Check]:
    checks: Sequence[Check] = import_module(f"{DOCTOR}.{module}").CHECKS
    return checks


def _row(check: Check, file: str) -> str:
    code = f"[{check.code}](#{check.code.lower()})"
    link = f"[{file}](../{CHECKS}/{file})"
    return f"| {code} | {check.severity.value} | {check.title} | {link} |"


def page() -> str:
    paths = (ROOT / CHECKS).glob("*.py")
    files = {check.code: path.name for path in paths for check in _checks(f"checks.{path.stem}")}
    checks = _checks("catalog")
    rows = "\n".join(_row(check, files[check.code]) for check in checks)
    return HEAD + rows + "\n\n" + "\n\n".join(map(_section, checks)) + "\n"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / ".build" / "collections"))
    PAGE.write_text(page(), encoding="utf-8")
