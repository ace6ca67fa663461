# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the client of the Kubernetes API; the only code that sends requests.

Authentication, TLS and proxies are those of kubernetes.core. Requests are plain JSON over its
connection pool, without discovery and client objects, so that a list of thousands of nodes stays
cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, TypeVar, cast
from urllib.parse import urlencode

from .._common.errors import ClusterError, bullets
from .connection import auth_headers, kubeconfig_entry, open_connection, request_target
from .objects import NODES, namespaced, object_path, version_of
from .payloads import Json, continue_token, encode, first_line, read_answer, read_date, read_object
from .retry import RequestRetry, retry_on_conflict
from .throttle import Throttle

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

    from .connection import ApiClient
try:
    import urllib3
except ImportError:  # connect() reports it
    urllib3 = None
T = TypeVar("T")
AGENT = "gpufleet.sharing"
PAGE = 500
CONCURRENCY = 16
MAX_RESTARTS = 2  # of a list that the API server no longer has
JSON = "application/json"
_METADATA_LIST = f"{JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,{JSON}"
_METADATA = _METADATA_LIST.replace("List;", ";")
_WRITE = f"fieldManager={AGENT}"  # the query of a write
_CONNECT_TIMEOUT = 10.0
_READ_TIMEOUT = 60.0
_WATCH_SECONDS = 50  # less than _READ_TIMEOUT, so that the server ends a quiet watch


def connect(module: AnsibleModule) -> Cluster:
    """The cluster of a module's connection options. Raises ClusterError as open_connection does."""
    api = open_connection(module, CONCURRENCY + 4)  # one for the Lease, three for watches
    server = str(api.configuration.host).rstrip("/")
    in_run = bool(module.params.get("run"))  # the preflight of the run has reached the server
    return Cluster(api, server, reached=in_run)


