# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: which requests and writes are sent again, and for how long."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from .._common.backoff import pauses
from .._common.errors import ClusterError

if TYPE_CHECKING:
    import urllib3
try:
    from urllib3 import Retry
    from urllib3.exceptions import InvalidHeader
except ImportError:  # connect() reports it
    Retry, InvalidHeader = object, ValueError
T = TypeVar("T")
MAX_CONFLICTS = 4
_PATIENCE = 120.0  # seconds for each request, with a server that says when to ask again


def retry_on_conflict(action: Callable[[], T], *, unless: str = "") -> T:
    """Repeat a read and write that met a conflict (409), a few times. A conflict whose message
    contains unless is raised at once.
    """
    for pause in islice(pauses(), MAX_CONFLICTS):
        try:
            return action()
        except ClusterError as error:
            if error.status != 409 or (unless and unless in error.detail):
                raise
        time.sleep(pause)
    return action()


class RequestRetry(Retry):  # type: ignore[misc]
    """Sends a request again after a broken connection, a fault of the server, or an answer 429.

    Every object that we create has its own name, so nothing is created twice. The time for answers
    that say when to ask again (Retry-After, or 429) starts with the first of them: one that asks
    for more than is left ends the request. Within it, answers 429 do not count as failures. They
    call slow_down with the seconds that the server asks for. One instance serves all requests.
    """

    def __init__(
        self,
        *args: object,
        slow_down: Callable[[float], None],
        until: float | None = None,
        **options: object,
    ) -> None:
        super().__init__(*args, **options)
        self._slow_down = slow_down
        self._until = until  # None before the first answer that says when to ask again

    @classmethod
    def for_requests(cls, slow_down: Callable[[float], None], *, reached: bool) -> RequestRetry:
        """reached: a server that has answered before may be restarting, and gets 20 seconds."""
        return cls(
            total=12,
            connect=8 if reached else 2,
            read=3,
            status=8,
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=None,
            backoff_factor=0.25,
            backoff_max=4,
            respect_retry_after_header=True,
            raise_on_status=False,
            slow_down=slow_down,
        )

    def new(self, **options: object) -> RequestRetry:
        made: RequestRetry = super().new(slow_down=self._slow_down, until=self._until, **options)
        return made

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: urllib3.BaseHTTPResponse | None = None,
        *args: object,
        **options: object,
    ) -> RequestRetry:
        start = self
        wait = self.get_retry_after(response) if response is not None else None
        busy = response is not None and response.status == 429
        if busy or wait:
            start, now = self.new(), time.monotonic()
            start._until = now + _PATIENCE if self._until is None else self._until
            if now + (wait or 0) >= start._until:
                start.total = 0
            elif busy:
                self._slow_down(wait or 0)
                start.total, start.status = self.total + 1, self.status + 1
        following: RequestRetry = super(RequestRetry, start).increment(
            method, url, response, *args, **options
        )
        return following

    def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
        """Seconds until the server wants the request again; None where it does not say."""
        try:
            seconds: float | None = super().get_retry_after(response)
        except InvalidHeader:
            return None
        return seconds
