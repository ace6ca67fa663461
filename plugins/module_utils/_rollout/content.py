# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the ConfigMap of profiles and its namespace: what has to change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .._common.documents import mapping_at
from .._common.names import MANAGED_BY, MANAGED_BY_LABEL
from .._profiles.config_map import ConfigMap, ConfigMapPlan, plan_config_map
from .._profiles.hashing import config_hash, to_note
from .._profiles.keys import IN_PLACE, VERSIONED, check_versioned_names, config_key, is_versioned
from .._profiles.model import Profile
from .._profiles.rendering import to_plugin_config
from .._profiles.validation import checked_profiles
from .history import Revision, last_good, latest
from .observed import Observed

POD_SECURITY_LABEL = "pod-security.kubernetes.io/enforce"


@dataclass(frozen=True)
class Wanted:
    """What the ConfigMap should hold. final: the nodes have their profiles, so that what is left of
    older ones may go; prune: keys of others may go too.
    """

    profiles: Mapping[str, Profile]
    mode: str = IN_PLACE
    default_profile: str = ""
    create_namespace: bool = True
    prune: bool = False
    final: bool = False


@dataclass(frozen=True)
class ContentPlan:
    """What has to change in the ConfigMap, and the labels to set on its namespace."""

    keys: ConfigMapPlan
    labels: Mapping[str, str]
    superseded: tuple[str, ...] = ()  # versioned keys that may go, once they are not in use
    hashes: Mapping[str, str] | None = None  # of the profiles, by name

    def __bool__(self) -> bool:
        return bool(self.keys or self.labels)

    def result(self, observed: Observed) -> dict[str, object]:
        """What the module profiles returns."""
        data = self.keys.before.data if self.keys.before else {}
        found: dict[str, object] = {
            "changed": bool(self),
            "differs": bool(self),
            "diff": self._diff(observed),
            "written": sorted(self.keys.put),
            "rewritten": sorted(self.keys.put.keys() & data.keys()),
            "removed": sorted(data if self.keys.delete else self.keys.remove),
            "kept_in_use": list(self.keys.in_use),
            "superseded": list(self.superseded),
            "hashes": dict(self.hashes or {}),
        }
        return found

    def _diff(self, observed: Observed) -> dict[str, dict[str, object]]:
        """The difference of the ConfigMap, and of the namespace's labels where they change."""
        diff = self.keys.diff()
        before: dict[str, object] = dict(diff["before"])
        after: dict[str, object] = dict(diff["after"])
        if self.labels:
            what = f"labels of namespace {observed.place}"
            had = mapping_at(observed.namespace, "metadata", "labels")
            if observed.namespace:
                before[what] = {k: v for k, v in had.items() if k in self.labels}
            after[what] = dict(self.labels)
        return {"before": before, "after": after}


def plan_content(wanted: Wanted, observed: Observed) -> ContentPlan:
    """Compare what the ConfigMap should hold with what it holds."""
    config_map = observed.config_map
    files = _files(wanted, config_map)
    left = _superseded(config_map, files)
    others = set(config_map.data) - files.keys() if config_map else set()
    going = others if wanted.prune else set(left) if wanted.final else set()
    used = observed.keys_in_use() if going else set()
    if wanted.final and going:
        used |= _keys_of_last_good(observed.revisions, wanted.mode)
    now = observed.cluster.now()
    keys = plan_config_map(config_map, files, now=now, obsolete=going, in_use=used)
    hashes = {
        name: to_note(config_hash(to_plugin_config(profile)))
        for name, profile in wanted.profiles.items()
    }
    labels = plan_namespace(observed.namespace, create=wanted.create_namespace)
    return ContentPlan(keys, labels, tuple(left), hashes)


def plan_namespace(observed: object, *, create: bool) -> dict[str, str]:
    """The labels to set on the namespace: all of ours on a new one, pod security on one that has
    none.
    """
    labels = mapping_at(observed, "metadata", "labels")
    if not create or POD_SECURITY_LABEL in labels:
        return {}
    mine = {} if observed else {MANAGED_BY_LABEL: MANAGED_BY}
    return {**mine, POD_SECURITY_LABEL: "privileged"}


def _files(wanted: Wanted, config_map: ConfigMap | None) -> dict[str, str]:
    """The keys that there have to be, and their content."""
    versioned = wanted.mode == VERSIONED
    if versioned:
        check_versioned_names(wanted.profiles)
    files = {
        config_key(profile, versioned=versioned): to_plugin_config(profile)
        for profile in wanted.profiles.values()
    }
    default = wanted.profiles.get(wanted.default_profile)
    if versioned and default is not None:
        there = config_map.data.get(default.name) if config_map else None
        old = there is not None and not wanted.final
        files[default.name] = str(there) if old else to_plugin_config(default)
    return files


def _superseded(config_map: ConfigMap | None, files: Mapping[str, str]) -> list[str]:
    """Versioned keys of ours that are none of the files."""
    ours = config_map.written.keys() & config_map.data.keys() if config_map else set()
    return sorted(key for key in ours - files.keys() if is_versioned(key))


def _keys_of_last_good(revisions: list[Revision], mode: str) -> set[str]:
    """The keys to go back to from or to versioned ones, so that going back is moving labels."""
    newest = latest(revisions)
    good = last_good(revisions, newest.number) if newest else None
    if good is None or VERSIONED not in (good.spec.mode, mode):
        return set()
    if good.spec.mode != VERSIONED:
        return set(good.spec.profiles)
    profiles = checked_profiles(good.spec.profiles).values()
    return {config_key(profile, versioned=True) for profile in profiles}
