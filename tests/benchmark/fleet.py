# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet that is measured: N GPU nodes of realistic size, in three groups of a profile each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.gpufleet.sharing.tests.integration.labtools import write_inventory

OBJECT_SIZE = "11.5KB"  # as created; operator and GFD make it some 15 KB
DEFAULT = "default"
PROFILES = {
    "default": {"replicas": 4},
    "dev": {"replicas": 8},
    "edge": {"replicas": 2},
    "batch": {"replicas": 6},
    "three": {"replicas": 3},
    "five": {"replicas": 5},
    "no-sharing": {"replicas": 1},
}
# Everything at once, and no waits but for what has to happen: what is measured is done after it.
SETTLE: Mapping[str, Any] = {
    "gpu_sharing_rollout_batches": ["100%"],
    "gpu_sharing_rollout_timeout": 1200,
    "gpu_operator_timeout": 1200,
    "gpu_sharing_rollout_stable_seconds": 1,
}


@dataclass(frozen=True)
class Group:
    """Nodes that are alike. No profile means the default one, by no label."""

    prefix: str
    nodes: int
    gpus: int
    product: str
    profile: str | None

    @property
    def width(self) -> int:
        return max(2, len(str(self.nodes)))

    @property
    def names(self) -> list[str]:
        return [f"{self.prefix}-{number:0{self.width}}" for number in range(1, self.nodes + 1)]

    @property
    def range(self) -> str:
        """As an inventory writes it."""
        return f"{self.prefix}-[{1:0{self.width}}:{self.nodes:0{self.width}}]"


@dataclass(frozen=True)
class Fleet:
    """The groups of one cluster."""

    groups: tuple[Group, ...]

    @classmethod
    def of(cls, nodes: int) -> Fleet:
        """A fleet of so many GPU nodes, 4 or more."""
        dev, prod = nodes // 2, nodes // 4
        return cls(
            (
                Group("dev-gpu", dev, 1, "NVIDIA-A10", "dev"),
                Group("prod-gpu", prod, 2, "NVIDIA-L40S", None),
                Group("train-gpu", nodes - dev - prod, 8, "NVIDIA-L40S", "no-sharing"),
            )
        )

    @property
    def names(self) -> list[str]:
        return [name for group in self.groups for name in group.names]

    @property
    def assignments(self) -> dict[str, str | None]:
        return {name: group.profile for group in self.groups for name in group.names}

    def write_lab(self, path: Path) -> Path:
        """Write the file from which the lab boots."""
        groups = {
            group.prefix: {
                "nodes": group.nodes,
                "gpus": group.gpus,
                "product": group.product,
                "object_size": OBJECT_SIZE,
            }
            for group in self.groups
        }
        path.write_text(yaml.safe_dump({"fairness": True, "groups": groups}), encoding="utf-8")
        return path

    def write_inventory(self, folder: Path) -> Path:
        """Write the inventory of one cluster, the one that KUBECONFIG means."""
        return write_inventory(folder, self.inventory(), {"gpu_sharing_profiles": PROFILES})

    def inventory(self) -> dict[str, Any]:
        return {
            group.prefix.replace("-", "_"): {
                "hosts": {group.range: {}},
                "vars": {"gpu_sharing_profile": group.profile} if group.profile else {},
            }
            for group in self.groups
        }


def clusters_inventory(folder: Path, fleet: Fleet, kubeconfigs: Mapping[str, Path]) -> Path:
    """Write the inventory of several clusters with the same nodes, called after their clusters."""
    groups = {
        cluster.replace("-", "_"): {
            "vars": {"gpu_sharing_cluster": cluster},
            "children": {
                f"{cluster}_{group.prefix}".replace("-", "_"): {
                    "hosts": {
                        f"{cluster}-{name}": {"gpu_sharing_node_name": name} for name in group.names
                    },
                    "vars": {"gpu_sharing_profile": group.profile} if group.profile else {},
                }
                for group in fleet.groups
            },
        }
        for cluster in kubeconfigs
    }
    hosts = {
        cluster: {"gpu_sharing_kubeconfig": str(path)} for cluster, path in kubeconfigs.items()
    }
    return write_inventory(folder, groups, {"gpu_sharing_profiles": PROFILES}, hosts)


def unused(have: Collection[str]) -> str:
    """A profile that no node has, so that labelling with it changes every node."""
    return next(name for name in PROFILES if name not in have and name != DEFAULT)


def all_with(names: list[str], profile: str, other: str = "", share: int = 10) -> dict[str, str]:
    """Every node with a profile; with another one given, every so-manieth node with that."""
    return {
        name: other if other and number % share == 0 else profile
        for number, name in enumerate(names)
    }
