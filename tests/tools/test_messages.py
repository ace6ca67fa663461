# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages that the pages quote, for readers who search for them, exist in the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest
from collection_tree import ROOT

QUOTE = re.compile(r'"([^"]+)"')
BETWEEN = "\0"  # where a value stands in a message


def parts(node: ast.expr) -> str:
    """A string with its values left out; strings that follow each other are one already."""
    if isinstance(node, ast.JoinedStr):
        return "".join(map(parts, node.values))
    return str(node.value) if isinstance(node, ast.Constant) else BETWEEN


@cache
def messages() -> str:
    """All strings of plugins, and the texts of roles and playbooks."""
    found = [
        parts(node)
        for path in (ROOT / "plugins").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.JoinedStr)
        or (isinstance(node, ast.Constant) and isinstance(node.value, str))
    ]
    for folder in ("roles", "playbooks"):
        found += [path.read_text(encoding="utf-8") for path in (ROOT / folder).rglob("*.yml")]
    return "\n".join(found)


def quoted() -> Iterator[tuple[str, str]]:
    for page, head in (("troubleshooting", '| "'), ("profiles", "| ")):
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        for line in text.splitlines():
            if line.startswith(head):
                cell = line.split(" | ")[0 if page == "troubleshooting" else 1]
                yield from ((page, message) for message in QUOTE.findall(cell))


@pytest.mark.parametrize(("page", "message"), list(quoted()))
def test_quoted_message_exists(page: str, message: str) -> None:
    assert message in messages(), f"docs/{page}.md quotes it"
