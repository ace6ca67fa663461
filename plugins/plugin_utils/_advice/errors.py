# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the error of the filters that give advice."""

from __future__ import annotations

from ...module_utils._common.errors import SharingError


class AdviceError(SharingError):
    """Invalid input for advice."""
