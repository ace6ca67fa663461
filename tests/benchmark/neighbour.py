# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another client of the same API server that requests one small object again and again."""

from __future__ import annotations

import statistics
import threading
import time
from dataclasses import dataclass
from http.client import HTTPException
from types import TracebackType

from ansible_collections.gpufleet.sharing.tests.benchmark.raw import Connection, Refused

PATH = "/api/v1/namespaces/default"
PERIOD = 0.05  # seconds


@dataclass(frozen=True)
class Latency:
    """Seconds that simple GETs took."""

    samples: int
    median: float
    p99: float
    longest: float


def latency(seconds: list[float]) -> Latency:
    """Sum up samples; at least one. With fewer than 100 the 99th percentile is the longest."""
    ordered = sorted(seconds)
    place = min(len(ordered) - 1, int(len(ordered) * 0.99))
    return Latency(len(ordered), statistics.median(ordered), ordered[place], ordered[-1])


class Neighbour:
    """Asks while it is entered. Samples are pairs of when (epoch) and how long, in seconds."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self.samples: list[tuple[float, float]] = []
        self._failure: Exception | None = None

    def __enter__(self) -> Neighbour:
        self._connection.request("GET", PATH)  # the handshake is not what is measured
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure and not error:
            raise self._failure

    def between(self, began: float, ended: float) -> list[float]:
        """What the requests took that were sent between two moments."""
        return [took for when, took in self.samples if began <= when <= ended]

    def wait_for(self, number: int) -> None:
        """Wait until there are so many samples."""
        while len(self.samples) < number and self._thread.is_alive():
            self._stop.wait(PERIOD)

    def _ask(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + PERIOD, time.monotonic())
            when, started = time.time(), time.monotonic()
            try:
                self._connection.request("GET", PATH)
            except (OSError, HTTPException, Refused) as failure:
                self._failure = failure
                return
            self.samples.append((when, time.monotonic() - started))
