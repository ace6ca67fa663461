# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Users of a cluster, each with a client certificate and a kubeconfig file."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from .pki import Authority, Pair

#: Host names of every API server, in its certificate.
API_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


@dataclass(frozen=True)
class Server:
    """An API server: the name of its cluster and context, its URL, and who has signed it."""

    name: str
    url: str
    ca: Path


def issue(
    authority: Authority, server: Server, users: Mapping[str, tuple[str, str]], folder: Path
) -> dict[str, Pair]:
    """Make the certificate and the kubeconfig of each user, given as certificate -> user and group.
    That of admin is called kubeconfig, those of others after their certificates.
    """
    pairs = {}
    for name, (user, group) in users.items():
        pairs[name] = authority.client(name, user, group)
        path = folder / ("kubeconfig" if name == "admin" else f"{name}.kubeconfig")
        _write(path, server, user, pairs[name])
    return pairs


def _write(path: Path, server: Server, user: str, pair: Pair) -> None:
    """For the owner's eyes only: the key is in it."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": server.name,
        "clusters": [
            {
                "name": server.name,
                "cluster": {"server": server.url, "certificate-authority-data": _data(server.ca)},
            }
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": _data(pair.cert),
                    "client-key-data": _data(pair.key),
                },
            }
        ],
        "contexts": [{"name": server.name, "context": {"cluster": server.name, "user": user}}],
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def _data(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
