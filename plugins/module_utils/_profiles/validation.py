# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: parses and validates profiles.

A profile becomes one key of the ConfigMap, with the plugin's configuration file as content
(plugin_file.py). Its definition is the short form (replicas: 4), the plugin's own keys
(sharing: ...), or the text of a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from .._common.errors import ProfileError, joined
from .._common.text import either
from .._common.values import describe, quote
from .fields import TOP_KEYS, location_of
from .go_yaml import parse_yaml
from .model import (
    GPU_RESOURCE,
    MAX_NAME_LENGTH,
    NO_MIG,
    STRATEGIES,
    Content,
    Profile,
    SharedResource,
)
from .plugin import ANY_PLUGIN, Plugin, operator_plugin
from .plugin_file import read_content
from .reader import ProfileReader
from .resources import check_devices, read_replicas, read_resources, shared_content
from .rules import Problem, Rule

SHORT_FIELDS = (
    "strategy",
    "replicas",
    "rename_by_default",
    "fail_requests_greater_than_one",
    "resources",
    "mig",
)
RENDERED = ("file", "hash", "mig")  # the keys of a rendered profile
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_FORMS = (
    "a mapping with replicas or resources, for example {replicas: 4}; the plugin's own keys"
    " (version, sharing, flags, imex); or a file's text"
)


def parse_profiles(
    definitions: object,
    plugin: Plugin | None = None,
    notice: Callable[[str], object] = lambda _text: None,
) -> dict[str, Profile]:
    """Parse {name: definition}. Raises ProfileError with all problems of all profiles. notice takes
    what the plugin ignores and profiles leave out.
    """
    if not isinstance(definitions, Mapping) or not definitions:
        raise ProfileError(
            f"O(profiles) is {quote(definitions)}; allowed: a mapping of one or more profile names"
            " to settings, for example {default: {replicas: 4}}."
        )
    profiles: dict[str, Profile] = {}
    problems: list[Problem] = []
    for name, definition in definitions.items():
        profile, found = read_profile(name, definition, plugin)
        if str(name) in profiles:
            text = f"profile {quote(str(name))} occurs twice, as a string and as another type"
            problems.append(Problem(Rule.NAME, f"{text}; allowed: each name once."))
        profiles[str(name)] = profile
        problems.extend(found)
    if errors := [problem.text for problem in problems if not problem.rule.is_notice]:
        raise joined(ProfileError, errors)
    for problem in problems:
        notice(problem.text)
    return profiles


def checked_profiles(definitions: object) -> dict[str, Profile]:
    """Parse profiles that have already been validated against the cluster's plugin."""
    return parse_profiles(definitions, ANY_PLUGIN)


def depends_on_plugin(definitions: object) -> bool:
    """Whether the validation of any definition depends on the plugin's version or environment."""
    simple = {"replicas", "rename_by_default", "fail_requests_greater_than_one"}
    entries = definitions.values() if isinstance(definitions, Mapping) else ()
    return any(
        not isinstance(entry, Mapping) or not (simple >= entry.keys() or is_rendered(entry))
        for entry in entries
    )


def is_rendered(definition: Mapping[object, object]) -> bool:
    """Whether a definition is a rendered profile, which is already validated."""
    return definition.keys() == set(RENDERED)


def _read_rendered(
    definition: Mapping[object, object], reader: ProfileReader
) -> tuple[Content, str | None]:
    mig = _read_mig(reader, definition["mig"])
    return read_text(str(definition["file"]), reader, ANY_PLUGIN), mig


def parse_profile(name: object, definition: object, plugin: Plugin | None = None) -> Profile:
    """Parse one profile. Raises ProfileError with all its problems."""
    return parse_profiles({name: definition}, plugin)[str(name)]


def read_profile(
    name: object, definition: object, plugin: Plugin | None = None
) -> tuple[Profile, list[Problem]]:
    """A profile and its problems. plugin will read the file; by default it is the operator's."""
    reader = ProfileReader(f"profile {quote(name)}")
    _check_name(reader, name)
    known = plugin or operator_plugin()
    if isinstance(definition, str):
        content, mig = read_text(definition, reader, known), None
    elif isinstance(definition, Mapping) and is_rendered(definition):
        content, mig = _read_rendered(definition, reader)
    elif isinstance(definition, Mapping):
        content, mig = _read_mapping(definition, reader, known)
    else:
        reader.reject(Rule.FORM, "", definition, _FORMS)
        content, mig = Content(), None
    return Profile(str(name), content, mig), reader.problems


