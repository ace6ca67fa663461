# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: how busy GPUs are, as given, or as Prometheus has it from the DCGM
exporter.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

GPU, MEMORY = "gpu_utilisation", "memory"
# Where the exporter, or a relabelling, says the node
NODE_LABELS = ("Hostname", "node", "kubernetes_node")


@dataclass(frozen=True)
class Usage:
    """Mean over the GPUs of a node, in per cent; None where not known."""

    gpu_utilisation: float | None = None
    memory: float | None = None

    @property
    def known(self) -> bool:
        return self.gpu_utilisation is not None or self.memory is not None


def read_usage(given: object, answers: object, names: Collection[str]) -> dict[str, Usage]:
    """{node: usage} of some nodes.

    given is {node: {gpu_utilisation: per cent, memory: per cent}}, and wins; answers is
    {gpu_utilisation: ..., memory: ...}, each an answer of Prometheus to an instant query.
    """
    measured = answers if isinstance(answers, Mapping) else {}
    told = {kind: from_prometheus(measured.get(kind), names) for kind in (GPU, MEMORY)}
    own = given if isinstance(given, Mapping) else {}
    found = {}
    for name in names:
        stated = own.get(name)
        values = stated if isinstance(stated, Mapping) else {}
        usage = Usage(
            *(
                percent(values[kind]) if kind in values else told[kind].get(name)
                for kind in (GPU, MEMORY)
            )
        )
        if usage.known:
            found[name] = usage
    return found


def from_prometheus(answer: object, names: Collection[str]) -> dict[str, float]:
    """{node: value} of an instant query; several series of a node are averaged."""
    data = answer.get("data") if isinstance(answer, Mapping) else None
    series = data.get("result") if isinstance(data, Mapping) else None
    values: dict[str, list[float]] = defaultdict(list)
    for one in series if isinstance(series, list) else []:
        labels = one.get("metric", {})
        node = next((labels[at] for at in NODE_LABELS if labels.get(at) in names), None)
        value = percent(one.get("value", (0, None))[1])
        if node is not None and value is not None:
            values[node].append(value)
    return {node: round(sum(of) / len(of), 1) for node, of in values.items()}


def percent(value: object) -> float | None:
    """A number, also as the text that Prometheus and YAML write; None for what is none."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return round(number, 1) if math.isfinite(number) else None
