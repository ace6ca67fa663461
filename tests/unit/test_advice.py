# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Advice: replicas by use, memory by slot, strategy by need."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.values import quote
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._advice import measured as _measured
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._advice.errors import AdviceError
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._advice.memory_budget import (
    MIN_SLOT_MIB,
    memory_budget,
)
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._advice.replicas import (
    recommended_replicas,
)
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._advice.strategy import (
    COMPARISON,
    sharing_strategy,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

ROOT = Path(__file__).resolve().parents[2]
LEAST = _measured.DRIVER_MIB + _measured.CONTEXT_MIB + MIN_SLOT_MIB


def most_slots(memory: int) -> int:
    """The greatest number of slots."""
    return (memory - _measured.DRIVER_MIB) // (_measured.CONTEXT_MIB + MIN_SLOT_MIB)


@pytest.mark.parametrize(
    ("kind", "replicas"),
    [("exclusive", 1), ("light", 2), ("standard", 4), ("heavy", 8), ("maximum", 10)],
)
def test_recommended_replicas(kind: str, replicas: int) -> None:
    assert recommended_replicas(kind) == replicas


@pytest.mark.parametrize("kind", ["Light", "", None, 4])
def test_recommended_replicas_refuses(kind: object) -> None:
    with pytest.raises(AdviceError) as caught:
        recommended_replicas(kind)
    assert mentions(caught.value, "exclusive", "light", "standard", "heavy", "maximum")


def test_memory_budget() -> None:
    """The H100 of the measurements: 81,559 MiB, of which 8 slots do not get all."""
    budget = memory_budget("81559", 8)
    per_slot = (81559 - _measured.DRIVER_MIB) // 8 - _measured.CONTEXT_MIB
    share = f"{per_slot / 81559 - 0.00005:.4f}"
    assert (budget.per_slot, budget.vllm_fraction) == (per_slot, 0.1125)
    assert f"{budget.fraction:.4f}" == share
    told = budget.as_dict()
    setting = f"per_process_memory_fraction:{share}"
    assert told["pytorch"] == {"env": {"PYTORCH_ALLOC_CONF": setting}}
    assert told["jax"] == {"env": {"XLA_PYTHON_CLIENT_MEM_FRACTION": share}}
    assert told["vllm"] == {"args": ["--gpu-memory-utilization=0.1125"]}
    assert f"memory_limit={per_slot}" in str(told["tensorflow"])


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("plugins/filter/memory_budget.yml", ("{CONTEXT_MIB} MiB", "{DRIVER_MIB} MiB")),
        ("plugins/filter/memory_budget.yml", ("{MEASURED_ON}", "{LEAST}")),
        (
            "plugins/filter/recommended_replicas.yml",
            ("{SATURATED_LOSS} %", "{SHORT_STEPS_LOSS} %", "{WAIT_MS} ms", "{MEASURED_ON}"),
        ),
        (
            "docs/profiles.md",
            ("{SATURATED_LOSS} %", "{SHORT_STEPS_LOSS} %", "{WAIT_MS} ms", "{MEASURED_ON}"),
        ),
        ("docs/profiles.md", ("{CONTEXT_MIB} MiB", "{DRIVER_MIB} MiB")),
        ("docs/sharing-cost.md", ("{MEASURED_ON}",)),
        *(
            ("docs/sharing-cost.md", (f"`{name}` | {{{name}}} |",))
            for name in vars(_measured)
            if name.isupper() and name != "MEASURED_ON"
        ),
    ],
)
def test_documentation_quotes_what_is_reckoned_with(file: str, told: tuple[str, ...]) -> None:
    text = " ".join((ROOT / file).read_text(encoding="utf-8").split())
    for each in told:
        assert each.format(**vars(_measured), LEAST=LEAST) in text