class Cluster:
    """One API server, as one identity. Every method raises ClusterError with a message of one
    line, and may be called from any thread.
    """

    def __init__(self, api: ApiClient, server: str, *, reached: bool = False) -> None:
        """reached: the run has reached the server before, so requests wait while it restarts."""
        self._api = api
        self._reached = reached
        self.server = server
        self.requests = 0
        self._date = ""
        self._counting = Lock()
        self._throttle = Throttle(CONCURRENCY)
        self._pool, self._base = request_target(api, server)
        self._timeout = urllib3.Timeout(connect=_CONNECT_TIMEOUT, read=_READ_TIMEOUT)
        slow_down = self._throttle.slow_down
        self._retry_first = RequestRetry.for_requests(slow_down, reached=False)
        self._retry = RequestRetry.for_requests(slow_down, reached=True)

    def now(self) -> datetime:
        """The API server's time in its last answer: clocks of controller and nodes may differ."""
        return read_date(self._date) or datetime.now(UTC)

    def kubeconfig_entry(self) -> dict[str, object]:
        """How to reach the server, as a kubeconfig has it: without credentials."""
        return kubeconfig_entry(self._api)

    def get(self, path: str) -> Json:
        return self._request("GET", path)

    def find(self, path: str) -> Json | None:
        """Like get, but None when the object or its kind does not exist."""
        try:
            return self.get(path)
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    def items(
        self, path: str, *, labels: str = "", fields: str = "", metadata_only: bool = False
    ) -> Iterator[Json]:
        """The objects of a list, page by page; with metadata_only just their metadata. The list of
        a kind that does not exist is empty. Where the API server drops the list before its end, as
        it does after minutes, the remaining objects are of a later moment.
        """
        accept = _METADATA_LIST if metadata_only else JSON
        selectors = {"labelSelector": labels, "fieldSelector": fields}
        try:
            for page in self._pages(path, selectors, accept):
                yield from cast("list[Json]", page.get("items") or [])
        except ClusterError as error:
            if error.status != 404:
                raise

    def snapshot(
        self, path: str, read: Callable[[Json], T], *, labels: str = "", fields: str = ""
    ) -> tuple[list[T], str]:
        """The objects of a list at one moment, and its resourceVersion, from which a watch can
        start. Each object is read as its page arrives, so that thousands of whole objects are never
        held. A list that the API server drops before its end is started again, a few times.
        """
        selectors = {"labelSelector": labels, "fieldSelector": fields}

        def attempt() -> tuple[list[T], str]:
            found: list[T] = []
            version = ""
            for page in self._pages(path, selectors, consistent=True):
                found.extend(read(item) for item in cast("list[Json]", page.get("items") or []))
                version = version_of(page)
            return found, version

        for _restart in range(MAX_RESTARTS):
            try:
                return attempt()
            except ClusterError as error:
                if error.status != 410:
                    raise
        return attempt()

    def _pages(
        self,
        path: str,
        selectors: Mapping[str, str],
        accept: str = JSON,
        *,
        consistent: bool = False,
    ) -> Iterator[Json]:
        """The pages of a list as they arrive; with consistent all of one moment."""
        query = {"limit": str(PAGE), **selectors, "continue": ""}
        while True:
            try:
                page = self._request("GET", path, query=query, accept=accept)
            except ClusterError as error:
                if consistent or error.next_page in ("", query["continue"]):
                    raise
                query["continue"] = error.next_page
                continue
            yield page
            query["continue"] = continue_token(page)
            if not query["continue"]:
                return

    def watch(self, path: str, since: str, *, labels: str = "", fields: str = "") -> Iterator[Json]:
        """The events of a list since a resourceVersion, until the server ends the watch, as it does
        every few minutes. A resourceVersion that is too old raises ClusterError with status 410.
        """
        query = {
            "watch": "1",
            "resourceVersion": since,
            "labelSelector": labels,
            "fieldSelector": fields,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        response = self._send("GET", path, _query(query), preload_content=False)
        if response.status >= 400:
            read_answer(self.server, f"GET {path}", response.status, response.read())
        rest = b""
        try:
            for chunk in response.stream():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield _read_event(path, line)
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise ClusterError(f"The watch of {path} broke: {_reason(error)}.") from error
        finally:
            response.close()

    def create(self, path: str, body: Mapping[str, object]) -> Json:
        """Create an object. A create whose answer is lost is repeated, so 409 may mean our own
        object.

        A quota of the namespace that is updated at the same moment also answers 409. Then nothing
        is created, and the create is repeated.
        """

        def attempt() -> Json:
            return self._request("POST", path, body=body)

        return retry_on_conflict(attempt, unless="already exists")

    def patch(self, path: str, body: Mapping[str, object]) -> Json:
        """A JSON merge patch: only the keys in body change, null removes one.

        A patch that does not depend on the object's version (if_unchanged) is repeated after a
        conflict.
        """

        def attempt() -> Json:
            return self._request("PATCH", path, body=body)

        return attempt() if version_of(body) else retry_on_conflict(attempt)

    def patch_if_exists(self, path: str, body: Mapping[str, object]) -> None:
        """Like patch without a version, but ignores a missing object. It reads only the status of
        the answer, which has only metadata.
        """

        def attempt() -> None:
            response = self._send("PATCH", path, _WRITE, body=body, accept=_METADATA)
            if response.status >= 300 or not response.data.startswith(b"{"):
                self._read("PATCH", path, response)

        try:
            retry_on_conflict(attempt)
        except ClusterError as error:
            if error.status != 404:
                raise

    def delete(
        self, path: str, *, uid: str = "", resource_version: str = "", propagation: str = ""
    ) -> None:
        """Delete an object, if it still is the given one. It ignores a missing
        object. propagation is the API's propagationPolicy for dependent objects.
        """
        seen = {"uid": uid, "resourceVersion": resource_version}
        preconditions = {name: value for name, value in seen.items() if value}
        body: Json = {"preconditions": preconditions} if preconditions else {}
        if propagation:
            body["propagationPolicy"] = propagation

        def attempt() -> Json:
            return self._request("DELETE", path, body=body or None)

        try:
            if resource_version:
                attempt()
            else:
                retry_on_conflict(attempt)
        except ClusterError as error:
            if error.status != 404:
                raise

    def evict(self, namespace: str, name: str, *, uid: str) -> None:
        """Request the eviction of a pod once, if it still is the given one.

        A PodDisruptionBudget that forbids it raises ClusterError with status 429 and its name.
        """
        path = object_path(namespaced("pods", namespace), name) + "/eviction"
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        self._request("POST", path, body=body, retry=False)

    def for_each(self, names: list[str], action: Callable[[str], object]) -> dict[str, str]:
        """Run an action for each name, several at a time, fewer when the server answers 429.
        Returns the failures: {name: message}.
        """

        def attempt(name: str) -> str:
            try:
                with self._throttle.request():
                    action(name)
            except ClusterError as error:
                return str(error)
            return ""

        failures: dict[str, str] = {}
        remaining = iter(names)
        lock = Lock()

        def work(_worker: int) -> None:
            while True:
                with lock:
                    name = next(remaining, None)
                if name is None:
                    return
                if failure := attempt(name):
                    failures[name] = failure

        with ThreadPoolExecutor(CONCURRENCY) as pool:
            list(pool.map(work, range(CONCURRENCY)))
        return {name: failures[name] for name in names if name in failures}

    def patch_nodes(self, metadata: Mapping[str, Mapping[str, object]]) -> None:
        """Merge into the metadata of nodes, several at a time. It ignores nodes that have
        left the cluster. Raises ClusterError that counts the nodes whose patch failed.
        """
        failures = self.for_each(
            sorted(metadata),
            lambda node: self.patch_if_exists(
                object_path(NODES, node), {"metadata": metadata[node]}
            ),
        )
        if failures:
            problems = [f"{node}: {failures[node]}" for node in sorted(failures)]
            raise ClusterError(
                f"{len(failures)} of {len(metadata)} nodes could not be written. The other nodes"
                f" are done. Run again to finish.\n{bullets(problems)}",
                problems=problems,
            )

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        accept: str = JSON,
        retry: bool = True,
    ) -> Json:
        sent = _WRITE if method in ("POST", "PATCH") else _query(query or {})
        options: dict[str, object] = {} if retry else {"retries": False}
        response = self._send(method, path, sent, body=body, accept=accept, **options)
        self._date = response.headers.get("Date", self._date)
        return self._read(method, path, response)

    def _read(self, method: str, path: str, response: urllib3.BaseHTTPResponse) -> Json:
        return read_answer(self.server, f"{method} {path}", response.status, response.data)

    def _send(
        self,
        method: str,
        path: str,
        query: str,
        *,
        body: Mapping[str, object] | None = None,
        accept: str = JSON,
        **options: object,
    ) -> urllib3.BaseHTTPResponse:
        """options are urllib3's and override ours."""
        headers = auth_headers(self._api) | {"Accept": accept, "User-Agent": AGENT}
        if body is not None:
            kind = "application/merge-patch+json" if method == "PATCH" else JSON
            headers["Content-Type"] = kind
        with self._counting:
            self.requests += 1
        try:
            return self._pool.request(
                method,
                self._base + path + ("?" + query if query else ""),
                body=encode(body).encode() if body is not None else None,
                headers=headers,
                **{"retries": self._retries(), **options},
                timeout=self._timeout,
            )
        except urllib3.exceptions.HTTPError as error:
            raise ClusterError(
                f"The API server {self.server} cannot be reached: {_reason(error)}."
            ) from error

    def _retries(self) -> RequestRetry:
        return self._retry if self._reached or self._date else self._retry_first


def _query(parameters: Mapping[str, str]) -> str:
    """The query of a URL, without empty parameters."""
    return urlencode({name: value for name, value in parameters.items() if value})


def _read_event(path: str, line: bytes) -> Json:
    """One line of a watch. Raises ValueError for a line that is not an event."""
    event = read_object(line) or {}
    content = event.get("object")
    if not isinstance(content, dict):
        raise ValueError(f"'{first_line(line)}' is not an event")
    if event.get("type") == "ERROR":
        status = int(str(content.get("code") or 500))
        raise ClusterError(f"The watch of {path} ended: {content}", status)
    return event


def _reason(error: BaseException) -> str:
    """The innermost reason of urllib3's nested errors, in one line."""
    while isinstance(inner := getattr(error, "reason", None), BaseException):
        error = inner
    text = str(error)
    return text.rsplit(": ", maxsplit=1)[-1].strip("() ") if "object at 0x" in text else text
