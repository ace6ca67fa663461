# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The key `mig` of a group: how MIG cuts the GPUs of a node."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from .errors import LabError
from .paths import GO_DIR

#: What every card can be cut into; the simulator reads the same file.
_CARDS = GO_DIR / "controlplane" / "cmd" / "gpusim" / "mig.yaml"
_MEMORY_PARTS = 8


@dataclass(frozen=True)
class Mig:
    """Of a node: the annotation with the layout, and the label `nvidia.com/mig.config`."""

    annotation: str
    config: str


@dataclass(frozen=True)
class _Card:
    products: tuple[str, ...]
    memory: int  # GB
    slices: int
    profiles: tuple[str, ...]
    balanced: Mapping[str, int]

    def parts(self, profile: str) -> int:
        """Eighths of the card's memory that a device of the profile takes."""
        return round(_MEMORY_PARTS * _size(profile)[1] / self.memory)

    def most(self, profile: str) -> int:
        """How many devices of a profile fit on the card."""
        return min(self.slices // _size(profile)[0], _MEMORY_PARTS // self.parts(profile))

    def config(self, layout: Mapping[str, int]) -> str:
        """The name that mig-manager's default file has for a layout of all GPUs."""
        if not layout:
            return "all-enabled"
        if layout == self.balanced:
            return "all-balanced"
        names = [f"all-{p}" for p in self.profiles if layout == {p: self.most(p)}]
        return names[0] if names else "custom"


def read_mig(raw: object, gpus: int, product: str, memory: int, where: str) -> Mig | None:
    """Check the key `mig`: a layout `{profile: devices}` of every GPU, or a list with one for each
    GPU (null: not in MIG mode). None when it is absent. Raises LabError.
    """
    if raw is None:
        return None
    card = _card(product, memory)
    if card is None or not gpus:
        known = sorted({name for each in _cards() for name in each.products})
        raise LabError(f"{where}: mig needs gpus, of a product out of {known}, not {product!r}")
    if not isinstance(raw, list):
        layout = _layout(raw, card, where)
        return Mig(_text(layout), card.config(layout))
    if len(raw) != gpus:
        raise LabError(f"{where}: mig has {len(raw)} layouts for {gpus} GPUs; null is one without")
    return Mig(
        _text([None if item is None else _layout(item, card, where) for item in raw]), "custom"
    )


def _layout(raw: object, card: _Card, where: str) -> dict[str, int]:
    if not isinstance(raw, dict):
        raise LabError(f"{where}: mig must be {{PROFILE: DEVICES}} or a list of those, not {raw!r}")
    slices = parts = 0
    for profile, count in raw.items():
        if profile not in card.profiles:
            raise LabError(
                f"{where}: mig: {profile!r} is no profile of this card; "
                f"known: {', '.join(card.profiles)}"
            )
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise LabError(f"{where}: mig: {profile} must be a whole number >= 1, not {count!r}")
        slices += count * _size(profile)[0]
        parts += count * card.parts(profile)
    if slices > card.slices or parts > _MEMORY_PARTS:
        raise LabError(
            f"{where}: mig: {_text(raw)} does not fit on one GPU: {slices} of {card.slices} "
            f"slices, {parts} of {_MEMORY_PARTS} parts of memory"
        )
    return dict(raw)


def _card(product: str, memory: int) -> _Card | None:
    """The card by product; of several, the one whose memory (given in MiB) is nearest."""
    named = [card for card in _cards() if any(name in product for name in card.products)]
    return min(named, key=lambda card: abs(card.memory * 1000 - memory), default=None)


@functools.cache
def _cards() -> tuple[_Card, ...]:
    return tuple(
        _Card(
            tuple(entry["products"]),
            entry["memory"],
            entry["slices"],
            tuple(entry["profiles"]),
            entry["balanced"],
        )
        for entry in yaml.safe_load(_CARDS.read_text(encoding="utf-8"))
    )


def _size(profile: str) -> tuple[int, int]:
    """Slices and GB of a profile such as 3g.40gb."""
    slices, memory = profile.removesuffix("gb").split("g.")
    return int(slices), int(memory)


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
