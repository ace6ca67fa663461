# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: resolves the target cluster and identity, for the modules and Helm alike.

kubernetes.core tries in-cluster credentials before a kubeconfig; Helm does the opposite and does
not support every option. So the settings are resolved once, and both use the resulting kubeconfig.

Credentials of a kubeconfig or a pod are sent only to their own server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...module_utils._common.errors import ConnectionSettingsError
from ...module_utils._common.secrets import is_content
from ...module_utils._common.text import some
from ...module_utils._common.values import is_off
from .files import FILE_OPTIONS, file_data
from .kubeconfig import Entry, Surroundings, default_path, load, pick
from .proxy import choose_proxy, read_endpoint

CONTEXT = "gpufleet-sharing"
POD_WARNING = (
    "The credentials of the pod that runs Ansible are used, so the target is the cluster in which"
    " Ansible runs. In an AWX execution environment this is AWX's own cluster: attach a credential"
    " of the type OpenShift or Kubernetes API Bearer Token."
)
AWX_CREDENTIAL = (
    "In AWX, attach a credential of the type OpenShift or Kubernetes API Bearer Token, which sets"
    " K8S_AUTH_HOST, K8S_AUTH_API_KEY, K8S_AUTH_VERIFY_SSL and K8S_AUTH_SSL_CA_CERT."
)
# Option of kubernetes.core -> suffixes of the K8S_AUTH_ variables that its modules read.
ENVIRONMENT = {
    "kubeconfig": ("KUBECONFIG",),
    "context": ("CONTEXT",),
    "host": ("HOST",),
    "api_key": ("API_KEY",),
    "username": ("USERNAME",),
    "password": ("PASSWORD",),
    "validate_certs": ("VALIDATE_CERTS", "VERIFY_SSL"),
    "ca_cert": ("CA_CERT", "SSL_CA_CERT"),
    "client_cert": ("CLIENT_CERT", "CERT_FILE"),
    "client_key": ("CLIENT_KEY", "KEY_FILE"),
    "proxy": ("PROXY",),
    "no_proxy": ("NO_PROXY",),
    "proxy_headers": (
        "PROXY_HEADERS_PROXY_BASIC_AUTH",
        "PROXY_HEADERS_BASIC_AUTH",
        "PROXY_HEADERS_USER_AGENT",
    ),
    "impersonate_user": ("IMPERSONATE_USER",),
    "impersonate_groups": ("IMPERSONATE_GROUPS",),
}
_SECRET_OPTIONS = ("api_key", "password")
_IDENTITIES = (("api_key",), ("client_cert", "client_key"), ("username", "password"))
_NOT_SENT = ("as-uid", "as-user-extra")  # by the Python client, but by Helm


@dataclass(frozen=True)
class Connection:
    """A resolved connection.

    kubeconfig has one context and is complete. proxy (empty for none) and the impersonate fields
    repeat parts of it, which the Python client ignores in a kubeconfig or reads from the
    environment.
    """

    kubeconfig: dict[str, object]
    server: str
    source: str  # where the settings come from, for messages
    proxy: str = ""
    impersonate_user: str | None = None
    impersonate_groups: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Settings:
    """The settings by kubernetes.core's names, and whether variables set them."""

    values: Mapping[str, object]
    by_variables: bool
    names: Mapping[str, str]  # of variables of the environment, by option

    def text(self, name: str) -> str:
        value = self.values.get(name)
        return "" if value is None else str(value)

    def name(self, option: str) -> str:
        """The name under which the user sets an option."""
        if self.by_variables:
            return f"O({option})"
        return self.names.get(option) or f"K8S_AUTH_{ENVIRONMENT[option][0]}"

    @property
    def source(self) -> str:
        given = [name for name in self.values if name not in _SECRET_OPTIONS]
        if self.by_variables:
            return f"variables ({', '.join(given)})"
        return f"environment ({', '.join(map(self.name, given))})"

    @property
    def identity(self) -> tuple[str, ...]:
        """The options of the identity; empty where a kubeconfig provides it."""
        found = (names for names in _IDENTITIES if all(map(self.values.get, names)))
        return next(found, ())

    @property
    def stand_alone(self) -> bool:
        return bool(self.values.get("host") and self.identity)


