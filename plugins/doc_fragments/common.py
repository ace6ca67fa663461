# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that all modules of the collection share."""

from __future__ import annotations


class ModuleDocFragment:
    """Requirements and attributes."""

    DOCUMENTATION = r"""
options:
  option_names:
    description: >-
      What the caller calls options of this module, for messages, each an option and another name.
      The roles of this collection give the names of their variables.
    type: dict
    default: {}
requirements:
  - python >= 3.11
  - kubernetes >= 28.1.0
  - PyYAML >= 6.0.1
author:
  - gpufleet.sharing contributors (@gpufleet)
attributes:
  check_mode:
    description: Can run in check mode and report what would change, without changing anything.
    support: full
  diff_mode:
    description: Reports what has changed, or would change in check mode.
    support: full
  idempotent:
    description: A second run with the same input changes nothing.
    support: full
  action_group:
    description: Is in the action group C(gpufleet.sharing.all), for C(module_defaults).
    support: full
    membership: [gpufleet.sharing.all]
"""
