# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client: bodies as Go writes them, answers that are not objects, lists in pages, patches."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import urllib3
from ansible_collections.kubernetes.core.plugins.module_utils.k8s import client as core_client
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.documents import (
    name_of,
    text_at,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import ClusterError
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.connection import (
    auth_headers,
    open_connection,
    request_target,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.objects import NODES
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.payloads import (
    encode,
    read_answer,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions
from ansible_collections.gpufleet.sharing.tests.unit.fake_api import SERVER, FakeApi

if TYPE_CHECKING:
    from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.connection import ApiClient


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"b": [1, 2], "a": {"d": None, "c": True}}, '{"a":{"c":true,"d":null},"b":[1,2]}'),
        ({"a": "<&>"}, '{"a":"\\u003c\\u0026\\u003e"}'),
        ({"é": "\u2028"}, '{"\\u00e9":"\\u2028"}'),
        ({}, "{}"),
    ],
)
def test_encode(body: dict[str, object], expected: str) -> None:
    assert encode(body) == expected


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.booleans()))
def test_encode_changes_nothing(body: dict[str, object]) -> None:
    text = encode(body)
    assert text.isascii()
    assert json.loads(text) == body


LOGIN = b"<html>\n <title>Log in</title>\n</html>"


@pytest.mark.parametrize("data", [LOGIN, b'"log in"', b"null", b"[]", b"\xff"])
def test_answer_that_is_no_object_is_not_taken_for_an_empty_list(data: bytes) -> None:
    with pytest.raises(ClusterError) as caught:
        read_answer(SERVER, f"GET {NODES}", 200, data)
    assert mentions(caught.value, SERVER, "GET /api/v1/nodes")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (LOGIN, "<html> <title>Log in</title> </html>"),
        (b'"busy"', '"busy"'),
        (b"null", "null"),
        (b'{"message": "no"}', "no"),
        (b"", "503"),
    ],
)
def test_failure_in_other_words_than_those_of_kubernetes(data: bytes, said: str) -> None:
    with pytest.raises(ClusterError) as caught:
        read_answer(SERVER, f"GET {NODES}", 503, data)
    assert caught.value.status == 503
    assert caught.value.detail.endswith(said)


def forgetful(times: int) -> FakeApi:
    """Five nodes in pages of two. So many times the server forgets, between two pages, the moment
    that was listed, and a node has changed.
    """
    api = FakeApi(page=2)
    left = [times]
    for number in range(5):
        api.put(f"{NODES}/n{number}", {})

    def forget(_method: str, path: str) -> int:
        if len(api.requests) > 1 and left[0]:
            left[0] -= 1
            api.put(f"{path}/n0", {"metadata": {"uid": "new"}})
            api.oldest = api.version
        return 0

    api.fault = forget
    return api


@pytest.mark.parametrize("times", [0, 1, 9])
def test_items_of_a_list_that_the_server_forgets_go_on(times: int) -> None:
    """Where they were, with what is there now: some may be of another moment than others."""
    found = list(forgetful(times).cluster.items(NODES))
    assert [name_of(item) for item in found] == ["n0", "n1", "n2", "n3", "n4"]


def test_items_of_a_list_that_cannot_go_on() -> None:
    api = FakeApi(fault=lambda _method, _path: 410)
    with pytest.raises(ClusterError, match="injected 410"):
        list(api.cluster.items(NODES))


@pytest.mark.parametrize("times", [1, 2])
def test_snapshot_that_the_server_forgets_is_begun_anew(times: int) -> None:
    """What it has is of one moment, which a watch may begin at."""
    api = forgetful(times)
    found, moment = api.cluster.snapshot(NODES, lambda item: text_at(item, "metadata", "uid"))
    assert found == ["new", "", "", "", ""]
    assert moment == str(api.version)


def test_snapshot_that_the_server_forgets_again_and_again() -> None:
    with pytest.raises(ClusterError, match="continue parameter") as caught:
        forgetful(99).cluster.snapshot(NODES, name_of)
    assert caught.value.status == 410


@pytest.mark.parametrize(
    ("status", "data", "passes"),
    [
        (200, b"{}", True),
        (404, b'{"message": "gone"}', True),
        (200, LOGIN, False),
        (500, b"", False),
    ],
)
def test_patch_if_exists_reads_the_status(status: int, data: bytes, passes: bool) -> None:
    """An answer of something else than the API server is no success, whatever its status."""
    api = FakeApi()
    api.request = lambda *_arguments, **_options: SimpleNamespace(  # type: ignore[method-assign]
        status=status, data=data, headers={}
    )
    with nullcontext() if passes else pytest.raises(ClusterError):
        api.cluster.patch_if_exists(f"{NODES}/n1", {"metadata": {}})


