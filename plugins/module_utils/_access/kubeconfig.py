# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the kubeconfig file of a service account, which only its owner may read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .._common.documents import dig, list_at, text_at
from .._common.errors import SharingError
from .._common.files import replace_file
from .token import Token, read_token

try:
    import yaml
except ImportError:  # connect() reports it
    yaml = None  # type: ignore[assignment]

NAME = "gpufleet-sharing"  # of cluster, user and context
MODE = 0o600


@dataclass(frozen=True)
class Kubeconfig:
    """One cluster, and one token for it."""

    cluster: Mapping[str, object]
    token: Token


def read_kubeconfig(path: Path) -> Kubeconfig | None:
    """None if there is no such file. Raises SharingError for a file of another kind, which must
    not be overwritten.
    """
    try:
        document = yaml.safe_load(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, yaml.YAMLError) as error:
        raise SharingError(f"{path} cannot be read ({type(error).__name__}).") from None
    clusters, users = list_at(document, "clusters"), list_at(document, "users")
    if len(clusters) == len(users) == 1 and text_at(clusters[0], "name") == NAME:
        cluster, token = dig(clusters[0], "cluster"), read_token(text_at(users[0], "user", "token"))
        if isinstance(cluster, Mapping) and token:
            return Kubeconfig(cluster, token)
    raise SharingError(
        f"{path} is there already, and is not a kubeconfig that this collection has written."
        " Set another O(path), or move the file."
    )


def write_kubeconfig(path: Path, kubeconfig: Kubeconfig, namespace: str) -> None:
    """Write the file, and its folder if it is missing. Raises SharingError."""
    context = {"cluster": NAME, "user": NAME, "namespace": namespace}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": dict(kubeconfig.cluster)}],
        "users": [{"name": NAME, "user": {"token": kubeconfig.token.text}}],
        "contexts": [{"name": NAME, "context": context}],
        "current-context": NAME,
    }
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, yaml.safe_dump(document, sort_keys=False), MODE)
    except OSError as error:
        raise SharingError(f"{path} cannot be written: {error.strerror}.") from None
