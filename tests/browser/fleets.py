# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Made-up fleets, as modules would have read them, for looking at reports. Their findings are those
of the doctor: its checks, with nodes and values that are made up.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.catalog import CHECKS
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.engine import (
    Check,
    Match,
    diagnose,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._doctor.snapshot import Snapshot
from ansible_collections.gpufleet.sharing.plugins.module_utils._rollout.desired import Desired

GROUPS = (  # group, profile, replicas, physical GPUs, product, share of the nodes
    ("dev_gpus", "dev", 8, 1, "NVIDIA-A10", 0.3),
    ("notebook_gpus", "dev", 8, 2, "NVIDIA-L40S", 0.15),
    ("prod_gpus", "default", 4, 2, "NVIDIA-A100-SXM4-80GB", 0.35),
    ("train_gpus", "no-sharing", 1, 8, "NVIDIA-H100-80GB-HBM3", 0.2),
)


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
    return {
        "name": name,
        "reached": True,
        "reason": "",
        "server": f"https://{name}.example.com:6443",
        "version": "v1.34.2",
        "sharing": {"nodes": rows, "findings": _findings(rows), "verdict": ""},
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


def _findings(rows: list[dict[str, Any]]) -> list[dict[str, object]]:
    """What the doctor finds, with its own texts and what follows from what."""
    checks = {check.code: check for check in CHECKS}
    found = [match for row in rows for match in _faults(row)]
    found.append(("GS063", Match((rows[0]["node"],))))
    matches: dict[str, list[Match]] = {}
    for code, match in found:
        matches.setdefault(code, []).append(match)
    runnable = [_with(checks[code], same) for code, same in sorted(matches.items())]
    return [finding.row() for finding in diagnose(Snapshot(Desired({}, "", {})), runnable)]


def _with(check: Check, matches: Sequence[Match]) -> Check:
    """A check that has found these."""
    return replace(check, find=lambda _snapshot: matches, reads=())


def _faults(row: Mapping[str, Any]) -> list[tuple[str, Match]]:
    """The codes of what is wrong with a node, with the values of their texts."""
    node, profile, resource = ((row["node"],), row["profile"], row["resource"])
    faults: list[tuple[str, dict[str, str]]] = []
    if row["problem"]:
        hashes = {"hash": "f4b6213bb774", "loaded": "4c9b1a02d7e8"}
        faults.append(("GS039", {"key": profile, **hashes}))
        more = {"problem": row["problem"], "profile": profile, "namespace": "gpu-operator"}
        faults.append(("GS043", more))
    if row["used"] > row["actual"]:
        numbers = {"requested": str(row["used"]), "has": str(row["actual"])}
        faults.append(("GS045", {"resource": resource, **numbers}))
    if not row["ready"]:
        faults.append(("GS021", {}))
    return [(code, Match(node, values)) for code, values in faults]


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
