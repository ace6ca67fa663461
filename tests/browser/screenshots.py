# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the pictures of docs/report.md: `PYTHONPATH=.build/collections python
tests/browser/screenshots.py`. Fewer colours keep them small, where pngquant is installed.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.gpufleet.sharing.plugins.plugin_utils._report.model import make_report
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._report.page import as_html
from ansible_collections.gpufleet.sharing.tests.browser.chromium import (
    Page,
    chromium,
    find_chromium,
)
from ansible_collections.gpufleet.sharing.tests.browser.fleets import fleet

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"


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


def take(page: Page, shot: Shot, folder: Path) -> None:
    large = shot.nodes > 1000
    report = make_report([], fleet(shot.nodes, clusters=1 + large, lost=large))
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
    assert program, "there is no Chromium in the PATH"
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder) / "profile"
        with chromium(program, profile) as page:
            for shot in SHOTS:
                take(page, shot, Path(folder))


if __name__ == "__main__":
    main()
