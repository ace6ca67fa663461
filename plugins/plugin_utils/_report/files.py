# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the three files of a report: planning and writing them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ...module_utils._common.errors import SharingError
from ...module_utils._common.files import replace_file
from .markdown import as_markdown
from .model import Report, as_dict
from .page import as_html

MODE = 0o644
MADE = "made"  # key of the time in the JSON file: all that differs between equal reports


class ReportError(SharingError):
    """A report that cannot be written."""


@dataclass(frozen=True)
class File:
    """The current content of a file, None if it is missing, and the planned one."""

    path: Path
    before: str | None
    after: str


@dataclass(frozen=True)
class Files:
    """The files of a report. changed is whether anything except the time differs."""

    page: File
    data: File
    summary: File
    changed: bool

    @property
    def each(self) -> tuple[File, File, File]:
        return self.page, self.data, self.summary

    def diff(self) -> list[dict[str, str]]:
        """The summary in full. The other files may be large: only that they change."""
        if not self.changed:
            return []
        shown = [_diff(self.summary.path, self.summary.before or "", self.summary.after)]
        for file in (self.page, self.data):
            before = "there is no such file\n" if file.before is None else "as it is\n"
            shown.append(_diff(file.path, before, "the report in the other form\n"))
        return shown


def plan_files(report: Report, page: Path, now: datetime) -> Files:
    """Plan the report at page, with the JSON and Markdown files beside it."""
    if page.suffix != ".html":
        raise ReportError(f"The report's path is '{page}'; it has to end in .html.")
    read_at = f"{now:%Y-%m-%d %H:%M} UTC"
    data = {MADE: f"{now:%Y-%m-%dT%H:%M:%SZ}", **as_dict(report)}
    page_file, data_file, summary = (
        File(path, _read(path), content)
        for path, content in (
            (page, as_html(report, read_at)),
            (page.with_suffix(".json"), f"{json.dumps(data, ensure_ascii=False, indent=1)}\n"),
            (page.with_suffix(".md"), as_markdown(report, read_at)),
        )
    )
    missing = any(file.before is None for file in (page_file, data_file, summary))
    changed = missing or _differs(data_file.before or "", data)
    return Files(page_file, data_file, summary, changed)


def write(files: Files) -> None:
    for file in files.each:
        try:
            file.path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(file.path, file.after, MODE)
        except OSError as error:
            raise ReportError(f"{file.path} cannot be written: {error.strerror}.") from None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ReportError(f"{path} cannot be read: {error.strerror}.") from None


def _differs(before: str, data: dict[str, object]) -> bool:
    try:
        previous = json.loads(before)
    except ValueError:
        return True
    if not isinstance(previous, dict):
        return True
    previous[MADE] = data[MADE]
    return bool(previous != json.loads(json.dumps(data)))


def _diff(path: Path, before: str, after: str) -> dict[str, str]:
    return {"before_header": str(path), "after_header": str(path), "before": before, "after": after}
