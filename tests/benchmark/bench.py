# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the collection, and others, on a lab: `make bench NODES=200`, or this with --help."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:] = [str(ROOT / ".build" / "collections"), *sys.path[1:]]

from ansible_collections.gpufleet.sharing.tests.benchmark.main import main  # noqa: E402  (found through the line above)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
