# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the one reading of inputs: which values of variables count as a text, a number, a
boolean or as not set.

Inventories, -e and surveys of AWX give the same value in different types, which also depend on the
version of ansible-core: from 2.19 on, it reads '', 'true', '10' and '2026-11-30' of AWX as null, a
boolean, a number and a date. Whatever is clear is accepted; the rest is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .values import describe, is_list, kind_of, to_whole_number

NULLS = ("", "~", "null", "Null", "NULL")  # in YAML
_WORDS = ("true", "yes", "on", "1", "false", "no", "off", "0")


def is_blank(value: object) -> bool:
    """Whether an answer is left out: null, or a text without anything in it."""
    return value is None or (isinstance(value, str) and value.strip() in NULLS)


def input_problem(name: str, value: object, kind: str) -> str:
    """A message if a value cannot be read as the kind of an option; empty if it can, and for null.

    Values of texts are not quoted: they may be secret.
    """
    if value is None or kind not in _KINDS:
        return ""
    fits, allowed = _KINDS[kind]
    if fits(value):
        return ""
    found = kind_of(value) if kind in ("str", "path") else describe(value)
    return f"{name} is {found}; allowed: {allowed}."


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_boolean(value: object) -> bool:
    return str(value).lower() in _WORDS


def _is_whole_number(value: object) -> bool:
    text = value.strip().removeprefix("-") if isinstance(value, str) else value
    return to_whole_number(text, lenient=True) is not None


def _is_text(value: object) -> bool:
    """A whole number is one, since its digits are what was written."""
    return isinstance(value, str) or (_is_number(value) and not isinstance(value, float))


def _is_list(value: object) -> bool:
    """A list, a single entry, or entries with commas between them."""
    if isinstance(value, str):
        return not value.lstrip().startswith(("[", "{"))
    return is_list(value) or _is_number(value)


_TEXT = (
    "a text. In an inventory, put it in quotes; from a survey of AWX, it must not look like a"
    " boolean, a date or a number with a fraction"
)
_KINDS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "bool": (_is_boolean, "true or false"),
    "int": (_is_whole_number, "a whole number"),
    "str": (_is_text, _TEXT),
    "path": (_is_text, _TEXT),
    "list": (_is_list, "a list, or its entries in one text, with commas between them"),
    "dict": (
        lambda value: isinstance(value, Mapping),
        "a mapping. A survey of AWX gives texts only: write it into the variables of the inventory"
        " or of the job template",
    ),
}
