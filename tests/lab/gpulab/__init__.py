# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""PRIVATE. The laboratory behind tests/lab/lab; its commands are its only interface."""
