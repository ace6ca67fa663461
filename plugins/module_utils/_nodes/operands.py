# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the pods that read profiles: device plugin, GPU feature discovery, MPS daemon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypedDict

from .._common.documents import dig, has_condition, list_at, name_of, read_time, text_at

PLUGIN_APP = "nvidia-device-plugin-daemonset"
GFD_APP = "gpu-feature-discovery"
MPS_APP = "nvidia-device-plugin-mps-control-daemon"
OPERAND_APPS = (PLUGIN_APP, GFD_APP, MPS_APP)
OPERAND_SELECTOR = f"app in ({','.join(OPERAND_APPS)})"  # a label selector of their pods
CONFIG_MANAGER = "config-manager"


@dataclass(frozen=True)
class OperandPod:
    """A pod that reads the profile of its node."""

    name: str
    namespace: str
    uid: str
    node: str
    app: str
    ready: bool
    leaving: bool  # being deleted
    created: datetime | None  # by the API server's clock
    has_config_manager: bool
    crashes: int = 0  # of the container that waits for a restart; 0 when none does
    crashing: str = ""  # the name of that container
    waits_for: str = ""  # Kubernetes' reason why it is waiting
    restarts: Mapping[str, int] = field(default_factory=dict)  # by container

    @property
    def unavailable(self) -> bool:
        """Whether its DaemonSet counts it as unavailable."""
        return self.leaving or not self.ready


def operand_pod(document: object) -> OperandPod:
    containers = list_at(document, "spec", "containers")
    return OperandPod(
        name=name_of(document),
        namespace=text_at(document, "metadata", "namespace"),
        uid=text_at(document, "metadata", "uid"),
        node=text_at(document, "spec", "nodeName"),
        app=text_at(document, "metadata", "labels", "app"),
        ready=has_condition(document, "Ready"),
        leaving=bool(text_at(document, "metadata", "deletionTimestamp")),
        created=read_time(text_at(document, "metadata", "creationTimestamp")),
        has_config_manager=any(dig(c, "name") == CONFIG_MANAGER for c in containers),
        **_waiting(document),
    )


class _Waiting(TypedDict):
    crashes: int
    crashing: str
    waits_for: str
    restarts: Mapping[str, int]


def _waiting(document: object) -> _Waiting:
    """The waiting container, or init container, with the most restarts."""
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
