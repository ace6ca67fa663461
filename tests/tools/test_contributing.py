# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of rules in CONTRIBUTING.md names files and functions that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from collection_tree import ROOT

PLUGINS = ROOT / "plugins"
ROW = re.compile(r"^\|[^|]+\| `([\w/]+\.py)` \| (.+) \|$", re.MULTILINE)
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ROWS = ROW.findall(TEXT.partition("## Where each rule lives")[2])


def names(file: Path) -> Iterator[str]:
    """Functions, classes, methods (Class.method) and constants of a file."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
            if isinstance(node, ast.ClassDef):
                methods = (part for part in node.body if isinstance(part, ast.FunctionDef))
                yield from (f"{node.name}.{method.name}" for method in methods)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def test_there_is_a_table() -> None:
    assert len(ROWS) > 40


@pytest.mark.parametrize(("file", "where"), ROWS, ids=lambda text: text.replace("`", ""))
def test_rule_is_where_the_table_says(file: str, where: str) -> None:
    (path,) = (p for p in (PLUGINS / "module_utils" / file, PLUGINS / file) if p.exists())
    assert set(re.findall(r"`([\w.]+)`", where)) - set(names(path)) == set()
