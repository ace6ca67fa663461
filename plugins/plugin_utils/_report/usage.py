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

GPU, MEMORY, MIXED = "gpu_utilisation", "memory", "mixed"
# Labels that hold the node: set by relabeling, or by the exporter, which calls its host hostname
# (older releases: Hostname). A remote host engine gives its own host there.
NODE_LABELS = ("node", "kubernetes_node", "hostname", "Hostname")
_CLUSTER_LABEL = "cluster"


@dataclass(frozen=True)
class Usage:
    """The mean over the GPUs of a node, in percent; None if unknown."""

    gpu_utilisation: float | None = None
    memory: float | None = None

    @property
    def known(self) -> bool:
        return self.gpu_utilisation is not None or self.memory is not None


def read_usage(
    given: object, answers: object, names: Collection[str], cluster: str = ""
) -> tuple[dict[str, Usage], list[str]]:
    """{node: usage} of the nodes in names, without those whose usage is unknown; and the nodes for
    which Prometheus mixes several of the same name.

    given is {node: {gpu_utilisation: percent, memory: percent}} and takes precedence. answers is
    {gpu_utilisation: ..., memory: ..., mixed: ...}, each the answer of Prometheus to an instant
    query; that of mixed has the nodes with GPUs of several exporters.
    """
    by_kind = answers if isinstance(answers, Mapping) else {}
    measured = {
        kind: from_prometheus(by_kind.get(kind), names, cluster) for kind in (GPU, MEMORY, MIXED)
    }
    given_by_node = given if isinstance(given, Mapping) else {}
    usage_by_node, mixed = {}, []
    for name in names:
        settings = given_by_node.get(name)
        values = settings if isinstance(settings, Mapping) else {}
        found = {kind: measured[kind].get(name, []) for kind in measured}
        if found[MIXED] or any(len(numbers) > 1 for numbers in found.values()):
            found = {}
            mixed += [] if values else [name]
        usage = Usage(
            *(
                percent(values[kind]) if kind in values else next(iter(found.get(kind, [])), None)
                for kind in (GPU, MEMORY)
            )
        )
        if usage.known:
            usage_by_node[name] = usage
    return usage_by_node, sorted(mixed)


def from_prometheus(
    answer: object, names: Collection[str], cluster: str = ""
) -> dict[str, list[float]]:
    """{node: values} of an instant query, a value for each label cluster. If any series has the
    name of this cluster there, the others are left out.
    """
    data = answer.get("data") if isinstance(answer, Mapping) else None
    series = data.get("result") if isinstance(data, Mapping) else None
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for entry in series if isinstance(series, list) else []:
        labels = entry.get("metric", {})
        node = next((labels[label] for label in NODE_LABELS if labels.get(label) in names), None)
        value = percent(entry.get("value", (0, None))[1])
        if node is not None and value is not None:
            found[labels.get(_CLUSTER_LABEL, "")][node].append(value)
    values: dict[str, list[float]] = defaultdict(list)
    for by_node in [found[cluster]] if cluster in found else found.values():
        for node, numbers in by_node.items():
            values[node].append(round(sum(numbers) / len(numbers), 1))
    return values


def percent(value: object) -> float | None:
    """A number, which may be a string as in answers of Prometheus; None for any other value."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return round(number, 1) if math.isfinite(number) else None