def test_memory_budget_of_the_measured_gpu_fits_into_what_programs_see() -> None:
    """81,559 MiB in the label are 79.18 GiB for programs, of which the fractions are taken."""
    seen = 79.18 * 1024
    for replicas in range(1, 49):
        budget = memory_budget(81559, replicas)
        assert replicas * (budget.per_slot + _measured.CONTEXT_MIB) <= seen
        assert replicas * (budget.fraction * seen + _measured.CONTEXT_MIB) <= seen


@pytest.mark.parametrize(("replicas", "fraction"), [(1, 0.9), (2, 0.45), (4, 0.225), (16, 0.0545)])
def test_vllm_gets_no_more_than_it_takes_by_default(replicas: int, fraction: float) -> None:
    budget = memory_budget(81559, replicas)
    assert budget.vllm_fraction == fraction <= budget.fraction


@given(memory=st.integers(1, 10**6), replicas=st.integers(1, 2000))
def test_memory_budget_never_promises_more_than_there_is(memory: int, replicas: int) -> None:
    try:
        budget = memory_budget(memory, replicas)
    except AdviceError:
        least = _measured.CONTEXT_MIB + MIN_SLOT_MIB
        assert replicas * least + _measured.DRIVER_MIB > memory
        return
    assert budget.per_slot >= MIN_SLOT_MIB
    assert replicas * (budget.per_slot + _measured.CONTEXT_MIB) <= memory - _measured.DRIVER_MIB
    assert replicas * budget.fraction * memory <= memory - replicas * _measured.CONTEXT_MIB
    assert 0 < budget.vllm_fraction <= budget.fraction
    assert "e" not in f"{budget.fraction:g}{budget.vllm_fraction:g}"


@given(memory=st.integers(1, 10**6))
def test_the_greatest_replicas_allowed_are_allowed(memory: int) -> None:
    with pytest.raises(AdviceError) as refused:
        memory_budget(memory, 10**6)
    most = most_slots(memory)
    if most < 1:
        assert mentions(refused.value, f"{memory} MiB", f"{LEAST} MiB")
        return
    assert mentions(refused.value, most)
    assert memory_budget(memory, most).per_slot >= MIN_SLOT_MIB
    with pytest.raises(AdviceError):
        memory_budget(memory, most + 1)


