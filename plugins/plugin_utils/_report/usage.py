# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the use of GPUs and their memory, as given or from Prometheus (DCGM exporter)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

GPU, MEMORY = "gpu_utilisation", "memory"
# Labels that hold the node, as set by the exporter or by relabeling
NODE_LABELS = ("Hostname", "node", "kubernetes_node")


@dataclass(frozen=True)
class Usage:
    """The mean over the GPUs of a node, in percent; None if unknown."""

    gpu_utilisation: float | None = None
    memory: float | None = None

    @property
    def known(self) -> bool:
        return self.gpu_utilisation is not None or self.memory is not None


def read_usage(given: object, answers: object, names: Collection[str]) -> dict[str, Usage]:
    """{node: usage} of the nodes in names, without those whose usage is unknown.

    given is {node: {gpu_utilisation: percent, memory: percent}} and takes precedence. answers is
    {gpu_utilisation: ..., memory: ...}, each the answer of Prometheus to an instant query.
    """
    by_kind = answers if isinstance(answers, Mapping) else {}
    measured = {kind: from_prometheus(by_kind.get(kind), names) for kind in (GPU, MEMORY)}
    given_by_node = given if isinstance(given, Mapping) else {}
    usage_by_node = {}
    for name in names:
        settings = given_by_node.get(name)
        values = settings if isinstance(settings, Mapping) else {}
        usage = Usage(
            *(
                percent(values[kind]) if kind in values else measured[kind].get(name)
                for kind in (GPU, MEMORY)
            )
        )
        if usage.known:
            usage_by_node[name] = usage
    return usage_by_node


def from_prometheus(answer: object, names: Collection[str]) -> dict[str, float]:
    """{node: value} of an instant query, averaged over the series of a node."""
    data = answer.get("data") if isinstance(answer, Mapping) else None
    series = data.get("result") if isinstance(data, Mapping) else None
    values: dict[str, list[float]] = defaultdict(list)
    for entry in series if isinstance(series, list) else []:
        labels = entry.get("metric", {})
        node = next((labels[label] for label in NODE_LABELS if labels.get(label) in names), None)
        value = percent(entry.get("value", (0, None))[1])
        if node is not None and value is not None:
            values[node].append(value)
    return {node: round(sum(of_node) / len(of_node), 1) for node, of_node in values.items()}


def percent(value: object) -> float | None:
    """A number, which may be a string as in answers of Prometheus; None for any other value."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return round(number, 1) if math.isfinite(number) else None
