# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Advice: replicas by use, memory by slot, strategy by need."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpufleet.sharing.plugins.module_utils import _advice


@pytest.mark.parametrize(
    ("kind", "replicas"),
    [("exclusive", 1), ("light", 2), ("standard", 4), ("heavy", 8), ("maximum", 10)],
)
def test_recommended_replicas(kind: str, replicas: int) -> None:
    assert _advice.recommended_replicas(kind) == replicas


@pytest.mark.parametrize("kind", ["Light", "", None, 4])
def test_recommended_replicas_refuses(kind: object) -> None:
    allowed = "allowed: exclusive, light, standard, heavy or maximum"
    with pytest.raises(_advice.AdviceError, match=allowed):
        _advice.recommended_replicas(kind)


def test_memory_budget() -> None:
    """The H100 of the measurements: 81,559 MiB, 8 slots lose 5 GiB before anyone allocates."""
    budget = _advice.memory_budget("81559", 8)
    assert (budget.per_slot, budget.fraction, budget.with_context) == (9574, 0.117, 0.124)
    told = budget.as_dict()
    assert told["pytorch"] == {"env": {"PYTORCH_ALLOC_CONF": "per_process_memory_fraction:0.117"}}
    assert told["jax"] == {"env": {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.117"}}
    assert told["vllm"] == {"args": ["--gpu-memory-utilization=0.124"]}
    assert "memory_limit=9574" in str(told["tensorflow"])


@given(memory=st.integers(1000, 10**6), replicas=st.integers(1, 64))
def test_memory_budget_never_promises_more_than_there_is(memory: int, replicas: int) -> None:
    try:
        budget = _advice.memory_budget(memory, replicas)
    except _advice.AdviceError:
        assert replicas * (_advice.CONTEXT_MIB + 1) > memory
        return
    assert budget.per_slot >= 1
    assert replicas * (budget.per_slot + _advice.CONTEXT_MIB) <= memory
    assert replicas * budget.fraction * memory <= memory - replicas * _advice.CONTEXT_MIB
    assert replicas * budget.with_context <= 1


@pytest.mark.parametrize(
    ("memory", "replicas", "message"),
    [
        ("80 GiB", 4, "The GPU's memory is '80 GiB'; allowed: a whole number of MiB"),
        (0, 4, "The GPU's memory is 0; allowed"),
        (81559, 0, "replicas is 0; allowed: a whole number from 1 on"),
        (81559, "four", "replicas is 'four'; allowed"),
        (16384, 48, "replicas is 48: the CUDA contexts of that many processes .* at most 26 leave"),
        (600, 1, "at most 1 leave"),
    ],
)
def test_memory_budget_refuses(memory: object, replicas: object, message: str) -> None:
    with pytest.raises(_advice.AdviceError, match=message):
        _advice.memory_budget(memory, replicas)


@pytest.mark.parametrize(
    ("product", "isolation", "workload", "strategy"),
    [
        ("NVIDIA-A100-SXM4-80GB", "faults", "bursty", "mig"),
        ("NVIDIA A30", "faults", "saturating", "mig"),
        ("NVIDIA-H100-80GB-HBM3-SHARED", "faults", "bursty", "mig"),
        ("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", "faults", "bursty", "mig"),
        ("NVIDIA-A10", "faults", "bursty", "none"),
        ("NVIDIA-L4", "faults", "bursty", "none"),
        ("NVIDIA-L4", "memory", "bursty", "mps"),
        ("Tesla-P100-PCIE-16GB", "memory", "bursty", "none"),
        ("Tesla-T4", "none", "bursty", "time_slicing"),
        ("Tesla-T4", "none", "short_steps", "mps"),
        ("Tesla-P100-PCIE-16GB", "none", "short_steps", "time_slicing"),
        ("Tesla-T4", "none", "saturating", "none"),
    ],
)
def test_sharing_strategy(product: str, isolation: str, workload: str, strategy: str) -> None:
    advice = _advice.sharing_strategy(product, isolation, workload)
    assert advice["strategy"] == strategy
    assert advice["reasons"]
    assert advice["comparison"] == [dict(row) for row in _advice.COMPARISON]


@pytest.mark.parametrize(
    ("product", "isolation", "workload", "message"),
    [
        ("A100", "some", "bursty", "isolation is 'some'; allowed: none, memory or faults"),
        ("A100", "none", "idle", "workload is 'idle'; allowed: bursty, short_steps or saturating"),
        ("", "none", "bursty", "The GPU's product is ''; allowed: its name"),
        (None, "none", "bursty", "The GPU's product is None; allowed"),
    ],
)
def test_sharing_strategy_refuses(
    product: object, isolation: object, workload: object, message: str
) -> None:
    with pytest.raises(_advice.AdviceError, match=message):
        _advice.sharing_strategy(product, isolation, workload)


def test_comparison_tells_the_same_of_each_strategy() -> None:
    assert {tuple(row) for row in _advice.COMPARISON} == {tuple(_advice.COMPARISON[0])}
