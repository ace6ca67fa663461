# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The word list finds old idioms, and nothing else."""

from __future__ import annotations

from pathlib import Path

import prose
import pytest

OLD = """
    reads files anew; is at work on it; mended; turned down by; lets go of; left to their fate;
    whatever happened before; it would hurt; the blame; a stranger; in its stead; and as whom;
    which cluster is meant; Settle which; is told beside; tells whether; is said; is no
    label; GPUs cut unlike each other; did not get their profile; MPS does not
    serve; the way of the data; but for those; for ever; some 40 nodes; reckons with; the
    laboratory; the pointer; Of a node the labels; lest it;
"""
PLAIN = """
There is no label, so where there
is no key, a node is no longer shared. Is there no key? It has none. It settles the node in no time.
He told it. The inventory says so. The strategy is none. They work at night. A cut, and a
pointer. Some nodes; somewhere 40. Of several clusters, one.
"""


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prose, "ROOT", tmp_path)


def found(folder: Path, name: str, text: str) -> list[str]:
    (folder / name).write_text(text, encoding="utf-8")
    return list(prose.findings(folder / name))


def test_every_old_idiom_is_found(tmp_path: Path) -> None:
    for idiom in OLD.split(";")[:-1]:
        assert len(found(tmp_path, "x.md", idiom)) == 1, idiom
    hits = {line.partition("write: ")[2] for line in found(tmp_path, "x.md", OLD)}
    assert hits == {better for _words, better in prose.WORDS}


def test_plain_text_passes(tmp_path: Path) -> None:
    assert found(tmp_path, "x.md", PLAIN) == []


def test_code_of_markdown_is_not_read(tmp_path: Path) -> None:
    assert found(tmp_path, "x.md", "`anew`\n\n```text\nanew\n```\n\n[x](anew.md)\n") == []


def test_comments_and_strings_of_python_are_read(tmp_path: Path) -> None:
    text = '"""One.\n\nTurned down.\n"""\nanew = f"at work on {anew}"  # is\n# told\n'
    lines = [line.split(":")[1] for line in found(tmp_path, "x.py", text)]
    assert lines == ["3", "5", "5"]


def test_yaml_is_read_and_other_files_are_not(tmp_path: Path) -> None:
    assert found(tmp_path, "x.yml", "- name: Settle what\n") != []
    assert found(tmp_path, "x.json", '["anew"]') == []
