# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An API server in memory, behind a real _kube.Cluster: objects by path, versions, conflicts and
watches.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Condition
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit

from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import Cluster
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.payloads import read_date

if TYPE_CHECKING:
    from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.connection import ApiClient


SERVER = "https://lab.example.com:6443"
DATE = "Fri, 02 Jan 2026 03:04:05 GMT"
Fault = Callable[[str, str], int]  # method, path -> status, 0 for none


@dataclass
class FakeApi:
    """Answers requests as the API server does, as far as our tests go."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    namespaces: set[str] = field(default_factory=lambda: {"gpu-operator"})
    requests: list[str] = field(default_factory=list)
    fault: Fault = lambda _method, _path: 0  # asked before each request
    version: int = 0
    date: str = DATE
    events: list[tuple[int, str, str, dict[str, Any]]] = field(default_factory=list)
    oldest: int = 0  # what a watch, or the next page of a list, may begin at
    page: int = 0  # most objects of a page, whatever is asked for; 0 for all
    connection: int = 0  # of watches: the next number breaks them off
    breakage: Exception | None = None  # how; None for an end in good order
    lock: Any = field(default_factory=Condition)

    @property
    def cluster(self) -> Cluster:
        configuration = SimpleNamespace(auth_settings=dict, host=SERVER)
        api = SimpleNamespace(
            rest_client=SimpleNamespace(pool_manager=self),
            configuration=configuration,
            default_headers={},
        )
        return Cluster(cast("ApiClient", api), SERVER)

    def writes(self) -> list[str]:
        return [request for request in self.requests if not request.startswith("GET")]

    def put(self, path: str, document: dict[str, Any]) -> None:
        """Write an object as somebody else."""
        with self.lock:
            self.version += 1
            metadata = document.setdefault("metadata", {})
            metadata["name"] = path.rpartition("/")[2]
            metadata["resourceVersion"] = str(self.version)
            kind = "MODIFIED" if path in self.objects else "ADDED"
            self.objects[path] = document
            self._tell(kind, path, document)

    def drop(self, path: str) -> None:
        """Delete an object as somebody else."""
        with self.lock:
            self.version += 1
            document = self.objects.pop(path)
            metadata = {**document["metadata"], "resourceVersion": str(self.version)}
            self._tell("DELETED", path, {**document, "metadata": metadata})

    def _tell(self, kind: str, path: str, document: dict[str, Any]) -> None:
        self.events.append((self.version, kind, path, document))
        self.lock.notify_all()

    def hang_up(self, breakage: Exception | None = None) -> None:
        """End all watches."""
        with self.lock:
            self.connection += 1
            self.breakage = breakage
            self.lock.notify_all()

    proxy = None

    def connection_from_url(self, _url: str) -> FakeApi:
        return self

    def request(self, method: str, url: str, **options: Any) -> Any:  # noqa: ANN401
        """What urllib3's connection pool does."""
        parts = urlsplit(url)
        connection = self.connection  # whoever sees the request may hang up at once
        self.requests.append(f"{method} {parts.path}")
        body = json.loads(options["body"]) if options.get("body") else {}
        query = parse_qs(parts.query)
        watching = "watch" in query
        if status := self.fault("WATCH" if watching else method, parts.path):
            answer: dict[str, Any] = {"message": f"injected {status}"}
        elif watching:
            return FakeStream(self, parts.path, query, connection)
        else:
            status, answer = self.answer(method, parts.path, query, body)
        data = json.dumps(answer).encode()
        return SimpleNamespace(
            status=status, data=data, headers={"Date": self.date}, read=lambda: data
        )

    def answer(
        self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        with self.lock:  # one request at a time: nothing is deleted while it is patched
            if method == "GET":
                return self.get(path, query)
            handle = {"POST": self.post, "PATCH": self.patch, "DELETE": self.delete}[method]
            return handle(path, body)

    def get(self, path: str, query: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        if path in self.objects:
            return 200, self.objects[path]
        if "limit" not in query:
            return 404, {"message": f"{path} not found"}
        found = [item for at, item in self.objects.items() if is_in(at, item, path, query)]
        return self._page(found, query.get("continue", ["0/0"])[0])

    def _page(self, found: list[dict[str, Any]], token: str) -> tuple[int, dict[str, Any]]:
        """A page, from a place in the list on, of a moment (0 for now). The moment is only looked
        at for being too old: what was changed since is seen.
        """
        start, moment = map(int, token.split("/"))
        if 0 < moment < self.oldest:
            message = "The provided continue parameter is too old"
            return 410, {"message": message, "metadata": {"continue": f"{start}/0"}}
        version = moment or self.version
        metadata = {"resourceVersion": str(version)}
        end = start + (self.page or len(found))
        if end < len(found):
            metadata["continue"] = f"{end}/{version}"
        return 200, {"items": found[start:end], "metadata": metadata}

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path.endswith("/eviction"):
            preconditions = body["deleteOptions"]["preconditions"]
            return self.delete(path.removesuffix("/eviction"), {"preconditions": preconditions})
        at = f"{path}/{body['metadata']['name']}"
        if path.split("/")[-2] not in self.namespaces:
            return 404, {"message": "namespace not found"}
        if at in self.objects:
            return 409, {"message": f"{at} already exists"}
        self.put(at, body)
        return 201, self.objects[at]

    def patch(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        document = self.objects.get(path)
        if document is None:
            return 404, {"message": f"{path} not found"}
        wanted = body.get("metadata", {}).get("resourceVersion")
        if wanted not in (None, document["metadata"]["resourceVersion"]):
            return 409, {"message": "the object has been modified"}
        changed = merged(document, body)
        if "data" in body and self._time():
            field = {"time": self._time(), "fieldsV1": {"f:data": {}}}
            changed["metadata"] = {**changed["metadata"], "managedFields": [field]}
        self.put(path, changed)
        return 200, self.objects[path]

    def _time(self) -> str:
        found = read_date(self.date)
        return found.strftime("%Y-%m-%dT%H:%M:%SZ") if found else ""

    def delete(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        document = self.objects.get(path)
        if document is None:
            return 404, {"message": f"{path} not found"}
        for name, wanted in body.get("preconditions", {}).items():
            if wanted != document["metadata"][name]:
                return 409, {"message": "the precondition failed"}
        self.drop(path)
        return 200, {}


@dataclass
class FakeStream:
    """The answer to a watch, which goes on until somebody hangs up."""

    api: FakeApi
    path: str
    query: dict[str, list[str]]
    connection: int
    status: int = 200
    closed: bool = False

    def stream(self) -> Iterator[bytes]:
        """Lines, each cut in two: chunks of a connection end anywhere."""
        since = int(self.query["resourceVersion"][0])
        if since < self.api.oldest:
            yield b'{"type": "ERROR", "object": {"code": 410, "message": "too old"}}\n'
            return
        while True:
            with self.api.lock:
                events = [event for event in self.api.events if event[0] > since]
                if not events and self.connection != self.api.connection:
                    if self.api.breakage:
                        raise self.api.breakage
                    return
                if not events:
                    self.api.lock.wait(5)
            for version, kind, at, document in events:
                since = version
                if is_in(at, document, self.path, self.query):
                    line = json.dumps({"type": kind, "object": document}).encode() + b"\n"
                    yield line[:9]
                    yield line[9:]

    def read(self) -> bytes:
        return b""

    def close(self) -> None:
        self.closed = True


def is_in(at: str, item: dict[str, Any], path: str, query: dict[str, list[str]]) -> bool:
    """Whether an object is in a list: its place (a list of all namespaces too), its labels (NAME,
    NAME=VALUE and NAME in (VALUES)) and fields (FIELD=VALUE; others are not looked at).
    """
    place = at.rpartition("/")[0]
    everywhere = re.sub(r"/namespaces/[^/]+/", "/", place)
    labels = item["metadata"].get("labels") or {}
    name, is_, values = re.split("(=| in |$)", query.get("labelSelector", [""])[0], maxsplit=1)
    if name and (name not in labels if not is_ else labels.get(name) not in _values(values)):
        return False
    field_, is_, wanted = query.get("fieldSelector", [""])[0].partition("=")
    if is_ and not field_.endswith("!"):
        found: Any = item
        for key in field_.split("."):
            found = found.get(key, {})
        if found != wanted:
            return False
    return path in (place, everywhere)


def _values(text: str) -> list[str]:
    return text.strip("()").split(",")


def merged(document: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """A JSON merge patch."""
    result = dict(document)
    for key, value in patch.items():
        if isinstance(value, dict):
            result[key] = merged(result.get(key) or {}, value)
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return result
