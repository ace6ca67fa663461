# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Advice: replicas by use, memory by slot, strategy by need."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpufleet.sharing.plugins.module_utils import _advice, _measured

ROOT = Path(__file__).resolve().parents[2]
LEAST = _measured.DRIVER_MIB + _measured.CONTEXT_MIB + _advice.LEAST_MIB


def most_slots(memory: int) -> int:
    """The greatest number of slots."""
    return (memory - _measured.DRIVER_MIB) // (_measured.CONTEXT_MIB + _advice.LEAST_MIB)


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
    """The H100 of the measurements: 81,559 MiB, of which 8 slots do not get all."""
    budget = _advice.memory_budget("81559", 8)
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
        ("plugins/filter/memory_budget.yml", ("{MEASURED_ON}", "from {LEAST} to")),
        (
            "plugins/filter/recommended_replicas.yml",
            ("{SATURATED_LOSS} %", "{SHORT_STEPS_LOSS} %", "{WAIT_MS} ms", "{MEASURED_ON}"),
        ),
        (
            "docs/profiles.md",
            ("{SATURATED_LOSS} %", "{SHORT_STEPS_LOSS} %", "{WAIT_MS} ms", "{MEASURED_ON}"),
        ),
        ("docs/profiles.md", ("context takes {CONTEXT_MIB} MiB", "keeps {DRIVER_MIB} MiB")),
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
        budget = _advice.memory_budget(81559, replicas)
        assert replicas * (budget.per_slot + _measured.CONTEXT_MIB) <= seen
        assert replicas * (budget.fraction * seen + _measured.CONTEXT_MIB) <= seen


@pytest.mark.parametrize(("replicas", "fraction"), [(1, 0.9), (2, 0.45), (4, 0.225), (16, 0.0545)])
def test_vllm_gets_no_more_than_it_takes_by_default(replicas: int, fraction: float) -> None:
    budget = _advice.memory_budget(81559, replicas)
    assert budget.vllm_fraction == fraction <= budget.fraction


@given(memory=st.integers(1, 10**6), replicas=st.integers(1, 2000))
def test_memory_budget_never_promises_more_than_there_is(memory: int, replicas: int) -> None:
    try:
        budget = _advice.memory_budget(memory, replicas)
    except _advice.AdviceError:
        least = _measured.CONTEXT_MIB + _advice.LEAST_MIB
        assert replicas * least + _measured.DRIVER_MIB > memory
        return
    assert budget.per_slot >= _advice.LEAST_MIB
    assert replicas * (budget.per_slot + _measured.CONTEXT_MIB) <= memory - _measured.DRIVER_MIB
    assert replicas * budget.fraction * memory <= memory - replicas * _measured.CONTEXT_MIB
    assert 0 < budget.vllm_fraction <= budget.fraction
    assert "e" not in f"{budget.fraction:g}{budget.vllm_fraction:g}"


@given(memory=st.integers(1, 10**6))
def test_the_greatest_replicas_allowed_are_allowed(memory: int) -> None:
    with pytest.raises(_advice.AdviceError) as refused:
        _advice.memory_budget(memory, 10**6)
    most = re.search(r"from 1 to ([0-9]+)\.", str(refused.value))
    if most is None:
        assert f"The GPU's memory is {memory} MiB, too little for a single slot" in str(refused)
        return
    assert _advice.memory_budget(memory, int(most[1])).per_slot >= _advice.LEAST_MIB
    with pytest.raises(_advice.AdviceError):
        _advice.memory_budget(memory, int(most[1]) + 1)


