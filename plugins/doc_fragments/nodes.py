# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the option nodes, which several modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """The nodes of one cluster."""

    DOCUMENTATION = r"""
options:
  nodes:
    description: >-
      All nodes of the cluster that the inventory has, those outside of a limit included.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Name of the node in Kubernetes., type: str, required: true}
      profile: {description: Its profile; null for the default one., type: str}
      group: {description: A group of it, over which batches are spread., type: str, default: ""}
      gpus: {description: Its number of physical GPUs where the inventory states it., type: int}
      host: {description: Its name in the inventory. Not used., type: str}
      selected: {description: Whether it is inside the limit., type: bool, default: true}
"""
