# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures of the report show findings of this version. If a test fails: `make pictures`."""

from __future__ import annotations

import json
import re

from ansible_collections.gpufleet.sharing.tests.browser.screenshots import (
    FINDINGS,
    PICTURES,
    SHOTS,
    findings_in_pictures,
)

ROW = re.compile(r"^\| \[(GS\d+)\]\(#gs\d+\) \| (\w+) \| (.+?) \| ", re.MULTILINE)
SEVERITIES = ("error", "warning", "info")


def test_findings_in_pictures_are_on_the_page_of_findings() -> None:
    text = (PICTURES.parent / "findings.md").read_text(encoding="utf-8")
    page = {code: (severity, title) for code, severity, title in ROW.findall(text)}
    shown = json.loads(FINDINGS.read_text(encoding="utf-8"))
    assert len(shown) > 3
    for finding in shown:
        severity, title = page[finding["code"]]
        assert finding["title"] == title
        assert SEVERITIES.index(finding["severity"]) <= SEVERITIES.index(severity)


def test_pictures_are_those_of_the_current_fleets() -> None:
    assert json.loads(FINDINGS.read_text(encoding="utf-8")) == findings_in_pictures()
    assert {f"{shot.name}.png" for shot in SHOTS} == {
        path.name for path in PICTURES.glob("report-*.png")
    }
