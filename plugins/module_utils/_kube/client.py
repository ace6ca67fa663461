# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: the only door to the Kubernetes API.

Authentication, TLS and proxies are kubernetes.core's; requests are plain JSON over its kept-alive
pool, without discovery
and without client objects, so that a list of thousands of nodes stays cheap.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, TypeVar, cast
from urllib.parse import urlencode

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.backoff import pauses
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import ClusterError
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import some
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.objects import (
    NODES,
    namespaced,
    object_path,
    version_of,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.throttle import Pace

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule
try:
    import kubernetes
    import urllib3
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s import client as core_client
    from urllib3 import Retry

    IMPORT_ERROR = ""
except ImportError as import_error:
    kubernetes = None
    Retry = object
    IMPORT_ERROR = str(import_error)
Json = dict[str, object]
T = TypeVar("T")
AGENT = "gpufleet.sharing"
PAGE = 500
CONCURRENCY = 16
CONFLICTS = 4  # with others, after which a write is tried again
FORGOTTEN = 2  # lists that the API server has forgotten, after which one is begun anew
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_METADATA = _METADATA_LIST.replace("List;", ";")
_CONNECT_TIMEOUT = 10.0
_READ_TIMEOUT = 60.0
_PATIENCE = 120.0  # with a server that asks to be left alone, for each request
_WATCH_SECONDS = 50  # the server ends a watch before our patience for silence ends


class Cluster:
    """One API server, as one identity. Every method raises ClusterError with a message of one
    line, and may be called from any thread.
    """

    def __init__(self, api: ApiClient, server: str, *, reached: bool = False) -> None:
        """reached: this run has reached it before, so that it is waited for where it is away."""
        self._api = api
        self._reached = reached
        self.server = server
        self.requests = 0
        self._date = ""
        self._counting = Lock()
        self._pace = Pace(CONCURRENCY)

    def now(self) -> datetime:
        """The API server's time, of its last answer: clocks of controller and nodes may differ."""
        return _read_date(self._date) or datetime.now(UTC)

    def get(self, path: str) -> Json:
        return self._request("GET", path)

    def find(self, path: str) -> Json | None:
        """Like get, but None when it does not exist (also when its kind does not)."""
        try:
            return self.get(path)
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    def items(
        self, path: str, *, labels: str = "", fields: str = "", metadata_only: bool = False
    ) -> Iterator[Json]:
        """The objects of a list, page by page; with metadata_only just their metadata. A missing
        kind has none. Where the API server forgets the list before its end, as it does after
        minutes, the rest is as it is then.
        """
        accept = _METADATA_LIST if metadata_only else "application/json"
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
        """The objects of a list at one moment, each read as its page arrives, so that thousands of
        whole objects are never held; and that moment, for a watch to begin at. A list that the API
        server forgets before its end is begun anew, a few times.
        """
        selectors = {"labelSelector": labels, "fieldSelector": fields}

        def attempt() -> tuple[list[T], str]:
            found: list[T] = []
            moment = ""
            for page in self._pages(path, selectors, at_once=True):
                found.extend(read(item) for item in cast("list[Json]", page.get("items") or []))
                moment = version_of(page)
            return found, moment

        for _time in range(FORGOTTEN):
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
        accept: str = "application/json",
        *,
        at_once: bool = False,
    ) -> Iterator[Json]:
        """The pages of a list, as they arrive; with at_once all of one moment."""
        query = {"limit": str(PAGE), **selectors, "continue": ""}
        while True:
            try:
                page = self._request("GET", path, query=query, accept=accept)
            except ClusterError as error:
                if at_once or error.rest in ("", query["continue"]):
                    raise
                query["continue"] = error.rest
                continue
            yield page
            query["continue"] = _continue(page)
            if not query["continue"]:
                return

    def watch(self, path: str, since: str, *, labels: str = "", fields: str = "") -> Iterator[Json]:
        """What happens to the objects of a list, event by event, from a moment on, until the server
        ends the watch, as it does every few minutes. A moment that is too long ago raises
        ClusterError with status 410.
        """
        query = {
            "watch": "1",
            "resourceVersion": since,
            "labelSelector": labels,
            "fieldSelector": fields,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        response = self._send("GET", path, query, preload_content=False)
        if response.status >= 400:
            self._answer("GET", path, response.status, response.read())
        rest = b""
        try:
            for chunk in response.stream():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event = _read_object(line) or {}
                    told = event.get("object")
                    if not isinstance(told, dict):
                        raise ValueError(f"'{_one_line(line)}' is no event")
                    if event.get("type") == "ERROR":
                        status = int(str(told.get("code") or 500))
                        raise ClusterError(f"The watch of {path} ended: {told}", status)
                    yield event
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise ClusterError(f"The watch of {path} broke: {_reason(error)}.") from error
        finally:
            response.close()

    def create(self, path: str, body: Mapping[str, object]) -> Json:
        """One whose answer was lost is asked for again, so 409 may be about our own object.

        A quota of the namespace that is written to at the same moment answers 409 as well, and then
        nothing was made: that is tried again.
        """

        def attempt() -> Json:
            return self._request("POST", path, body=body)

        return again_after_conflict(attempt, unless="already exists")

    def patch(
        self, path: str, body: Mapping[str, object], *, accept: str = "application/json"
    ) -> Json:
        """A JSON merge patch: only the keys in body are touched, null removes one.

        One that does not care which version of the object it meets (guarded) is tried again after
        a conflict.
        """

        def attempt() -> Json:
            return self._request("PATCH", path, body=body, accept=accept)

        return attempt() if version_of(body) else again_after_conflict(attempt)

    def patch_if_there(self, path: str, body: Mapping[str, object]) -> None:
        """Like patch, but an object that is gone is fine. No more than metadata is sent back."""
        try:
            self.patch(path, body, accept=_METADATA)
        except ClusterError as error:
            if error.status != 404:
                raise

    def delete(
        self, path: str, *, uid: str = "", resource_version: str = "", propagation: str = ""
    ) -> None:
        """Delete an object, if it still is the one that was seen. One that is gone already is
        fine. propagation says what becomes of the objects that it owns, as in the API.
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
                again_after_conflict(attempt)
        except ClusterError as error:
            if error.status != 404:
                raise

    def evict(self, namespace: str, name: str, *, uid: str) -> None:
        """Ask once for a pod to be evicted, if it still is the one that was seen.

        What a PodDisruptionBudget forbids raises ClusterError with status 429, which names it.
        """
        path = object_path(namespaced("pods", namespace), name) + "/eviction"
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        self._request("POST", path, body=body, again=False)

    def for_each(self, names: list[str], action: Callable[[str], object]) -> dict[str, str]:
        """Run an action for each name, some at a time, fewer when the server asks us to slow down.
        Returns the failures: {name: message}.
        """

        def attempt(name: str) -> str:
            try:
                with self._pace.turn():
                    action(name)
            except ClusterError as error:
                return str(error)
            return ""

        with ThreadPoolExecutor(CONCURRENCY) as pool:
            results = pool.map(attempt, names)
            return {name: failure for name, failure in zip(names, results, strict=True) if failure}

    def patch_nodes(self, metadata: Mapping[str, Mapping[str, object]]) -> None:
        """Merge into the metadata of nodes, some at a time. One that has left the cluster is fine.
        Raises ClusterError that counts the nodes where it failed.
        """
        failures = self.for_each(
            sorted(metadata),
            lambda node: self.patch_if_there(
                object_path(NODES, node), {"metadata": metadata[node]}
            ),
        )
        if failures:
            raise ClusterError(
                f"{len(failures)} of {len(metadata)} nodes could not be written"
                f" ({some(sorted(failures))}): {min(failures.values())} The others are done; run"
                " again to finish.",
                problems=[f"{node}: {failures[node]}" for node in sorted(failures)],
            )

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        accept: str = "application/json",
        again: bool = True,
    ) -> Json:
        asked = {"fieldManager": AGENT} if method in ("POST", "PATCH") else dict(query or {})
        options: dict[str, object] = {} if again else {"retries": False}
        response = self._send(method, path, asked, body=body, accept=accept, **options)
        self._date = response.headers.get("Date", self._date)
        return self._answer(method, path, response.status, response.data)

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        body: Mapping[str, object] | None = None,
        accept: str = "application/json",
        **options: object,
    ) -> urllib3.BaseHTTPResponse:
        """options are urllib3's, over our own."""
        filled = urlencode({name: value for name, value in query.items() if value})
        headers = _headers(self._api) | {"Accept": accept, "User-Agent": AGENT}
        if body is not None:
            kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
            headers["Content-Type"] = kind
        with self._counting:
            self.requests += 1
        try:
            return self._api.rest_client.pool_manager.request(
                method,
                self.server + path + ("?" + filled if filled else ""),
                body=_encode(body) if body is not None else None,
                headers=headers,
                **{"retries": self._retries(), **options},
                timeout=urllib3.Timeout(connect=_CONNECT_TIMEOUT, read=_READ_TIMEOUT),
            )
        except urllib3.exceptions.HTTPError as error:
            raise ClusterError(
                f"The API server {self.server} cannot be reached: {_reason(error)}."
            ) from error

    def _retries(self) -> urllib3.Retry:
        """Try again when the server asks for it, after a broken connection and after a fault of
        the server: every object that we create has a name of its own, so nothing is made twice. A
        server that was reached before may be restarting: some 20 seconds are given to it.
        """
        reached = self._reached or bool(self._date)
        return _Retry(
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
            slow_down=self._pace.slow_down,
            until=time.monotonic() + _PATIENCE,
        )

    def _answer(self, method: str, path: str, status: int, data: bytes) -> Json:
        document = _read_object(data)
        if status < 400 and document is not None:
            return document
        text = _one_line(data)
        if status < 400:  # taken for an object, a page would be a list of nothing
            raise ClusterError(
                f"{self.server} answers {method} {path} with what is no object of Kubernetes:"
                f" '{text}'. Is it the API server, or something in front of it?"
            )
        document = {"message": text} if document is None else document
        said = str(document.get("message") or f"HTTP status {status}")
        if status == 401:
            raise ClusterError(
                f"The API server {self.server} does not accept the credentials (401 Unauthorized)."
                " Check the token or client certificate, and whether it has expired.",
                status,
            )
        if status == 403:
            raise ClusterError(f"No permission on {self.server}: {said}", status, said)
        said = " ".join([said, *_budgets(document)])
        text = f"{method} {path} on {self.server} failed ({status}): {said}"
        rest = _continue(document) if status == 410 else ""
        raise ClusterError(text, status, said, _retry_after(document), rest=rest)


class _Retry(Retry):  # type: ignore[misc]
    """Tells when the server asks us to slow down, which is not counted as a failure for a while."""

    def __init__(
        self, *args: object, slow_down: Callable[[float], None], until: float, **options: object
    ) -> None:
        """slow_down is given the seconds that the server names; until is of time.monotonic()."""
        super().__init__(*args, **options)
        self._slow_down, self._until = slow_down, until

    def new(self, **options: object) -> _Retry:
        made: _Retry = super().new(slow_down=self._slow_down, until=self._until, **options)
        return made

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: urllib3.BaseHTTPResponse | None = None,
        *args: object,
        **options: object,
    ) -> _Retry:
        start = self
        if response is not None and response.status == 429:
            wait = float(self.get_retry_after(response) or 0)
            self._slow_down(wait)
            patient = time.monotonic() + wait < self._until
            more = {"total": self.total + 1, "status": self.status + 1} if patient else {"total": 0}
            start = self.new(**more)
        following: _Retry = super(_Retry, start).increment(method, url, response, *args, **options)
        return following


