# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: options in messages.

A message marks the option that it is about, as O(batches). Whoever runs a module may know the
option under another name, such as that of a role's variable: option_names says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

OPTION_NAMES = "option_names"
_MARK = re.compile(r"O\(([a-z_]+)\)")


def with_names(text: str, names: Mapping[str, object] | None = None) -> str:
    """A message with every marked option under the name by which the reader knows it."""
    known = names or {}
    return _MARK.sub(lambda mark: str(known.get(mark[1], mark[1])), text)
