# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: what a user gave, told in YAML's terms and never in Python's."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import date
from decimal import Decimal
from itertools import islice
from typing import TypeGuard

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    FleetError,
    joined,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import shorten

INT64 = 2**63
_WHOLE_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
_MOST_ENTRIES = 10
_MOST_DEPTH = 3
_LARGEST = 10**30


def describe(value: object) -> str:
    """A value and what it is: 19 (a number), 'x' (a text), null."""
    kind = _kind(value)
    said = quote(value)
    if not said or said == kind:
        return kind
    return f"{said} ({kind})"


def quote(value: object) -> str:
    """A value as YAML writes it in one line, cut to a readable length."""
    return shorten(_flow(value, _MOST_DEPTH))


def is_list(value: object) -> TypeGuard[Collection[object]]:
    """Whether a value is several values in a row; a text and a mapping are not."""
    return isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping)


def read_strings(
    where: str, values: Mapping[object, object], allowed: str
) -> dict[str, str | None]:
    """A mapping of texts, None for null and for an empty text. Raises FleetError with all values
    that are something else.
    """
    wrong = [
        f"{where} of {name} is {describe(value)}; allowed: {allowed}."
        for name, value in values.items()
        if not isinstance(value, str | None)
    ]
    if wrong:
        raise joined(FleetError, wrong)
    return {str(name): str(value) if value else None for name, value in values.items()}


def check_minimums(options: Mapping[str, int], least: Mapping[str, int]) -> None:
    """Raises FleetError with all options that are less than they have to be at least."""
    wrong = [
        f"{name} is {options[name]}; allowed: {low} or more."
        for name, low in least.items()
        if options[name] < low
    ]
    if wrong:
        raise joined(FleetError, wrong)


def _kind(value: object) -> str:
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (type(None), "null"),
        (bool, "a truth value"),
        ((int, float), "a number"),
        (str, "a text"),
        (date, "a date"),
        (Mapping, "a mapping"),
    )
    if is_list(value):
        return "a list"
    return next((name for of, name in kinds if isinstance(value, of)), "no value of YAML")


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
    found = list(islice(entries, _MOST_ENTRIES + 1))
    return ", ".join([*found[:_MOST_ENTRIES], *(["..."] if len(found) > _MOST_ENTRIES else [])])


def _scalar(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(int(value)) if abs(value) < _LARGEST else "more than 30 digits"
    return str(value) if isinstance(value, float | date) else ""


def to_whole_number(value: object, *, lenient: bool) -> int | None:
    """A whole number of 64 bits out of what YAML, JSON or (lenient) a survey gave."""
    if isinstance(value, bool):
        return None
    if lenient and isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
        return int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < INT64:
        return int(Decimal(repr(value)))
    # Ansible's own numbers and texts carry tags, which a YAML writer does not know: plain ones
    return int(value) if isinstance(value, int) and -INT64 <= value < INT64 else None
