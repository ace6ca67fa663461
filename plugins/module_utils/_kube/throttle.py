# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: limits how many requests are sent at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

MIN_PAUSE = 0.5  # seconds, so that answers to one burst count as one


class Throttle:
    """Allows as many requests at a time as the server takes: half as many after an answer 429, one
    more after each round without one, none while the server asks for a pause. Methods may be
    called from any thread.
    """

    def __init__(self, most: int, now: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self.allowed = float(most)
        self._now = now
        self._running = 0
        self._not_before = 0.0
        self._changed = threading.Condition()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Wait until a request may be sent. The request ends with the context."""
        with self._changed:
            while (wait := self._wait()) is None or wait > 0:
                self._changed.wait(wait)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                if not self._paused():
                    self.allowed = min(self.most, self.allowed + 1 / self.allowed)
                self._changed.notify_all()

    def slow_down(self, seconds: float) -> None:
        """The server asks for a pause of so many seconds."""
        with self._changed:
            if not self._paused():
                self.allowed = max(1.0, self.allowed / 2)
            until = self._now() + max(seconds, MIN_PAUSE)
            self._not_before = max(self._not_before, until)

    def _paused(self) -> bool:
        return self._now() < self._not_before

    def _wait(self) -> float | None:
        """Seconds until the next request: 0 for now, None for when another one ends."""
        if self._paused():
            return self._not_before - self._now()
        return 0.0 if self._running < int(self.allowed) else None
