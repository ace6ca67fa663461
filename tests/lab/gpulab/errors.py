# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one exception of the laboratory."""

from __future__ import annotations


class LabError(Exception):
    """Something the user can act on: what, where and what to do next, in one message."""
