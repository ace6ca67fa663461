# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: which cluster, as whom. One answer for our modules and for Helm.

The modules follow kubernetes.core, which tries in-cluster credentials before a kubeconfig; Helm
does it the other way round
and cannot carry every option. So the settings are resolved once, written as one kubeconfig, and
handed to both.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.gpufleet.sharing.plugins.module_utils._errors import (
    ConnectionSettingsError,
    some,
)

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CONTEXT = "gpufleet-sharing"
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
_PATH_FIELDS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
_SECRET_OPTIONS = ("api_key", "password")


@dataclass(frozen=True)
class Connection:
    """A resolved connection.

    kubeconfig has one context and stands for everything; the impersonate fields are repeated
    because the Python client
    ignores them in a kubeconfig.
    """

    kubeconfig: dict[str, object]
    server: str
    source: str  # where the settings came from, for people
    impersonate_user: str | None = None
    impersonate_groups: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Surroundings:
    """What is read from the controller: its environment and its files. parse turns YAML text into
    a value.
    """

    environ: Mapping[str, str]
    parse: Callable[[str], object]
    service_account: Path = SERVICE_ACCOUNT

    def read(self, path: Path, what: str) -> str:
        try:
            return path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConnectionSettingsError(
                f"{what} {path} cannot be read: {error.strerror}."
            ) from error

    @property
    def in_cluster(self) -> bool:
        token = self.service_account / "token"
        return bool(self.environ.get("KUBERNETES_SERVICE_HOST")) and token.is_file()


@dataclass
class _Config:
    """A kubeconfig while it is being read: entries by name, from one or more files, the first one
    winning.
    """

    clusters: dict[str, dict[str, object]] = field(default_factory=dict)
    users: dict[str, dict[str, object]] = field(default_factory=dict)
    contexts: dict[str, dict[str, object]] = field(default_factory=dict)
    current: str = ""


def resolve_connection(options: Mapping[str, object], surroundings: Surroundings) -> Connection:
    """Decide which API server is meant and as whom. options are kubernetes.core's, None meaning not
    given.

    Order: the options given; K8S_AUTH_* (both as kubernetes.core merges them); $KUBECONFIG or
    ~/.kube/config; in-cluster
    credentials. Raises ConnectionSettingsError when nothing is found, or when variables and
    K8S_AUTH_* contradict each other.
    """
    merged = _merge(options, surroundings.environ)
    if merged.get("proxy_headers"):
        raise ConnectionSettingsError(
            "proxy_headers cannot be handed to Helm, so Helm and the modules would not go the"
            " same way. Use a proxy that"
            " needs no headers."
        )
    given = ", ".join(name for name in merged if name not in _SECRET_OPTIONS)
    origin = "variables" if any(value is not None for value in options.values()) else "K8S_AUTH_*"
    if merged.get("host") and _has_identity(merged):
        return _from_options(merged, {}, {}, f"{origin} ({given})")
    if merged.get("kubeconfig") or merged.get("context"):
        config = _load(merged.get("kubeconfig"), surroundings)
        cluster, user, name = _pick(config, _string(merged.get("context")))
        return _from_options(merged, cluster, user, f"{origin} ({given})", context=name)
    return _ambient(merged, surroundings)


def _merge(options: Mapping[str, object], environ: Mapping[str, str]) -> dict[str, object]:
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
        if name != "kubeconfig"
        and str(given.get(name)) != str(value)  # an explicit kubeconfig always wins
    ]
    if given and clash:
        variables = [f"K8S_AUTH_{name}" for option in clash for name in ENVIRONMENT[option][:1]]
        raise ConnectionSettingsError(
            f"The connection is set twice: by variables ({some(sorted(given))}) and by the"
            f" environment ({some(variables)})."
            " The environment would override part of it. Unset one of the two."
        )
    return from_environment | given


def _has_identity(merged: Mapping[str, object]) -> bool:
    pairs = (("api_key",), ("client_cert", "client_key"), ("username", "password"))
    return any(all(merged.get(name) for name in names) for names in pairs)


def _ambient(merged: Mapping[str, object], surroundings: Surroundings) -> Connection:
    """Nothing says which cluster: a kubeconfig that exists, else in-cluster credentials."""
    default = _default_kubeconfig(surroundings)
    if any(Path(path).expanduser().is_file() for path in default.split(os.pathsep) if path):
        cluster, user, name = _pick(_load(default, surroundings), "")
        return _from_options(merged, cluster, user, f"kubeconfig {default}", context=name)
    if surroundings.in_cluster:
        return _in_cluster(merged, surroundings)
    raise ConnectionSettingsError(
        "No credentials for a cluster: neither variables (gpu_sharing_kubeconfig,"
        " gpu_sharing_context, gpu_sharing_host)"
        f" nor K8S_AUTH_* are set, {default} does not exist, and this is not a pod. Set one of"
        " them."
    )


def _in_cluster(merged: Mapping[str, object], surroundings: Surroundings) -> Connection:
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
    user: dict[str, object] = {"tokenFile": str(file), "token": token}
    warning = (
        "The credentials of the pod that runs Ansible are used, so the cluster is the one that"
        " Ansible itself runs in."
        " Inside an AWX execution environment this is AWX's own cluster."
    )
    return _from_options(merged, cluster, user, "in-cluster service account", warnings=(warning,))


