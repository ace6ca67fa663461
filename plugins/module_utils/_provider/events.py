# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: why pods of the operator could not be created, from events."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .._common.documents import text_at
from .._common.errors import ClusterError
from .._common.text import some
from .._kube.client import Cluster
from .._kube.objects import namespaced

_MOST = 3  # causes in a message


def with_creation_failures(said: str, cluster: Cluster, namespace: str) -> str:
    """A message with why pods could not be created, as far as events may be read."""
    path = namespaced("events", namespace)
    try:
        causes = creation_failures(cluster.items(path, fields="reason=FailedCreate"))
    except ClusterError:
        return said
    return f"{said} Pods could not be created: {some(causes, _MOST)}." if causes else said


def creation_failures(events: Iterable[object]) -> list[str]:
    """The causes, from events with the reason FailedCreate: the newest first, each once."""
    found: dict[str, str] = {}
    for event in sorted(events, key=_last_seen, reverse=True):
        kind, name = (text_at(event, "involvedObject", key) for key in ("kind", "name"))
        message = " ".join(text_at(event, "message").split())
        cause = re.sub(r'pods? "[^"]*"', "pod", message)
        found.setdefault(cause, with_quota_hint(f"{kind} {name}: {message}"))
    return list(found.values())


def _last_seen(event: object) -> str:
    times = (
        text_at(event, "series", "lastObservedTime"),
        text_at(event, "lastTimestamp"),
        text_at(event, "eventTime"),
    )
    return next((time for time in times if time), "")


def with_quota_hint(text: str) -> str:
    """A cause with what to do where a cluster, as GKE, allows critical pods only in namespaces with
    a quota for them.
    """
    if "quota" not in text.lower() or "system-node-critical" not in text:
        return text
    return (
        f"{text}. Create a ResourceQuota for the priority class system-node-critical in the"
        " namespace, see docs/troubleshooting.md"
    )
