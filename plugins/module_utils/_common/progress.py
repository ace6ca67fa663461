# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: progress lines of a running module."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TextIO


class Progress:
    """Appends lines to a file, unbuffered. Without a path, or if the file cannot be written, it
    drops the lines: they must not stop the run.
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
