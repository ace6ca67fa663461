# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links between the pages resolve, their anchors too, and so do pages that the code refers to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from collection_tree import ROOT

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "roles/*/*.md", "tests/*/*.md", "tests/*/*/*.md")
    for path in ROOT.glob(pattern)
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"\bdocs/[a-z-]+\.md\b")


def anchors(page: Path) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads)
    return set(plain)


def broken(page: Path) -> Iterator[str]:
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        path, _hash, anchor = target.partition("#")
        if "://" in target:
            continue
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            yield target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    assert list(broken(page)) == []


def test_pages_that_the_code_refers_to_exist() -> None:
    files = [path for top in ("plugins", "roles", "playbooks") for path in (ROOT / top).rglob("*")]
    texts = [path.read_text(encoding="utf-8") for path in files if path.suffix in (".py", ".yml")]
    named = {name for text in texts for name in NAMED.findall(text)}
    assert named
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_links_in_messages_are_of_this_repository_and_resolve() -> None:
    text = (ROOT / "plugins/module_utils/_common/links.py").read_text(encoding="utf-8")
    repository = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["repository"]
    assert f'_DOCS = "{repository}/blob/main/docs/"' in text
    targets = [target.partition("#") for target in re.findall(r'_DOCS \+ "(.+)"', text)]
    assert len(targets) >= 3
    for page, _hash, anchor in targets:
        assert not anchor or anchor in anchors(ROOT / "docs" / page), f"{page}#{anchor}"
