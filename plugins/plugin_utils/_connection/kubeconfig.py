# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: reads kubeconfigs as kubectl does."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from ...module_utils._common.documents import dig, text_at
from ...module_utils._common.errors import ConnectionSettingsError
from ...module_utils._common.secrets import is_content
from ...module_utils._common.text import some

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_LOOKS_LIKE_A_PATH = re.compile(r"[/~.](?:[\w.~@+ -]{0,64}/)*[\w.~@+ -]{0,64}")
_PATH_FIELDS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


@dataclass(frozen=True)
class Surroundings:
    """The environment and files of the controller. parse turns YAML text into a value."""

    environ: Mapping[str, str]
    parse: Callable[[str], object]
    service_account: Path = SERVICE_ACCOUNT

    def read(self, path: Path, what: str) -> str:
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConnectionSettingsError(f"{what} {path} cannot be read: {reason}.") from error

    @property
    def in_cluster(self) -> bool:
        token = self.service_account / "token"
        return bool(self.environ.get("KUBERNETES_SERVICE_HOST")) and token.is_file()


@dataclass
class Config:
    """The entries of a kubeconfig by name, from one or more files; the first of a name counts."""

    clusters: dict[str, dict[str, object]] = field(default_factory=dict)
    users: dict[str, dict[str, object]] = field(default_factory=dict)
    contexts: dict[str, dict[str, object]] = field(default_factory=dict)
    current: str = ""


@dataclass(frozen=True)
class Entry:
    """A context, with its cluster and user."""

    context: str
    cluster: Mapping[str, object]
    user: Mapping[str, object]


def load(source: object, surroundings: Surroundings, option: str = "O(kubeconfig)") -> Config:
    """Read a kubeconfig: a mapping, the text of one as YAML or JSON, or one or more files as in
    $KUBECONFIG. Its paths become absolute. option names it in messages, which do not contain a
    text.
    """
    config = Config()
    named = "" if isinstance(source, Mapping) else str(source or default_path(surroundings))
    if not named or is_content(named):
        document = surroundings.parse(named) if named else source
        if not isinstance(document, Mapping):
            raise ConnectionSettingsError(
                f"{option} is a text, but not a mapping in YAML or JSON. Allowed: the content of a"
                " kubeconfig, or its path."
            )
        _read_into(config, document, Path.cwd())
        return config
    paths = [Path(path).expanduser() for path in named.strip().split(os.pathsep) if path]
    existing = [path for path in paths if is_file(path)]
    if not existing:
        raise ConnectionSettingsError(_missing(named, [str(path) for path in paths], option))
    for path in existing:
        document = surroundings.parse(surroundings.read(path, "The kubeconfig"))
        if not isinstance(document, Mapping):
            raise ConnectionSettingsError(f"The kubeconfig {path} is not a YAML mapping.")
        _read_into(config, document, path.absolute().parent)
    return config


def parse(text: str) -> object:
    """A text of JSON, perhaps with tabs, or YAML as a value; None where it is neither."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def _missing(named: str, paths: Sequence[str], option: str) -> str:
    if all(map(looks_like_path, named.strip().split(os.pathsep))):
        return f"The kubeconfig {some(paths)} does not exist."
    return (
        f"{option} is neither the path of a kubeconfig that exists nor its content as YAML or JSON."
        " The value is not shown, because it does not look like a path."
    )


def is_file(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long for a path
        return False


def looks_like_path(text: str) -> bool:
    """Whether a text may be shown as a path: something else may be a secret in the wrong field."""
    return bool(_LOOKS_LIKE_A_PATH.fullmatch(text))


def _read_into(config: Config, document: Mapping[object, object], folder: Path) -> None:
    kinds = (("clusters", config.clusters), ("users", config.users), ("contexts", config.contexts))
    for kind, known in kinds:
        entries = document.get(kind)
        for entry in entries if isinstance(entries, list) else []:
            content = dig(entry, kind.removesuffix("s")) or {}
            if isinstance(entry, Mapping) and isinstance(content, Mapping):
                known.setdefault(text_at(entry, "name"), _absolute(content, folder))
    config.current = config.current or str(document.get("current-context") or "")


def _absolute(content: Mapping[str, object], folder: Path) -> dict[str, object]:
    """Make paths absolute: they are relative to the kubeconfig's folder, and ours is elsewhere."""
    moved = dict(content)
    for name in _PATH_FIELDS:
        if moved.get(name):
            moved[name] = str(folder / Path(str(moved[name])).expanduser())
    runner = moved.get("exec")
    if isinstance(runner, Mapping) and os.sep in str(runner.get("command", "")):
        moved["exec"] = dict(runner) | {"command": str(folder / str(runner["command"]))}
    return moved


def pick(config: Config, wanted: str) -> Entry:
    """The context of that name, or the current one."""
    name = wanted or config.current
    if not name:
        raise ConnectionSettingsError("The kubeconfig has no current context. Set O(context).")
    if name not in config.contexts:
        known = some(sorted(config.contexts)) or "none"
        raise ConnectionSettingsError(f"The kubeconfig has no context '{name}'; it has: {known}.")
    context = config.contexts[name]
    cluster, user = text_at(context, "cluster"), text_at(context, "user")
    for kind, known_names, missing in (
        ("cluster", config.clusters, cluster),
        ("user", config.users, user),
    ):
        if missing not in known_names and (missing or kind == "cluster"):
            raise ConnectionSettingsError(
                f"Context '{name}' refers to the {kind} '{missing}', which does not exist."
            )
    return Entry(name, config.clusters[cluster], config.users.get(user, {}))


def default_path(surroundings: Surroundings) -> str:
    """The path, or paths, of the kubeconfig that kubectl would use."""
    home = surroundings.environ.get("HOME") or str(Path.home())
    return surroundings.environ.get("KUBECONFIG") or str(Path(home, ".kube", "config"))
