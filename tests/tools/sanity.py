# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run `ansible-test sanity ARGUMENTS` on the copy that collection_tree.py makes.

Nothing but PyPI is needed: ansible-test would download a pip bootstrap from
ci-files.testing.ansible.com, so its cache gets one that uses ensurepip. No test is left out; pslint
(it wants PowerShell) has nothing to look at.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from collection_tree import TREE

CACHE = Path.home() / ".ansible" / "test" / "cache"
# The pip that ansible-test of ansible-core 2.19 and of 2.21 asks for
PIP_VERSIONS = ("24.2", "25.2")
BOOTSTRAP = '''\
"""Install pip, then the packages given, without get-pip.py (seeded by gpufleet.sharing)."""

import subprocess
import sys

packages = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
subprocess.check_call([sys.executable, "-m", "ensurepip"], stdout=subprocess.DEVNULL)
pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "-q"]
subprocess.check_call([*pip, *packages])
'''


def seed_bootstrap(cache: Path) -> None:
    """Write the pip bootstraps that the cache lacks."""
    cache.mkdir(parents=True, exist_ok=True)
    for version in PIP_VERSIONS:
        script = cache / f"get_pip_{version.replace('.', '_')}.py"
        if not script.exists():
            script.write_text(BOOTSTRAP)


def main(arguments: list[str]) -> int:
    """Return the exit status of ansible-test."""
    seed_bootstrap(CACHE)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    command = ["ansible-test", "sanity", "--python", python, "--color", "no", *arguments]
    # Told where the content is, ansible-test does not look for a git repository above it.
    environment = os.environ | {"ANSIBLE_TEST_CONTENT_ROOT": str(TREE)}
    return subprocess.run(command, cwd=TREE, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
