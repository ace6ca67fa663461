# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: bodies of requests, and what answers and errors of the API server contain."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import cast

from .._common.errors import ClusterError

Json = dict[str, object]
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_ESCAPES = tuple((character, f"\\u{ord(character):04x}") for character in "<>&")


def encode(body: Mapping[str, object]) -> str:
    """JSON as Go's encoder writes it, in ASCII.

    The API server compares the bytes of immutable data (of ControllerRevisions) with those of its
    own encoder. With other spacing not even an annotation could be changed later.
    """
    text = _ENCODER.encode(body)
    for character, escape in _ESCAPES:  # they occur in strings only
        text = text.replace(character, escape)
    return text


def read_object(data: bytes) -> Json | None:
    """The object in an answer; empty for an empty answer, None for anything else than an object."""
    try:
        document = json.loads(data) if data else {}
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def first_line(data: bytes) -> str:
    """The beginning of an answer, in one line, for a message."""
    return " ".join(data[:200].decode(errors="replace").split())


def read_date(text: str) -> datetime | None:
    """The time of a Date header; None where it is not a date. Without a zone, as where a proxy adds
    a second date, it is UTC.
    """
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def read_answer(server: str, request: str, status: int, data: bytes) -> Json:
    """The object that the server answers a request (GET /path) with. Raises ClusterError for a
    failure, and for an answer that is not an object: a list would seem empty.
    """
    document = read_object(data)
    if status < 400 and document is not None:
        return document
    text = first_line(data)
    if status < 400:
        raise ClusterError(
            f"{server} answers {request} with something that is not a Kubernetes object: '{text}'."
            " Check whether this is the API server or something in front of it."
        )
    document = {"message": text} if document is None else document
    detail = str(document.get("message") or f"HTTP status {status}")
    if status == 401:
        raise ClusterError(
            f"The API server {server} does not accept the credentials (401 Unauthorized). Check"
            " the token or client certificate, and whether it has expired.",
            status,
        )
    if status == 403:
        raise ClusterError(f"No permission on {server}: {detail}", status, detail)
    detail = " ".join([detail, *_budgets(document)])
    raise ClusterError(
        f"{request} on {server} failed ({status}): {detail}",
        status,
        detail,
        _retry_after(document),
        next_page=continue_token(document) if status == 410 else "",
    )


def continue_token(page: Json) -> str:
    """Where a list continues; empty on its last page."""
    metadata = page.get("metadata")
    return str(metadata.get("continue") or "") if isinstance(metadata, dict) else ""


def _budgets(status: Json) -> list[str]:
    """What the API server says about PodDisruptionBudgets that forbid an eviction."""
    causes = cast("list[Json]", _details(status).get("causes") or [])
    return [
        str(cause.get("message")) for cause in causes if cause.get("reason") == "DisruptionBudget"
    ]


def _retry_after(status: Json) -> float:
    """Seconds until the API server wants the next request; 0 where it does not say."""
    seconds = _details(status).get("retryAfterSeconds")
    return float(seconds) if isinstance(seconds, int) else 0.0


def _details(status: Json) -> Json:
    details = status.get("details")
    return cast("Json", details) if isinstance(details, dict) else {}
