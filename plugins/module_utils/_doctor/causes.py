# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: groups of codes that other findings follow from, and the playbook that most advice
names. Pure.
"""

from __future__ import annotations

SITE = "the playbook gpufleet.sharing.site"

# The whole cluster runs no device plugin, or another one than expected.
NO_PLUGIN = ("GS001", "GS002", "GS003", "GS004", "GS005", "GS055")
# The plugin cannot load its file.
NO_CONTENT = ("GS007", "GS012", "GS013", "GS014", "GS015", "GS016")
# The node is not in a state in which a plugin can serve.
NODE_NOT_READY = ("GS021", "GS023", "GS025", "GS026", "GS027", "GS028", "GS029", "GS030", "GS057")
# Others hand out the GPUs of the node.
OTHER_PLUGINS = ("GS034", "GS036", "GS058", "GS059", "GS061", "GS062")
# Everything that leaves a node without a working plugin.
PLUGIN_DOWN = (*NO_PLUGIN, *NO_CONTENT, *NODE_NOT_READY, *OTHER_PLUGINS)
