# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: what a profile is, its rules, its file and its hash.

Source of the rules: NVIDIA/k8s-device-plugin api/config/v1 (v0.12.0 to v0.20.0). A profile is one
key of the ConfigMap; its
content is the plugin's whole configuration file.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from ansible_collections.gpufleet.sharing.plugins.module_utils._errors import ProfileError, joined

try:
    import yaml
except ImportError:  # the modules and filters report it; kubernetes itself depends on PyYAML
    yaml = None  # type: ignore[assignment]

GPU_RESOURCE = "nvidia.com/gpu"
SHARED_SUFFIX = ".shared"
RESOURCE_PREFIX = "nvidia.com/"
MAX_NAME_LENGTH = 63
MAX_RESOURCE_LENGTH = 63
NO_SHARING_FILE = "version: v1\n"

_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,9}")
_FIELDS = ("replicas", "rename_by_default", "fail_requests_greater_than_one", "resources")
_RESOURCE_FIELDS = ("name", "replicas")
_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")


@dataclass(frozen=True)
class SharedResource:
    """One extended resource and into how many slots each of its devices is cut (2 or more)."""

    name: str
    replicas: int


@dataclass(frozen=True)
class Profile:
    """A way of sharing the GPUs of a node. No resources means no sharing at all."""

    name: str
    resources: tuple[SharedResource, ...] = ()
    rename_by_default: bool = False
    fail_requests_greater_than_one: bool = True

    def replicas_of(self, resource: str) -> int:
        """Slots per device of a resource, 1 when the profile does not share it."""
        return next((shared.replicas for shared in self.resources if shared.name == resource), 1)

    @property
    def replicas(self) -> int:
        """Slots per physical GPU."""
        return self.replicas_of(GPU_RESOURCE)

    @property
    def strategy(self) -> str:
        """The sharing strategy, as GPU feature discovery names it in
        nvidia.com/gpu.sharing-strategy.
        """
        return "time-slicing" if self.resources else "none"

    def advertised(self, resource: str) -> str:
        """The name under which the plugin advertises a resource with this profile."""
        renamed = self.rename_by_default and self.replicas_of(resource) > 1
        return resource + SHARED_SUFFIX if renamed else resource


def parse_profiles(definitions: object) -> dict[str, Profile]:
    """Turn the variable gpu_sharing_profiles into profiles. Raises ProfileError with every problem
    of every profile.
    """
    if not isinstance(definitions, Mapping) or not definitions:
        raise ProfileError(
            f"gpu_sharing_profiles is {_quoted(definitions)}; it must map at least one profile"
            " name to its settings,"
            " for example {default: {replicas: 4}}."
        )
    profiles: dict[str, Profile] = {}
    problems: list[str] = []
    for name, definition in definitions.items():
        try:
            profiles[name] = parse_profile(name, definition)
        except ProfileError as error:
            problems.extend(error.problems)
    if problems:
        raise joined(ProfileError, problems)
    return profiles


def parse_profile(name: object, definition: object) -> Profile:
    """Turn one entry of gpu_sharing_profiles into a profile. Raises ProfileError with all its
    problems.
    """
    reader = _Reader(f"profile {_quoted(name)}")
    _check_name(reader, name)
    if not isinstance(definition, Mapping):
        reader.refuse(
            "", definition, f"a mapping with {_either(_FIELDS)}, for example {{replicas: 4}}"
        )
        raise joined(ProfileError, reader.problems)
    reader.known_keys("", definition, _FIELDS)
    profile = Profile(
        name=str(name),
        resources=_resources(reader, definition),
        rename_by_default=reader.boolean(definition, "rename_by_default", default=False),
        fail_requests_greater_than_one=reader.boolean(
            definition, "fail_requests_greater_than_one", default=True
        ),
    )
    if reader.problems:
        raise joined(ProfileError, reader.problems)
    return profile


@lru_cache  # thousands of nodes share a few profiles
def to_plugin_config(profile: Profile) -> str:
    """The plugin's configuration file for a profile: same profile, same bytes.

    A profile that shares nothing is the version alone: the plugin refuses replicas below 2 and an
    empty sharing block.
    """
    if not profile.resources:
        return NO_SHARING_FILE
    document = {
        "version": "v1",
        "sharing": {
            "timeSlicing": {
                "renameByDefault": profile.rename_by_default,
                "failRequestsGreaterThanOne": profile.fail_requests_greater_than_one,
                "resources": [{"name": r.name, "replicas": r.replicas} for r in profile.resources],
            }
        },
    }
    return str(yaml.safe_dump(document, sort_keys=False))


