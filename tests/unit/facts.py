# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts in texts. Tests check the names and numbers that a message contains, not its sentences."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.]*\w)")


def mentions(text: object, *facts: object) -> bool:
    """Whether a text contains all facts as they are written. Fails with those that it lacks."""
    lacking = [str(fact) for fact in facts if str(fact) not in str(text)]
    assert not lacking, f"{lacking} not in {text!r}"
    return True


def numbers(text: object) -> list[float]:
    """The numbers that stand alone in a text, in ascending order."""
    return sorted(float(number) for number in _NUMBER.findall(str(text)))
