# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: checks the arguments of filters, whose types Ansible does not check.

Each function raises ArgumentError with the value, in terms of YAML, and what is allowed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..module_utils._common.errors import SharingError
from ..module_utils._common.text import either
from ..module_utils._common.values import describe, is_list, quote, to_boolean

LABEL_LENGTH = 63


class ArgumentError(SharingError):
    """An argument of a filter is not valid."""


def refused(where: str, value: object, allowed: str) -> ArgumentError:
    return ArgumentError(f"{where} is {describe(value)}; allowed: {allowed}.")


def mapping(where: str, value: object, allowed: str) -> Mapping[object, object]:
    if isinstance(value, Mapping):
        return value
    raise refused(where, value, allowed)


def entries(where: str, value: object, allowed: str) -> Collection[object]:
    """A list, or another collection of values; a string is not one."""
    if is_list(value):
        return value
    raise refused(where, value, allowed)


def text(where: str, value: object, allowed: str = "a string") -> str:
    if isinstance(value, str):
        return value
    raise refused(where, value, allowed)


def text_or_null(where: str, value: object) -> str | None:
    return None if value is None else text(where, value, "a string, or null")


def texts(where: str, value: object, allowed: str) -> list[str]:
    found = entries(where, value, allowed)
    return [text(f"{where}[{at}]", entry) for at, entry in enumerate(found)]


def boolean(where: str, value: object) -> bool:
    """A boolean, also as a string from Jinja or a survey."""
    found = to_boolean(value, lenient=True)
    if found is None:
        raise refused(where, value, "true or false")
    return found


def choice(where: str, value: object, allowed: Collection[str]) -> str:
    """One of the allowed strings; empty for null and for an empty string."""
    if value is None or value == "":
        return ""
    if isinstance(value, str) and value in allowed:
        return str(value)
    raise refused(where, value, either(allowed))


def labels(where: str, value: object) -> dict[str, str]:
    """A node's labels. Numbers and booleans become strings, as on the node."""
    found = mapping(where, value, "a mapping, the labels of a node")
    return {text("a label's name", name): _label(where, name, found[name]) for name in found}


def _label(where: str, name: object, value: object) -> str:
    if isinstance(value, str | int | float):
        written = str(value) if isinstance(value, str) else quote(value)
        if len(written) <= LABEL_LENGTH:
            return written
    raise refused(f"{where}['{name}']", value, f"a string of at most {LABEL_LENGTH} characters")


def nodes(value: object) -> list[Mapping[object, object]]:
    """Nodes, with any keys."""
    found = enumerate(entries("the input", value, "a list of nodes"))
    return [mapping(f"nodes[{at}]", node, "a mapping") for at, node in found]


def assigned(where: str, node: Mapping[Any, object]) -> tuple[str, str | None, bool]:
    """A node's name, its profile or null, and whether it is selected."""
    name, profile, selected = (
        _required(where, node, key) for key in ("name", "profile", "selected")
    )
    return (
        text(f"{where}.name", name),
        text_or_null(f"{where}.profile", profile),
        boolean(f"{where}.selected", selected),
    )


def _required(where: str, value: Mapping[Any, object], key: str) -> object:
    if key in value:
        return value[key]
    raise ArgumentError(f"{where} is {quote(value)}; {key} is required.")
