# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The delays of the simulator: the short ones of tests, and those seen on real nodes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from .errors import LabError

#: Setting -> default of the simulator. Durations as Go writes them.
SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "label_lag": "300ms",  # GFD labels follow what the plugin serves by this much
        "file_propagation": "2s",  # kubelet: an edited ConfigMap reaches the mounted files
        "refresh": "100ms",  # a pod is annotated, or a container ends -> its files are new
        "restart": "300ms",  # pod seen on the node, or container crashed once -> containers start
        "publish": "200ms",  # plugin has loaded a file -> the kubelet knows of its devices
        "publish_period": "0s",  # the kubelet writes node status this often; 0s: at once
        "switch_delay": "300ms",  # default profile loaded -> the side-car reads the label
        "crash_backoff": "1s",  # pause after the second crash of a container; then it is doubled
        "crash_backoff_max": "1s",  # up to this
        "forget": "5m",  # a resource is served no more -> its capacity becomes 0
        "status_lag": "500ms",  # ClusterPolicy stays "ready" this long after a change
        "label_expiry": "3s",  # DaemonSet of GFD gone -> its labels go
        "mps_retry": "1s",  # plugin finds no MPS daemon -> it tries again
        "mig_apply": "1s",  # mig-manager has stopped its clients -> the layout is changed
    }
)

#: Those that are not drawn out of a range.
_SINGLE = frozenset({"publish_period", "crash_backoff", "crash_backoff_max", "forget"})

#: The same as real nodes have them: on an H100 and on the stand-in (tests/realnode/README.md), with
#: kubelet v1.37.2 and plugin v0.19.3; where it says "source", as their source has it.
MEASURED: Mapping[str, str] = MappingProxyType(
    {
        **SETTINGS,
        "label_lag": "0s..60s",  # source: Node Feature Discovery looks once a minute
        "file_propagation": "30s..90s",  # seen: 31 and 67 s
        "refresh": "130ms..930ms",  # seen
        "restart": "1s..2s",  # seen: 0.9 to 1.1 s from the init container to the plugin's start
        "publish": "10ms..100ms",  # seen: 2 to 12 ms from the plugin's start to its registration
        "publish_period": "10s",  # seen: 0.4 to 10.3 s
        "switch_delay": "10ms..200ms",  # seen: 4 to 198 ms
        "crash_backoff": "10s",  # source; seen: 4.6 to 17.9 s to recover from a refused file
        "crash_backoff_max": "300s",  # source
        "status_lag": "2s..4s",  # seen
        "label_expiry": "60s",  # source: Node Feature Discovery
        "mps_retry": "30s",  # source
    }
)

TIMINGS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"fast": SETTINGS, "measured": MEASURED}
)

_DURATION = r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+"
_ONE = re.compile(_DURATION)
_RANGE = re.compile(rf"{_DURATION}\.\.{_DURATION}")


def check_setting(key: str, value: object, where: str) -> None:
    """Raises LabError for what is no duration, or no range where only a duration will do."""
    fits = isinstance(value, str) and (
        _ONE.fullmatch(value) or (key not in _SINGLE and _RANGE.fullmatch(value))
    )
    if not fits:
        example = "300ms or 2s" if key in _SINGLE else "300ms, 2s or 1s..3s"
        raise LabError(f"{where}: {key} must be a duration like {example}, not {value!r}")


def timing_named(name: object, where: str) -> Mapping[str, str]:
    """The settings of a timing. Raises LabError for an unknown name."""
    if not isinstance(name, str) or name not in TIMINGS:
        raise LabError(f"{where} must be one of {', '.join(TIMINGS)}, not {name!r}")
    return TIMINGS[name]
