# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small client of the lab's API server: one connection per thread, JSON in and out."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .errors import LabError
from .pki import Pair

_TIMEOUT = 30.0


class Api:
    """Requests to one API server as one user."""

    def __init__(self, port: int, ca: Path, user: Pair) -> None:
        self._port = port
        self._context = ssl.create_default_context(cafile=str(ca))
        self._context.load_cert_chain(str(user.cert), str(user.key))
        self._local = threading.local()

    def request(
        self, method: str, path: str, body: object = None, content: str = "application/json"
    ) -> tuple[int, bytes]:
        """Status and body. Raises OSError or http.client.HTTPException when nothing answers."""
        connection = self._connection()
        used = connection.sock is not None
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content} if data else {}
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except http.client.RemoteDisconnected:
            connection.close()
            if not used:
                raise
        except (OSError, http.client.HTTPException):
            connection.close()
            raise
        # The server ends connections that nobody has used for a minute and a half.
        return self.request(method, path, body, content)

    def get(self, path: str) -> dict[str, Any] | None:
        """The object at `path`, or None when the server does not (yet) serve it."""
        try:
            status, body = self.request("GET", path)
        except (OSError, http.client.HTTPException):
            return None
        return dict(json.loads(body)) if status == 200 else None

    def ready(self) -> bool:
        try:
            return self.request("GET", "/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def create_all(self, path: str, objects: Iterable[object], parallel: int = 8) -> None:
        """POST every object; raises LabError on the first one that is refused."""

        def create(item: object) -> None:
            status, body = self.request("POST", path, item)
            if status not in (200, 201):
                raise LabError(f"POST {path} was answered {status}: {body.decode()[:500]}")

        _each(create, objects, parallel)

    def _connection(self) -> http.client.HTTPSConnection:
        connection: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self._port, timeout=_TIMEOUT, context=self._context
            )
            self._local.connection = connection
        return connection


def _each(action: Callable[[object], None], items: Iterable[object], parallel: int) -> None:
    with ThreadPoolExecutor(parallel) as pool:
        for _done in pool.map(action, items):
            pass
