# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault proxy does what its rules say, and nothing else."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.gpufleet.sharing.tests.integration.faults import (
    WRITES,
    Fault,
    FaultProxy,
    Rule,
)
from ansible_collections.gpufleet.sharing.tests.integration.labtools import Lab

NAMES = "/api/v1/namespaces"
MAPS = f"{NAMES}/default/configmaps"
BROKEN = (OSError, http.client.HTTPException)


@pytest.fixture
def proxy(lab: Lab, tmp_path: Path) -> Iterator[FaultProxy]:
    with FaultProxy(lab, tmp_path / "proxy") as running:
        yield running


def ask(proxy: FaultProxy, path: str, method: str = "GET", name: str = "") -> tuple[int, bytes]:
    """One request by urllib, which does not try again: status and body."""
    ca = Path(proxy.lab.environ["KUBECONFIG"]).parent / "pki" / "ca.crt"
    body = json.dumps({"metadata": {"name": name}}).encode() if name else None
    headers = {"Authorization": f"Bearer {proxy.token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{proxy.url}{path}", body, headers, method=method)
    context = ssl.create_default_context(cafile=ca)
    try:
        with urllib.request.urlopen(request, context=context, timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def exists(lab: Lab, name: str) -> bool:
    return lab.attempt("get", "configmap", name, "-n", "default").rc == 0


def test_without_rules_everything_goes_through(lab: Lab, proxy: FaultProxy) -> None:
    lab.forget_requests()
    proxy.lab.kubectl("create", "configmap", "plain", "-n", "default", "--from-literal=a=b")
    assert "plain" in proxy.lab.kubectl("get", "configmaps", "-n", "default", "-o", "name")
    proxy.lab.kubectl("delete", "configmap", "plain", "-n", "default")
    assert [write.split("?")[0] for write in lab.writes(proxy.user)] == [
        f"create {MAPS}",
        f"delete {MAPS}/plain",
    ]
    assert lab.writes() == []
    assert proxy.faults == []
    assert proxy.arrived_twice == []


def test_a_token_is_needed(proxy: FaultProxy) -> None:
    proxy.token = "none"
    assert ask(proxy, NAMES)[0] == 401


@pytest.mark.parametrize(
    ("status", "method", "reason"),
    [
        (409, "POST", "AlreadyExists"),
        (409, "DELETE", "Conflict"),
        (429, "GET", "TooManyRequests"),
        (500, "GET", "InternalError"),
        (503, "GET", "ServiceUnavailable"),
    ],
)
def test_status(proxy: FaultProxy, status: int, method: str, reason: str) -> None:
    proxy.use(Rule(Fault(status, retry_after=1)))
    found, body = ask(proxy, MAPS, method, "a" if method == "POST" else "")
    assert (found, json.loads(body)["reason"]) == (status, reason)
    assert [str(request) for request in proxy.faults] == [f"{method} {MAPS}"]
    assert proxy.requests[0].status == 0


def test_retry_after_is_heard_by_kubectl(proxy: FaultProxy) -> None:
    proxy.use(Rule(Fault(429, retry_after=1), path="namespaces/default", times=2))
    started = time.monotonic()
    assert "default" in proxy.lab.kubectl("get", "namespace", "default")
    assert time.monotonic() - started >= 2
    assert [str(request.fault) for request in proxy.faults] == ["429", "429"]


@pytest.mark.parametrize(
    ("fault", "done"),
    [
        (Fault(cut="before"), False),
        (Fault(cut="after"), True),
        (Fault(cut="body"), True),
        (Fault(500), False),
        (Fault(500, late=True), True),
        (Fault(delay=0.5), True),
    ],
    ids=str,
)
def test_what_the_server_has_done(lab: Lab, proxy: FaultProxy, fault: Fault, done: bool) -> None:
    proxy.use(Rule(fault, WRITES))
    started = time.monotonic()
    if fault.cut:
        with pytest.raises(BROKEN):
            ask(proxy, MAPS, "POST", "half")
    else:
        assert ask(proxy, MAPS, "POST", "half")[0] == (fault.status or 201)
    assert time.monotonic() - started >= fault.delay
    assert exists(lab, "half") is done
    assert (proxy.requests[0].status == 201) is done
    lab.kubectl("delete", "configmap", "half", "-n", "default", "--ignore-not-found")


def test_cut_body_of_a_list_is_a_half(proxy: FaultProxy) -> None:
    whole = ask(proxy, f"{NAMES}?limit=500")[1]
    proxy.use(Rule(Fault(cut="body")))
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(proxy, f"{NAMES}?limit=500")
    assert 0 < len(caught.value.partial) < len(whole)


def test_writes_that_arrive_twice(lab: Lab, proxy: FaultProxy) -> None:
    proxy.use(Rule(Fault(cut="after"), ["POST"], times=1))
    with pytest.raises(BROKEN):
        ask(proxy, MAPS, "POST", "again")
    assert ask(proxy, MAPS, "POST", "again")[0] == 409
    assert proxy.arrived_twice == [f"POST {MAPS}"]
    assert proxy.done_twice == []
    lab.kubectl("delete", "configmap", "again", "-n", "default")


@pytest.mark.parametrize(
    ("rule", "met"),
    [
        (Rule(Fault(500), every=3), [3, 6, 9]),
        (Rule(Fault(500), times=2), [1, 2]),
        (Rule(Fault(500), skip=4, times=1), [5]),
        (Rule(Fault(500), skip=1, every=2), [3, 5, 7, 9]),
        (Rule(Fault(500), ["PATCH"]), []),
        (Rule(Fault(500), path="/nodes"), []),
        (Rule(Fault(500), path=r"\?limit=\d$", times=1), [1]),
        (Rule(Fault(500), probability=0), []),
    ],
)
def test_rules(proxy: FaultProxy, rule: Rule, met: list[int]) -> None:
    proxy.use(rule)
    arrived = [proxy.arrive("GET", f"{NAMES}?limit=1", b"") for _n in range(9)]
    assert [n for n, request in enumerate(arrived, 1) if request.fault] == met


def test_chance_is_the_same_for_the_same_seed(lab: Lab, tmp_path: Path) -> None:
    drawn = []
    for number, seed in enumerate((1, 1, 2)):
        rule = Rule(Fault(500), probability=0.5)
        proxy = FaultProxy(lab, tmp_path / str(number), rule, seed=seed)
        drawn.append([bool(proxy.arrive("GET", NAMES, b"").fault) for _n in range(40)])
    assert drawn[0] == drawn[1] != drawn[2]


def test_watch_streams_and_is_cut(lab: Lab, proxy: FaultProxy) -> None:
    words = ["kubectl", "get", "configmaps", "-n", "default", "--watch-only", "-o", "name"]
    with subprocess.Popen(
        words, env=proxy.lab.environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        lab.wait_for(lambda: watches(proxy) == 1)
        lab.kubectl("create", "configmap", "seen", "-n", "default")
        assert process.stdout.readline() == "configmap/seen\n"
        assert process.poll() is None
        process.terminate()
    proxy.use(Rule(Fault(cut="body"), path="watch=true"))
    with subprocess.Popen(words, env=proxy.lab.environ, stderr=subprocess.DEVNULL) as process:
        lab.wait_for(lambda: watches(proxy) == 2)
        assert process.poll() is None
        lab.kubectl("delete", "configmap", "seen", "-n", "default")
        process.wait(10)


def watches(proxy: FaultProxy) -> int:
    """How many watches the server has accepted."""
    return sum(r.status == 200 for r in proxy.requests if "watch=true" in r.path)
