# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: reads and describes input values in terms of YAML."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import date
from decimal import Decimal
from itertools import islice
from typing import TypeGuard

from .errors import FleetError, joined
from .text import shorten

INT64 = 2**63
_WHOLE_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
_MAX_ENTRIES = 10
_MAX_DEPTH = 3
_LARGEST = 10**30
_WORDS = {
    **dict.fromkeys(("true", "yes", "on"), True),
    **dict.fromkeys(("false", "no", "off"), False),
}


def describe(value: object) -> str:
    """A value and its type, for messages: 19 (a number), 'x' (a string), null."""
    kind, quoted = kind_of(value), quote(value)
    return kind if quoted in ("", kind) else f"{quoted} ({kind})"


def quote(value: object) -> str:
    """A value as YAML writes it, in one line of limited length."""
    return shorten(_flow(value, _MAX_DEPTH))


def is_list(value: object) -> TypeGuard[Collection[object]]:
    """Whether a value is a sequence of values; strings and mappings are not."""
    return isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping)


def read_strings(
    where: str, values: Mapping[object, object], allowed: str
) -> dict[str, str | None]:
    """A mapping of strings; null and empty strings become None. Raises FleetError that lists all
    other values.
    """
    wrong = [
        f"{where} of {name} is {describe(value)}; allowed: {allowed}."
        for name, value in values.items()
        if not isinstance(value, str | None)
    ]
    if wrong:
        raise joined(FleetError, wrong)
    return {str(name): str(value) if value else None for name, value in values.items()}


def check_minimums(options: Mapping[str, int], minimums: Mapping[str, int]) -> None:
    """Raises FleetError that lists all options below their minimum."""
    wrong = [
        f"{name} is {options[name]}; allowed: {low} or more."
        for name, low in minimums.items()
        if options[name] < low
    ]
    if wrong:
        raise joined(FleetError, wrong)


def kind_of(value: object) -> str:
    """The type of a value, in terms of YAML."""
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (type(None), "null"),
        (bool, "a boolean"),
        ((int, float), "a number"),
        (str, "a string"),
        (date, "a date"),
        (Mapping, "a mapping"),
    )
    if is_list(value):
        return "a list"
    return next((name for of, name in kinds if isinstance(value, of)), "not a YAML value")


def _flow(value: object, depth: int) -> str:
    if isinstance(value, str):
        return f"'{shorten(value)}'"
    if isinstance(value, Mapping):
        pairs = (
            f"{_flow(key, 0)}: {_flow(value[key], depth - 1)}" if depth else "..." for key in value
        )
        return f"{{{_row(pairs)}}}"
    if is_list(value):
        return f"[{_row(_flow(entry, depth - 1) if depth else '...' for entry in value)}]"
    return _scalar(value)


def _row(entries: Iterable[str]) -> str:
    found = list(islice(entries, _MAX_ENTRIES + 1))
    return ", ".join([*found[:_MAX_ENTRIES], *(["..."] if len(found) > _MAX_ENTRIES else [])])


def _scalar(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(int(value)) if abs(value) < _LARGEST else "more than 30 digits"
    return str(value) if isinstance(value, float | date) else ""


def to_boolean(value: object, *, lenient: bool) -> bool | None:
    """A boolean; None for any other value. lenient also takes the words of Jinja and surveys."""
    if lenient and isinstance(value, str):
        return _WORDS.get(value.lower())
    return value if isinstance(value, bool) else None


def is_off(value: object) -> bool:
    """Whether a switch is off, as Helm and kubernetes.core read it: any other value is on."""
    return str(value).lower() in ("false", "no", "off", "0")


def to_whole_number(value: object, *, lenient: bool) -> int | None:
    """A whole number of 64 bits; None for any other value. lenient also takes digits as a string,
    as surveys give them.
    """
    if isinstance(value, bool):
        return None
    if lenient and isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
        return int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < INT64:
        return int(Decimal(repr(value)))
    # a plain int: numbers of Ansible carry tags, which a YAML writer rejects
    return int(value) if isinstance(value, int) and -INT64 <= value < INT64 else None
