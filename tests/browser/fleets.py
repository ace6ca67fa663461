# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Made-up fleets, as modules would have read them, for looking at reports."""

from __future__ import annotations

import random
from typing import Any

GROUPS = (  # group, profile, replicas, physical GPUs, product, share of the nodes
    ("dev_gpus", "dev", 8, 1, "NVIDIA-A10", 0.3),
    ("notebook_gpus", "dev", 8, 2, "NVIDIA-L40S", 0.15),
    ("prod_gpus", "default", 4, 2, "NVIDIA-A100-SXM4-80GB", 0.35),
    ("train_gpus", "no-sharing", 1, 8, "NVIDIA-H100-80GB-HBM3", 0.2),
)
STALE = {
    "code": "GS006",
    "severity": "error",
    "title": "The device plugin runs on older content",
    "cause": "The content of its profile was changed after the plugin had started.",
    "why": "The device plugin reads its file once; until it restarts the node advertises the old"
    " number of slots.",
    "fix": "ansible-playbook gpufleet.sharing.site -i inventory --limit 'prod-eu,dev_gpus'",
}
ABOVE = {
    "code": "GS012",
    "severity": "warning",
    "title": "Pods hold more slots than the node has",
    "cause": "Replicas were made fewer while pods were running.",
    "why": "They stay until they restart, and may then be turned down.",
    "fix": "kubectl delete pod, one at a time, or give the profile its replicas back.",
}
MIXED = {
    "code": "GS014",
    "severity": "info",
    "title": "Nodes of a group have different GPUs",
    "cause": "Machines of two purchases are in one group.",
    "why": "The same slot is a different share of memory.",
    "fix": "Make a group for each model.",
}


def fleet(nodes: int, *, clusters: int = 1, lost: bool = False, seed: int = 7) -> list[Any]:
    """The state of each cluster; with lost, one more that was not reached."""
    chance = random.Random(seed)
    names = ("prod-eu", "prod-us", "lab")[:clusters]
    states = [_state(name, nodes // clusters, chance) for name in names]
    if lost:
        states.append(
            {
                "name": "prod-ap",
                "reached": False,
                "reason": "The API server https://10.4.0.1:6443 cannot be reached: connection"
                " timed out. Check the network, or gpu_sharing_context.",
            }
        )
    return states


def _state(name: str, count: int, chance: random.Random) -> dict[str, Any]:
    rows = [row for group in GROUPS for row in _rows(group, count, chance)]
    stale = [row["node"] for row in rows if row["problem"]]
    above = [row["node"] for row in rows if row["used"] > row["actual"]]
    found = [
        {**finding, "nodes": nodes, "count": len(nodes), "seen": seen, "follows": ""}
        for finding, nodes, seen in (
            (STALE, stale, "the plugin started before the content of key dev was written"),
            (ABOVE, above, "more slots requested than allocatable"),
            (MIXED, [rows[0]["node"]], "NVIDIA-A10 beside NVIDIA-A10G"),
        )
        if nodes
    ]
    return {
        "name": name,
        "reached": True,
        "reason": "",
        "server": f"https://{name}.example.com:6443",
        "version": "v1.34.2",
        "sharing": {"nodes": rows, "findings": found, "verdict": ""},
        "history": {"revisions": _revisions(len(rows))},
        "usage": {
            row["node"]: {
                "gpu_utilisation": round(min(100, chance.betavariate(2, 2) * 110), 1),
                "memory": round(chance.betavariate(3, 2) * 100, 1),
            }
            for row in rows
        },
        "prometheus": {},
        "notes": [],
    }


def _rows(group: tuple[Any, ...], count: int, chance: random.Random) -> list[dict[str, Any]]:
    name, share = group[0], group[-1]
    return [
        _row(f"{name[:-1].replace('_', '-')}-{n:04}", group, chance)
        for n in range(1, round(count * share) + 1)
    ]


def _row(node: str, group: tuple[Any, ...], chance: random.Random) -> dict[str, Any]:
    name, profile, replicas, physical, product, _share = group
    expected = replicas * physical
    stale = replicas > 1 and chance.random() < 0.02
    actual = physical if stale else expected
    used = min(actual, max(0, round(chance.gauss(0.6, 0.35) * actual)))
    if chance.random() < 0.01:
        used = actual + 2
    resource = "nvidia.com/gpu"
    return {
        "node": node,
        "group": name,
        "profile": profile,
        "product": product,
        "physical": physical,
        "replicas": replicas,
        "resource": resource,
        "expected": expected,
        "actual": actual,
        "used": used,
        "free": max(0, actual - used),
        "ready": chance.random() > 0.004,
        "problem": f"{resource} is {actual}, expected {expected}" if stale else "",
    }


def _revisions(nodes: int) -> list[dict[str, Any]]:
    story = (
        ("2026-03-02T09:14:00Z", "good", "first revision"),
        ("2026-03-19T15:40:11Z", "good", "profile dev: replicas 4 to 6"),
        ("2026-04-28T08:02:50Z", "failed", "profile dev: replicas 6 to 12"),
        ("2026-04-28T10:31:09Z", "good", "profile dev: replicas 12 to 6"),
        ("2026-06-11T13:22:47Z", "good", "12 nodes from default to dev"),
        ("2026-07-30T07:55:31Z", "started", "profile dev: replicas 6 to 8"),
        ("2026-07-30T09:12:20Z", "good", "profile dev: replicas 6 to 8"),
    )
    return [
        {
            "revision": number,
            "state": state,
            "when": when,
            "who": "ops@controller-1, AWX job 4711 of jane",
            "what": what,
            "profiles": ["default", "dev", "no-sharing"],
            "nodes": nodes,
        }
        for number, (when, state, what) in reversed(list(enumerate(story, 1)))
    ]
