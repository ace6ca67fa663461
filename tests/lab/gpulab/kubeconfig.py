# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kubeconfig files: one cluster, one user with a client certificate."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import yaml

from .pki import Pair


@dataclass(frozen=True)
class Server:
    """An API server: the name of its cluster and context, its URL, and who has signed it."""

    name: str
    url: str
    ca: Path


def write_kubeconfig(path: Path, server: Server, user: str, pair: Pair) -> None:
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
