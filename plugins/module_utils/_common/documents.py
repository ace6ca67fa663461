# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: reads objects of the Kubernetes API as plain JSON. A missing field is empty."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from sys import intern


def dig(document: object, *path: str) -> object:
    """The value at a path of keys; None where a key is missing."""
    for key in path:
        if not isinstance(document, Mapping):
            return None
        document = document.get(key)
    return document


def text_at(document: object, *path: str) -> str:
    value = dig(document, *path)
    return "" if value is None else str(value)


def mapping_at(document: object, *path: str) -> dict[str, str]:
    """A mapping of strings at a path, such as labels."""
    value = dig(document, *path)
    return (
        {str(key): str(entry) for key, entry in value.items()} if isinstance(value, Mapping) else {}
    )


def list_at(document: object, *path: str) -> list[object]:
    value = dig(document, *path)
    return list(value) if isinstance(value, list | tuple) else []


def name_of(document: object) -> str:
    return text_at(document, "metadata", "name")


def read_time(text: str) -> datetime | None:
    """A time of the API (RFC 3339); None where it is not a time. Without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def last_change(document: object, *fields: str) -> str:
    """When a client last changed what it manages of an object, as the API server notes it; with
    fields, such as f:data, only clients that manage these. Empty where it is unknown.
    """
    times = [
        text_at(entry, "time")
        for entry in list_at(document, "metadata", "managedFields")
        if not fields or dig(entry, "fieldsV1", *fields) is not None
    ]
    return max(times, default="")


def entries_with_prefix(
    document: object, prefix: str | tuple[str, ...], *path: str
) -> dict[str, str]:
    """The entries of a mapping whose keys begin with a prefix, or one of several. Thousands of
    nodes have the same strings, which are interned.
    """
    found = dig(document, *path)
    if not isinstance(found, Mapping):
        return {}
    return {
        intern(key): intern(str(value)) for key, value in found.items() if key.startswith(prefix)
    }


def has_condition(document: object, condition: str) -> bool:
    """Whether a condition in status.conditions has status True."""
    found = (
        entry
        for entry in list_at(document, "status", "conditions")
        if dig(entry, "type") == condition
    )
    return any(dig(entry, "status") == "True" for entry in found)
