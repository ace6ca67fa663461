# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Quotas that a renamed resource bypasses."""

from __future__ import annotations

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._nodes.quotas import bypassed_quotas
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

GPU = "nvidia.com/gpu"
SHARED = "nvidia.com/gpu.shared"


@pytest.mark.parametrize(
    ("hard", "found"),
    [
        ({"requests.nvidia.com/gpu": "4"}, True),
        ({"nvidia.com/gpu": "4"}, True),
        ({"requests.nvidia.com/gpu": "4", "nvidia.com/gpu": "4"}, True),
        ({"requests.nvidia.com/gpu": "4", "requests.nvidia.com/gpu.shared": "4"}, False),
        ({"requests.nvidia.com/gpu.shared": "4"}, False),
        ({"requests.cpu": "4"}, False),
        ({}, False),
    ],
)
def test_bypassed_quotas(hard: dict[str, str], found: bool) -> None:
    quota = {"metadata": {"namespace": "ns", "name": "q"}, "spec": {"hard": hard}}
    texts = bypassed_quotas([quota, quota], {GPU: SHARED})
    assert len(texts) == int(found)
    assert mentions(texts, *(["ResourceQuota q ", " ns ", GPU, f"requests.{SHARED}"] * found))
    assert bypassed_quotas([quota], {}) == []
