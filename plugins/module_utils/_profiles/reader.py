# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: reads the settings of one profile and collects its problems."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .._common.text import shorten
from .._common.values import quote, to_boolean, to_whole_number
from .rules import Problem, Rule


@dataclass
class ProfileReader:
    """Reads the settings of one profile and collects all problems.

    lenient also takes numbers and booleans as strings, as surveys and -e give them. A file's text
    is read strictly, as the plugin reads it.
    """

    subject: str
    lenient: bool = True
    problems: list[Problem] = field(default_factory=list)

    def problem(self, rule: Rule, where: str, text: str) -> None:
        message = f"{self.subject}: {where} {text}." if where else f"{self.subject} {text}."
        self.problems.append(Problem(rule, message))

    def reject(self, rule: Rule, where: str, value: object, allowed: str) -> None:
        self.problem(rule, where, f"is {quote(value)}; allowed: {allowed}")

    def unknown_key(
        self, where: str, key: object, value: object, known: Sequence[str], place: str = ""
    ) -> None:
        """Report a key that is not in known, with a similar key or the place where it belongs."""
        near = difflib.get_close_matches(str(key).lower(), [k.lower() for k in known], n=1)
        hints = [f" Did you mean {name}?" for name in known if near == [name.lower()]]
        if place and not hints:
            hints = [f" In the plugin's own keys it belongs at {place}."]
        below = f" in {where}" if where else ""
        name = join_path(where, shorten(str(key)))
        message = (
            f"{self.subject}: {name} (value {quote(value)}) is not a setting"
            f" of a profile; allowed{below}: {', '.join(known)}.{''.join(hints)}"
        )
        self.problems.append(Problem(Rule.UNKNOWN_KEY, message))

    def mapping(self, where: str, value: object, example: str) -> Mapping[object, object]:
        """A mapping; empty for any other value."""
        if isinstance(value, Mapping):
            return value
        self.reject(Rule.TYPE, where, value, f"a mapping, for example {example}")
        return {}

    def whole_number(self, where: str, value: object, allowed: str) -> int | None:
        """A whole number of 64 bits, None for any other value. 4.0 is one, as for the plugin."""
        number = to_whole_number(value, lenient=self.lenient)
        if number is None:
            self.reject(Rule.TYPE, where, value, allowed)
        return number

    def boolean(self, where: str, value: object, *, default: bool) -> bool:
        """A boolean; null means the default, as for the plugin."""
        if value is None:
            return default
        found = to_boolean(value, lenient=self.lenient)
        if found is None:
            self.reject(Rule.TYPE, where, value, "true or false")
        return default if found is None else found

    def text(self, where: str, value: object) -> str | None:
        """A string, None for any other value."""
        if isinstance(value, str):
            if value.isprintable() or value == "":
                return str(value)
            self.reject(Rule.CONTROL, where, ascii(value), "a string of printable characters")
            return None
        plain = isinstance(value, bool | int | float)
        self.reject(Rule.TYPE, where, value, "a string. Put it in quotes" if plain else "a string")
        return None


def join_path(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
