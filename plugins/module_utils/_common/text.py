# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: short texts for messages: counts, lists of names, shortened values."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

LINE = 80  # characters
_COMMAND = re.compile(r"`([^`]+)`")


def plural(count: int, noun: str) -> str:
    """A count with its noun: 1 node, 2 nodes, 5,000 nodes."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def some(names: Sequence[str], most: int = 20) -> str:
    """The first names of a list, separated by commas, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    """The names with each reason, from a reason for each name."""
    found: dict[str, list[str]] = {reason: [] for reason in sorted(set(reasons.values()))}
    for name, reason in reasons.items():
        found[reason].append(name)
    return found


def either(names: Collection[str]) -> str:
    """The names of a choice: a, b or c."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def both(parts: Sequence[str]) -> str:
    """All parts of a sentence: a, b and c."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def shorten(text: str) -> str:
    """A text of at most one line; an ellipsis marks the missing end."""
    return text if len(text) <= LINE else f"{text[: LINE - 3]}..."


def split_commands(text: str) -> Iterator[tuple[str, bool]]:
    """The parts of a text in turn, and whether each is a command, which is between backticks."""
    for number, part in enumerate(_COMMAND.split(text)):
        command = bool(number % 2)
        words = part if command else part.lstrip(" ;,.\n" if number else " ").rstrip()
        if words:
            yield words, command
