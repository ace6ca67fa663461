# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: reads the settings of one profile and collects its problems."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import shorten
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.values import (
    quote,
    to_whole_number,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rules import Problem, Rule

_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")


@dataclass
class ProfileReader:
    """Reads the settings of one profile and collects what is wrong, so that a user sees all
    problems at once.

    lenient takes numbers and truth values also as texts, as surveys and -e give them; a file's
    text is read strictly, as the plugin reads it.
    """

    subject: str
    lenient: bool = True
    problems: list[Problem] = field(default_factory=list)

    def problem(self, rule: Rule, where: str, text: str) -> None:
        said = f"{self.subject}: {where} {text}." if where else f"{self.subject} {text}."
        self.problems.append(Problem(rule, said))

    def refuse(self, rule: Rule, where: str, value: object, allowed: str) -> None:
        self.problem(rule, where, f"is {quote(value)}; allowed: {allowed}")

    def unknown_key(
        self, where: str, key: object, value: object, known: Sequence[str], place: str = ""
    ) -> None:
        """A key that is none of known; with what may be meant, or where (place) it belongs."""
        near = difflib.get_close_matches(str(key).lower(), [k.lower() for k in known], n=1)
        hints = [f" Did you mean {name}?" for name in known if near == [name.lower()]]
        if place and not hints:
            hints = [f" In the plugin's own keys it belongs at {place}."]
        below = f" in {where}" if where else ""
        name = join_path(where, shorten(str(key)))
        said = (
            f"{self.subject}: {name} (value {quote(value)}) is not a setting"
            f" of a profile; allowed{below}: {', '.join(known)}.{''.join(hints)}"
        )
        self.problems.append(Problem(Rule.UNKNOWN_KEY, said))

    def mapping(self, where: str, value: object, example: str) -> Mapping[object, object]:
        """A mapping, empty where there is none."""
        if isinstance(value, Mapping):
            return value
        self.refuse(Rule.TYPE, where, value, f"a mapping, for example {example}")
        return {}

    def whole_number(self, where: str, value: object, allowed: str) -> int | None:
        """A whole number of 64 bits, None where it is not one. 4.0 is one, as for the plugin."""
        number = to_whole_number(value, lenient=self.lenient)
        if number is None:
            self.refuse(Rule.TYPE, where, value, allowed)
        return number

    def boolean(self, where: str, value: object, *, default: bool) -> bool:
        """A truth value; null means the default, as for the plugin."""
        if value is None:
            return default
        if self.lenient and isinstance(value, str) and value.lower() in (*_TRUE, *_FALSE):
            return value.lower() in _TRUE
        if not isinstance(value, bool):
            self.refuse(Rule.TYPE, where, value, "true or false")
            return default
        return value

    def text(self, where: str, value: object) -> str | None:
        """A text, None where it is not one."""
        if isinstance(value, str):
            if value.isprintable() or value == "":
                return str(value)
            self.refuse(
                Rule.CONTROL, where, ascii(value), "a text of one line, of letters and signs"
            )
            return None
        plain = isinstance(value, bool | int | float)
        self.refuse(Rule.TYPE, where, value, "a text. Put it in quotes" if plain else "a text")
        return None


def join_path(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
