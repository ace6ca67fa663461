# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the address of an API server and its proxy.

Helm reads HTTPS_PROXY and NO_PROXY by Go's rules (golang.org/x/net/http/httpproxy). Releases of the
Python client differ, and some ignore them. So this applies Go's rules once, and Helm and the
modules both use the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from ...module_utils._common.errors import ConnectionSettingsError

_PORTS = {"https": 443, "http": 80}
# Without the URL and Python's error: both may contain part of a password, or a token that was put
# into the wrong field.
_WRONG_SERVER = (
    "The address of the API server ({source}) is not valid. Allowed: https://HOST:PORT, perhaps"
    " with a path, without a user and password."
)
_WRONG_PROXY = (
    "The URL of the proxy is not valid (port or brackets). Allowed: http://HOST:PORT or"
    " https://HOST:PORT, without a user and password."
)


@dataclass(frozen=True)
class Endpoint:
    """The address of an API server. Equal endpoints are the same server."""

    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def ip(self) -> IPv4Address | IPv6Address | None:
        try:
            return ip_address(self.host)
        except ValueError:
            return None


def read_endpoint(url: str, source: str) -> Endpoint:
    """The endpoint of a URL. Raises ConnectionSettingsError where it is not an API server's."""
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError:
        raise ConnectionSettingsError(_WRONG_SERVER.format(source=source)) from None
    if scheme not in _PORTS or not host or "@" in url or parts.query or parts.fragment:
        raise ConnectionSettingsError(_WRONG_SERVER.format(source=source))
    return Endpoint(scheme, host, port or _PORTS[scheme], parts.path.rstrip("/"))


def choose_proxy(server: Endpoint, proxy: str, exemptions: str, environ: Mapping[str, str]) -> str:
    """The proxy for the API server; empty for none.

    proxy is that of the settings or the kubeconfig, exemptions is no_proxy of the settings. Without
    them the environment decides. Raises ConnectionSettingsError where Helm and the modules cannot
    use the same proxy.
    """
    found = environment_proxy(server, environ)
    if _exempt(server, exemptions):
        if found:
            raise ConnectionSettingsError(
                f"no_proxy exempts {server.host} from proxies, but Helm would use"
                f" {server.scheme.upper()}_PROXY of the environment."
                f" Add {server.host} to NO_PROXY of the environment."
            )
        return ""
    return _usable(proxy or found)


def environment_proxy(server: Endpoint, environ: Mapping[str, str]) -> str:
    """The proxy that Go reads from its environment; empty for none."""
    found = _variable(environ, f"{server.scheme}_proxy")
    local = server.host == "localhost" or (server.ip is not None and server.ip.is_loopback)
    if not found or local or _exempt(server, _variable(environ, "no_proxy")):
        return ""
    return found if "://" in found else f"http://{found}"


def _variable(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name.upper()) or environ.get(name) or ""


def _usable(proxy: str) -> str:
    """The proxy, if both the Python client and Helm can use it."""
    try:
        parts = urlsplit(proxy)
        _port = parts.port  # reading it checks it
    except ValueError:
        raise ConnectionSettingsError(_WRONG_PROXY) from None
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if proxy and (parts.scheme not in _PORTS or not parts.hostname):
        named = f" {shown}" if parts.netloc else ""
        raise ConnectionSettingsError(
            f"The proxy{named} is not supported by the modules; it must start with http:// or"
            " https://. Set another proxy, or exempt the API server with NO_PROXY."
        )
    if "@" in proxy:
        raise ConnectionSettingsError(
            f"The proxy {shown} has a user and password, which Helm sends and the modules cannot"
            " send. Use a proxy without authentication, or exempt the API server with NO_PROXY."
        )
    return proxy


def _exempt(server: Endpoint, exemptions: str) -> bool:
    """Whether a list such as NO_PROXY contains the server, by Go's rules."""
    return any(_matches(entry, server) for entry in _entries(exemptions))


def _entries(exemptions: str) -> Iterator[str]:
    for entry in exemptions.lower().split(","):
        if stripped := entry.strip():
            yield stripped


def _matches(entry: str, server: Endpoint) -> bool:
    """Whether an entry matches: *, a network, or an address or domain with an optional port."""
    if entry == "*":
        return True
    if "/" in entry:
        return server.ip is not None and _in_network(server.ip, entry)
    host, port = _split_port(entry)
    if port and port != str(server.port):
        return False
    if server.ip is not None:
        return _same_address(host, server.ip)
    domain = host.removeprefix("*")  # "*.a.b" and ".a.b" do not include a.b
    if domain.startswith("."):
        return server.host.endswith(domain)
    return bool(domain) and (server.host == domain or server.host.endswith(f".{domain}"))


def _in_network(address: IPv4Address | IPv6Address, entry: str) -> bool:
    try:
        return address in ip_network(entry, strict=False)
    except ValueError:
        return False


def _same_address(entry: str, address: IPv4Address | IPv6Address) -> bool:
    try:
        return ip_address(entry) == address
    except ValueError:
        return False


def _split_port(entry: str) -> tuple[str, str]:
    """Host and port; the port of an IPv6 address follows its brackets."""
    if entry.startswith("["):
        host, _bracket, port = entry[1:].partition("]")
        return host, port.removeprefix(":")
    host, colon, port = entry.rpartition(":")
    return (host, port) if colon and ":" not in host else (entry, "")
