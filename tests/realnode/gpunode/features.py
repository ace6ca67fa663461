# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Node labels from the files that GPU feature discovery writes, as NFD would set them.

Node Feature Discovery itself does not run. It looks once a minute; this looks whenever it is asked.
A file that is gone for less than a minute, as when its pod is replaced, takes no label away.
"""

from __future__ import annotations

import time
from pathlib import Path

from gpulab.api import Api

FOLDER = Path("/etc/kubernetes/node-feature-discovery/features.d")
_PERIOD = 60.0
_MERGE = "application/merge-patch+json"
_PCI = {"feature.node.kubernetes.io/pci-10de.present": "true"}


class Features:
    """The labels of one node; `sync` brings them up to date."""

    def __init__(self, api: Api, node: str) -> None:
        self._api = api
        self._path = f"/api/v1/nodes/{node}"
        self._set: dict[str, str] = {}
        self._seen = time.monotonic()

    def sync(self) -> None:
        """Raises OSError or http.client.HTTPException when the API server does not answer."""
        wanted = _read()
        now = time.monotonic()
        if wanted is None and self._set and now - self._seen < _PERIOD:
            return
        if wanted is not None:
            self._seen = now
        labels = _PCI | (wanted or {})
        gone = {name: None for name in self._set if name not in labels}
        changed = {name: value for name, value in labels.items() if self._set.get(name) != value}
        if not gone and not changed:
            return
        patch = {"metadata": {"labels": gone | changed}}
        status, _body = self._api.request("PATCH", self._path, patch, _MERGE)
        if status == 200:
            self._set = labels


def _read() -> dict[str, str] | None:
    """Labels of all files; None while there is no file."""
    found: dict[str, str] = {}
    files = [path for path in sorted(FOLDER.glob("*")) if path.is_file() and path.name[0] != "."]
    for path in files:
        for line in path.read_text(encoding="utf-8").splitlines():
            name, separator, value = line.partition("=")
            if separator:
                found[name.strip()] = value.strip()
    return found if files else None
