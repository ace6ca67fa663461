# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fleet file: groups of nodes and the simulator's settings, read and checked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .errors import LabError
from .mig import Mig, read_mig
from .padding import LARGEST, SMALLEST
from .timing import SETTINGS, check_setting, timing_named

_GROUP_KEYS = {
    *("nodes", "gpus", "product", "memory", "mig", "labels", "taints", "prefix", "start"),
    "object_size",
}
_EFFECTS = {"NoSchedule", "PreferNoSchedule", "NoExecute"}
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_SIZE = re.compile(r"(\d+(\.\d+)?)KB")
#: The node for operator pods; every fleet has exactly this one beside its groups.
CPU_NODE = "cpu-01"


@dataclass(frozen=True)
class Taint:
    key: str
    value: str
    effect: str


@dataclass(frozen=True)
class Node:
    """One node to create. `memory` is MiB per GPU; `gpus` 0 means no NVIDIA device. `object_size`
    is in bytes of JSON; 0: no larger than it has to be.
    """

    name: str
    group: str
    gpus: int
    product: str
    memory: int
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    mig: Mig | None = None
    object_size: int = 0


@dataclass(frozen=True)
class Group:
    name: str
    nodes: int
    gpus: int
    product: str
    memory: int
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
    prefix: str
    start: int
    mig: Mig | None
    object_size: int


@dataclass(frozen=True)
class Fleet:
    """What a fleet file says. With `fairness` the API server keeps its own limits; without
    `operator` gpusim does not play that.
    """

    groups: tuple[Group, ...]
    settings: Mapping[str, str]
    fairness: bool = False
    operator: bool = True

    def nodes(self) -> list[Node]:
        """Every node of the fleet, the CPU node first."""
        widths: dict[str, int] = {}
        for group in self.groups:
            digits = len(str(group.start + group.nodes - 1))
            widths[group.prefix] = max(2, digits, widths.get(group.prefix, 0))
        return [Node(CPU_NODE, "cpu", 0, "", 0)] + [
            node for group in self.groups for node in _members(group, widths[group.prefix])
        ]

    def as_dict(self) -> dict[str, Any]:
        """A plain form that is equal for equal fleets (used by `up` on a running lab)."""
        return {
            "nodes": [
                {
                    "name": node.name,
                    "hardware": [node.gpus, node.product, node.memory, *_mig(node)],
                    "labels": dict(sorted(node.labels.items())),
                    "taints": [[taint.key, taint.value, taint.effect] for taint in node.taints],
                    "object_size": node.object_size,
                }
                for node in self.nodes()
            ],
            "settings": dict(sorted(self.settings.items())),
            "fairness": self.fairness,
            "operator": self.operator,
        }


def _members(group: Group, width: int) -> Iterator[Node]:
    for index in range(group.start, group.start + group.nodes):
        name = f"{group.prefix}-{index:0{width}d}"
        yield Node(
            name,
            group.name,
            group.gpus,
            group.product,
            group.memory,
            group.labels,
            group.taints,
            group.mig,
            group.object_size,
        )


def _mig(node: Node) -> list[str]:
    return [node.mig.annotation] if node.mig else []