def read_text(text: str, reader: ProfileReader, plugin: Plugin) -> Content:
    """The content of a file's text, read strictly, as the plugin reads it."""
    strict = ProfileReader(reader.subject, lenient=False, problems=reader.problems)
    before = len(strict.problems)
    document = parse_yaml(text, strict)
    if len(strict.problems) > before and document is None:
        return Content()
    if document is None:
        text = "is an empty file, so GPUs would not be shared; to share nothing, write version: v1"
        strict.problem(Rule.EMPTY_FILE, "", text)
        return Content()
    return read_content(document, strict, plugin)


def _read_mapping(
    definition: Mapping[object, object], reader: ProfileReader, plugin: Plugin
) -> tuple[Content, str | None]:
    mig = _read_mig(reader, definition.get("mig"))
    rest = {key: value for key, value in definition.items() if key != "mig"}
    own_keys = {str(key).lower() for key in rest} & {key.lower() for key in TOP_KEYS}
    if own_keys and (own_keys != {"resources"} or isinstance(rest.get("resources"), Mapping)):
        content = read_content(rest, reader, plugin)
    else:
        content = _read_short(reader, definition, plugin)
    if content.mps and content.resources and mig not in (None, NO_MIG):
        text = f"is {quote(mig)}, but MPS does not support MIG devices; allowed: {NO_MIG}"
        reader.problem(Rule.MPS_WITH_MIG, "mig", text)
    return content, mig


def _read_short(
    reader: ProfileReader, definition: Mapping[object, object], plugin: Plugin
) -> Content:
    settings: dict[str, object] = {}
    for key, value in definition.items():
        if key in SHORT_FIELDS:
            settings[str(key)] = value
        else:
            reader.unknown_key("", key, value, SHORT_FIELDS, location_of(key))
    strategy = _read_strategy(reader, settings)
    resources = _read_shared(reader, settings, strategy)
    content = shared_content(
        resources,
        mps=strategy == "mps",
        rename_by_default=reader.boolean(
            "rename_by_default", settings.get("rename_by_default", False), default=False
        ),
        fail_requests_greater_than_one=reader.boolean(
            "fail_requests_greater_than_one",
            settings.get("fail_requests_greater_than_one", True),
            default=True,
        ),
    )
    check_devices(reader, "", content, plugin)
    return content


def _read_strategy(reader: ProfileReader, settings: Mapping[str, object]) -> str:
    value = settings.get("strategy", "time_slicing")
    if isinstance(value, str) and value in STRATEGIES:
        return str(value)
    reader.reject(Rule.FORM, "strategy", value, either(STRATEGIES))
    return "time_slicing"


def _read_shared(
    reader: ProfileReader, settings: Mapping[str, object], strategy: str
) -> tuple[SharedResource, ...]:
    """The shared resources of the short form: from replicas, or from the list."""
    if strategy == "none" and "resources" not in settings and "replicas" not in settings:
        return ()
    if "resources" not in settings:
        replicas = read_replicas(reader, "", settings, least=1)
        if strategy == "none" and replicas > 1:
            text = f"is {replicas}, but the strategy none shares nothing; allowed: 1, or omit it"
            reader.problem(Rule.FORM, "replicas", text)
        return (SharedResource(GPU_RESOURCE, replicas),) if replicas > 1 else ()
    if "replicas" in settings or strategy == "none":
        other = "replicas" if "replicas" in settings else "strategy none"
        text = (
            f"has both {other} and resources; allowed: only replicas (all GPUs), or only resources"
        )
        reader.problem(Rule.FORM, "", f"{text} (each entry with its own replicas)")
    entries = settings["resources"]
    if not isinstance(entries, list | tuple) or not entries:
        allowed = "a list with at least one {name, replicas}, or omit it"
        reader.reject(Rule.NO_RESOURCES, "resources", entries, allowed)
        return ()
    return read_resources(reader, "resources", entries)


def _read_mig(reader: ProfileReader, value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and len(value) <= 63 and _LABEL_VALUE.fullmatch(value):
        return str(value)
    allowed = f"the name of a configuration of NVIDIA's MIG manager, such as {NO_MIG} or all-1g.5gb"
    reader.reject(Rule.NAME, "mig", value, allowed)
    return None


def _check_name(reader: ProfileReader, name: object) -> None:
    allowed = (
        f"a string of 1 to {MAX_NAME_LENGTH} characters of A-Z a-z 0-9 . _ - that starts and ends"
        " with a letter or a digit"
        " (it becomes a ConfigMap key and a node label's value)"
    )
    text = ""
    if not isinstance(name, str):
        text = f"has the name {describe(name)}; allowed: {allowed}. Put it in quotes"
    elif len(name) > MAX_NAME_LENGTH:
        text = f"has a name of {len(name)} characters; allowed: {allowed}"
    elif not _LABEL_VALUE.fullmatch(name):
        text = f"has an invalid name; allowed: {allowed}"
    if text:
        reader.problem(Rule.NAME, "", text)
