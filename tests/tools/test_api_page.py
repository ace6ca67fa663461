# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/api.md lists the variables, modules and filters that there are."""

from __future__ import annotations

import api_page
from collection_tree import ROOT

TEXT = api_page.PAGE.read_text(encoding="utf-8")


def test_tables_are_up_to_date() -> None:
    """Otherwise: .venv/bin/python tests/tools/api_page.py"""
    assert api_page.page(TEXT) == TEXT


def test_every_module_and_filter_is_public_or_internal() -> None:
    modules = {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}
    filters = {path.stem for path in (ROOT / "plugins" / "filter").glob("*.yml")}
    assert {name for name in modules | filters if f"`{name}`" not in TEXT} == set()