def load_fleet(path: Path, overrides: Mapping[str, str], timing: str | None = None) -> Fleet:
    """Read a fleet file; `overrides` are `--set` settings. A timing that is named here, and not in
    the file, counts more than the settings of the file. Raises LabError.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise LabError(f"cannot read the fleet file {path}: {err.strerror}") from err
    except yaml.YAMLError as err:
        raise LabError(f"{path} is not YAML: {' '.join(str(err).split())}") from err
    return parse_fleet(data, overrides, str(path), timing)


def parse_fleet(
    data: object, overrides: Mapping[str, str], where: str, timing: str | None = None
) -> Fleet:
    """Check the content of a fleet file. Raises LabError naming group, key and value."""
    top = _mapping(data, where)
    _known(top, {"groups", "settings", "timing", "fairness", "operator"}, where)
    groups = _mapping(top.get("groups"), f"{where}: groups")
    if not groups:
        raise LabError(f"{where}: groups is empty; name at least one group of nodes")
    base = timing_named(top.get("timing", "fast"), f"{where}: timing")
    settings = _settings(_mapping(top.get("settings") or {}, f"{where}: settings"), where)
    if timing is not None:
        settings.update(timing_named(timing, "--timing"))
    settings.update(_settings(overrides, "--set"))
    fleet = Fleet(
        tuple(_group(str(name), body, f"{where}: groups.{name}") for name, body in groups.items()),
        {**base, **settings},
        _boolean(top, "fairness", where, default=False),
        _boolean(top, "operator", where, default=True),
    )
    _unique(fleet, where)
    return fleet


def _group(name: str, body: object, where: str) -> Group:
    raw = _mapping(body, where)
    _known(raw, _GROUP_KEYS, where)
    prefix = raw.get("prefix", name)
    if not isinstance(prefix, str) or not _NAME.fullmatch(prefix) or len(prefix) > 200:
        raise LabError(f"{where}: {prefix!r} cannot start a node name; use a-z, 0-9 and '-'")
    gpus = _integer(raw, "gpus", 0, 0, where)
    product = raw.get("product", "NVIDIA-A10" if gpus else "")
    if not isinstance(product, str):
        raise LabError(f"{where}: product must be a string, not {product!r}")
    memory = _integer(raw, "memory", 23028 if gpus else 0, 0, where)
    return Group(
        name=name,
        nodes=_integer(raw, "nodes", None, 1, where),
        gpus=gpus,
        product=product,
        memory=memory,
        labels=_labels(raw.get("labels") or {}, where),
        taints=_taints(raw.get("taints") or [], where),
        prefix=prefix,
        start=_integer(raw, "start", 1, 0, where),
        mig=read_mig(raw.get("mig"), gpus, product, memory, where),
        object_size=_size(raw.get("object_size"), where),
    )


def _size(raw: object, where: str) -> int:
    """Bytes of a size in KB, of 1,000 bytes; 0 for none."""
    if raw is None:
        return 0
    found = _SIZE.fullmatch(raw) if isinstance(raw, str) else None
    size = round(float(found[1]) * 1000) if found else 0
    if not SMALLEST <= size <= LARGEST:
        raise LabError(
            f"{where}: object_size must be between {SMALLEST // 1000}KB and {LARGEST // 1000}KB,"
            f" not {raw!r}"
        )
    return size


def _settings(raw: Mapping[str, object], where: str) -> dict[str, str]:
    _known(raw, set(SETTINGS), f"{where}: settings")
    for key, value in raw.items():
        check_setting(key, value, where)
    return {key: str(value) for key, value in raw.items()}


def _labels(raw: object, where: str) -> dict[str, str]:
    labels = _mapping(raw, f"{where}: labels")
    for key, value in labels.items():
        if not isinstance(value, str):
            raise LabError(f"{where}: label {key} must be a string, not {value!r}; quote it")
    return {key: str(value) for key, value in labels.items()}


def _taints(raw: object, where: str) -> tuple[Taint, ...]:
    if not isinstance(raw, list):
        raise LabError(f"{where}: taints must be a list of {{key, value, effect}}, not {raw!r}")
    taints = []
    for item in raw:
        taint = _mapping(item, f"{where}: taints")
        _known(taint, {"key", "value", "effect"}, f"{where}: taints")
        effect = str(taint.get("effect", "NoSchedule"))
        if not taint.get("key") or effect not in _EFFECTS:
            raise LabError(
                f"{where}: a taint needs a key, and an effect out of {sorted(_EFFECTS)}: {taint!r}"
            )
        taints.append(Taint(str(taint["key"]), str(taint.get("value", "")), effect))
    return tuple(taints)


def _unique(fleet: Fleet, where: str) -> None:
    seen: dict[str, str] = {}
    for node in fleet.nodes():
        if node.name in seen:
            raise LabError(
                f"{where}: node {node.name} is in {seen[node.name]} and in {node.group}; "
                "set prefix or start of one of them"
            )
        seen[node.name] = node.group


def _mapping(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise LabError(f"{where} must be a mapping, not {value!r}")
    return value


def _known(raw: Mapping[str, object], known: set[str], where: str) -> None:
    for key in raw:
        if key not in known:
            raise LabError(f"{where}: unknown key {key!r}; known: {', '.join(sorted(known))}")


def _integer(
    raw: Mapping[str, object], key: str, default: int | None, least: int, where: str
) -> int:
    value = raw.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise LabError(f"{where}: {key} must be a whole number >= {least}, not {value!r}")
    return value


def _boolean(raw: Mapping[str, object], key: str, where: str, *, default: bool) -> bool:
    value = raw.get(key, default)
    if not isinstance(value, bool):
        raise LabError(f"{where}: {key} must be true or false, not {value!r}")
    return value
