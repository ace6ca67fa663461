# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: lines on progress, from a module that is still running to the people
who wait for it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TextIO


class Progress:
    """Adds lines to a file, each at once. Without a path, or where it cannot be written, they go
    nowhere: they are no reason to end what they tell of.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._file: TextIO | None = None

    def __enter__(self) -> Progress:
        if self._path:
            with suppress(OSError):
                self._file = Path(self._path).open("a", encoding="utf-8", buffering=1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        file, self._file = self._file, None
        if file:
            with suppress(OSError):
                file.close()

    def __call__(self, line: str) -> None:
        if self._file:
            with suppress(OSError):
                self._file.write(" ".join(line.split()) + "\n")