@pytest.mark.parametrize(
    ("server", "proxy", "target"),
    [
        ("https://api:6443", None, ("pool", "")),
        ("https://api/k8s/clusters/one", None, ("pool", "/k8s/clusters/one")),
        ("https://api:6443", "http://proxy:3128", ("pool", "")),
        ("http://api:8080", None, ("pool", "")),
        ("http://api:8080", "http://proxy:3128", ("manager", "http://api:8080")),
    ],
)
def test_request_target(server: str, proxy: str | None, target: tuple[str, str]) -> None:
    manager = urllib3.ProxyManager(proxy) if proxy else urllib3.PoolManager()
    api = SimpleNamespace(rest_client=SimpleNamespace(pool_manager=manager))
    sender, base = request_target(cast(Any, api), server)
    assert ("manager" if sender is manager else "pool", base) == target


def kubeconfig(
    folder: Path, user: Mapping[str, str], cluster: Mapping[str, str] = MappingProxyType({})
) -> str:
    """A kubeconfig with two users, the second of which is meant."""
    names = {"other": {"token": "of-other"}, "ours": user}
    document = {
        "current-context": "ours",
        "clusters": [{"name": "c", "cluster": {"server": SERVER, **cluster}}],
        "contexts": [{"name": n, "context": {"cluster": "c", "user": n}} for n in names],
        "users": [{"name": name, "user": entry} for name, entry in names.items()],
    }
    path = folder / "config"
    path.write_text(json.dumps(document), encoding="utf-8")
    return str(path)


def opened(**options: object) -> ApiClient:
    module = SimpleNamespace(params=options)
    return open_connection(cast(Any, module), 4)


@pytest.mark.parametrize("token", [{}, {"token": "of-an-hour-ago"}])
def test_token_is_read_again_when_its_file_has_changed(
    tmp_path: Path, token: dict[str, str]
) -> None:
    """As the kubelet renews it: another folder behind a link. The preflight of a long run has put
    the token of that time into the kubeconfig.
    """
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text(f"{name}\n", encoding="utf-8")
    link = tmp_path / "data"
    link.symlink_to("first")
    api = opened(kubeconfig=kubeconfig(tmp_path, {"tokenFile": "data/token", **token}))
    assert auth_headers(api)["Authorization"] == "Bearer first"
    link.unlink()
    assert auth_headers(api)["Authorization"] == "Bearer first"
    link.symlink_to("second")
    assert auth_headers(api)["Authorization"] == "Bearer second"
    (tmp_path / "second" / "token").write_text("", encoding="utf-8")
    assert auth_headers(api)["Authorization"] == "Bearer second"


def test_name_in_the_certificate_of_the_server_is_sent(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, {"token": "x"}, {"tls-server-name": "inside.example.com"})
    api: Any = opened(kubeconfig=path)
    pool = api.rest_client.pool_manager.connection_pool_kw
    assert pool["server_hostname"] == "inside.example.com"


def test_client_that_ignores_that_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before kubernetes 28.1.0: it would compare the certificate with the name in the URL."""
    create = core_client._create_configuration

    def older(options: dict[str, object]) -> object:
        configuration = create(options)
        del configuration.tls_server_name
        return configuration

    monkeypatch.setattr(core_client, "_create_configuration", older)
    with pytest.raises(ClusterError) as caught:
        opened(kubeconfig=kubeconfig(tmp_path, {"token": "x"}))
    assert mentions(caught.value, "kubernetes", "28.1.0", "tls-server-name")


def test_token_of_another_context_or_option_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("in-file", encoding="utf-8")
    path = kubeconfig(tmp_path, {"tokenFile": "token"})
    other = opened(kubeconfig=path, context="other")
    assert auth_headers(other)["Authorization"] == "Bearer of-other"
    given = opened(kubeconfig=path, api_key="given")
    assert auth_headers(given)["Authorization"] == "Bearer given"


def test_output_of_a_credential_plugin_is_in_the_message_without_its_secrets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The client only logs it, and goes on without credentials."""
    script = "import os, sys; sys.exit('no login with ' + os.environ['PIN'] + sys.argv[1])"
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", script, "--pin=sesame-b"],
        "env": [{"name": "PIN", "value": "sesame-a"}],
    }
    path = kubeconfig(tmp_path, {"exec": plugin})  # type: ignore[dict-item]
    with pytest.raises(ClusterError) as caught:
        opened(kubeconfig=path)
    assert mentions(caught.value, "no login with")
    assert "sesame" not in str(caught.value)
    assert caplog.text == ""