if TYPE_CHECKING:
    from typing import Protocol

    class _Pool(Protocol):
        def request(self, method: str, url: str, **options: object) -> urllib3.BaseHTTPResponse: ...

    class _Rest(Protocol):
        pool_manager: _Pool

    class _Configuration(Protocol):
        host: str
        connection_pool_maxsize: int

        def auth_settings(self) -> dict[str, dict[str, str | None]]: ...
        def get_basic_auth_token(self) -> str | None: ...

    class ApiClient(Protocol):
        rest_client: _Rest
        configuration: _Configuration
        default_headers: dict[str, str]


def connect(module: AnsibleModule) -> Cluster:
    """The cluster that the module's options (and K8S_AUTH_*) mean, exactly as kubernetes.core reads
    them.

    Raises ClusterError when a library is missing or no credentials are found.
    """
    if IMPORT_ERROR:
        raise ClusterError(
            "The Python package kubernetes, or the collection kubernetes.core, is missing"
            f" ({IMPORT_ERROR})."
            " Install both for the Python that runs ansible-playbook."
        )
    try:
        configuration = core_client._create_configuration(core_client._create_auth_spec(module))
    except (kubernetes.config.ConfigException, OSError, ValueError) as error:
        raise ClusterError(f"No usable credentials for a cluster: {error}") from error
    configuration.connection_pool_maxsize = CONCURRENCY + 3  # and the lease's, and two watches
    api = kubernetes.client.ApiClient(configuration)
    for header, value in core_client._create_headers(module).items():
        core_client._set_header(api, header, value)
    server = str(configuration.host).rstrip("/")
    named = bool(module.params.get("run"))  # by the preflight, which has asked it
    return Cluster(cast("ApiClient", api), server, reached=named)