@lru_cache
def config_hash(text: str) -> str:
    """Twelve hexadecimal digits that name what a configuration file says, whatever its layout and
    comments.
    """
    canonical = json.dumps(_document(text), sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def same_content(one: str | None, other: str) -> bool:
    """Whether two configuration files say the same to the plugin, whatever their layout and
    comments.
    """
    return one is not None and (one == other or _document(one) == _document(other))


@lru_cache
def _document(text: str) -> object:
    """The parsed file, or the text itself when it is no YAML (such a file still has a hash)."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _resources(reader: _Reader, definition: Mapping[object, object]) -> tuple[SharedResource, ...]:
    """The shared resources of a definition: from the short form (replicas) or the list."""
    if "resources" not in definition:
        replicas = reader.replicas("", definition, smallest=1)
        return (SharedResource(GPU_RESOURCE, replicas),) if replicas > 1 else ()
    if "replicas" in definition:
        reader.problem(
            "",
            "has both replicas and resources; allowed: replicas alone (all GPUs), or resources"
            " alone"
            " (each entry with its own replicas)",
        )
    entries = definition["resources"]
    if not isinstance(entries, list | tuple) or not entries:
        reader.refuse(
            "resources", entries, "a list with at least one {name, replicas}, or leave it out"
        )
        return ()
    found = [_resource(reader, f"resources[{index}]", entry) for index, entry in enumerate(entries)]
    shared = [resource for resource in found if resource is not None]
    for name in sorted(
        {r.name for r in shared if sum(r.name == other.name for other in shared) > 1}
    ):
        reader.problem(
            "resources",
            f"names {_quoted(name)} more than once; allowed: one entry for each resource",
        )
    return tuple(shared)


def _resource(reader: _Reader, where: str, entry: object) -> SharedResource | None:
    if not isinstance(entry, Mapping):
        reader.refuse(where, entry, "a mapping {name: nvidia.com/gpu, replicas: 4}")
        return None
    reader.known_keys(where, entry, _RESOURCE_FIELDS)
    name = _resource_name(reader, f"{where}.name", entry.get("name"))
    replicas = reader.replicas(where, entry, smallest=2)
    return SharedResource(name, replicas) if name else None


def _resource_name(reader: _Reader, where: str, value: object) -> str:
    allowed = (
        "nvidia.com/gpu, or nvidia.com/mig-<profile> such as nvidia.com/mig-1g.5gb, in lower case"
    )
    if not isinstance(value, str):
        reader.refuse(where, value, allowed)
        return ""
    full = value if value.startswith(RESOURCE_PREFIX) else RESOURCE_PREFIX + value
    bare = full.removeprefix(RESOURCE_PREFIX)
    known = full == GPU_RESOURCE or bare.startswith("mig-")
    if not known or not _DNS_SUBDOMAIN.fullmatch(bare) or len(full) > MAX_RESOURCE_LENGTH:
        reader.refuse(where, value, allowed)
        return ""
    return full


def _check_name(reader: _Reader, name: object) -> None:
    allowed = (
        f"a text of 1 to {MAX_NAME_LENGTH} characters of A-Z a-z 0-9 . _ - that starts and ends"
        " with a letter or a digit"
        " (it becomes a ConfigMap key and a node label's value)"
    )
    if not isinstance(name, str):
        reader.problem(
            "", f"has a name of type {type(name).__name__}; allowed: {allowed}. Put it in quotes"
        )
    elif len(name) > MAX_NAME_LENGTH:
        reader.problem("", f"has a name of {len(name)} characters; allowed: {allowed}")
    elif not _LABEL_VALUE.fullmatch(name):
        reader.problem("", f"has a name that cannot be used; allowed: {allowed}")


class _Reader:
    """Reads fields of one profile and collects what is wrong, so that a user sees all problems at
    once.
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.problems: list[str] = []

    def problem(self, where: str, text: str) -> None:
        self.problems.append(
            f"{self.subject}: {where} {text}." if where else f"{self.subject} {text}."
        )

    def refuse(self, where: str, value: object, allowed: str) -> None:
        self.problem(where, f"is {_quoted(value)}; allowed: {allowed}")

    def known_keys(
        self, where: str, mapping: Mapping[object, object], known: tuple[str, ...]
    ) -> None:
        for key in mapping:
            if key in known:
                continue
            close = difflib.get_close_matches(_snake(str(key)), known, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            path = f"{where}." if where else ""
            self.problems.append(
                f"{self.subject}: {path}{key} (value {_quoted(mapping[key])}) is not a setting of"
                " a profile;"
                f" allowed: {', '.join(known)}.{hint}"
            )

    def replicas(self, where: str, mapping: Mapping[object, object], *, smallest: int) -> int:
        field = f"{where}.replicas" if where else "replicas"
        none = " (1 means no sharing)" if smallest == 1 else ""
        allowed = f"a whole number from {smallest} on{none}"
        if "replicas" not in mapping:
            self.problem(field, f"is missing; allowed: {allowed}")
            return 1
        value = mapping["replicas"]
        number = int(value) if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value) else value
        if isinstance(number, bool) or not isinstance(number, int) or number < smallest:
            self.refuse(field, value, allowed)
            return 1
        return int(number)

    def boolean(self, mapping: Mapping[object, object], field: str, *, default: bool) -> bool:
        value = mapping.get(field, default)
        if isinstance(value, str) and value.lower() in (*_TRUE, *_FALSE):
            return value.lower() in _TRUE
        if not isinstance(value, bool):
            self.refuse(field, value, "true or false")
            return default
        return value


def _snake(name: str) -> str:
    """renameByDefault -> rename_by_default, for "did you mean"."""
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower()


def _quoted(value: object) -> str:
    """A value as the user wrote it, cut to a readable length."""
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _either(names: tuple[str, ...]) -> str:
    return ", ".join(names[:-1]) + " or " + names[-1]