@pytest.mark.parametrize(
    ("memory", "replicas", "facts"),
    [
        ("80 GiB", 4, ("memory", "'80 GiB'", "MiB", LEAST)),
        (0, 4, ("memory", "0")),
        (None, 4, ("memory", "null")),
        (85520809984, 4, ("memory", "85520809984", "1000000")),
        (81559, 0, ("replicas", "0", "1", most_slots(81559))),
        (81559, "four", ("replicas", "'four'")),
        (81559, True, ("replicas", "true")),
        (16384, 48, ("replicas", "48", "1", most_slots(16384))),
        (600, 1, ("600 MiB", f"{LEAST} MiB")),
        (LEAST - 1, 1, (f"{LEAST - 1} MiB", f"{LEAST} MiB")),
    ],
)
def test_memory_budget_refuses(memory: object, replicas: object, facts: tuple[object, ...]) -> None:
    with pytest.raises(AdviceError) as caught:
        memory_budget(memory, replicas)
    assert mentions(caught.value, *facts)


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
        ("Quadro-P4000", "memory", "bursty", "none"),
        ("NVIDIA-TITAN-Xp", "none", "short_steps", "time_slicing"),
        ("NVIDIA-GeForce-GTX-1660", "none", "short_steps", "mps"),
        ("NVIDIA-RTX-PRO-4000-Blackwell", "faults", "bursty", "none"),
        ("NVIDIA-RTX-PRO-5000-Blackwell", "faults", "bursty", "mig"),
        ("NVIDIA-A100-40C", "faults", "bursty", "none"),
        ("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "none", "short_steps", "mig"),
        ("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "memory", "bursty", "mig"),
        ("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb-SHARED", "faults", "bursty", "mig"),
        ("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "none", "bursty", "time_slicing"),
        ("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "none", "saturating", "none"),
        ("Orin", "memory", "bursty", "none"),
        ("NVIDIA-R100", "memory", "bursty", "none"),
        ("NVIDIA-R100", "faults", "bursty", "none"),
        ("NVIDIA-R100", "none", "short_steps", "time_slicing"),
    ],
)
def test_sharing_strategy(product: str, isolation: str, workload: str, strategy: str) -> None:
    advice = sharing_strategy(product, isolation, workload)
    assert advice["strategy"] == strategy
    assert advice["reasons"]
    assert advice["comparison"] == [dict(row) for row in COMPARISON]


@pytest.mark.parametrize(
    ("product", "isolation", "workload", "facts"),
    [
        ("NVIDIA-R100", "faults", "bursty", ("'NVIDIA-R100'",)),
        ("NVIDIA-R100", "memory", "bursty", ("compute_capability",)),
        ("NVIDIA-R100", "none", "short_steps", ("'NVIDIA-R100'",)),
        ("Quadro-P4000", "none", "short_steps", (f"{_measured.SHORT_STEPS_LOSS} %",)),
        ("Quadro-GP100", "memory", "bursty", ("Volta", "Pascal")),
        ("Orin", "memory", "bursty", ("MPS", "Jetson")),
        ("NVIDIA-A100-40C", "faults", "bursty", ("vGPU",)),
        ("A30-MIG-1g.6gb", "none", "short_steps", ("MPS",)),
    ],
)
def test_sharing_strategy_says_why(
    product: str, isolation: str, workload: str, facts: tuple[str, ...]
) -> None:
    advice = sharing_strategy(product, isolation, workload)
    assert mentions(advice["reasons"], *facts)


@pytest.mark.parametrize(
    ("capability", "strategy"),
    [("12.0", "mps"), (7.5, "mps"), ("7.0", "mps"), ("6.1", "none"), (None, "none")],
)
def test_sharing_strategy_by_compute_capability(capability: object, strategy: str) -> None:
    advice = sharing_strategy("NVIDIA-R100", "memory", "bursty", capability)
    assert advice["strategy"] == strategy


def test_sharing_strategy_tells_the_compute_capability_of_an_unknown_product() -> None:
    advice = sharing_strategy("NVIDIA-Old", "memory", "bursty", "6.1")
    assert mentions(advice["reasons"], "compute capability 6.1")


@pytest.mark.parametrize("capability", ["sm_80", "8", 8, True, "8.0.0", "", [8, 0], 100.5])
def test_sharing_strategy_refuses_other_compute_capabilities(capability: object) -> None:
    with pytest.raises(AdviceError) as caught:
        sharing_strategy("Tesla-T4", "none", "bursty", capability)
    assert mentions(caught.value, quote(capability), "major.minor", "'8.0'")


@pytest.mark.parametrize(
    ("product", "isolation", "workload", "facts"),
    [
        ("A100", "some", "bursty", ("isolation", "'some'", "none", "memory", "faults")),
        ("A100", "none", "idle", ("workload", "'idle'", "bursty", "short_steps", "saturating")),
        ("", "none", "bursty", ("product", "''")),
        (None, "none", "bursty", ("product", "null")),
        (" ", "none", "bursty", ("product", "' '")),
        ("MI300X", "none", "bursty", ("product", "'MI300X'", "AMD", "NVIDIA")),
        ("A100", None, "bursty", ("isolation", "null")),
    ],
)
def test_sharing_strategy_refuses(
    product: object, isolation: object, workload: object, facts: tuple[str, ...]
) -> None:
    with pytest.raises(AdviceError) as caught:
        sharing_strategy(product, isolation, workload)
    assert mentions(caught.value, *facts)


def test_comparison_tells_the_same_of_each_strategy() -> None:
    assert {tuple(row) for row in COMPARISON} == {tuple(COMPARISON[0])}
