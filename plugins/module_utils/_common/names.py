# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: labels and annotations that the collection writes."""

from __future__ import annotations

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "gpufleet.sharing"
PROFILES_ANNOTATION = "gpufleet.sharing/profiles"
OUR_PREFIX = "gpufleet.sharing/"
CONFIG_HASH_ANNOTATION = "gpufleet.sharing/config-hash"
LOADED_ANNOTATION = "gpufleet.sharing/loaded"  # how config-hash is known; see _rollout/loaded.py
CORDONED_ANNOTATION = "gpufleet.sharing/cordoned"  # by a run, while it evicts pods
PROFILE_LABEL = "nvidia.com/device-plugin.config"