@dataclass(frozen=True)
class _Base:
    """What the settings override: a context of a kubeconfig, a pod's account, or nothing."""

    entry: Entry
    source: str
    is_pod: bool = False

    @property
    def server(self) -> str:
        return str(self.entry.cluster.get("server") or "")


def resolve_connection(options: Mapping[str, object], surroundings: Surroundings) -> Connection:
    """Resolve the API server and the identity. options are kubernetes.core's, None where not set.

    Order: options; K8S_AUTH_* (merged as in kubernetes.core); $KUBECONFIG or ~/.kube/config;
    in-cluster credentials. Raises ConnectionSettingsError when there are no settings, when they
    contradict each other, and when credentials would be sent to another server than their own.
    """
    settings = _merge(options, surroundings.environ)
    _refuse_halves(settings)
    _refuse_contradictions(settings, options, surroundings.environ)
    base = _base(settings, surroundings)
    _check_server_of_credentials(settings, base)
    return _override(settings, base, surroundings.environ)


def _merge(options: Mapping[str, object], environ: Mapping[str, str]) -> _Settings:
    """Merge variables and K8S_AUTH_*; an error where both set an option differently, because the
    environment would override it.
    """
    given = {name: value for name, value in options.items() if value not in (None, "", [], {})}
    found = {
        option: name
        for option, suffixes in ENVIRONMENT.items()
        for suffix in reversed(suffixes)
        if environ.get(name := f"K8S_AUTH_{suffix}")
    }
    from_environment: dict[str, object] = {option: environ[name] for option, name in found.items()}
    clash = [
        name
        for name, value in from_environment.items()
        if name != "kubeconfig"  # an explicit kubeconfig always wins
        and not _same(name, given.get(name), value)
    ]
    if given and clash:
        raise ConnectionSettingsError(
            f"The connection is set twice: by variables ({some(sorted(given))}) and by the"
            f" environment ({some([found[option] for option in clash])})."
            " The environment would override part of it. Unset one of the two; in AWX, detach the"
            " credential or remove the variables."
        )
    return _Settings(from_environment | given, bool(given), found)


def _same(option: str, given: object, found: object) -> bool:
    """Whether a variable and the environment have the same value."""
    if option == "validate_certs":
        return given is not None and is_off(given) == is_off(found)
    if option == "impersonate_groups":
        return _list(given) == _list(found)
    return str(given) == str(found)


def _refuse_halves(settings: _Settings) -> None:
    for names in _IDENTITIES:
        missing = [name for name in names if not settings.values.get(name)]
        if missing and len(missing) < len(names):
            given = [settings.name(name) for name in names if name not in missing]
            raise ConnectionSettingsError(
                f"{given[0]} is set without {settings.name(missing[0])}; set both or neither."
            )


def _refuse_contradictions(
    settings: _Settings, options: Mapping[str, object], environ: Mapping[str, str]
) -> None:
    """Refuse settings that override each other, or that Helm or the modules do not support."""
    values, name = settings.values, settings.name
    if values.get("proxy_headers"):
        raise ConnectionSettingsError(
            "proxy_headers is not supported by Helm, so Helm and the modules would use different"
            " connections. Use a proxy that needs no headers."
        )
    identities = [names[0] for names in _IDENTITIES if values.get(names[0])]
    if len(identities) > 1:
        raise ConnectionSettingsError(
            f"More than one identity is set: {name(identities[0])} and {name(identities[1])}."
            " Keep one of them."
        )
    if values.get("ca_cert") and is_off(values.get("validate_certs")):
        raise ConnectionSettingsError(
            f"{name('ca_cert')} is set, but {name('validate_certs')} disables verification."
            " Unset one of them."
        )
    unused = next((other for other in ("context", "kubeconfig") if values.get(other)), "")
    if settings.stand_alone and unused and (unused == "context" or options.get(unused)):
        raise ConnectionSettingsError(
            f"{name('host')} with {name(settings.identity[0])} is complete, so {name(unused)} would"
            f" not be used. Unset {name('host')} or {name(unused)}."
        )
    _refuse_what_helm_rejects(environ)
    _refuse_texts_for_paths(environ)


