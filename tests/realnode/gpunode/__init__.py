# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real one-node Kubernetes for tests. PRIVATE to tests/realnode."""
