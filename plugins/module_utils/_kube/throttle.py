# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: how many requests are on their way at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LEAST_HOLD = 0.5  # seconds; so that answers to one burst count as one


class Pace:
    """Lets so many requests go at a time as the server takes: half as many when it asks us to slow
    down, and one more after each round that it answers. While it wants to be left alone, none goes.
    May be used from any thread.
    """

    def __init__(self, most: int, now: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self.allowed = float(most)
        self._now = now
        self._under_way = 0
        self._not_before = 0.0
        self._changed = threading.Condition()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn; it ends with the context, well unless slow_down was called."""
        with self._changed:
            while (wait := self._wait()) is None or wait > 0:
                self._changed.wait(wait)
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                if not self._is_held():
                    self.allowed = min(self.most, self.allowed + 1 / self.allowed)
                self._changed.notify_all()

    def slow_down(self, seconds: float) -> None:
        """The server has asked for that many seconds of rest."""
        with self._changed:
            if not self._is_held():
                self.allowed = max(1.0, self.allowed / 2)
            until = self._now() + max(seconds, LEAST_HOLD)
            self._not_before = max(self._not_before, until)

    def _is_held(self) -> bool:
        return self._now() < self._not_before

    def _wait(self) -> float | None:
        """Seconds until the next may go: 0 for now, None for when another ends."""
        if self._is_held():
            return self._not_before - self._now()
        return 0.0 if self._under_way < int(self.allowed) else None
