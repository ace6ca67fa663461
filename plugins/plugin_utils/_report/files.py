# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: the three files of a report: planned as texts, then written."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ...module_utils._common.errors import SharingError
from .markdown import as_markdown
from .model import Report, as_dict
from .page import as_html

MODE = 0o644
MADE = "made"  # the only part of the JSON file that differs from run to run


class ReportError(SharingError):
    """A report that cannot be written."""


@dataclass(frozen=True)
class File:
    """A file as it is (None: missing) and as it is to be."""

    path: Path
    before: str | None
    after: str


@dataclass(frozen=True)
class Files:
    """The files of a report; changed shows whether anything except the time differs."""

    page: File
    data: File
    summary: File
    changed: bool

    @property
    def each(self) -> tuple[File, File, File]:
        return self.page, self.data, self.summary

    def diff(self) -> list[dict[str, str]]:
        """The summary in full, of the others only that they change: they may be large."""
        if not self.changed:
            return []
        shown = [_diff(self.summary.path, self.summary.before or "", self.summary.after)]
        for file in (self.page, self.data):
            before = "there is no such file\n" if file.before is None else "as it is\n"
            shown.append(_diff(file.path, before, "the report in the other form\n"))
        return shown


def plan_files(report: Report, page: Path, now: datetime) -> Files:
    """What has to be written so that the report is at page, and beside it."""
    if page.suffix != ".html":
        raise ReportError(f"The report's path is '{page}'; it has to end in .html.")
    said = f"{now:%Y-%m-%d %H:%M} UTC"
    data = {MADE: f"{now:%Y-%m-%dT%H:%M:%SZ}", **as_dict(report)}
    page_file, data_file, summary = (
        File(path, _text(path), text)
        for path, text in (
            (page, as_html(report, said)),
            (page.with_suffix(".json"), f"{json.dumps(data, ensure_ascii=False, indent=1)}\n"),
            (page.with_suffix(".md"), as_markdown(report, said)),
        )
    )
    missing = any(file.before is None for file in (page_file, data_file, summary))
    changed = missing or _differs(data_file.before or "", data)
    return Files(page_file, data_file, summary, changed)


def write(files: Files) -> None:
    for file in files.each:
        try:
            file.path.parent.mkdir(parents=True, exist_ok=True)
            _replace(file.path, file.after)
        except OSError as error:
            raise ReportError(f"{file.path} cannot be written: {error.strerror}.") from None


def _replace(path: Path, text: str) -> None:
    """Write beside the file, then take its place, so that nobody ever reads half of it."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
            os.fchmod(file.fileno(), MODE)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ReportError(f"{path} cannot be read: {error.strerror}.") from None


def _differs(before: str, data: dict[str, object]) -> bool:
    try:
        known = json.loads(before)
    except ValueError:
        return True
    if not isinstance(known, dict):
        return True
    known[MADE] = data[MADE]
    return bool(known != json.loads(json.dumps(data)))


def _diff(path: Path, before: str, after: str) -> dict[str, str]:
    return {"before_header": str(path), "after_header": str(path), "before": before, "after": after}
