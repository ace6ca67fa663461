# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an API server can do at most: a client that does nothing but the requests. Standard library
only, and a process of its own: `raw.py JOB`, a file of JSON with server, ca (PEM), token, threads,
and either patches (a list of node and label) or lists (of path and Accept header).

It prints JSON: how many nodes were patched, or how many objects were listed.
"""

from __future__ import annotations

import http.client
import json
import ssl
import sys
import threading
import urllib.parse
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypedDict

AGENT = "bench-raw"
LABEL = "nvidia.com/device-plugin.config"
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
SHORT = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
JSON = "application/json"
PAGE = 500


class Job(TypedDict):
    server: str
    ca: str
    token: str
    threads: int
    patches: list[tuple[str, str | None]]
    lists: list[tuple[str, str]]
    accept: str


class Refused(Exception):
    """A request that was not answered with success."""


class Connection:
    """One kept-alive connection as one identity. Raises OSError, HTTPException or Refused."""

    def __init__(self, server: str, ca: str, token: str, agent: str = AGENT) -> None:
        address = urllib.parse.urlsplit(server)
        context = ssl.create_default_context(cadata=ca)
        self._connection = http.client.HTTPSConnection(
            address.hostname or "", address.port, context=context, timeout=60
        )
        self._headers = {"Authorization": f"Bearer {token}", "User-Agent": agent}

    def request(
        self, method: str, path: str, body: bytes | None = None, accept: str = JSON
    ) -> bytes:
        headers = {**self._headers, "Accept": accept}
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json"
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise Refused(f"{method} {path} was answered {answer.status}: {data[:300]!r}")
        return data

    def close(self) -> None:
        self._connection.close()


def connection_of(job: Job) -> Connection:
    return Connection(job["server"], job["ca"], job["token"])


def patch_all(job: Job) -> int:
    """Send the patches, some at a time, each thread over a connection of its own."""
    todo = iter(job["patches"])
    taking = threading.Lock()

    def take() -> Iterator[tuple[str, str | None]]:
        while True:
            with taking:
                entry = next(todo, None)
            if entry is None:
                return
            yield entry

    def work(_number: int) -> int:
        return send(connection_of(job), take(), job["accept"])

    with ThreadPoolExecutor(job["threads"]) as pool:
        return sum(pool.map(work, range(job["threads"])))


def send(connection: Connection, patches: Iterable[tuple[str, str | None]], accept: str) -> int:
    done = 0
    for node, label in patches:
        body = json.dumps({"metadata": {"labels": {LABEL: label}}}).encode()
        connection.request("PATCH", f"/api/v1/nodes/{node}?fieldManager={AGENT}", body, accept)
        done += 1
    return done


def list_all(job: Job) -> int:
    """Read the lists page by page, and parse them."""
    connection = connection_of(job)
    found = 0
    for path, accept in job["lists"]:
        token = ""
        while True:
            page = json.loads(connection.request("GET", page_of(path, token), accept=accept))
            found += len(page["items"] or [])
            token = page["metadata"].get("continue", "")
            if not token:
                break
    return found


def page_of(path: str, token: str) -> str:
    query = {"limit": str(PAGE), **({"continue": token} if token else {})}
    return path + ("&" if "?" in path else "?") + urllib.parse.urlencode(query)


def main(file: str) -> None:
    job: Job = json.loads(Path(file).read_text(encoding="utf-8"))
    print(json.dumps({"done": patch_all(job) if job["patches"] else list_all(job)}))


if __name__ == "__main__":
    main(sys.argv[1])
