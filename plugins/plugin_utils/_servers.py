# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: clusters of an inventory that are one and the same, by mistake: with a credential for
all of them, or with two names of one API server. Each would undo what the other does.
"""

from __future__ import annotations

import fcntl
import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ansible import constants

from ..module_utils._common.errors import FleetError, joined
from ..module_utils._common.inputs import is_blank
from ..module_utils._common.text import some
from ..module_utils._fleet.inventory import VARIABLE_PREFIX, Unresolved
from ._templates import resolved

if TYPE_CHECKING:
    from ansible.vars.hostvars import HostVars

#: What selects the API server. Where these are alike, it is the same.
_SELECT = tuple(VARIABLE_PREFIX + name for name in ("kubeconfig", "context", "host", "proxy"))
_FIX = (
    "Give each cluster its own connection, such as gpu_sharing_context or gpu_sharing_host, or"
    " select one with the limit."
)


def check_connections(clusters: Collection[str], hostvars: HostVars) -> None:
    """Raise FleetError for clusters whose variables select the same API server."""
    alike: dict[str, list[str]] = defaultdict(list)
    for cluster in clusters:
        of_host = hostvars.get(cluster)
        values = {name: resolved(of_host, name) for name in _SELECT if name in of_host}
        if not any(isinstance(value, Unresolved) for value in values.values()):
            given = {name: str(value) for name, value in values.items() if not is_blank(value)}
            alike[json.dumps(given)].append(cluster)
    if problems := [
        f"The clusters {some(names)} have the same connection variables"
        f" ({', '.join(json.loads(given)) or 'none is set'}), so they are one API server. {_FIX}"
        for given, names in alike.items()
        if len(names) > 1
    ]:
        raise joined(FleetError, problems)


def claim_server(play: str, cluster: str, identity: str) -> None:
    """Note which server a cluster has, for the other clusters of a play: their tasks run in
    processes of their own. Raises FleetError if it is the one of another cluster.
    """
    with _claims(play) as file:
        claims = _read(file)
        claims[cluster] = identity
        file.write_text(json.dumps(claims), encoding="utf-8")
    _refuse_shared(claims, cluster)


def check_server(play: str, cluster: str) -> None:
    """Raise FleetError if another cluster has the same server, by what is known by now."""
    with _claims(play) as file:
        claims = _read(file)
    _refuse_shared(claims, cluster)


def _refuse_shared(claims: Mapping[str, str], cluster: str) -> None:
    others = [name for name in claims if name != cluster and claims[name] == claims.get(cluster)]
    if others:
        raise FleetError(
            f"{cluster} is the same cluster as {some(sorted(others))}, by the UID of its namespace"
            f" kube-system. {_FIX}"
        )


@contextmanager
def _claims(play: str) -> Iterator[Path]:
    folder = Path(constants.DEFAULT_LOCAL_TMP)
    with (folder / f"gpufleet-{play}-servers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder / f"gpufleet-{play}-servers.json"


def _read(file: Path) -> dict[str, str]:
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}
