# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of API servers, and the proxy that leads to one: by Go's rules, for both worlds."""

from __future__ import annotations

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    ConnectionSettingsError,
)
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._connection.proxy import (
    Endpoint,
    choose_proxy,
    environment_proxy,
    read_endpoint,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

API = "https://api.example.com:6443"
BY_ADDRESS = "https://10.1.2.3:6443"
V6 = "https://[fd00::1]:6443"
P = "http://proxy:3128"


def endpoint(url: str) -> Endpoint:
    return read_endpoint(url, "a test")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (API, Endpoint("https", "api.example.com", 6443)),
        ("https://API.example.com", Endpoint("https", "api.example.com", 443)),
        ("HTTPS://api.example.com:443/", Endpoint("https", "api.example.com", 443)),
        ("http://127.0.0.1", Endpoint("http", "127.0.0.1", 80)),
        (V6, Endpoint("https", "fd00::1", 6443)),
        ("https://rancher/k8s/c-1/", Endpoint("https", "rancher", 443, "/k8s/c-1")),
    ],
)
def test_read_endpoint(url: str, expected: Endpoint) -> None:
    assert endpoint(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "api.example.com:6443",
        "",
        "https://",
        "ftp://api.example.com",
        "https://api.example.com:many",
        "https://[fd00::1",
        "https://ann:sesame@api.example.com",
        "https://api.example.com?token=sesame",
    ],
)
def test_read_endpoint_refuses(url: str) -> None:
    """The value is not in the message: it may contain a password, or be a token."""
    with pytest.raises(ConnectionSettingsError) as caught:
        endpoint(url)
    assert mentions(caught.value, "https://", "(a test)")
    assert not url.partition("//")[2] or url.partition("//")[2] not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "no_proxy", "exempt"),
    [
        (API, "", False),
        (API, " , ,", False),
        (API, "*", True),
        (API, "api.example.com", True),
        (API, " API.Example.Com , other", True),
        (API, "example.com", True),
        (API, ".example.com", True),
        (API, "*.example.com", True),
        (API, "ample.com", False),
        (API, ".api.example.com", False),
        (API, "*.api.example.com", False),
        (API, "api.example.com:6443", True),
        (API, "example.com:6443", True),
        (API, "api.example.com:443", False),
        (API, ":6443", False),
        (API, "10.0.0.0/8", False),
        (API, "10.1.2.3", False),
        (BY_ADDRESS, "10.0.0.0/8", True),
        (BY_ADDRESS, "10.1.2.200/24", True),
        (BY_ADDRESS, "10.9.0.0/16", False),
        (BY_ADDRESS, "not/a/network", False),
        (BY_ADDRESS, "10.1.2.3", True),
        (BY_ADDRESS, "10.1.2.3:6443", True),
        (BY_ADDRESS, "10.1.2.3:443", False),
        (BY_ADDRESS, "10.1.2.4", False),
        (BY_ADDRESS, "2.3", False),
        (V6, "fd00::1", True),
        (V6, "[fd00::1]", True),
        (V6, "[fd00::1]:6443", True),
        (V6, "[fd00::1]:443", False),
        (V6, "fd00::/8", True),
        ("https://[::1]:1", "a:b:c", False),
    ],
)
def test_exemptions_are_read_as_go_reads_no_proxy(url: str, no_proxy: str, exempt: bool) -> None:
    assert choose_proxy(endpoint(url), P, no_proxy, {}) == ("" if exempt else P)


@pytest.mark.parametrize(
    ("url", "environ", "expected"),
    [
        (API, {}, ""),
        (API, {"HTTPS_PROXY": P}, P),
        (API, {"https_proxy": P}, P),
        (API, {"HTTPS_PROXY": P, "https_proxy": "http://lower"}, P),
        (API, {"HTTPS_PROXY": "", "https_proxy": P}, P),
        (API, {"HTTPS_PROXY": "proxy:3128"}, P),
        (API, {"HTTP_PROXY": P}, ""),
        (API, {"ALL_PROXY": P}, ""),
        ("http://api:8080", {"HTTP_PROXY": P}, P),
        ("http://api:8080", {"HTTPS_PROXY": P}, ""),
        (API, {"HTTPS_PROXY": P, "NO_PROXY": "example.com"}, ""),
        (API, {"HTTPS_PROXY": P, "no_proxy": "example.com"}, ""),
        (API, {"HTTPS_PROXY": P, "NO_PROXY": "example.org"}, P),
        ("https://localhost:6443", {"HTTPS_PROXY": P}, ""),
        ("https://127.0.0.1:6443", {"HTTPS_PROXY": P}, ""),
        ("https://[::1]:6443", {"HTTPS_PROXY": P}, ""),
    ],
)
def test_environment_proxy(url: str, environ: dict[str, str], expected: str) -> None:
    assert environment_proxy(endpoint(url), environ) == expected


@pytest.mark.parametrize(
    ("proxy", "exemptions", "environ", "expected"),
    [
        (P, "", {"HTTPS_PROXY": "http://other"}, P),
        (P, "", {"NO_PROXY": "example.com"}, P),  # Go asks NO_PROXY about its environment's alone
        ("", "", {"HTTPS_PROXY": P}, P),
        (P, "example.org", {}, P),
        (P, "example.com", {}, ""),
        (P, "example.com", {"HTTPS_PROXY": P, "NO_PROXY": "example.com"}, ""),
        ("https://proxy", "", {}, "https://proxy"),
    ],
)
def test_choose_proxy(proxy: str, exemptions: str, environ: dict[str, str], expected: str) -> None:
    assert choose_proxy(endpoint(API), proxy, exemptions, environ) == expected


@pytest.mark.parametrize(
    ("proxy", "exemptions", "environ", "facts"),
    [
        (
            P,
            "example.com",
            {"HTTPS_PROXY": P},
            ("no_proxy", "api.example.com", "HTTPS_PROXY", "NO_PROXY"),
        ),
        ("socks5://proxy:1080", "", {}, ("socks5://proxy:1080", "http://")),
        ("proxy:3128", "", {}, ("http://", "https://")),
        ("http://", "", {}, ("http://",)),
        ("http://me:sesame@proxy:3128", "", {}, ("http://proxy:3128", "user")),
        ("", "", {"HTTPS_PROXY": "me:sesame@proxy:3128"}, ("http://proxy:3128", "user")),
        ("http://[proxy", "", {}, ("proxy",)),
        ("http://proxy:many", "", {}, ("proxy",)),
        ("http://me:sesame/x@proxy:3128", "", {}, ("proxy",)),
    ],
)
def test_choose_proxy_refuses(
    proxy: str, exemptions: str, environ: dict[str, str], facts: tuple[str, ...]
) -> None:
    with pytest.raises(ConnectionSettingsError) as caught:
        choose_proxy(endpoint(API), proxy, exemptions, environ)
    assert mentions(caught.value, *facts)
    assert "sesame" not in str(caught.value)
