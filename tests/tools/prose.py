# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find words and idioms that the collection no longer uses: `prose.py [PATH ...]`.

It reads Markdown without code, YAML, and comments and strings of Python, so that documentation,
task names, messages, docstrings and comments follow one word list. Without paths it reads PLACES.
Vale was tried: it reads no strings of Python, and needs cgo for its 250 MB of parsers.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from collection_tree import ROOT, listed_files

#: Files and folders that follow the word list.
PLACES = (
    *("README.md", "CONTRIBUTING.md", "docs", "examples", "galaxy.yml"),
    *("extensions", "meta", "playbooks", "plugins", "roles"),
    *("tests/lab/README.md", "tests/realnode/README.md", "tests/realnode/cost/README.md"),
)
#: Made from texts of plugins/ and roles/, or quote them, so they follow when these do.
EXEMPT = ()

#: A pattern that ends at the end of a word, and what to write instead. A blank stands for any white
#: space.
WORDS = (
    (r"anew", "again"),
    (r"at work", "running"),
    (r"(?:un)?mend(?:s|ed|ing)?", "fix"),
    (r"turned down", "rejected"),
    (r"(?:let|lets|letting) go of", "no longer references"),
    (r"left to (?:its|their) fate", "left running"),
    (r"whatever happened", "name what happened"),
    (r"hurt(?:s|ing)?", "disrupt"),
    (r"blam(?:e|es|ed|ing)", "failure"),
    (r"strangers?", "foreign pod"),
    (r"(?:in|for) (?:its|their|whose|his) stead", "instead"),
    (r"as whom|to whom|whom it", "name the identity or the pods"),
    (r"which cluster is meant", "the target cluster"),
    (r"[Ss]ettl(?:e|es|ed|ing) (?:which|what|the connection)", "resolve"),
    (r"(?:is|are|was|were|be|been) told", "shown, reported"),
    (r"tells? (?:what|which|whether|how|why|who|where)", "shows, reports"),
    (r"(?:is|are|was|were) said", "shown, reported"),
    (r"(?<!there\s)(?:is|are|was|were) no (?!longer|more\b)\w+", "is not a"),
    (r"cut (?:unlike|alike|by MIG|them alike)|to be cut", "partition; inconsistent MIG layout"),
    (r"(?:did|does|do) not get (?:its|their) profile", "did not settle"),
    (r"MPS does not serve", "MPS is not running"),
    (r"the way of the", "data flow"),
    (r"but for (?:those|what|the one|its|their|that)", "except"),
    (r"for ever", "forever"),
    (r"some [0-9]+", "about"),
    (r"reckon(?:s|ed|ing)?", "calculate, use"),
    (r"laborator(?:y|ies)", "lab"),
    (r"(?:the|its|our|their) pointer|pointer (?:to|at)", "device plugin config"),
    (
        r"(?-i:Of) (?:a|an|each) \w+,? (?:the|its|nothing|what|only)",
        "the label of the node",
    ),
    (r"lest|whence|shall|nought|upon|amidst|hither|thus far", "a plain word"),
)

PATTERNS = tuple(
    (re.compile(rf"\b(?:{words})\b".replace(" ", r"\s+"), re.IGNORECASE), better)
    for words, better in WORDS
)
FENCE = re.compile(r"^( *)(`{3}.*?^\1`{3})|<!--.*?-->", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`|\{[^{}\n]*\}|\]\([^)\s]*\)|\bC\([^)]*\)|https?://\S+")
MARGIN = re.compile(r"\n[ \t]*(?:#[ \t]?)?")


@dataclass(frozen=True)
class Text:
    """A piece of prose, and the line on which it starts."""

    line: int
    text: str


def texts(path: Path) -> Iterator[Text]:
    """The prose of a Markdown, YAML or Python file."""
    if path.suffix not in (".md", ".py", ".yaml", ".yml"):
        return
    content = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from python_texts(content)
    else:
        yield Text(1, FENCE.sub(blank, content) if path.suffix == ".md" else content)


def python_texts(content: str) -> Iterator[Text]:
    """Strings, those that follow each other as one, and comments with those on the lines below."""
    inner: set[ast.AST] = set()
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.JoinedStr):
            inner.update(node.values)
            yield Text(node.lineno, "".join(map(string, node.values)))
        elif isinstance(node, ast.Constant) and node not in inner:
            yield Text(node.lineno, string(node))
    comments: list[tokenize.TokenInfo] = []
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type == tokenize.COMMENT:
            if comments and token.start[0] > comments[-1].start[0] + 1:
                yield joined(comments)
                comments = []
            comments.append(token)
    if comments:
        yield joined(comments)


def string(node: ast.expr) -> str:
    """The text of a string, or of a part of one; "{}" for a value in it."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "{}"


def joined(comments: Sequence[tokenize.TokenInfo]) -> Text:
    return Text(comments[0].start[0], "\n".join(each.string for each in comments))


def blank(found: re.Match[str]) -> str:
    """White space of as many lines."""
    return "\n" * found[0].count("\n") or " "


def findings(path: Path) -> Iterator[str]:
    """A line for each place where an old word stands."""
    for text in texts(path):
        prose = MARGIN.sub("\n", CODE.sub(blank, text.text))
        for pattern, better in PATTERNS:
            for found in pattern.finditer(prose):
                line = text.line + prose.count("\n", 0, found.start())
                shown = " ".join(found[0].split())
                yield f"{path.relative_to(ROOT)}:{line}: {shown!r}; write: {better}"


def files(places: Sequence[str]) -> list[Path]:
    names = [name for name in listed_files(ROOT) if name not in EXEMPT]
    inside = [n for n in names if any(n == p or n.startswith(f"{p}/") for p in places)]
    return [ROOT / name for name in inside]


def main(places: Sequence[str]) -> int:
    """Print what was found; 1 if there is something."""
    found = [line for path in files(places or PLACES) for line in findings(path)]
    print("\n".join(found) or "no old words")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
