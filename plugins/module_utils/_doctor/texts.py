# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: values in the texts of findings. A text puts a command between backticks, and its
values in the format q, which quotes them for a shell. {count:node} is 1 node or 2 nodes. Pure.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence

from .._common.text import plural, split_commands

MOST_NAMES = 20


class _Value(str):
    """A value. The format q quotes it as a word for a shell, and j for a JSON string that is
    inside single quotes.
    """

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        if spec == "q":
            return shlex.quote(self)
        if spec == "j":
            return json.dumps(self)[1:-1].replace("'", "'\"'\"'")
        return super().__format__(spec)


class _Count(int):
    """A count. Any format is the noun that it counts."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return plural(int(self), spec) if spec else str(int(self))


class Nodes:
    """Names of nodes: the first ones, and in the format q all of them for a shell."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def __str__(self) -> str:
        return format(self)

    def __format__(self, spec: str) -> str:
        if spec == "q":
            return shlex.join(self._names)
        more = " ..." if len(self._names) > MOST_NAMES else ""
        return " ".join(self._names[:MOST_NAMES]) + more


def text_values(
    values: Mapping[str, str], count: int, node: str, nodes: Sequence[str]
) -> Mapping[str, object]:
    """The values for the texts of a finding, of which node is the first one."""
    words = {name: _Value(value) for name, value in {**values, "node": node}.items()}
    return {**words, "count": _Count(count), "nodes": Nodes(nodes)}


def commands(text: str) -> list[str]:
    """The commands in a text."""
    return [part for part, is_command in split_commands(text) if is_command]
