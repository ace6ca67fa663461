# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An API server in memory, behind a real _kube.Cluster: objects by path, versions and conflicts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from ansible_collections.gpufleet.sharing.plugins.module_utils import _kube

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
    lock: Any = field(default_factory=Lock)

    @property
    def cluster(self) -> _kube.Cluster:
        configuration = SimpleNamespace(auth_settings=dict, host=SERVER)
        api = SimpleNamespace(
            rest_client=SimpleNamespace(pool_manager=self),
            configuration=configuration,
            default_headers={},
        )
        return _kube.Cluster(cast("_kube.ApiClient", api), SERVER)

    def writes(self) -> list[str]:
        return [request for request in self.requests if not request.startswith("GET")]

    def put(self, path: str, document: dict[str, Any]) -> None:
        """Write an object as somebody else."""
        with self.lock:
            self.version += 1
            metadata = document.setdefault("metadata", {})
            metadata["name"] = path.rpartition("/")[2]
            metadata["resourceVersion"] = str(self.version)
            self.objects[path] = document

    def request(self, method: str, url: str, **options: Any) -> Any:  # noqa: ANN401
        """What urllib3's pool manager does."""
        parts = urlsplit(url.removeprefix(SERVER))
        self.requests.append(f"{method} {parts.path}")
        body = json.loads(options["body"]) if options.get("body") else {}
        if status := self.fault(method, parts.path):
            answer: dict[str, Any] = {"message": f"injected {status}"}
        else:
            status, answer = self.answer(method, parts.path, parse_qs(parts.query), body)
        data = json.dumps(answer).encode()
        return SimpleNamespace(status=status, data=data, headers={"Date": DATE})

    def answer(
        self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        if method == "GET":
            return self.get(path, query)
        handle = {"POST": self.post, "PATCH": self.patch, "DELETE": self.delete}[method]
        return handle(path, body)

    def get(self, path: str, query: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        if path in self.objects:
            return 200, self.objects[path]
        if "limit" not in query:
            return 404, {"message": f"{path} not found"}
        label, _is, value = query.get("labelSelector", [""])[0].partition("=")
        inside = [item for at, item in self.objects.items() if at.rpartition("/")[0] == path]
        found = [
            item for item in inside if not label or item["metadata"]["labels"].get(label) == value
        ]
        return 200, {"items": found}

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
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
        self.put(path, merged(document, body))
        return 200, self.objects[path]

    def delete(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        document = self.objects.get(path)
        if document is None:
            return 404, {"message": f"{path} not found"}
        wanted = body.get("preconditions", {}).get("resourceVersion")
        if wanted not in (None, document["metadata"]["resourceVersion"]):
            return 409, {"message": "the precondition failed"}
        del self.objects[path]
        return 200, {}


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
