# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/findings.md has the texts of the doctor's findings."""

from __future__ import annotations

import findings_page


def test_page_is_up_to_date() -> None:
    """Otherwise: .venv/bin/python tests/tools/findings_page.py"""
    assert findings_page.PAGE.read_text(encoding="utf-8") == findings_page.page()
