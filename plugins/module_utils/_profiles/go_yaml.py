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

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import ProfileError
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.values import quote
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.reader import (
    ProfileReader,
    join_path,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rules import Rule

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
_SIGNED = re.compile(r"0b([+-])(?=[01])0*([01]{0,64})")  # a sign behind the prefix, which Go takes
_LOOSE = re.compile(r"(?<![0-9])_|_(?![0-9])")
_ESCAPED_SLASH = re.compile(r"(?<!\\)(\\\\)*\\/")  # JSON has it, Go's YAML does not
_TAB_IN_BLOCK = re.compile(r"[\r\n] *\t")
_MOST_ALIASES = 10  # Go refuses a file of which 99 % comes out of aliases: with ten it cannot
BOM = "\ufeff"
_ODD = re.compile("[\x85\u2028\u2029\ufeff]")
_DIRECTIVE = re.compile(r"([ \t]*(#[^\r\n]*)?(\r\n?|\n))*%")
_GLUED = re.compile(r"[ \r\n]*:[,\[\]{}]")
_BETWEEN = r"(?:\s|#[^\r\n]*(?=[\r\n])|(?:---|\.\.\.)(?=\s))*"
# Where Go's scanner parts from Python's: a tab, a colon without a blank, a comment glued to the
# head of a block text, the escape \', what follows a document, and a first pair of braces that is
# empty or has no plain key: there Go does not look for a colon behind it, and ends the document.
_DIFFERENT = re.compile(
    rf"""\t|:[,\[\]{{}}]|[|>][-+0-9]*\#|\\'|[\r\n](?:%|---|\.\.\.)|\A{_BETWEEN}[{{\[]{_BETWEEN}[}}\]?:]"""
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_LEAST, _MOST = -(2**63), 2**64  # int64, else uint64; beyond that a float
_DEEPEST = 100  # a configuration file has six levels
_MOST_NODES = 20_000
TOO_LARGE = "is nested far deeper, or is far longer, than a configuration file"


def parse_scalar(word: str) -> object:
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
        number = int(signed[1] + (signed[2] or "0"), 2)
        return number if _LEAST <= number < -_LEAST else word
    if found := _INTEGER.fullmatch(plain):
        base = str(found.lastgroup)
        digits = found[base].lstrip("0") or "0"
        number = int(found["sign"] + digits[:65], _BASES[base])  # 64 digits are beyond 64 bits
        if _LEAST <= number < (_MOST if found["sign"] == "" else -_LEAST):
            return number
    if _FLOAT.fullmatch(plain) and not math.isinf(float(plain)):
        return float(plain)
    return word


def parse_yaml(text: str, reader: ProfileReader) -> object:
    """Read a file's text. What is wrong is added to the reader's problems.

    Mappings come with keys as texts, as the plugin sees them.
    """
    if yaml is None:
        raise ProfileError("The Python package PyYAML is missing.")
    loader = _compose(text, reader)
    if loader is None:
        return None
    if loader.ends_early():
        said = "has more than one YAML document, and the plugin reads the first alone; leave one"
        reader.problem(Rule.SECOND_DOCUMENT, "", said)
    values = _Values(reader, _syntax(text))
    try:
        document = None if loader.root is None else values.value(loader.root, "")
    except _TooLarge:
        reader.problem(Rule.SIZE, "", TOO_LARGE)
        return None
    endless = _refuse_endless(document, "", reader)
    return None if values.misread or endless else document


def _compose(text: str, reader: ProfileReader) -> _Composer | None:
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
        said = f"is no YAML that every reader can read: {_in_short(error)}"
        reader.problem(_syntax(text), "", said)
        return None
    if _DIRECTIVE.match(text.removeprefix(BOM)):
        loader.note(Rule.TAG, "uses a directive (%); write it without")
    # Where readers part, nothing else that is said of the text is sure.
    unsure = [problem for problem in loader.problems if problem[0].plugin_takes_it]
    for rule, said in unsure or loader.problems:
        reader.problem(rule, "", said)
    return None if loader.problems else loader


def _syntax(text: str) -> Rule:
    """What an error of Python's reader is: one for the plugin too, unless they part in the text."""
    return Rule.AMBIGUOUS if _DIFFERENT.search(text.removeprefix(BOM)) else Rule.SYNTAX


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
    """Finds the structure, and notes what the plugin reads otherwise, or not at all."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self.root: yaml.Node | None = None
        self.aliases = 0
        self.problems: list[tuple[Rule, str]] = []

    def note(self, rule: Rule, said: str) -> None:
        self.problems.append((rule, said))

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if tag := getattr(event, "tag", None):
            self.note(Rule.TAG, f"uses the tag {quote(str(tag))}; write it without")
        if isinstance(event, yaml.AliasEvent):
            self.aliases += 1
            if self.aliases == _MOST_ALIASES + 1:
                said = f"has more than {_MOST_ALIASES} aliases (*name); write it out"
                self.note(Rule.SIZE, said)
        else:
            self.anchors.pop(event.anchor, None)  # an anchor may be set anew
        node: yaml.Node | None = super().compose_node(parent, index)
        if isinstance(event, yaml.AliasEvent) and node is not None and node.value == "<<":
            self.note(Rule.AMBIGUOUS, "has an alias of a merge key (<<); write it out")
        if isinstance(event, yaml.ScalarEvent) and isinstance(node, yaml.ScalarNode):
            node.tag = "plain" if event.implicit[0] else "text"
            self.check_scalar(event)
            mark = event.end_mark
            if event.implicit[0] and mark and _GLUED.match(self.text, mark.index):
                # Go takes the colon as part of the word
                said = f"has a colon without a blank after it (line {mark.line + 1}); add the blank"
                self.note(Rule.AMBIGUOUS, said)
        return node

    def check_scalar(self, event: yaml.ScalarEvent) -> None:
        """Note what Go's reader refuses in a quoted or block text."""
        if not event.start_mark or not event.end_mark:
            return
        raw = self.text[event.start_mark.index : event.end_mark.index]
        if event.style == '"' and _ESCAPED_SLASH.search(raw):
            said = r"has the escape \/ in a quoted text, which the plugin cannot read; write /"
            self.note(Rule.SYNTAX, said)
        if event.style in ("|", ">") and _TAB_IN_BLOCK.search(raw):
            said = "has a tab where a block text is indented; use blanks"
            self.note(Rule.AMBIGUOUS, said)

    def ends_early(self) -> bool:
        """Whether something comes after the first document, be it broken."""
        try:
            return bool(self.check_node())
        except yaml.YAMLError:
            return True


@dataclass
class _Values:
    """Turns the structure into values, and refuses keys that stand twice.

    syntax is the rule of what gives no value; where it is AMBIGUOUS the values are unsure.
    """

    reader: ProfileReader
    syntax: Rule
    misread: bool = False
    open: set[int] = field(default_factory=set)
    count: int = 0

    def value(self, node: yaml.Node, where: str) -> object:
        self.count += 1
        if id(node) in self.open:
            self.refuse(where, "is an anchor that contains itself")
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
        if _SURROGATE.search(node.value):  # a pair of escapes, as JSON has them
            said = "has half a character (an escape \\ud800 to \\udfff); write the character itself"
            self.refuse(where, said)
            return None
        return parse_scalar(node.value) if node.tag == "plain" else node.value

    def refuse(self, where: str, said: str) -> None:
        self.reader.problem(self.syntax, where, said)
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
                    said = "is there twice, and the plugin takes the last; allowed: each key once"
                    self.reader.problem(Rule.DUPLICATE_KEY, join_path(where, key), said)
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
                self.refuse(join_path(where, "<<"), "merges what is no mapping")
        return found

    def key(self, node: yaml.Node, where: str) -> str | None:
        """A key as it is written; a number or truth value is none that the plugin knows. It takes
        numbers of 64 bits with a sign.
        """
        value = self.scalar(node, where) if isinstance(node, yaml.ScalarNode) else None
        if value is not None and not (isinstance(value, int) and value >= -_LEAST):
            return str(node.value)
        self.refuse(where, "has a key that is no text; allowed: a text")
        return None


def _refuse_endless(value: object, where: str, reader: ProfileReader) -> bool:
    """Refuse numbers that JSON does not have, wherever they stand; whether there are any. Only the
    version is a text for the plugin, whatever it looks like.
    """
    inner: list[tuple[str, object]] = []
    if isinstance(value, dict):
        inner = [(join_path(where, key), entry) for key, entry in value.items()]
    elif isinstance(value, list):
        inner = [(f"{where}[{at}]", entry) for at, entry in enumerate(value)]
    elif isinstance(value, float) and not math.isfinite(value) and where.casefold() != "version":
        reader.refuse(Rule.TYPE, where, value, "a finite number")
        return True
    found = [_refuse_endless(entry, name, reader) for name, entry in inner]
    return any(found)


def _is_merge(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "plain" and node.value == "<<"


def _in_short(error: Exception) -> str:
    """The first useful line of an error of the YAML library."""
    said = getattr(error, "problem", None) or str(error).partition("\n")[0]
    mark = getattr(error, "problem_mark", None)
    return f"{said} (line {mark.line + 1})" if mark else str(said)
