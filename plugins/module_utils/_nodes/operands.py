# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: objects of the Kubernetes API -> our values. Pure; a missing field is
an empty one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypedDict

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.documents import (
    dig,
    has_condition,
    list_at,
    name_of,
    read_time,
    text_at,
)

PLUGIN_APP = "nvidia-device-plugin-daemonset"
GFD_APP = "gpu-feature-discovery"
MPS_APP = "nvidia-device-plugin-mps-control-daemon"
OPERAND_APPS = (PLUGIN_APP, GFD_APP, MPS_APP)  # whose pods read profiles
OPERAND_SELECTOR = f"app in ({','.join(OPERAND_APPS)})"  # for labels of a list of pods
CONFIG_MANAGER = "config-manager"


@dataclass(frozen=True)
class OperandPod:
    """A pod of the device plugin, of GPU feature discovery or of the MPS daemon, on one node."""

    name: str
    namespace: str
    uid: str
    node: str
    app: str
    ready: bool
    leaving: bool  # being deleted
    started: (
        datetime | None
    )  # when its longest-running container started; None while one is not running
    has_config_manager: bool
    crashes: int = 0  # of the container that waits to be started again; 0 where none does
    crashing: str = ""  # its name
    waits_for: str = ""  # why it is not started, in Kubernetes' words
    restarts: Mapping[str, int] = field(default_factory=dict)  # of all containers, by name

    @property
    def unavailable(self) -> bool:
        """As its DaemonSet sees it."""
        return self.leaving or not self.ready


def operand_pods(documents: Iterable[object]) -> list[OperandPod]:
    return [operand_pod(document) for document in documents]


def operand_pod(document: object) -> OperandPod:
    statuses = list_at(document, "status", "containerStatuses")
    times = [read_time(text_at(status, "state", "running", "startedAt")) for status in statuses]
    running = [time for time in times if time is not None]
    containers = list_at(document, "spec", "containers")
    return OperandPod(
        name=name_of(document),
        namespace=text_at(document, "metadata", "namespace"),
        uid=text_at(document, "metadata", "uid"),
        node=text_at(document, "spec", "nodeName"),
        app=text_at(document, "metadata", "labels", "app"),
        ready=has_condition(document, "Ready"),
        leaving=bool(text_at(document, "metadata", "deletionTimestamp")),
        started=min(running) if running and len(running) == len(times) else None,
        has_config_manager=any(dig(c, "name") == CONFIG_MANAGER for c in containers),
        **_waiting(document),
    )


class _Waiting(TypedDict):
    crashes: int
    crashing: str
    waits_for: str
    restarts: Mapping[str, int]


def _waiting(document: object) -> _Waiting:
    """Of the container, an init container too, that has crashed most and waits to be started."""
    statuses = [
        status
        for kind in ("initContainerStatuses", "containerStatuses")
        for status in list_at(document, "status", kind)
    ]
    waiting = [status for status in statuses if text_at(status, "state", "waiting", "reason")]
    worst = max(waiting, key=_restarts, default=None)
    return {
        "crashes": _restarts(worst),
        "crashing": text_at(worst, "name"),
        "waits_for": text_at(worst, "state", "waiting", "reason"),
        "restarts": {text_at(status, "name"): _restarts(status) for status in statuses},
    }


def _restarts(status: object) -> int:
    count = dig(status, "restartCount")
    return count if isinstance(count, int) else 0