@pytest.mark.parametrize(
    ("memory", "replicas", "message"),
    [
        ("80 GiB", 4, f"memory is '80 GiB'; allowed: a whole number of MiB from {LEAST} to"),
        (0, 4, "The GPU's memory is 0; allowed"),
        (None, 4, "The GPU's memory is null; allowed"),
        (85520809984, 4, "The GPU's memory is 85520809984; allowed: .* to 1000000, as the node"),
        (81559, 0, f"replicas is 0; allowed: a whole number from 1 to {most_slots(81559)}"),
        (81559, "four", "replicas is 'four'; allowed"),
        (81559, True, "replicas is true; allowed"),
        (16384, 48, f"replicas is 48; allowed: a whole number from 1 to {most_slots(16384)}"),
        (600, 1, f"600 MiB, too little for a single slot: .* allowed: {LEAST} MiB or more"),
        (LEAST - 1, 1, "too little for a single slot"),
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
    advice = _advice.sharing_strategy(product, isolation, workload)
    assert advice["strategy"] == strategy
    assert advice["reasons"]
    assert advice["comparison"] == [dict(row) for row in _advice.COMPARISON]


@pytest.mark.parametrize(
    ("product", "isolation", "workload", "reason"),
    [
        ("NVIDIA-R100", "faults", "bursty", "'NVIDIA-R100' is no product known here, so it counts"),
        ("NVIDIA-R100", "memory", "bursty", "(compute_capability) would tell"),
        ("NVIDIA-R100", "none", "short_steps", "'NVIDIA-R100' is no product known here"),
        ("Quadro-P4000", "none", "short_steps", "Short steps that are waited for lose"),
        ("Quadro-GP100", "memory", "bursty", "from Volta on, and this GPU is older (Pascal)"),
        ("Orin", "memory", "bursty", "the device plugin has no MPS for Jetson modules"),
        ("NVIDIA-A100-40C", "faults", "bursty", "a vGPU is cut by its hypervisor"),
        ("A30-MIG-1g.6gb", "none", "short_steps", "MPS takes none of them"),
    ],
)
def test_sharing_strategy_says_why(
    product: str, isolation: str, workload: str, reason: str
) -> None:
    advice = _advice.sharing_strategy(product, isolation, workload)
    assert reason in str(advice["reasons"])


@pytest.mark.parametrize(
    ("capability", "strategy"),
    [("12.0", "mps"), (7.5, "mps"), ("7.0", "mps"), ("6.1", "none"), (None, "none")],
)
def test_sharing_strategy_by_compute_capability(capability: object, strategy: str) -> None:
    advice = _advice.sharing_strategy("NVIDIA-R100", "memory", "bursty", capability)
    assert advice["strategy"] == strategy


def test_sharing_strategy_tells_the_compute_capability_of_an_unknown_product() -> None:
    advice = _advice.sharing_strategy("NVIDIA-Old", "memory", "bursty", "6.1")
    assert "this GPU is older (compute capability 6.1)" in str(advice["reasons"])


@pytest.mark.parametrize("capability", ["sm_80", "8", 8, True, "8.0.0", "", [8, 0], 100.5])
def test_sharing_strategy_refuses_other_compute_capabilities(capability: object) -> None:
    with pytest.raises(_advice.AdviceError, match=r"allowed: major\.minor such as '8\.0'"):
        _advice.sharing_strategy("Tesla-T4", "none", "bursty", capability)


@pytest.mark.parametrize(
    ("product", "isolation", "workload", "message"),
    [
        ("A100", "some", "bursty", "isolation is 'some'; allowed: none, memory or faults"),
        ("A100", "none", "idle", "workload is 'idle'; allowed: bursty, short_steps or saturating"),
        ("", "none", "bursty", "The GPU's product is ''; allowed: its name"),
        (None, "none", "bursty", "The GPU's product is null; allowed"),
        (" ", "none", "bursty", "The GPU's product is ' '; allowed"),
        ("MI300X", "none", "bursty", "'MI300X', which is AMD's; allowed: a GPU of NVIDIA"),
        ("A100", None, "bursty", "isolation is null; allowed"),
    ],
)
def test_sharing_strategy_refuses(
    product: object, isolation: object, workload: object, message: str
) -> None:
    with pytest.raises(_advice.AdviceError, match=message):
        _advice.sharing_strategy(product, isolation, workload)


def test_comparison_tells_the_same_of_each_strategy() -> None:
    assert {tuple(row) for row in _advice.COMPARISON} == {tuple(_advice.COMPARISON[0])}
