# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file's text as a Go program reads it: words, merge keys, and what is refused."""

from __future__ import annotations

import math

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.go_yaml import (
    parse_scalar,
    parse_yaml,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.reader import ProfileReader
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rules import Rule


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("4", 4),
        ("+4", 4),
        ("-4", -4),
        ("010", 8),
        ("08", 8.0),
        ("0o10", 8),
        ("0x1F", 31),
        ("-0x10", -16),
        ("0b11", 3),
        ("1_000", 1000),
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", 2.0**64),
        ("-9223372036854775809", -(2.0**63)),
        ("9" * 5000, "9" * 5000),
        ("0x" + "0" * 5000 + "f", 15),
        ("4.", 4.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1e400", "1e400"),
        (".5_0", 0.5),
        ("1:30", "1:30"),
        ("2001-01-01", "2001-01-01"),
        ("0x", "0x"),
        ("-", "-"),
        ("0b-1", -1),
        ("0b+100", 4),
        ("0b-1" + "0" * 63, -(2**63)),
        ("0b+" + "1" * 64, "0b+" + "1" * 64),
        ("0b+" + "0" * 100 + "1", 1),
        ("0b-", "0b-"),
        (".1_7", 0.17),
        ("._1", "._1"),
        ("y", True),
        ("Off", False),
        ("oN", "oN"),
        ("~", None),
        ("", None),
        ("nul", "nul"),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("٤", "٤"),
    ],
)
def test_read_word(word: str, value: object) -> None:
    read = parse_scalar(word)
    assert (type(read), read) == (type(value), value)


def test_read_word_not_a_number() -> None:
    read = parse_scalar(".NaN")
    assert isinstance(read, float)
    assert math.isnan(read)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("a: 4", {"a": 4}),
        ("a: '4'", {"a": "4"}),
        ("a: |\n  4", {"a": "4"}),
        ("{1: a, true: b, 1.5: c}", {"1": "a", "true": "b", "1.5": "c"}),
        ("{.nan: a, -.inf: b}", {".nan": "a", "-.inf": "b"}),
        ("9223372036854775807: 1\n1e99: 2", {"9223372036854775807": 1, "1e99": 2}),
        ("{}", {}),
        ("{'a' :{b: 1}}", {"a": {"b": 1}}),
        ("{? a : b}", {"a": "b"}),
        ("a: &x {b: 1}\nc: {<<: *x, d: 2}", {"a": {"b": 1}, "c": {"b": 1, "d": 2}}),
        ("c: {<<: [{b: 1}, {b: 2, e: 3}]}", {"c": {"b": 1, "e": 3}}),
        ("a: &x 1\nb: &x 2\nc: *x", {"a": 1, "b": 2, "c": 2}),
        ("'<<': 1", {"<<": 1}),
        ("\ufeffa: 1", {"a": 1}),
        ('{\n\t"a":\t[\n\t\t1\n\t]\n}\n', {"a": [1]}),
    ],
)
def test_load(text: str, value: object) -> None:
    reader = ProfileReader("p")
    assert parse_yaml(text, reader) == value
    assert reader.problems == []


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("a: &x {b: 1}\nc: {b: 2, <<: *x}", [Rule.DUPLICATE_KEY]),
        ("a: !!int '4'\nb: !!str [", [Rule.SYNTAX]),
        ("a: 1\na: 2\nb: {c: 1, c: 2}", [Rule.DUPLICATE_KEY, Rule.DUPLICATE_KEY]),
        ("a: &x [{b: 1}]\nc: {<<: *x}", [Rule.SYNTAX]),
        ("a: &x <<\n*x : {b: 1}", [Rule.AMBIGUOUS]),  # Go: a key
        ("a: {? : 1}", [Rule.SYNTAX]),
        ("9223372036854775808: 1", [Rule.SYNTAX]),
        ("a: .nan\nb: [-.inf]", [Rule.TYPE, Rule.TYPE]),
        ("a: .nan\na: 1", [Rule.DUPLICATE_KEY]),
        ("Version: .nan\nversion: v1", []),
        # Go reads the first pair of braces, and nothing behind it
        ("{}: a", [Rule.AMBIGUOUS]),
        ("{}{>", [Rule.AMBIGUOUS]),
        ("# c\n---\n{ # c\n } : a", [Rule.AMBIGUOUS]),
        ("{? a : b}: c", [Rule.AMBIGUOUS]),
        ("{} a", [Rule.SECOND_DOCUMENT]),
        ("{a: b}: c", [Rule.SYNTAX]),
        ("a: 1\n...\n\x00", [Rule.AMBIGUOUS]),  # Go does not look so far
        ("a: 1\n@", [Rule.SYNTAX]),
        (r'a: "\'"', [Rule.AMBIGUOUS]),
        ("a: |# c\n  b", [Rule.AMBIGUOUS]),
        ("a: >-2#c\n  b", [Rule.AMBIGUOUS]),
        ("{a:, b: @}", [Rule.AMBIGUOUS]),
        ("{a :{b: 1}}", [Rule.AMBIGUOUS]),  # Go: the word "a :"
        ("{? a\n :[b]}", [Rule.AMBIGUOUS]),
        ("{a:, b: [*c]}", [Rule.AMBIGUOUS]),
        ('{"a":, b: "\\/"}', [Rule.SYNTAX]),  # behind quotes a colon needs no blank
        ('{a:, b: "\\/"}', [Rule.AMBIGUOUS]),
        ("a: \x00", [Rule.SYNTAX]),
        (r'{"a": "b\/c"}', [Rule.SYNTAX]),
        ("a: |\n  \tb\n", [Rule.AMBIGUOUS]),
        ("a: &a 1\nb: [" + "*a, " * 11 + "]", [Rule.SIZE]),
        ("{a:\t1}", [Rule.AMBIGUOUS]),
        ("\t\n{}", [Rule.AMBIGUOUS]),
        ("{a:{b: 1}}", [Rule.AMBIGUOUS]),  # Go: the word "a:", and then something unexpected
        ("{a:, b: 1}", [Rule.AMBIGUOUS]),  # Go: the key is "a:"
        ("a: \ufeff1", [Rule.AMBIGUOUS]),
        ("a: 1\u2028b: 2", [Rule.AMBIGUOUS]),
        ("a: 1 # \x85", [Rule.AMBIGUOUS]),
        ("a: 1\n--- [", [Rule.SECOND_DOCUMENT]),
        ("a: !x 1\nb: !!int 1", [Rule.TAG, Rule.TAG]),
        ("%TAG ! x:\n---\na: 1", [Rule.TAG]),
        ("# note\n\n%OTHER thing\n---\na: 1", [Rule.TAG]),
        ("[" * 5000, [Rule.SIZE]),
    ],
)
def test_load_refuses(text: str, rules: list[Rule]) -> None:
    reader = ProfileReader("p")
    parse_yaml(text, reader)
    assert [problem.rule for problem in reader.problems] == rules


def test_load_is_not_fooled_by_many_aliases() -> None:
    """A hundred lines that would grow to nine to the power of nine values."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for one, other in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{other}: &{other} [{', '.join([f'*{one}'] * 9)}]")
    reader = ProfileReader("p")
    parse_yaml("\n".join(lines), reader)
    assert [problem.rule for problem in reader.problems] == [Rule.SIZE]