def _from_options(
    merged: Mapping[str, object],
    cluster: Mapping[str, object],
    user: Mapping[str, object],
    source: str,
    *,
    context: str = CONTEXT,
    warnings: Sequence[str] = (),
) -> Connection:
    """Lay the options over what a kubeconfig says, as kubernetes.core does, and write the result
    as one kubeconfig.
    """
    cluster = _cluster_entry(dict(cluster), merged)
    user, impersonated, groups = _user_entry(dict(user), merged)
    server = str(cluster.get("server", ""))
    if not server.startswith(("https://", "http://")):
        raise ConnectionSettingsError(
            f"The address of the API server is '{server}' ({source}); it must start with https://."
        )
    insecure = bool(cluster.get("insecure-skip-tls-verify"))
    said = [f"TLS verification of {server} is off: set ca_cert instead."] if insecure else []
    content: dict[str, object] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": cluster}],
        "users": [{"name": context, "user": user}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    }
    return Connection(content, server, source, impersonated, groups, (*warnings, *said))


def _cluster_entry(cluster: dict[str, object], merged: Mapping[str, object]) -> dict[str, object]:
    if merged.get("host"):
        cluster["server"] = str(merged["host"]).rstrip("/")
    if merged.get("ca_cert"):
        cluster.pop("certificate-authority-data", None)
        cluster["certificate-authority"] = str(Path(str(merged["ca_cert"])).expanduser().absolute())
    if "validate_certs" in merged:
        cluster["insecure-skip-tls-verify"] = not _boolean(merged["validate_certs"])
    if cluster.get("insecure-skip-tls-verify"):  # Go refuses both
        cluster.pop("certificate-authority", None)
        cluster.pop("certificate-authority-data", None)
    if merged.get("proxy"):
        cluster["proxy-url"] = str(merged["proxy"])
    return cluster


def _user_entry(
    user: dict[str, object], merged: Mapping[str, object]
) -> tuple[dict[str, object], str | None, tuple[str, ...]]:
    if merged.get("api_key"):
        user.pop("tokenFile", None)
        user["token"] = str(merged["api_key"])
    for option, names in {
        "client_cert": ("client-certificate", "client-certificate-data"),
        "client_key": ("client-key", "client-key-data"),
    }.items():
        if merged.get(option):
            user.pop(names[1], None)
            user[names[0]] = str(Path(str(merged[option])).expanduser().absolute())
    for option in ("username", "password"):
        if merged.get(option):
            user[option] = str(merged[option])
    impersonated = _string(merged.get("impersonate_user") or user.get("as")) or None
    groups = tuple(_list(merged.get("impersonate_groups") or user.get("as-groups")))
    if impersonated:
        user["as"] = impersonated
    if groups:
        user["as-groups"] = list(groups)
    return user, impersonated, groups


def _load(given: object, surroundings: Surroundings) -> _Config:
    """Read a kubeconfig: a mapping, or one or more files as in $KUBECONFIG. Paths in it become
    absolute.
    """
    config = _Config()
    if isinstance(given, Mapping):
        _read_into(config, given, Path.cwd())
        return config
    named = str(given or _default_kubeconfig(surroundings))
    paths = [Path(path).expanduser() for path in named.split(os.pathsep) if path]
    existing = [path for path in paths if path.exists()]
    if not existing:
        raise ConnectionSettingsError(
            f"The kubeconfig {some([str(p) for p in paths])} does not exist."
        )
    for path in existing:
        document = surroundings.parse(surroundings.read(path, "The kubeconfig"))
        if not isinstance(document, Mapping):
            raise ConnectionSettingsError(f"The kubeconfig {path} is no YAML mapping.")
        _read_into(config, document, path.absolute().parent)
    return config


def _read_into(config: _Config, document: Mapping[object, object], folder: Path) -> None:
    kinds = (("clusters", config.clusters), ("users", config.users), ("contexts", config.contexts))
    for kind, known in kinds:
        entries = document.get(kind)
        for entry in entries if isinstance(entries, list) else []:
            content = entry.get(kind.removesuffix("s")) or {}
            known.setdefault(str(entry.get("name")), _absolute(content, folder))
    config.current = config.current or str(document.get("current-context") or "")


def _absolute(content: Mapping[str, object], folder: Path) -> dict[str, object]:
    """Paths in a kubeconfig are relative to its folder; ours lies elsewhere."""
    moved = dict(content)
    for name in _PATH_FIELDS:
        if moved.get(name):
            moved[name] = str(folder / Path(str(moved[name])).expanduser())
    runner = moved.get("exec")
    if isinstance(runner, Mapping) and os.sep in str(runner.get("command", "")):
        moved["exec"] = dict(runner) | {"command": str(folder / str(runner["command"]))}
    return moved


def _pick(config: _Config, wanted: str) -> tuple[dict[str, object], dict[str, object], str]:
    name = wanted or config.current
    if name not in config.contexts:
        raise ConnectionSettingsError(
            f"The kubeconfig has no context '{name}'; it has:"
            f" {some(sorted(config.contexts)) or 'none'}."
            if name
            else "The kubeconfig has no current context: set gpu_sharing_context."
        )
    context = config.contexts[name]
    cluster, user = str(context.get("cluster")), str(context.get("user"))
    if cluster not in config.clusters:
        raise ConnectionSettingsError(
            f"Context '{name}' names the cluster '{cluster}', which is missing."
        )
    return config.clusters[cluster], config.users.get(user, {}), name


def _default_kubeconfig(surroundings: Surroundings) -> str:
    """The path, or paths, of the kubeconfig that kubectl would take."""
    home = surroundings.environ.get("HOME") or str(Path.home())
    return surroundings.environ.get("KUBECONFIG") or str(Path(home, ".kube", "config"))


def _string(value: object) -> str:
    return "" if value is None else str(value)


def _boolean(value: object) -> bool:
    return str(value).lower() not in ("0", "false", "no", "off")


def _list(value: object) -> list[str]:
    if isinstance(value, str):
        return [entry for entry in value.split(",") if entry]
    return [str(entry) for entry in value] if isinstance(value, list | tuple) else []
