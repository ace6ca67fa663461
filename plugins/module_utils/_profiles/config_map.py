# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the ConfigMap of the profiles, one key each, and the plan of its changes."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from .._common.documents import last_change, mapping_at, read_time, text_at
from .._common.errors import SharingError
from .._common.names import MANAGED_BY, MANAGED_BY_LABEL, PROFILES_ANNOTATION
from .hashing import config_hash, from_note, same_content, to_note

LONGEST_WRITE = timedelta(minutes=2)  # from a plan to the end of its write, retries included

_VOLUME_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

# Volumes in the operator's DaemonSets of plugin, GFD and MPS daemon (gpu-operator v1.11.0 to
# v26.7.0), and the volume that it adds together with the ConfigMap's.
_VOLUMES = frozenset(
    {
        *("config", "device-plugin", "nvidia-device-plugin-entrypoint", "output-dir"),
        *("run-nvidia", "run-nvidia-validations", "driver-install-dir", "cdi-root"),
        *("host-root", "host-sys", "mps-root", "mps-shm", "dmi-info-dir", "dmi-product-name"),
    }
)


def check_config_map_name(name: str) -> None:
    """Raise SharingError for a ConfigMap that the operator cannot mount: its volume gets the name
    of the ConfigMap, and the API server would reject the DaemonSets.
    """
    problem = f"O(config_map) is '{name}': the operator names a volume like the ConfigMap, and"
    if not _VOLUME_NAME.fullmatch(name):
        raise SharingError(
            f"{problem} a volume's name has at most 63 characters of a-z 0-9 - and starts and ends"
            " with a letter or a digit. Choose such a name."
        )
    if name in _VOLUMES:
        raise SharingError(
            f"{problem} its DaemonSets already have a volume of that name. Choose another name,"
            " such as device-plugin-config."
        )


@dataclass(frozen=True)
class KeyRecord:
    """A key that we wrote: the hash of its content, the time when the write was planned, and
    whether it replaced other content, which a plugin that started earlier may still use.
    """

    hash: str
    at: str  # RFC 3339, UTC, full seconds, by the API server's clock
    replaced: bool = True


@dataclass(frozen=True)
class ConfigMap:
    data: Mapping[str, str] = field(default_factory=dict)
    written: Mapping[str, KeyRecord] = field(default_factory=dict)  # keys that we wrote
    ours: bool = False  # we created the ConfigMap
    created: str = ""
    changed: str = ""  # the last change of any key, by anybody
    shadowed: frozenset[str] = frozenset()  # flags that the plugin's environment overrides

    def holds(self, key: str, text: str) -> bool:
        """Whether a key has the content of a file, for all that the plugin does."""
        return same_content(self.data.get(key), text, self.shadowed)

    @property
    def has_flags(self) -> bool:
        """Whether flags may play a part, so that the plugin's environment has to be known."""
        return any("flags" in text.lower() for text in self.data.values())

    def written_at(self, key: str) -> datetime | None:
        """The latest time at which a key can have got its content, by the API server's clock; None
        where it is unknown. Of a key that we did not write, only the creation of the ConfigMap is
        known.
        """
        record = self.written.get(key)
        if record is None:
            return read_time(self.created)
        planned = read_time(record.at)
        if planned is None or record.hash != config_hash(self.data.get(key, "")):
            return None
        changed, latest = read_time(self.changed), planned + LONGEST_WRITE
        return min(changed, latest) if changed and changed >= planned else latest


@dataclass(frozen=True)
class ConfigMapPlan:
    """The changes: keys to put and to remove, and the new value of our annotation (record)."""

    before: ConfigMap | None
    put: Mapping[str, str]
    remove: tuple[str, ...]
    in_use: tuple[str, ...]  # not removed: nodes or the operator still use them
    record: Mapping[str, KeyRecord]
    delete: bool = False

    def __bool__(self) -> bool:
        recorded = self.before.written if self.before else {}
        return bool(self.delete or self.put or self.remove or dict(recorded) != dict(self.record))

    def diff(self) -> dict[str, dict[str, str]]:
        """The diff of the keys that change."""
        data = dict(self.before.data) if self.before else {}
        gone = list(data) if self.delete else self.remove
        return {
            "before": {key: data[key] for key in (*self.put, *gone) if key in data},
            "after": dict(self.put),
        }

    def patch(self) -> dict[str, object]:
        """The merge patch, or the content of a new object."""
        data: dict[str, str | None] = {**self.put, **dict.fromkeys(self.remove)}
        notes = {
            key: {**vars(entry), "hash": to_note(entry.hash)}
            for key, entry in sorted(self.record.items())
        }
        annotation = json.dumps(notes) if notes else None
        return {"metadata": {"annotations": {PROFILES_ANNOTATION: annotation}}, "data": data}


def read_config_map(document: object) -> ConfigMap:
    """A ConfigMap object of the API. An unreadable annotation counts as missing."""
    try:
        noted = json.loads(
            text_at(document, "metadata", "annotations", PROFILES_ANNOTATION) or "{}"
        )
        written = {
            key: KeyRecord(
                from_note(str(entry["hash"])), str(entry["at"]), bool(entry.get("replaced", True))
            )
            for key, entry in noted.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        written = {}
    return ConfigMap(
        data=mapping_at(document, "data"),
        written=written,
        changed=last_change(document, "f:data"),
        ours=mapping_at(document, "metadata", "labels").get(MANAGED_BY_LABEL) == MANAGED_BY,
        created=text_at(document, "metadata", "creationTimestamp"),
    )


def plan_config_map(
    observed: ConfigMap | None,
    files: Mapping[str, str],
    *,
    now: datetime,
    obsolete: Collection[str] = (),
    in_use: Collection[str] = (),
) -> ConfigMapPlan:
    """Compare files (profile name: content) with the ConfigMap.

    A key whose content differs only in layout stays: rewriting it would restart plugins for no
    reason. It is not recorded as ours, so removal leaves it too. Other obsolete keys are removed,
    except those in_use.
    """
    data = observed.data if observed else {}
    there = observed or ConfigMap()
    put = {key: text for key, text in files.items() if not there.holds(key, text)}
    others = sorted(data.keys() & set(obsolete) - files.keys())
    remove = tuple(key for key in others if key not in in_use)
    known = dict(observed.written) if observed else {}
    at = now.replace(microsecond=0).isoformat().replace("+00:00", "Z")
    record = {key: entry for key, entry in known.items() if key in data and key not in remove}
    record |= {key: KeyRecord(config_hash(text), at, key in data) for key, text in put.items()}
    kept = tuple(key for key in others if key in in_use)
    return ConfigMapPlan(observed, put, remove, kept, record)


def plan_removal(observed: ConfigMap | None, in_use: Collection[str] = ()) -> ConfigMapPlan:
    """Undo plan_config_map: remove the keys that we wrote, except those in_use.

    The ConfigMap is deleted when we created it and no other key remains.
    """
    if observed is None:
        return ConfigMapPlan(None, {}, (), (), {})
    ours = sorted(observed.written.keys() & observed.data.keys())
    remove = tuple(key for key in ours if key not in in_use)
    kept = tuple(key for key in ours if key in in_use)
    delete = observed.ours and observed.data.keys() == set(remove)
    record = {key: observed.written[key] for key in kept}
    return ConfigMapPlan(observed, {}, remove, kept, record, delete=delete)
