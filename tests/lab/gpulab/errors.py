# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one exception of the laboratory."""

from __future__ import annotations

from pathlib import Path

_LINES_OF_LOG = 20


class LabError(Exception):
    """Something the user can act on: what, where and what to do next, in one message."""


class ProgramFailed(LabError):
    """A program that did not come up, with the end of its log."""

    def __init__(self, log: Path, program: str, what: str) -> None:
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        tail = "\n".join(f"  {line}" for line in lines[-_LINES_OF_LOG:])
        super().__init__(f"{program} {what}; the end of its log:\n{tail}")
