# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: parses the YAML of a configuration file as the device plugin does.

The plugin is written in Go, and its YAML library reads plain scalars differently from Python's: 010
is 8, y is true, 1:30 is a string, 1e3 is a number, and the last of two equal keys counts. Here
Python's library finds only the structure; scalars are read by Go's rules.
Source: go.yaml.in/yaml/v2 v2.4 (resolve.go), behind sigs.k8s.io/yaml.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field

from .._common.errors import ProfileError
from .._common.values import quote
from .reader import ProfileReader, join_path
from .rules import Rule

try:
    import yaml

    BASE = yaml.SafeLoader
except ImportError:  # the modules and filters report it; kubernetes itself depends on PyYAML
    yaml = None  # type: ignore[assignment]
    BASE = object  # type: ignore[assignment, misc]

_SCALARS: dict[str, object] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE"), True),
    **dict.fromkeys(("on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE"), False),
    **dict.fromkeys(("off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_INTEGER = re.compile(
    r"(?P<sign>[+-]?)(?:0[xX](?P<x>[0-9a-fA-F]+)|0[bB](?P<b>[01]+)|0[oO](?P<o>[0-7]+)"
    r"|0(?P<z>[0-7]+)|(?P<d>0|[1-9][0-9]*))"
)
_BASES = {"x": 16, "b": 2, "o": 8, "z": 8, "d": 10}
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SIGNED = re.compile(r"0b([+-])(?=[01])0*([01]{0,64})")  # Go accepts a sign after the prefix
_LOOSE_UNDERSCORE = re.compile(r"(?<![0-9])_|_(?![0-9])")
_ESCAPED_SLASH = re.compile(r"(?<!\\)(\\\\)*\\/")  # valid in JSON, not in Go's YAML
_TAB_IN_BLOCK = re.compile(r"[\r\n] *\t")
_MAX_ALIASES = 10  # far below the point where Go rejects a file that consists of aliases
BOM = "\ufeff"
_RARE_BREAK = re.compile("[\x85\u2028\u2029\ufeff]")
_DIRECTIVE = re.compile(r"([ \t]*(#[^\r\n]*)?(\r\n?|\n))*%")
_COLON_WITHOUT_SPACE = re.compile(r"[ \r\n]*:[,\[\]{}]")
_BETWEEN = r"(?:\s|#[^\r\n]*(?=[\r\n])|(?:---|\.\.\.)(?=\s))*"
# Where Go's scanner differs from Python's: a tab, a colon without a space, a comment right after a
# block header, the escape \', text after a document, and a first pair of braces that is empty or
# has no plain key: there Go does not expect a colon, and ends the document.
_PARSERS_DIFFER = re.compile(
    rf"""\t|:[,\[\]{{}}]|[|>][-+0-9]*\#|\\'|[\r\n](?:%|---|\.\.\.)|\A{_BETWEEN}[{{\[]{_BETWEEN}[}}\]?:]"""
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_MIN_INT, _MAX_UINT = -(2**63), 2**64  # int64 or uint64; other numbers are floats
_MAX_DEPTH = 100  # a configuration file has six levels
_MAX_NODES = 20_000
TOO_LARGE = "is too deeply nested or too long for a configuration file"


def parse_scalar(word: str) -> object:
    """The value of a plain (unquoted) scalar: a string, number, boolean or None."""
    if word in _SCALARS:
        return _SCALARS[word]
    if word[0] not in "+-.0123456789":
        return word
    plain = word if word[0] == "." and _LOOSE_UNDERSCORE.search(word) else word.replace("_", "")
    return _read_number(plain, word)


def _read_number(plain: str, word: str) -> object:
    """The number in a scalar without underscores, or the scalar itself."""
    if signed := _SIGNED.fullmatch(plain):
        number = int(signed[1] + (signed[2] or "0"), 2)
        return number if _MIN_INT <= number < -_MIN_INT else word
    if found := _INTEGER.fullmatch(plain):
        base = str(found.lastgroup)
        digits = found[base].lstrip("0") or "0"
        number = int(found["sign"] + digits[:65], _BASES[base])  # 64 digits exceed 64 bits
        if _MIN_INT <= number < (_MAX_UINT if found["sign"] == "" else -_MIN_INT):
            return number
    if _FLOAT.fullmatch(plain) and not math.isinf(float(plain)):
        return float(plain)
    return word


def parse_yaml(text: str, reader: ProfileReader) -> object:
    """Parse a file's text. Problems are added to the reader. Keys of mappings are strings, as for
    the plugin.
    """
    if yaml is None:
        raise ProfileError("The Python package PyYAML is missing.")
    loader = _compose(text, reader)
    if loader is None:
        return None
    if loader.ends_early():
        message = "has more than one YAML document, but the plugin reads only the first; keep one"
        reader.problem(Rule.SECOND_DOCUMENT, "", message)
    values = _ValueReader(reader, _syntax(text))
    try:
        document = None if loader.root is None else values.value(loader.root, "")
    except _TooLarge:
        reader.problem(Rule.SIZE, "", TOO_LARGE)
        return None
    non_finite = _reject_non_finite(document, "", reader)
    return None if values.misread or non_finite else document


def _compose(text: str, reader: ProfileReader) -> _Composer | None:
    """The structure of a text; None where the two parsers do not agree on one."""
    if odd := _RARE_BREAK.search(text.removeprefix(BOM)):
        message = f"has the character U+{ord(odd[0]):04X}, a line break or mark that YAML parsers"
        reader.problem(Rule.AMBIGUOUS, "", f"{message} read differently; remove it")
        return None
    try:
        loader = _Composer(_without_tabs(text))
        loader.root = loader.get_node() if loader.check_node() else None
    except RecursionError:
        reader.problem(Rule.SIZE, "", TOO_LARGE)
        return None
    except (yaml.YAMLError, ValueError) as error:
        message = f"is not YAML that all parsers can read: {_summary(error)}"
        reader.problem(_syntax(text), "", message)
        return None
    if _DIRECTIVE.match(text.removeprefix(BOM)):
        loader.note(Rule.TAG, "uses a directive (%); remove it")
    # Where parsers differ, other problems of the text are uncertain.
    unsure = [problem for problem in loader.problems if problem[0].accepted_by_plugin]
    for rule, message in unsure or loader.problems:
        reader.problem(rule, "", message)
    return None if loader.problems else loader


def _syntax(text: str) -> Rule:
    """The rule for an error of Python's parser: the plugin fails too, unless the parsers differ."""
    return Rule.AMBIGUOUS if _PARSERS_DIFFER.search(text.removeprefix(BOM)) else Rule.SYNTAX


def _without_tabs(text: str) -> str:
    """A JSON object with spaces for its tabs, which only Python's YAML parser rejects; any other
    text unchanged. Strings in JSON contain no tabs.
    """
    body = text.strip(" \r\n")
    if "\t" not in text or not body.startswith("{") or not body.endswith("}"):
        return text
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text.replace("\t", " ")


class _TooLarge(Exception):
    """Too deep or too long for a configuration file."""


class _Composer(BASE):
    """Finds the structure, and notes what the plugin reads differently or not at all."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self.root: yaml.Node | None = None
        self.aliases = 0
        self.problems: list[tuple[Rule, str]] = []

    def note(self, rule: Rule, message: str) -> None:
        self.problems.append((rule, message))

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if tag := getattr(event, "tag", None):
            self.note(Rule.TAG, f"uses the tag {quote(str(tag))}; remove it")
        if isinstance(event, yaml.AliasEvent):
            self.aliases += 1
            if self.aliases == _MAX_ALIASES + 1:
                message = f"has more than {_MAX_ALIASES} aliases (*name); write the values instead"
                self.note(Rule.SIZE, message)
        else:
            self.anchors.pop(event.anchor, None)  # an anchor may be redefined
        node: yaml.Node | None = super().compose_node(parent, index)
        if isinstance(event, yaml.AliasEvent) and node is not None and node.value == "<<":
            self.note(Rule.AMBIGUOUS, "has an alias of a merge key (<<); write the entries instead")
        if isinstance(event, yaml.ScalarEvent) and isinstance(node, yaml.ScalarNode):
            node.tag = "plain" if event.implicit[0] else "text"
            self.check_scalar(event)
            mark = event.end_mark
            if event.implicit[0] and mark and _COLON_WITHOUT_SPACE.match(self.text, mark.index):
                # Go reads the colon as part of the scalar
                message = (
                    f"has a colon without a space after it (line {mark.line + 1}); add the space"
                )
                self.note(Rule.AMBIGUOUS, message)
        return node

    def check_scalar(self, event: yaml.ScalarEvent) -> None:
        """Note what Go's parser rejects in a quoted or block scalar."""
        if not event.start_mark or not event.end_mark:
            return
        raw = self.text[event.start_mark.index : event.end_mark.index]
        if event.style == '"' and _ESCAPED_SLASH.search(raw):
            message = r"has the escape \/ in a quoted string, which the plugin cannot read; write /"
            self.note(Rule.SYNTAX, message)
        if event.style in ("|", ">") and _TAB_IN_BLOCK.search(raw):
            message = "has a tab in the indentation of a block string; use spaces"
            self.note(Rule.AMBIGUOUS, message)

    def ends_early(self) -> bool:
        """Whether anything follows the first document, valid or not."""
        try:
            return bool(self.check_node())
        except yaml.YAMLError:
            return True


@dataclass
class _ValueReader:
    """Turns the structure into values, and rejects duplicate keys.

    syntax is the rule for nodes without a value; where it is AMBIGUOUS all values are uncertain.
    """

    reader: ProfileReader
    syntax: Rule
    misread: bool = False
    open: set[int] = field(default_factory=set)
    count: int = 0

    def value(self, node: yaml.Node, where: str) -> object:
        self.count += 1
        if id(node) in self.open:
            self.reject(where, "is an anchor that contains itself")
            return None
        if len(self.open) > _MAX_DEPTH or self.count > _MAX_NODES:
            raise _TooLarge
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, where)
        self.open.add(id(node))
        found: object
        if isinstance(node, yaml.SequenceNode):
            found = [self.value(item, f"{where}[{at}]") for at, item in enumerate(node.value)]
        else:
            found = self.mapping(node, where)
        self.open.discard(id(node))
        return found

    def scalar(self, node: yaml.ScalarNode, where: str) -> object:
        if _SURROGATE.search(node.value):  # from a pair of escapes, as in JSON
            message = "has a surrogate (an escape \\ud800 to \\udfff); write the character itself"
            self.reject(where, message)
            return None
        return parse_scalar(node.value) if node.tag == "plain" else node.value

    def reject(self, where: str, message: str) -> None:
        self.reader.problem(self.syntax, where, message)
        self.misread = self.misread or self.syntax is Rule.AMBIGUOUS

    def mapping(self, node: yaml.Node, where: str) -> dict[str, object]:
        """The entries of a mapping, those of a merge key (<<) included."""
        found: dict[str, object] = {}
        for key_node, value_node in node.value:
            if _is_merge(key_node):
                entries = self.merged(key_node, value_node, where)
            else:
                key = self.key(key_node, where)
                value = self.value(value_node, join_path(where, key or "?"))
                entries = {} if key is None else {key: value}
            for key, value in entries.items():
                if key in found:
                    message = "occurs twice, and the plugin uses the last; allowed: each key once"
                    self.reader.problem(Rule.DUPLICATE_KEY, join_path(where, key), message)
                found[key] = value
        return found

    def merged(self, key: yaml.Node, node: yaml.Node, where: str) -> dict[str, object]:
        """The entries of a merge key: of one mapping, or of a list (not an alias of one), in which
        the earlier mapping counts.
        """
        several = (
            isinstance(node, yaml.SequenceNode) and node.start_mark.index > key.start_mark.index
        )
        found: dict[str, object] = {}
        for source in reversed(node.value) if several else [node]:
            if isinstance(source, yaml.MappingNode):
                value = self.value(source, where)
                found |= value if isinstance(value, dict) else {}
            else:
                self.reject(join_path(where, "<<"), "merges a value that is not a mapping")
        return found

    def key(self, node: yaml.Node, where: str) -> str | None:
        """A key as written. The plugin accepts keys of any scalar type, but no numbers beyond int64
        and no null.
        """
        value = self.scalar(node, where) if isinstance(node, yaml.ScalarNode) else None
        if value is not None and not (isinstance(value, int) and value >= -_MIN_INT):
            return str(node.value)
        self.reject(where, "has a key that is not a string; allowed: a string")
        return None


def _reject_non_finite(value: object, where: str, reader: ProfileReader) -> bool:
    """Reject numbers that JSON does not have; whether there are any. The version may be one: the
    plugin reads it as a string.
    """
    inner: list[tuple[str, object]] = []
    if isinstance(value, dict):
        inner = [(join_path(where, key), entry) for key, entry in value.items()]
    elif isinstance(value, list):
        inner = [(f"{where}[{at}]", entry) for at, entry in enumerate(value)]
    elif isinstance(value, float) and not math.isfinite(value) and where.casefold() != "version":
        reader.reject(Rule.TYPE, where, value, "a finite number")
        return True
    found = [_reject_non_finite(entry, name, reader) for name, entry in inner]
    return any(found)


def _is_merge(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "plain" and node.value == "<<"


def _summary(error: Exception) -> str:
    """The first line of an error of the YAML library."""
    message = getattr(error, "problem", None) or str(error).partition("\n")[0]
    mark = getattr(error, "problem_mark", None)
    return f"{message} (line {mark.line + 1})" if mark else str(message)