def _refuse_texts_for_paths(environ: Mapping[str, str]) -> None:
    """Refuse content in variables from which kubernetes.core's modules take a path."""
    for option in FILE_OPTIONS:
        for name in ENVIRONMENT[option]:
            if is_content(environ.get(f"K8S_AUTH_{name}", "")):
                raise ConnectionSettingsError(
                    f"K8S_AUTH_{name} is the content of a file, but must be its path. Set the path,"
                    f" or unset it and set O({option}), which may be either."
                )


def _refuse_what_helm_rejects(environ: Mapping[str, str]) -> None:
    """Refuse variables that kubernetes.core's Helm modules read themselves and reject together."""
    for other, instead in (("VERIFY_SSL", "VALIDATE_CERTS"), ("SSL_CA_CERT", "CA_CERT")):
        if environ.get("K8S_AUTH_CONTEXT") and environ.get(f"K8S_AUTH_{other}"):
            raise ConnectionSettingsError(
                f"The Helm modules do not support K8S_AUTH_CONTEXT together with K8S_AUTH_{other}."
                f" Set K8S_AUTH_{instead} instead."
            )


def _base(settings: _Settings, surroundings: Surroundings) -> _Base:
    if settings.stand_alone:
        return _Base(Entry(CONTEXT, {}, {}), settings.source)
    context = settings.text("context")
    if settings.values.get("kubeconfig") or context:
        config = load(settings.values.get("kubeconfig"), surroundings, settings.name("kubeconfig"))
        return _Base(pick(config, context), settings.source)
    default = default_path(surroundings)
    if surroundings.environ.get("KUBECONFIG") or Path(default).is_file():
        return _Base(pick(load(default, surroundings), ""), f"kubeconfig {default}")
    if surroundings.in_cluster:
        return _Base(_pod(surroundings), "in-cluster service account", is_pod=True)
    if settings.values.get("host"):
        raise ConnectionSettingsError(
            f"{settings.name('host')} is set without credentials. {_set_credentials(settings)}."
        )
    pod = (
        "this pod has no token of a service account (container groups of AWX mount none)"
        if surroundings.environ.get("KUBERNETES_SERVICE_HOST")
        else "this is not a pod"
    )
    raise ConnectionSettingsError(
        "There are no credentials for a cluster: neither options (O(kubeconfig), O(context),"
        " O(host)) nor K8S_AUTH_* are set,"
        f" {default} does not exist, and {pod}. Set one of them. {AWX_CREDENTIAL}"
    )


def _set_credentials(settings: _Settings) -> str:
    token, cert, key = map(settings.name, ("api_key", "client_cert", "client_key"))
    return f"Set {token}, or {cert} and {key}"


def _pod(surroundings: Surroundings) -> Entry:
    host = surroundings.environ["KUBERNETES_SERVICE_HOST"]
    port = surroundings.environ.get("KUBERNETES_SERVICE_PORT", "443")
    address = f"[{host}]" if ":" in host else host
    cluster: dict[str, object] = {
        "server": f"https://{address}:{port}",
        "certificate-authority": str(surroundings.service_account / "ca.crt"),
    }
    # Helm and our modules read the file again when the token is renewed; others read the token.
    file = surroundings.service_account / "token"
    token = surroundings.read(file, "The service account's token").strip()
    return Entry(CONTEXT, cluster, {"tokenFile": str(file), "token": token})


def _check_server_of_credentials(settings: _Settings, base: _Base) -> None:
    """Refuse to send credentials of a kubeconfig or pod to another server than their own, and
    credentials without a server to the cluster in which the pod runs.
    """
    host = settings.text("host")
    if base.is_pod and settings.identity and not host:
        raise ConnectionSettingsError(
            f"{settings.name(settings.identity[0])} is set without a server, so this pod's own"
            f" cluster would be used. Set {settings.name('host')}."
        )
    if not host or settings.stand_alone:
        return
    if read_endpoint(host, settings.source) != read_endpoint(base.server, base.source):
        whose = "this pod" if base.is_pod else f"context '{base.entry.context}'"
        raise ConnectionSettingsError(
            f"{settings.name('host')} is {host}, without its own credentials. Those of {whose} are"
            f" for {base.server} and are not sent to another server. {_set_credentials(settings)},"
            f" or unset {settings.name('host')} and choose a context."
        )


