# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: a configuration file's text, read as the device plugin reads it.

The plugin is a Go program, and its YAML library takes plain words differently from Python's: 010
is 8, y is true, 1:30 is a text, 1e3 is a number, and of two equal keys the last one wins. Python's
library only finds the structure here; what a word means is decided as Go does.
Source of the words: go.yaml.in/yaml/v2 v2.4 (resolve.go), behind sigs.k8s.io/yaml.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field

from ansible_collections.gpufleet.sharing.plugins.module_utils._errors import ProfileError
from ansible_collections.gpufleet.sharing.plugins.module_utils._rules import (
    Reader,
    Rule,
    path,
    quoted,
)

try:
    import yaml

    BASE = yaml.SafeLoader
except ImportError:  # the modules and filters report it; kubernetes itself depends on PyYAML
    yaml = None  # type: ignore[assignment]
    BASE = object  # type: ignore[assignment, misc]

_WORDS: dict[str, object] = {
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
_SIGNED = re.compile(r"0b([+-][01]{1,63})")  # a sign behind the prefix, which Go takes
_LOOSE = re.compile(r"(?<![0-9])_|_(?![0-9])")
_ESCAPED_SLASH = re.compile(r"(?<!\\)(\\\\)*\\/")  # JSON has it, Go's YAML does not
_TAB_IN_BLOCK = re.compile(r"[\r\n] *\t")
_MOST_ALIASES = 10  # Go refuses a file of which 99 % comes out of aliases: with ten it cannot
BOM = "\ufeff"
_ODD = re.compile("[\x85\u2028\u2029\ufeff]")
_DIRECTIVE = re.compile(r"([ \t]*(#[^\r\n]*)?(\r\n?|\n))*%")
_GLUED = re.compile(r":[,\[\]{}]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LEAST, _MOST = -(2**63), 2**64  # int64, else uint64; beyond that a float
_DEEPEST = 100  # a configuration file has six levels
_MOST_NODES = 20_000
TOO_LARGE = "is nested far deeper, or is far longer, than a configuration file"


def read_word(word: str) -> object:
    """The value of a plain (unquoted) word: a text, number, truth value or None."""
    if word in _WORDS:
        return _WORDS[word]
    if word[0] not in "+-.0123456789":
        return word
    plain = word if word[0] == "." and _LOOSE.search(word) else word.replace("_", "")
    return _read_number(plain, word)


def _read_number(plain: str, word: str) -> object:
    """The number that a word without underscores is, or the word itself."""
    if signed := _SIGNED.fullmatch(plain):
        return int(signed[1], 2)
    if found := _INTEGER.fullmatch(plain):
        base = str(found.lastgroup)
        digits = found[base].lstrip("0") or "0"
        number = int(found["sign"] + digits[:65], _BASES[base])  # 64 digits are beyond 64 bits
        if _LEAST <= number < (_MOST if found["sign"] == "" else -_LEAST):
            return number
    if _FLOAT.fullmatch(plain) and not math.isinf(float(plain)):
        return float(plain)
    return word


def load(text: str, reader: Reader) -> object:
    """Read a file's text. What is wrong is added to the reader's problems.

    Mappings come with keys as texts, as the plugin sees them.
    """
    if yaml is None:
        raise ProfileError("The Python package PyYAML is missing.")
    loader = _compose(text, reader)
    if loader is None:
        return None
    for said in loader.special:
        reader.problem(Rule.TAG, "", f"uses {said}; write it without")
    if loader.ends_early():
        said = "has more than one YAML document, and the plugin reads the first alone; leave one"
        reader.problem(Rule.SECOND_DOCUMENT, "", said)
    try:
        return None if loader.root is None else _Values(reader).value(loader.root, "")
    except _TooLarge:
        reader.problem(Rule.SIZE, "", TOO_LARGE)
        return None


def _compose(text: str, reader: Reader) -> _Composer | None:
    """The structure of a text, None where it has none that both readers see."""
    if odd := _ODD.search(text.removeprefix(BOM)):
        said = f"has the character U+{ord(odd[0]):04X}, a line break or mark that readers of YAML"
        reader.problem(Rule.AMBIGUOUS, "", f"{said} take differently; take it out")
        return None
    try:
        loader = _Composer(_without_tabs(text))
        loader.root = loader.get_node() if loader.check_node() else None
    except RecursionError:
        reader.problem(Rule.SIZE, "", TOO_LARGE)
        return None
    except (yaml.YAMLError, ValueError) as error:
        said = _in_short(error)
        rule = Rule.AMBIGUOUS if r"'\t'" in said else Rule.SYNTAX
        reader.problem(rule, "", f"is no YAML that every reader can read: {said}")
        return None
    for rule, said in loader.problems:
        reader.problem(rule, "", said)
    if _DIRECTIVE.match(text.removeprefix(BOM)):
        loader.special.append("a directive (%)")
    return None if loader.problems else loader


def _without_tabs(text: str) -> str:
    """A JSON object with blanks in the place of its tabs, which only Python's YAML reader minds;
    anything else as it is. Inside of its texts JSON has no tabs.
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
    """Deeper or longer than any configuration file."""


class _Composer(BASE):
    """Finds the structure, and notes tags and directives."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self.root: yaml.Node | None = None
        self.special: list[str] = []
        self.aliases = 0
        self.problems: list[tuple[Rule, str]] = []

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if tag := getattr(event, "tag", None):
            self.special.append(f"the tag {quoted(str(tag))}")
        if isinstance(event, yaml.AliasEvent):
            self.aliases += 1
            if self.aliases == _MOST_ALIASES + 1:
                said = f"has more than {_MOST_ALIASES} aliases (*name); write it out"
                self.problems.append((Rule.SIZE, said))
        else:
            self.anchors.pop(event.anchor, None)  # an anchor may be set anew
        node: yaml.Node | None = super().compose_node(parent, index)
        if isinstance(event, yaml.ScalarEvent) and isinstance(node, yaml.ScalarNode):
            node.tag = "plain" if event.implicit[0] else "text"
            self.check_scalar(event)
            mark = event.end_mark
            if event.implicit[0] and mark and _GLUED.match(self.text, mark.index):
                # Go takes the colon as part of the word
                said = f"has a colon without a blank after it (line {mark.line + 1}); add the blank"
                self.problems.append((Rule.AMBIGUOUS, said))
        return node

    def check_scalar(self, event: yaml.ScalarEvent) -> None:
        """Note what Go's reader refuses in a quoted or block text."""
        if not event.start_mark or not event.end_mark:
            return
        raw = self.text[event.start_mark.index : event.end_mark.index]
        if event.style == '"' and _ESCAPED_SLASH.search(raw):
            said = r"has the escape \/ in a quoted text, which the plugin cannot read; write /"
            self.problems.append((Rule.SYNTAX, said))
        if event.style in ("|", ">") and _TAB_IN_BLOCK.search(raw):
            said = "has a tab where a block text is indented; use blanks"
            self.problems.append((Rule.AMBIGUOUS, said))

    def ends_early(self) -> bool:
        """Whether something comes after the first document, be it broken."""
        try:
            return bool(self.check_node())
        except yaml.YAMLError:
            return True


@dataclass
class _Values:
    """Turns the structure into values, and refuses keys that stand twice."""

    reader: Reader
    open: set[int] = field(default_factory=set)
    count: int = 0

    def value(self, node: yaml.Node, where: str) -> object:
        self.count += 1
        if id(node) in self.open:
            self.reader.problem(Rule.SYNTAX, where, "is an anchor that contains itself")
            return None
        if len(self.open) > _DEEPEST or self.count > _MOST_NODES:
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
        value = read_word(node.value) if node.tag == "plain" else node.value
        if isinstance(value, float) and not math.isfinite(value):
            self.reader.refuse(Rule.TYPE, where, node.value, "a finite number")
            return None
        if _SURROGATE.search(node.value):  # a pair of escapes, as JSON has them
            said = "has half a character (an escape \\ud800 to \\udfff); write the character itself"
            self.reader.problem(Rule.SYNTAX, where, said)
            return None
        return value

    def mapping(self, node: yaml.Node, where: str) -> dict[str, object]:
        """The entries of a mapping, those of a merge key (<<) included."""
        found: dict[str, object] = {}
        for key_node, value_node in node.value:
            if _is_merge(key_node):
                entries = self.merged(key_node, value_node, where)
            else:
                key = self.key(key_node, where)
                entries = {key: self.value(value_node, path(where, key))}
            for key, value in entries.items():
                if key in found:
                    said = "is there twice, and the plugin takes the last; allowed: each key once"
                    self.reader.problem(Rule.DUPLICATE_KEY, path(where, key), said)
                found[key] = value
        return found

    def merged(self, key: yaml.Node, node: yaml.Node, where: str) -> dict[str, object]:
        """What a merge key brings: one mapping, or a list (no alias of one) of which an earlier
        one wins.
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
                self.reader.problem(Rule.SYNTAX, path(where, "<<"), "merges what is no mapping")
        return found

    def key(self, node: yaml.Node, where: str) -> str:
        value = self.scalar(node, where) if isinstance(node, yaml.ScalarNode) else None
        if value is None:
            said = "has a key that is no text; allowed: a text"
            self.reader.problem(Rule.SYNTAX, where, said)
            return ""
        return str(value).lower() if isinstance(value, bool) else str(value)


def _is_merge(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "plain" and node.value == "<<"


def _in_short(error: Exception) -> str:
    """The first useful line of an error of the YAML library."""
    said = getattr(error, "problem", None) or str(error).partition("\n")[0]
    mark = getattr(error, "problem_mark", None)
    return f"{said} (line {mark.line + 1})" if mark else str(said)
