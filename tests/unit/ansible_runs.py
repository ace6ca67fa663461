# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs ansible-playbook on inventories that need no cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PROFILES: Mapping[str, object] = {
    "default": {"replicas": 4},
    "dev": {"replicas": 8},
    "prod": {"replicas": 2},
}


@dataclass(frozen=True)
class Ran:
    """A finished run. Its text has no line breaks, since Ansible wraps messages."""

    code: int
    text: str


def write_hosts(folder: Path, groups: Mapping[str, object], **variables: object) -> Path:
    """An inventory whose group gpu_nodes has these child groups, with PROFILES."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "all": {
            "children": {"gpu_nodes": {"children": groups}},
            "vars": {"gpu_sharing_profiles": PROFILES, **variables},
        }
    }
    file = folder / "hosts.yml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


def group(*hosts: str, **variables: object) -> dict[str, object]:
    return {"hosts": {host: {} for host in hosts}, "vars": variables}


def run_playbook(
    name: str,
    inventory: Path,
    *arguments: str,
    facts: Path | None = None,
    cwd: Path | None = None,
    tools: Path | None = None,
) -> Ran:
    """Run a playbook of the collection or a file, without credentials; with facts, Ansible keeps
    them in that folder.
    """
    environ = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"} | {
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build" / "collections"),
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_NOCOLOR": "1",
    }
    if facts:
        cache = {"PLUGIN": "jsonfile", "PLUGIN_CONNECTION": str(facts)}
        environ |= {f"ANSIBLE_CACHE_{key}": value for key, value in cache.items()}
    tool = (tools or Path(sys.executable).parent) / "ansible-playbook"
    done = subprocess.run(
        [tool, name, "-i", inventory, *arguments],
        env=environ,
        cwd=cwd,
        check=False,
        text=True,
        capture_output=True,
    )
    return Ran(done.returncode, " ".join((done.stdout + done.stderr).split()))
