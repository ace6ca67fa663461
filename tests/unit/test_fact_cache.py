# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet is kept once, also where Ansible keeps facts in files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def test_fact_cache_gets_the_fleet_once_and_not_for_each_node(tmp_path: Path) -> None:
    nodes: dict[str, object] = {"children": {"dev_gpus": {"hosts": {"gpu-[01:20]": {}}}}}
    profiles = {"gpu_sharing_profiles": {"default": {"replicas": 4}}}
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(
        yaml.safe_dump({"all": {"children": {"gpu_nodes": nodes}, "vars": profiles}}),
        encoding="utf-8",
    )
    facts = tmp_path / "facts"
    environ = os.environ | {
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build" / "collections"),
        "ANSIBLE_CACHE_PLUGIN": "jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(facts),
        "ANSIBLE_LOCALHOST_WARNING": "0",
    }
    tool = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [tool, "gpufleet.sharing.validate", "-i", inventory],
        env=environ,
        check=False,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "dev_gpus" in done.stdout
    (only,) = facts.iterdir()
    assert only.name.endswith("localhost")
