# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one module of the collection as a plain process, as the one that Ansible would start:
`module.py NAME ARGUMENTS`, the latter a file of JSON. Its result goes to standard output.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

from ansible.module_utils.testing import patch_module_args

MODULES = "ansible_collections.gpufleet.sharing.plugins.modules"


def main(name: str, arguments: str) -> None:
    given = json.loads(Path(arguments).read_text(encoding="utf-8"))
    with patch_module_args(given):
        import_module(f"{MODULES}.{name}").main()


if __name__ == "__main__":
    main(*sys.argv[1:])
