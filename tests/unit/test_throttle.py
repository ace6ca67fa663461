# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits on requests at a time, with a fake clock and against a server that answers 429."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
import urllib3

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import ClusterError
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube import retry
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.client import (
    CONCURRENCY,
    Cluster,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.throttle import (
    MIN_PAUSE,
    Throttle,
)

if TYPE_CHECKING:
    from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.connection import ApiClient


NAMES = [f"n{number}" for number in range(60)]


class Clock:
    seconds = 0.0

    def now(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def turns(throttle: Throttle, count: int) -> None:
    for _turn in range(count):
        with throttle.request():
            pass


def test_throttle_halves_once_a_burst_and_recovers(clock: Clock) -> None:
    throttle = Throttle(16, clock.now)
    for _answer in range(16):
        throttle.slow_down(1)
    assert throttle.allowed == 8
    clock.seconds = 1
    throttle.slow_down(0)
    assert throttle.allowed == 4
    clock.seconds += MIN_PAUSE
    turns(throttle, 4)
    assert 4.5 < throttle.allowed <= 5
    turns(throttle, 500)
    assert throttle.allowed == 16


def test_throttle_never_stops_for_good(clock: Clock) -> None:
    throttle = Throttle(2, clock.now)
    for _time in range(9):
        throttle.slow_down(1)
        clock.seconds += 1
    assert throttle.allowed == 1
    turns(throttle, 1)


def test_throttle_lets_no_more_go_than_allowed() -> None:
    throttle = Throttle(2)
    third = threading.Event()

    def take() -> None:
        with throttle.request():
            third.set()

    with ExitStack() as held:
        held.enter_context(throttle.request())
        with throttle.request():
            thread = threading.Thread(target=take, daemon=True)
            thread.start()
            assert not third.wait(0.05)
        assert third.wait(5)
    thread.join(5)


def test_throttle_holds_all_while_the_server_wants_rest() -> None:
    throttle = Throttle(4)
    throttle.slow_down(MIN_PAUSE)
    began = time.monotonic()
    turns(throttle, 1)
    assert time.monotonic() - began >= MIN_PAUSE * 0.9


class Server:
    """An HTTP server whose answer is asked for: a status, and the Retry-After beside it."""

    def __init__(self) -> None:
        self.answer: Callable[[str], tuple[int, str]] = lambda _path: (200, "")
        self.asked: list[tuple[str, float]] = []
        self.pause: Callable[[int], object] = lambda _status: time.sleep(0.002)
        self.busy = self.most_busy = 0
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PATCH(self) -> None:
                outer.handle(self)

            def log_message(self, *_arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        request.rfile.read(int(request.headers["Content-Length"]))
        path = request.path.partition("?")[0]
        with self.lock:
            self.asked.append((path, time.monotonic()))
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
            status, retry_after = self.answer(path)
        self.pause(status)
        body = json.dumps({"message": f"status {status}"}).encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        if retry_after:
            request.send_header("Retry-After", retry_after)
        request.end_headers()
        with self.lock:
            self.busy -= 1
        request.wfile.write(body)

    @property
    def cluster(self) -> Cluster:
        configuration = SimpleNamespace(auth_settings=dict)
        pool = urllib3.PoolManager(maxsize=CONCURRENCY)
        rest = SimpleNamespace(pool_manager=pool)
        api = SimpleNamespace(rest_client=rest, configuration=configuration, default_headers={})
        port = self.http.server_address[1]
        return Cluster(cast("ApiClient", api), f"http://127.0.0.1:{port}")


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.http.shutdown()
    found.http.server_close()


def patch_all(cluster: Cluster) -> None:
    cluster.patch_nodes({name: {"labels": {"a": "b"}} for name in NAMES})


def test_bulk_is_many_at_a_time(server: Server) -> None:
    patch_all(server.cluster)
    assert Counter(path.rpartition("/")[2] for path, _time in server.asked) == Counter(NAMES)
    assert 1 < server.most_busy <= CONCURRENCY


def test_bulk_does_as_the_server_asks(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst of 429: nothing is asked for until the time that the server named, then all is
    done.
    """
    refused: list[float] = []
    heard = threading.Event()

    def answer(_path: str) -> tuple[int, str]:
        if len(server.asked) < 10 or len(refused) >= 5:
            return 200, ""
        refused.append(time.monotonic())
        return 429, "1"

    server.answer = answer
    # Nobody is let go on before a refusal has been read
    server.pause = lambda status: status == 200 and refused and heard.wait(5)
    slow_down = Throttle.slow_down

    def hear(throttle: Throttle, seconds: float) -> None:
        slow_down(throttle, seconds)
        heard.set()

    monkeypatch.setattr(Throttle, "slow_down", hear)
    cluster = server.cluster
    patch_all(cluster)
    done = Counter(path for path, _time in server.asked)
    assert len(done) == len(NAMES)
    assert heard.is_set()
    under_way = CONCURRENCY  # sent before the answer was read
    later = [at for _path, at in server.asked if at > refused[0]][under_way:]
    assert min(later) - refused[0] >= 0.9
    assert cluster._throttle.allowed < CONCURRENCY


@pytest.mark.parametrize(("status", "patient"), [(429, True), (503, False)])
def test_bulk_is_more_patient_with_429_than_with_faults(
    server: Server, status: int, patient: bool
) -> None:
    retries = server.cluster._retries()
    answer = urllib3.HTTPResponse(status=status)
    for _time in range(8):
        retries = retries.increment("PATCH", "/", answer)
    if patient:
        retries.increment("PATCH", "/", answer)
    else:
        with pytest.raises(urllib3.exceptions.MaxRetryError):
            retries.increment("PATCH", "/", answer)


@pytest.mark.parametrize("status", [413, 429, 500, 503])
@pytest.mark.parametrize("retry_after", ["86400", "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_bulk_does_not_wait_for_hours(server: Server, status: int, retry_after: str) -> None:
    """Neither the request that is told to, nor those that wait beside it."""
    server.answer = lambda _path: (status, retry_after)
    with pytest.raises(ClusterError, match=rf"\({status}\)") as caught:
        patch_all(server.cluster)
    assert len(caught.value.problems) == len(server.asked) == len(NAMES)


@pytest.mark.parametrize("status", [429, 503])
def test_request_is_not_patient_for_ever(
    server: Server, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a server that always asks for a second more."""
    monkeypatch.setattr(retry, "_PATIENCE", 2.5)
    server.answer = lambda _path: (status, "1")
    began = time.monotonic()
    with pytest.raises(ClusterError, match=rf"\({status}\)"):
        server.cluster.patch("/api/v1/nodes/n1", {"metadata": {}})
    assert len(server.asked) == 3
    assert 2 <= time.monotonic() - began < 4


def test_request_is_sent_again_where_nobody_understands_when(server: Server) -> None:
    server.answer = lambda _path: (200, "") if len(server.asked) > 1 else (503, "soon")
    server.cluster.patch("/api/v1/nodes/n1", {"metadata": {}})
    assert len(server.asked) == 2


def test_bulk_names_each_node_that_failed(server: Server) -> None:
    bad = {f"/api/v1/nodes/{name}" for name in NAMES[::20]}
    server.answer = lambda path: (422 if path in bad else 200, "")
    with pytest.raises(ClusterError, match=r"\b3\b.*\b60\b") as caught:
        patch_all(server.cluster)
    assert [line.partition(":")[0] for line in caught.value.problems] == ["n0", "n20", "n40"]
    assert len({path for path, _time in server.asked}) == len(NAMES)
