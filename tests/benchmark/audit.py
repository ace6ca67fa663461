# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit log of a lab as a stopwatch and a counter: what one user asked for, and how long it
took from the first request to the last answer, on the API server's own clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible_collections.gpufleet.sharing.tests.integration.labtools import SELF_REVIEWS

WRITES = ("create", "update", "patch", "delete", "deletecollection")


@dataclass(frozen=True)
class Event:
    """One answered request. Times are seconds since the epoch."""

    user: str
    agent: str
    verb: str
    uri: str
    resource: str
    code: int
    received: float
    completed: float

    @property
    def is_write(self) -> bool:
        """Reviews of one's own permissions are created, but write nothing."""
        return self.verb in WRITES and self.resource not in SELF_REVIEWS


@dataclass(frozen=True)
class Traffic:
    """What some requests amount to. Seconds are those from the first one to the last answer."""

    seconds: float
    requests: int
    writes: int
    began: float  # seconds since the epoch
    ended: float


def read_event(line: str) -> Event:
    """Read a line of the log, of stage ResponseComplete."""
    raw: dict[str, Any] = json.loads(line)
    return Event(
        user=raw["user"]["username"],
        agent=raw.get("userAgent", ""),
        verb=raw["verb"],
        uri=raw["requestURI"],
        resource=(raw.get("objectRef") or {}).get("resource", ""),
        code=(raw.get("responseStatus") or {}).get("code", 0),
        received=_seconds(raw["requestReceivedTimestamp"]),
        completed=_seconds(raw["stageTimestamp"]),
    )


def read_events(lines: Iterable[str], user: str) -> Iterator[Event]:
    """The events of one user. Lines of others, which are many, are not even parsed."""
    mark = json.dumps(user)
    for line in lines:
        if mark in line and (event := read_event(line)).user == user:
            yield event


def traffic(events: Sequence[Event], agent: str = "") -> Traffic:
    """Sum up events, those whose user agent begins with some text. No events, no time."""
    chosen = [event for event in events if event.agent.startswith(agent)]
    if not chosen:
        return Traffic(0.0, 0, 0, 0.0, 0.0)
    began = min(event.received for event in chosen)
    ended = max(event.completed for event in chosen)
    writes = sum(event.is_write for event in chosen)
    return Traffic(ended - began, len(chosen), writes, began, ended)


def refused(events: Iterable[Event]) -> list[Event]:
    """Events that the API server turned down because it had too much to do."""
    return [event for event in events if event.code == 429]


class AuditLog:
    """The growing file. A place in it is a number of bytes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def end(self) -> int:
        return self._path.stat().st_size

    def lines(self, start: int) -> list[str]:
        """The complete lines from a place on."""
        with self._path.open("rb") as file:
            file.seek(start)
            text = file.read()
        return text[: text.rfind(b"\n") + 1].decode().splitlines()


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