def _override(settings: _Settings, base: _Base, environ: Mapping[str, str]) -> Connection:
    """Override the kubeconfig's values with the settings; the result is one kubeconfig."""
    cluster = _cluster_entry(dict(base.entry.cluster), settings)
    server = str(cluster.get("server") or "")
    endpoint = read_endpoint(server, base.source)
    given = str(cluster.pop("proxy-url", None) or "")
    proxy = choose_proxy(endpoint, given, settings.text("no_proxy"), environ)
    if proxy:
        cluster["proxy-url"] = proxy
    user, impersonated, groups = _user_entry(dict(base.entry.user), settings)
    warnings = [POD_WARNING] if base.is_pod else []
    if cluster.get("insecure-skip-tls-verify"):
        by = settings.name("validate_certs") if "validate_certs" in settings.values else base.source
        warnings.append(
            f"TLS verification of {server} is disabled by {by}. Set {_name_of_ca(settings)}"
            " instead."
        )
    name = base.entry.context
    content: dict[str, object] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return Connection(content, server, base.source, proxy, impersonated, groups, tuple(warnings))


def _name_of_ca(settings: _Settings) -> str:
    """The name of the option to set; of the two variables, the one of AWX where it is AWX's."""
    if settings.name("validate_certs") == "K8S_AUTH_VERIFY_SSL":
        return "K8S_AUTH_SSL_CA_CERT (in AWX, the certificate authority of the credential)"
    return settings.name("ca_cert")


def _cluster_entry(cluster: dict[str, object], settings: _Settings) -> dict[str, object]:
    if host := settings.text("host"):
        cluster["server"] = host.rstrip("/")
    if settings.text("ca_cert"):
        cluster.pop("certificate-authority-data", None)
        cluster.pop("certificate-authority", None)
        cluster |= _file_entry(settings, "ca_cert", "certificate-authority")
    if "validate_certs" in settings.values:
        cluster["insecure-skip-tls-verify"] = is_off(settings.values["validate_certs"])
    if cluster.get("insecure-skip-tls-verify"):  # Go rejects both
        cluster.pop("certificate-authority", None)
        cluster.pop("certificate-authority-data", None)
    if proxy := settings.text("proxy"):
        cluster["proxy-url"] = proxy
    return cluster


def _user_entry(
    user: dict[str, object], settings: _Settings
) -> tuple[dict[str, object], str | None, tuple[str, ...]]:
    """The user, and the user and groups to impersonate. An identity in the settings replaces the
    kubeconfig's completely: with a token and a client certificate the API server uses the
    certificate.
    """
    if settings.identity:
        user = _given_identity(settings)
    if unsent := [name for name in _NOT_SENT if user.get(name)]:
        raise ConnectionSettingsError(
            f"The kubeconfig's user has {some(unsent)}, which Helm sends and the modules cannot"
            " send. Remove it, or use another user."
        )
    before, theirs = str(user.pop("as", None) or ""), user.pop("as-groups", None)
    other = settings.text("impersonate_user")  # does not get the previous user's groups
    impersonated = other or before or None
    given = settings.values.get("impersonate_groups")
    groups = tuple(_list(given or (None if other else theirs)))
    if groups and not impersonated:
        raise ConnectionSettingsError(
            f"Groups are impersonated ({some(groups)}) without a user. Set"
            f" {settings.name('impersonate_user')}."
        )
    if impersonated:
        user["as"] = impersonated
    if groups:
        user["as-groups"] = list(groups)
    return user, impersonated, groups


def _given_identity(settings: _Settings) -> dict[str, object]:
    text = settings.text
    if settings.identity == ("api_key",):
        return {"token": text("api_key")}
    if settings.identity == ("username", "password"):
        return {"username": text("username"), "password": text("password")}
    return {
        **_file_entry(settings, "client_cert", "client-certificate"),
        **_file_entry(settings, "client_key", "client-key"),
    }


def _file_entry(settings: _Settings, option: str, entry: str) -> dict[str, object]:
    """The entry of a kubeconfig for an option that is a file's path, or its content."""
    text = settings.text(option)
    if data := file_data(text, option, settings.name(option)):
        return {f"{entry}-data": data}
    return {entry: str(Path(text.strip()).expanduser().absolute())}


def _list(value: object) -> list[str]:
    if isinstance(value, str):
        return [entry for entry in value.split(",") if entry]
    return [str(entry) for entry in value] if isinstance(value, list | tuple) else []
