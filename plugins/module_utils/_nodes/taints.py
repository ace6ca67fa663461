# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: taints of nodes, and the tolerations that match them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .._common.documents import list_at, text_at


@dataclass(frozen=True)
class Taint:
    """A taint of a node."""

    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        return (
            f"{self.key}={self.value}:{self.effect}" if self.value else f"{self.key}:{self.effect}"
        )

    @property
    def repels(self) -> bool:
        """Whether it keeps pods away."""
        return self.effect in ("NoSchedule", "NoExecute")


CORDON = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")  # on cordoned nodes


def taints_of(node: object) -> list[Taint]:
    return [
        Taint(text_at(entry, "key"), text_at(entry, "value"), text_at(entry, "effect"))
        for entry in list_at(node, "spec", "taints")
    ]


def kept_away_by(taints: Iterable[Taint], tolerations: Sequence[object]) -> list[Taint]:
    """The taints that keep pods with these tolerations away."""
    return [
        taint
        for taint in taints
        if taint.repels and not any(tolerates(toleration, taint) for toleration in tolerations)
    ]


def tolerates(toleration: object, taint: Taint) -> bool:
    """As the scheduler decides: an empty effect or key matches all."""
    if text_at(toleration, "effect") not in ("", taint.effect):
        return False
    key = text_at(toleration, "key")
    if text_at(toleration, "operator") == "Exists":
        return key in ("", taint.key)
    return key == taint.key and text_at(toleration, "value") == taint.value
