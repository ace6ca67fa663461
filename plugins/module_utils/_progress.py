# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: lines on progress, from a module that is still running to the people
who wait for it.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TextIO


class Progress:
    """Adds lines to a file, each at once; without a path they go nowhere."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._file: TextIO | None = None

    def __enter__(self) -> Progress:
        if self._path:
            self._file = Path(self._path).open("a", encoding="utf-8", buffering=1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file:
            self._file.close()

    def __call__(self, line: str) -> None:
        if self._file:
            self._file.write(" ".join(line.split()) + "\n")
