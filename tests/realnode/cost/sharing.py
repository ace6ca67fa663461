# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node's profile, set through the collection by Ansible."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.gpufleet.sharing.tests.realnode.cost.cluster import Cluster, wait_until
from ansible_collections.gpufleet.sharing.tests.realnode.cost.results import Failed

HERE = Path(__file__).resolve().parent
COLLECTIONS = HERE.parents[2] / ".build" / "collections"
FLIP = str(HERE / "flip.yml")
LABEL = "nvidia.com/device-plugin.config"
STABLE = 2.0  # seconds that the node must show the number
PATIENCE = 240


def name_of(replicas: int) -> str:
    return f"r{replicas}"


@dataclass(frozen=True)
class Names:
    """Where the profiles are kept, and which one nodes without a label have."""

    namespace: str = "gpu-operator"
    config_map: str = "device-plugin-config"
    default: str = "default"


class Profiles:
    """One profile for each number of replicas. The first comes to the node by the playbook site,
    all others by its label alone.
    """

    def __init__(self, cluster: Cluster, names: Names, ansible: str, folder: Path) -> None:
        self.cluster, self.names = cluster, names
        self.command = shlex.split(ansible) or find_ansible()
        self.inventory = folder / "cost-inventory.yml"
        self.log = folder / "cost-ansible.log"
        self.label: str | None = None
        self.foreign = False  # whether there were profiles before
        self.default: object = {"replicas": 4}  # the default profile, or what it is already
        self.prepared = False

    def set_to(self, count: int, counts: Sequence[int]) -> dict[str, Any]:
        """Bring a number of replicas to the node. Returns what it took, in seconds."""
        if self.prepared:
            return self._wait(count, "label", self._flip(name_of(count)))
        self._look()
        self.prepared = True
        self.inventory.write_text(json.dumps(self._fleet(count, counts)), encoding="utf-8")
        playbook = ("gpufleet.sharing.site", "-i", str(self.inventory))
        # It waits for the label of GPU feature discovery too, so 3 s are enough
        return self._wait(
            count, "site", self._play(*playbook, "-e", "gpu_sharing_rollout_stable_seconds=3")
        )

    def restore(self) -> str:
        """Take label, pointer and profiles away. Where there were profiles before, the label only.
        Returns what is left, in words.
        """
        if not self.prepared:
            return ""
        if self.foreign:
            self._flip(self.label)
            return "profiles r1, r2 ... are left in the ConfigMap, which was there before"
        self._play("gpufleet.sharing.uninstall", "-i", str(self.inventory))
        return ""

    def _look(self) -> None:
        node = self.cluster.node()["metadata"].get("labels") or {}
        self.label = node.get(LABEL)
        where = ("-n", self.names.namespace, "-o", "json")
        found = self.cluster.try_("get", "configmap", self.names.config_map, *where)
        self.foreign = bool(found)
        written = (json.loads(found).get("data") or {}) if found else {}
        self.default = written.get(self.names.default, self.default)

    def _fleet(self, count: int, counts: Sequence[int]) -> dict[str, Any]:
        """An inventory of the one node."""
        profiles = {name_of(each): {"replicas": each} for each in counts}
        variables = {
            "gpu_operator_manage": "existing",
            "gpu_operator_namespace": self.names.namespace,
            "gpu_profiles_name": self.names.config_map,
            "gpu_sharing_default_profile": self.names.default,
            "gpu_sharing_profiles": {self.names.default: self.default} | profiles,
        }
        nodes = {self.cluster.place.node: {"gpu_sharing_profile": name_of(count)}}
        return {"all": {"vars": variables, "children": {"gpu_nodes": {"hosts": nodes}}}}

    def _flip(self, profile: str | None) -> float:
        variables = {
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "cost_node": self.cluster.place.node,
            "cost_profile": profile,
            "cost_namespace": self.names.namespace,
        }
        return self._play(FLIP, "-e", json.dumps(variables))

    def _wait(self, count: int, by: str, seconds: float) -> dict[str, Any]:
        began = last = time.monotonic()

        def stable() -> bool:
            nonlocal last
            now = time.monotonic()
            last = last if self.cluster.allocatable() == count else now
            return now - last >= STABLE

        wait_until(f"allocatable {count} on {self.cluster.place.node}", 90, stable)
        took = {"ansible": round(seconds, 1), "allocatable": round(last - began, 1)}
        return {"replicas": count, "by": by, **took}

    def _play(self, *words: str) -> float:
        """Run a playbook. Returns the seconds it took; raises Failed where it fails."""
        began = time.monotonic()
        quiet = {"ANSIBLE_LOCALHOST_WARNING": "0", "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0"}
        path = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_NOCOLOR": "1"}
        done = subprocess.run(
            [*self.command, *words],
            check=False,
            text=True,
            capture_output=True,
            timeout=PATIENCE,
            env={**os.environ, **quiet, **path},
        )
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"$ ansible-playbook {shlex.join(words)}\n{done.stdout}{done.stderr}\n")
        if done.returncode:
            tail = (done.stdout + done.stderr).strip()[-1500:]
            raise Failed(f"ansible-playbook {shlex.join(words)} failed:\n{tail}")
        return time.monotonic() - began


def find_ansible() -> list[str]:
    """ansible-playbook beside this Python or of the PATH, else the package that it finds."""
    beside = Path(sys.executable).with_name("ansible-playbook")
    found = str(beside) if beside.exists() else shutil.which("ansible-playbook")
    return [found] if found else [sys.executable, "-m", "ansible", "playbook"]
