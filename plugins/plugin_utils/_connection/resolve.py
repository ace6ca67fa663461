# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: which cluster, as whom. One answer for our modules and for Helm.

The modules follow kubernetes.core, which tries in-cluster credentials before a kubeconfig; Helm
does it the other way round and cannot carry every option. So the settings are resolved once,
written as one kubeconfig, and handed to both.

One rule keeps credentials where they belong: those of a kubeconfig, or of a pod, go to the server
that they are kept for and to no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    ConnectionSettingsError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.text import some
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._connection.kubeconfig import (
    Entry,
    Surroundings,
    default_path,
    load,
    pick,
)
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._connection.proxy import (
    choose_proxy,
    read_endpoint,
)

CONTEXT = "gpufleet-sharing"
POD_WARNING = (
    "The credentials of the pod that runs Ansible are used, so the cluster is the one that Ansible"
    " itself runs in. Inside an AWX execution environment this is AWX's own cluster."
)
# Option of kubernetes.core -> names after K8S_AUTH_ under which it (or its Helm modules) reads the
# environment.
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
_NOT_SENT = ("as-uid", "as-user-extra")  # by the Python client; Helm would send them


@dataclass(frozen=True)
class Connection:
    """A resolved connection.

    kubeconfig has one context and stands for everything. proxy (empty for none) and the impersonate
    fields are repeated because the Python client ignores them in a kubeconfig, or takes others from
    the environment.
    """

    kubeconfig: dict[str, object]
    server: str
    source: str  # where the settings came from, for people
    proxy: str = ""
    impersonate_user: str | None = None
    impersonate_groups: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Settings:
    """The settings given, by kubernetes.core's names, and who gave them."""

    values: Mapping[str, object]
    by_variables: bool

    def text(self, name: str) -> str:
        value = self.values.get(name)
        return "" if value is None else str(value)

    def name(self, option: str) -> str:
        """What the user calls an option."""
        if self.by_variables:
            return f"O({option})"
        return f"K8S_AUTH_{ENVIRONMENT[option][0]}"

    @property
    def source(self) -> str:
        given = ", ".join(name for name in self.values if name not in _SECRET_OPTIONS)
        return f"{'variables' if self.by_variables else 'K8S_AUTH_*'} ({given})"

    @property
    def identity(self) -> tuple[str, ...]:
        """The options that say as whom; empty where that is left to a kubeconfig."""
        found = (names for names in _IDENTITIES if all(map(self.values.get, names)))
        return next(found, ())

    @property
    def stand_alone(self) -> bool:
        return bool(self.values.get("host") and self.identity)


@dataclass(frozen=True)
class _Base:
    """What settings are laid over: a context of a kubeconfig, a pod's account, or nothing."""

    entry: Entry
    source: str
    is_pod: bool = False

    @property
    def server(self) -> str:
        return str(self.entry.cluster.get("server") or "")


def resolve_connection(options: Mapping[str, object], surroundings: Surroundings) -> Connection:
    """Decide which API server is meant and as whom. options are kubernetes.core's, None meaning not
    given.

    Order: the options given; K8S_AUTH_* (both as kubernetes.core merges them); $KUBECONFIG or
    ~/.kube/config; in-cluster credentials. Raises ConnectionSettingsError when nothing is found,
    when settings contradict each other, and when credentials would go to a server that they are not
    kept for.
    """
    settings = _merge(options, surroundings.environ)
    _refuse_halves(settings)
    _refuse_contradictions(settings, options, surroundings.environ)
    base = _base(settings, surroundings)
    _keep_credentials_at_home(settings, base)
    return _lay_over(settings, base, surroundings.environ)


