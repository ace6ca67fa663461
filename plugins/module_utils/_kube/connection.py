# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the connection to an API server, with the authentication of kubernetes.core."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from .._common.documents import list_at, text_at
from .._common.errors import ClusterError
from .._common.secrets import Secrets, secrets_of_options

if TYPE_CHECKING:
    from typing import Protocol

    import urllib3
    from ansible.module_utils.basic import AnsibleModule

    class _Pool(Protocol):
        def request(self, method: str, url: str, **options: object) -> urllib3.BaseHTTPResponse: ...

    class _PoolManager(_Pool, Protocol):
        proxy: object

        def connection_from_url(self, url: str) -> _Pool: ...

    class _Rest(Protocol):
        pool_manager: _PoolManager

    class _Configuration(Protocol):
        host: str
        connection_pool_maxsize: int
        verify_ssl: bool
        ssl_ca_cert: str | None
        tls_server_name: str | None
        proxy: str | None
        api_key: dict[str, str]
        refresh_api_key_hook: Callable[[_Configuration], None]

        def auth_settings(self) -> dict[str, dict[str, str | None]]: ...
        def get_basic_auth_token(self) -> str | None: ...

    class ApiClient(Protocol):
        rest_client: _Rest
        configuration: _Configuration
        default_headers: dict[str, str]


try:
    import kubernetes
    import yaml
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s import client as core_client

    IMPORT_ERROR = ""
except ImportError as import_error:
    kubernetes = None
    IMPORT_ERROR = str(import_error)


def open_connection(module: AnsibleModule, connections: int) -> ApiClient:
    """The client of kubernetes for the module's options and K8S_AUTH_*, read as kubernetes.core
    reads them.

    Raises ClusterError when a library is missing or too old, or there are no credentials.
    """
    if IMPORT_ERROR:
        raise ClusterError(
            "The Python package kubernetes or the collection kubernetes.core is missing"
            f" ({IMPORT_ERROR}). Install both for the Python that runs ansible-playbook."
        )
    errors = _Errors.instead_of_logging()
    try:
        options = core_client._create_auth_spec(module)
        configuration = core_client._create_configuration(options)
        if options.get("api_key"):
            configuration.refresh_api_key_hook = None  # it would put the kubeconfig's token back
        elif path := _token_file(options):
            configuration.refresh_api_key_hook = TokenFile(path).refresh
    except (kubernetes.config.ConfigException, OSError, ValueError) as error:
        raise _no_credentials(options, str(error)) from error
    if errors.found:
        raise _no_credentials(options, "; ".join(errors.found))
    if not hasattr(configuration, "tls_server_name"):
        raise ClusterError(
            f"The Python package kubernetes is {kubernetes.__version__}. It ignores the setting"
            " tls-server-name of a kubeconfig. Install 28.1.0 or newer for the Python that runs"
            " ansible-playbook."
        )
    configuration.connection_pool_maxsize = connections
    api = kubernetes.client.ApiClient(configuration)
    for header, value in core_client._create_headers(module).items():
        core_client._set_header(api, header, value)
    return cast("ApiClient", api)


def kubeconfig_entry(api: ApiClient) -> dict[str, object]:
    """How to reach the server, as a kubeconfig has it: without credentials. Raises ClusterError if
    the certificate authority cannot be read.
    """
    configuration = api.configuration
    entry: dict[str, object] = {"server": str(configuration.host).rstrip("/")}
    if not configuration.verify_ssl:
        entry["insecure-skip-tls-verify"] = True
    elif configuration.ssl_ca_cert:
        try:
            authority = Path(configuration.ssl_ca_cert).read_bytes()
        except OSError as error:
            raise ClusterError(f"{configuration.ssl_ca_cert}: {error.strerror}.") from None
        entry["certificate-authority-data"] = base64.b64encode(authority).decode("ascii")
    others = {"tls-server-name": configuration.tls_server_name, "proxy-url": configuration.proxy}
    return entry | {name: value for name, value in others.items() if value}


class _Errors(logging.Filter):
    """Errors that the client logs, as those of credential plugins, whose output can contain
    secrets. They are kept and not logged, also when it asks a plugin again.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    @classmethod
    def instead_of_logging(cls) -> _Errors:
        """Keep errors from now on, and no longer in an earlier one."""
        logger, new = logging.getLogger(), cls()
        for earlier in [each for each in logger.filters if isinstance(each, cls)]:
            logger.removeFilter(earlier)
        logger.addFilter(new)
        return new

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.ERROR:
            return True
        self.found.append(record.getMessage())
        return False


def _no_credentials(options: Mapping[str, object], reason: str) -> ClusterError:
    document = read_kubeconfig(options)[1]
    known = Secrets(secrets_of_options({**options, "kubeconfig": document}))
    return ClusterError(f"There are no usable credentials for a cluster: {known.hide(reason)}")


def _token_file(options: Mapping[str, object]) -> Path | None:
    """The file of the token in the kubeconfig, of which the client would read the token once."""
    base, config = read_kubeconfig(options)
    context = str(options.get("context") or text_at(config, "current-context"))
    user = text_at(_entry(config, "contexts", context), "context", "user")
    path = text_at(_entry(config, "users", user), "user", "tokenFile")
    return base.parent / Path(path).expanduser() if path else None


def read_kubeconfig(options: Mapping[str, object]) -> tuple[Path, object]:
    """The path and the content of the kubeconfig; empty where there is none."""
    given = options.get("kubeconfig")
    if not isinstance(given, str):
        return Path(), given or {}
    path = Path(given).expanduser()
    return path, yaml.safe_load(path.read_bytes()) if path.is_file() else {}


def _entry(config: object, kind: str, name: str) -> object:
    entries = (entry for entry in list_at(config, kind) if text_at(entry, "name") == name)
    return next(entries, None)


class TokenFile:
    """A file with a token that is renewed while we run, such as a service account's."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: object = None

    def refresh(self, configuration: _Configuration) -> None:
        """Put the token into the configuration again, if the file has changed. While it cannot be
        read, the token before stays.
        """
        with suppress(OSError, ValueError):
            found = self._path.stat()
            seen = found.st_mtime_ns, found.st_ino
            if seen != self._seen and (token := self._path.read_text(encoding="utf-8").strip()):
                self._seen = seen
                names = configuration.api_key or ("BearerToken", "authorization")
                configuration.api_key = dict.fromkeys(names, f"Bearer {token}")


def request_target(api: ApiClient, server: str) -> tuple[_Pool, str]:
    """What sends the requests to a server, and the beginning of their URLs. The connection pool of
    the server saves the pool manager's work for each request. Through a proxy plain HTTP needs
    whole URLs, which the manager sends.
    """
    manager = api.rest_client.pool_manager
    if manager.proxy and server.startswith("http:"):
        return manager, server
    return manager.connection_from_url(server), urlsplit(server).path


def auth_headers(api: ApiClient) -> dict[str, str]:
    """Headers of authentication and impersonation, read for each request: exec credentials expire.

    Releases of the client keep the token under different keys of the configuration, so this asks
    for the header.
    """
    settings = api.configuration.auth_settings().values()
    token = next((str(entry["value"]) for entry in settings if entry["value"]), "")
    if not token and getattr(api.configuration, "username", None):
        token = api.configuration.get_basic_auth_token() or ""
    return dict(api.default_headers) | ({"Authorization": token} if token else {})
