# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of PyTorch and JAX that are said to limit memory, each tried in a pod of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.gpufleet.sharing.tests.realnode.cost.pods import Work

PROGRAM = "/usr/share/cost/frameworks.py"
COMMON = {"HOME": "/tmp", "JAX_PLATFORMS": "cuda", "TF_CPP_MIN_LOG_LEVEL": "2"}
PYTORCH = "per_process_memory_fraction:0.25"
JAX = {"XLA_PYTHON_CLIENT_MEM_FRACTION": ".25"}
LATER = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


@dataclass(frozen=True)
class Case:
    """One setting. most is in GiB, what it may take at a time; fraction is that of
    torch.cuda.set_per_process_memory_fraction.
    """

    name: str
    framework: str
    most: int
    env: Mapping[str, str] = field(default_factory=dict)
    fraction: str = ""


# Pods of a group run side by side: what all of them may take fits into 80 GB
GROUPS: tuple[tuple[Case, ...], ...] = (
    (
        Case("pytorch-nothing", "pytorch", 30),
        Case("pytorch-alloc-conf", "pytorch", 10, {"PYTORCH_ALLOC_CONF": PYTORCH}),
        Case("pytorch-cuda-alloc-conf", "pytorch", 10, {"PYTORCH_CUDA_ALLOC_CONF": PYTORCH}),
        Case("pytorch-call", "pytorch", 10, fraction="0.25"),
    ),
    (
        Case("jax-mem-fraction", "jax", 20, JAX),
        Case("jax-client-fraction", "jax", 20, {"XLA_CLIENT_MEM_FRACTION": ".25"}),
        Case("jax-both", "jax", 20, LATER | JAX),
    ),
    (Case("jax-no-preallocate", "jax", 40, LATER),),
    (Case("jax-nothing", "jax", 61),),
)


def works(group: Iterable[Case], python: str, env: Mapping[str, str]) -> list[Work]:
    """The pods of a group. env is what they need whatever the case."""
    found = []
    for case in group:
        words = (python, PROGRAM, case.framework, case.name, case.fraction)
        found.append(Work(case.name, tuple(filter(None, words)), {**COMMON, **env, **case.env}))
    return found


def read(name: str, text: str) -> dict[str, Any]:
    """What a pod found, or why there is nothing."""
    for line in reversed(text.splitlines()):
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if isinstance(told, dict) and told.get("name") == name:
            return told
    return {"name": name, "error": text.strip()[-400:] or "said nothing"}


def setting(told: Mapping[str, Any]) -> str:
    """How somebody writes the setting of a case."""
    if told.get("fraction"):
        return f"`torch.cuda.set_per_process_memory_fraction({told['fraction']})`"
    env = told.get("environment") or {}
    return " ".join(f"`{name}={value}`" for name, value in env.items()) or "nothing"


def limits(told: Mapping[str, Any]) -> bool | None:
    """Whether less than the quarter was given and more was refused; None where it is not known."""
    tried: Sequence[Mapping[str, Any]] = told.get("attempts") or []
    if len(tried) < 2 or not tried[0]["taken"]:
        return None
    return not tried[-1]["taken"]
