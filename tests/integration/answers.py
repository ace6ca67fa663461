# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts in what a run printed: results of tasks, and texts that name given values.

Tests look for values that a reader needs (names, numbers, codes, options), never for wording.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RESULT = re.compile(
    r"^(?P<status>ok|changed|failed|fatal|skipping): \[\S+?(?: -> \S+?)?\](?:: [A-Z]+!)?"
    r"(?: \(item=.*\))? => (?=\{)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Answers:
    """The results that Ansible printed, and its other lines."""

    results: Sequence[Mapping[str, Any]]
    failures: Sequence[Mapping[str, Any]]
    lines: Sequence[str]

    @property
    def texts(self) -> list[str]:
        """Every line of every text, the results' texts included."""
        return [*self.lines, *texts_of(self.results)]


def read(output: str) -> Answers:
    """The answers in the output of ansible-playbook (with ANSIBLE_CALLBACK_RESULT_FORMAT=json)."""
    results, failures, lines, place = [], [], [], 0
    for found in RESULT.finditer(output):
        if found.start() < place:
            continue
        lines += output[place : found.start()].splitlines()
        result, place = json.JSONDecoder().raw_decode(output, found.end())
        results.append(result)
        if found["status"] in ("failed", "fatal"):
            failures.append(result)
    return Answers(results, failures, [*lines, *output[place:].splitlines()])


def texts_of(value: object) -> Iterator[str]:
    """Every line of every text in a value; those of a mapping begin with their keys."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            if name != "invocation":
                yield from (f"{name}: {text}" for text in texts_of(each))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from texts_of(each)
    else:
        yield from str(value).splitlines()


def mentions(text: str, *values: object) -> bool:
    """Whether a text contains each value as a word of its own: gpu-1 is not in gpu-10."""
    return all(
        re.search(rf"(?<![\w.-]){re.escape(str(value))}(?![\w-]|\.\w)", text) for value in values
    )


def naming(texts: Iterator[str] | Sequence[str], *values: object) -> list[str]:
    """Those of the texts that contain each value."""
    return [text for text in texts if mentions(text, *values)]