def _merge(options: Mapping[str, object], environ: Mapping[str, str]) -> _Settings:
    """Variables and K8S_AUTH_* as one; refused when both are given, since the environment would
    win behind our back.
    """
    given = {name: value for name, value in options.items() if value not in (None, "", [], {})}
    from_environment: dict[str, object] = {}
    for option, names in ENVIRONMENT.items():
        for name in names:
            if value := environ.get(f"K8S_AUTH_{name}"):
                from_environment.setdefault(option, value)
    clash = [
        name
        for name, value in from_environment.items()
        if name != "kubeconfig"  # an explicit kubeconfig always wins
        and not _alike(name, given.get(name), value)
    ]
    if given and clash:
        variables = [f"K8S_AUTH_{name}" for option in clash for name in ENVIRONMENT[option][:1]]
        raise ConnectionSettingsError(
            f"The connection is set twice: by variables ({some(sorted(given))}) and by the"
            f" environment ({some(variables)})."
            " The environment would override part of it. Unset one of the two."
        )
    return _Settings(from_environment | given, by_variables=bool(given))


def _alike(option: str, given: object, found: object) -> bool:
    """Whether a variable and the environment say the same."""
    if option == "validate_certs":
        return given is not None and _boolean(given) == _boolean(found)
    if option == "impersonate_groups":
        return _list(given) == _list(found)
    return str(given) == str(found)


def _refuse_halves(settings: _Settings) -> None:
    for names in _IDENTITIES:
        missing = [name for name in names if not settings.values.get(name)]
        if missing and len(missing) < len(names):
            given = [settings.name(name) for name in names if name not in missing]
            raise ConnectionSettingsError(
                f"{given[0]} is set without {settings.name(missing[0])}; set both, or none."
            )


def _refuse_contradictions(
    settings: _Settings, options: Mapping[str, object], environ: Mapping[str, str]
) -> None:
    """Settings of which one would not count, or not for both Helm and the modules."""
    values, name = settings.values, settings.name
    if values.get("proxy_headers"):
        raise ConnectionSettingsError(
            "proxy_headers cannot be handed to Helm, so Helm and the modules would not go the"
            " same way. Use a proxy that needs no headers."
        )
    identities = [names[0] for names in _IDENTITIES if values.get(names[0])]
    if len(identities) > 1:
        raise ConnectionSettingsError(
            f"More than one identity is set: {name(identities[0])} and {name(identities[1])}."
            " Keep one of them."
        )
    if values.get("ca_cert") and not _boolean(values.get("validate_certs", True)):
        raise ConnectionSettingsError(
            f"{name('ca_cert')} is set, but {name('validate_certs')} turns verification off."
            " Unset one of the two."
        )
    unused = next((other for other in ("context", "kubeconfig") if values.get(other)), "")
    if settings.stand_alone and unused and (unused == "context" or options.get(unused)):
        raise ConnectionSettingsError(
            f"{name('host')} with {name(settings.identity[0])} stands alone, so {name(unused)}"
            f" would not be used. Unset {name('host')} or {name(unused)}."
        )
    _refuse_what_helm_refuses(environ)


def _refuse_what_helm_refuses(environ: Mapping[str, str]) -> None:
    """kubernetes.core's Helm modules read these by themselves, and do not take them together."""
    for other, instead in (("VERIFY_SSL", "VALIDATE_CERTS"), ("SSL_CA_CERT", "CA_CERT")):
        if environ.get("K8S_AUTH_CONTEXT") and environ.get(f"K8S_AUTH_{other}"):
            raise ConnectionSettingsError(
                f"The Helm modules do not take K8S_AUTH_CONTEXT together with K8S_AUTH_{other}."
                f" Set K8S_AUTH_{instead} instead."
            )