def _headers(api: ApiClient) -> dict[str, str]:
    """Headers of authentication and impersonation, read anew each time: exec credentials expire.

    Which key of the configuration holds the token differs between releases of the client, so it is
    asked for the header.
    """
    settings = api.configuration.auth_settings().values()
    token = next((str(entry["value"]) for entry in settings if entry["value"]), "")
    if not token and getattr(api.configuration, "username", None):
        token = api.configuration.get_basic_auth_token() or ""
    return dict(api.default_headers) | ({"Authorization": token} if token else {})


def _encode(body: Mapping[str, object]) -> str:
    """JSON as Go's encoder lays it out, in ASCII.

    The API server compares the bytes of immutable data (of ControllerRevisions) with those of its
    own encoder: with blanks between them, not even an annotation could be changed later.
    """
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    for character in "<>&":  # only texts hold them
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _read_object(data: bytes) -> Json | None:
    """The object in an answer, empty where there is no text; None for a text that holds none."""
    try:
        document = json.loads(data) if data else {}
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _one_line(data: bytes) -> str:
    """The beginning of what was answered, to be quoted."""
    return " ".join(data[:200].decode(errors="replace").split())


def _read_date(text: str) -> datetime | None:
    """A Date header; None for one that is none. Without a zone, as where a proxy has added another
    one, it is UTC all the same.
    """
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _budgets(status: Json) -> list[str]:
    """What the API server says of PodDisruptionBudgets that forbid an eviction."""
    causes = cast("list[Json]", _details(status).get("causes") or [])
    return [
        str(cause.get("message")) for cause in causes if cause.get("reason") == "DisruptionBudget"
    ]


def _retry_after(status: Json) -> float:
    """Seconds until the API server wants to be asked again; 0 where it does not say."""
    seconds = _details(status).get("retryAfterSeconds")
    return float(seconds) if isinstance(seconds, int) else 0.0


def _continue(document: Json) -> str:
    """Where a list goes on; empty where it does not."""
    metadata = document.get("metadata")
    return str(metadata.get("continue") or "") if isinstance(metadata, dict) else ""


def _details(status: Json) -> Json:
    details = status.get("details")
    return cast("Json", details) if isinstance(details, dict) else {}


def _reason(error: BaseException) -> str:
    """The innermost reason of urllib3's nested errors, in one line."""
    while isinstance(inner := getattr(error, "reason", None), BaseException):
        error = inner
    text = str(error)
    return text.rsplit(": ", maxsplit=1)[-1].strip("() ") if "object at 0x" in text else text


def again_after_conflict(action: Callable[[], T], *, unless: str = "") -> T:
    """Look and write again where somebody else has written in between, a few times; not where the
    server's words have a text in them.
    """
    for pause in islice(pauses(), CONFLICTS):
        try:
            return action()
        except ClusterError as error:
            if error.status != 409 or (unless and unless in error.said):
                raise
        time.sleep(pause)
    return action()
