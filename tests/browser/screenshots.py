# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the pictures of docs/report.md: `make pictures`. It needs a Chromium; fewer colours keep the
pictures small, where pngquant is installed. report.json lists the findings in the pictures, and a
test compares them with those of the current version.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.gpufleet.sharing.plugins.plugin_utils._report.model import (
    Report,
    make_report,
)
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._report.page import as_html
from ansible_collections.gpufleet.sharing.tests.browser.chromium import (
    Page,
    chromium,
    find_chromium,
)
from ansible_collections.gpufleet.sharing.tests.browser.fleets import fleet

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"
FINDINGS = PICTURES / "report.json"


@dataclass(frozen=True)
class Shot:
    name: str
    nodes: int
    width: int
    height: int
    dark: bool = False
    top: int = 0


SHOTS = (
    Shot("report-light", 5000, 1280, 1330),
    Shot("report-dark", 5000, 1280, 1330, dark=True, top=1330),
    Shot("report-small", 20, 1280, 1180),
    Shot("report-narrow", 20, 390, 1240, dark=True),
)


def report_of(shot: Shot) -> Report:
    large = shot.nodes > 1000
    return make_report([], fleet(shot.nodes, clusters=1 + large, lost=large))


def findings_in_pictures() -> list[dict[str, str]]:
    """The findings in all pictures, by code."""
    found = (finding for shot in SHOTS for finding in report_of(shot).findings)
    rows = {(one.code, one.severity, one.title) for one in found}
    return [dict(zip(("code", "severity", "title"), row, strict=True)) for row in sorted(rows)]


def take(page: Page, shot: Shot, folder: Path) -> None:
    report = report_of(shot)
    file = folder / f"{shot.nodes}.html"
    file.write_text(as_html(report, "2026-08-01 09:00 UTC"), encoding="utf-8")
    page.look(width=shot.width, dark=shot.dark)
    page.open(file)
    picture = PICTURES / f"{shot.name}.png"
    clip = {"x": 0, "y": shot.top, "width": shot.width, "height": shot.height}
    page.screenshot(picture, clip)
    if smaller := shutil.which("pngquant"):
        options = ("--force", "--strip", "--speed", "1", "--output", str(picture))
        subprocess.run([smaller, *options, "64", str(picture)], check=True)


def main() -> None:
    program = find_chromium()
    assert program, "there is no Chromium in the PATH: apt-get install chromium, or set CHROMIUM"
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder) / "profile"
        with chromium(program, profile) as page:
            for shot in SHOTS:
                take(page, shot, Path(folder))
    FINDINGS.write_text(json.dumps(findings_in_pictures(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
