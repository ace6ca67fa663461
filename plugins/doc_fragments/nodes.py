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
      All nodes of the cluster in the inventory, including those outside the limit.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Name of the node in Kubernetes., type: str, required: true}
      profile: {description: Profile of the node; omit it for the default profile., type: str}
      group: {description: Its group; batches are spread over groups., type: str, default: ""}
      gpus: {description: Number of physical GPUs if the inventory states it., type: int}
      host: {description: Name of the node in the inventory. Not used., type: str}
      selected: {description: Whether the node is inside the limit., type: bool, default: true}
"""
