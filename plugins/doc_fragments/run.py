# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the option run, which modules that write share."""

from __future__ import annotations


class ModuleDocFragment:
    """The name of a run."""

    DOCUMENTATION = r"""
options:
  run:
    description: >-
      Name of the run, for the Lease that one writing run holds at a time. By default user, host
      and process.
    type: str
    default: ""
"""