def _base(settings: _Settings, surroundings: Surroundings) -> _Base:
    if settings.stand_alone:
        return _Base(Entry(CONTEXT, {}, {}), settings.source)
    context = settings.text("context")
    if settings.values.get("kubeconfig") or context:
        config = load(settings.values.get("kubeconfig"), surroundings)
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
    raise ConnectionSettingsError(
        "No credentials for a cluster: neither options (O(kubeconfig), O(context),"
        " O(host))"
        f" nor K8S_AUTH_* are set, {default} does not exist, and this is not a pod. Set one of"
        " them."
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
    # Helm reads the file again when the token is renewed; the Python client takes the text alone.
    file = surroundings.service_account / "token"
    token = surroundings.read(file, "The service account's token").strip()
    return Entry(CONTEXT, cluster, {"tokenFile": str(file), "token": token})


def _keep_credentials_at_home(settings: _Settings, base: _Base) -> None:
    """Refuse to send credentials of a kubeconfig or pod to another server than their own, and those
    that are given without a server to the cluster that a pod happens to run in.
    """
    host = settings.text("host")
    if base.is_pod and settings.identity and not host:
        raise ConnectionSettingsError(
            f"{settings.name(settings.identity[0])} is set without a server: set"
            f" {settings.name('host')}, or this pod's own cluster would be used."
        )
    if not host or settings.stand_alone:
        return
    if read_endpoint(host, settings.source) != read_endpoint(base.server, base.source):
        whose = "this pod" if base.is_pod else f"context '{base.entry.context}'"
        raise ConnectionSettingsError(
            f"{settings.name('host')} is {host}, without credentials of its own, and those of"
            f" {whose} are for {base.server}: they are not sent elsewhere."
            f" {_set_credentials(settings)}; or unset {settings.name('host')} and choose a context."
        )


def _lay_over(settings: _Settings, base: _Base, environ: Mapping[str, str]) -> Connection:
    """Lay the settings over what a kubeconfig says, and write the result as one kubeconfig."""
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
        warnings.append(f"TLS verification of {server} is off: set ca_cert instead.")
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


def _cluster_entry(cluster: dict[str, object], settings: _Settings) -> dict[str, object]:
    if host := settings.text("host"):
        cluster["server"] = host.rstrip("/")
    if ca_cert := settings.text("ca_cert"):
        cluster.pop("certificate-authority-data", None)
        cluster["certificate-authority"] = str(Path(ca_cert).expanduser().absolute())
    if "validate_certs" in settings.values:
        cluster["insecure-skip-tls-verify"] = not _boolean(settings.values["validate_certs"])
    if cluster.get("insecure-skip-tls-verify"):  # Go refuses both
        cluster.pop("certificate-authority", None)
        cluster.pop("certificate-authority-data", None)
    if proxy := settings.text("proxy"):
        cluster["proxy-url"] = proxy
    return cluster


def _user_entry(
    user: dict[str, object], settings: _Settings
) -> tuple[dict[str, object], str | None, tuple[str, ...]]:
    """The user, and whom to impersonate. An identity that is given replaces the kubeconfig's as a
    whole: of a token beside a client certificate the API server takes the certificate.
    """
    if settings.identity:
        user = _given_identity(settings)
    if unsent := [name for name in _NOT_SENT if user.get(name)]:
        raise ConnectionSettingsError(
            f"The kubeconfig's user has {some(unsent)}, which Helm sends and the modules cannot."
            " Remove it, or use another user."
        )
    before, theirs = str(user.pop("as", None) or ""), user.pop("as-groups", None)
    other = settings.text("impersonate_user")  # does not get the groups of the one before
    impersonated = other or before or None
    given = settings.values.get("impersonate_groups")
    groups = tuple(_list(given or (None if other else theirs)))
    if groups and not impersonated:
        raise ConnectionSettingsError(
            f"Groups are impersonated ({some(groups)}), but no user. Set"
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
        entry: str(Path(text(option)).expanduser().absolute())
        for option, entry in (("client_cert", "client-certificate"), ("client_key", "client-key"))
    }


def _boolean(value: object) -> bool:
    return str(value).lower() not in ("0", "false", "no", "off")


def _list(value: object) -> list[str]:
    if isinstance(value, str):
        return [entry for entry in value.split(",") if entry]
    return [str(entry) for entry in value] if isinstance(value, list | tuple) else []
