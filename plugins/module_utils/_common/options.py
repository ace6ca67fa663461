# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: names of options in messages.

A message marks an option, as O(batches). A role that runs the module maps it to the name of its
variable (option_names).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

OPTION_NAMES = "option_names"
_MARK = re.compile(r"O\(([a-z_]+)\)")


def with_names(text: str, names: Mapping[str, object] | None = None) -> str:
    """A message in which every marked option has the name that the reader uses."""
    known = names or {}
    return _MARK.sub(lambda mark: str(known.get(mark[1], mark[1])), text)
