# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A profile from a file of the user's, as docs/profiles.md has it."""

from __future__ import annotations

import re
from pathlib import Path

from ansible_collections.gpufleet.sharing.tests.unit.ansible_runs import (
    PROFILES,
    ROOT,
    group,
    run_playbook,
    write_hosts,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

CONTENT = """
version: v1
sharing:
  timeSlicing:
    resources:
    - {name: nvidia.com/gpu, replicas: 7}
"""


def test_lookup_of_the_documentation_finds_a_file_beside_the_inventory(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "profiles.md").read_text(encoding="utf-8")
    (lookup,) = re.findall(r'by-hand: "(.*lookup.*)"', page)
    profiles = {**PROFILES, "by-hand": lookup}
    groups = {"dev_gpus": group("n1", gpu_sharing_profile="by-hand")}
    inventory = write_hosts(tmp_path / "inv", groups, gpu_sharing_profiles=profiles)
    (tmp_path / "inv" / "by-hand.yaml").write_text(CONTENT, encoding="utf-8")
    run = run_playbook("gpufleet.sharing.validate", inventory)
    assert run.code == 0, run.text
    assert mentions(run.text, "dev_gpus by-hand 1 time-slicing 7")
