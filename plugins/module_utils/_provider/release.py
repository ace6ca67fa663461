# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: the Helm release of the GPU Operator: the values that it should have,
and whether Helm would change it.

Helm's answers are two: what the release is, which its Secret holds, and what the chart is, which
`helm show chart` tells.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .._common.documents import dig, name_of, text_at
from .._common.errors import ClusterError, RefusedError
from .cluster_policy import disabled_part

Values = dict[str, object]
LISTED = ("deployed", "failed")  # revisions that `helm list` shows
TRUE = ("true", "t", "yes", "y", "on", "1", "1.0")  # as Ansible reads a boolean
OWN_CONFIG_MAP = (
    "The release's values have devicePlugin.config.create: true, so Helm would own the ConfigMap"
    " that this collection keeps, and delete it later. Set O(values): {devicePlugin: {config:"
    " {create: false}}} and another ConfigMap name (O(config_map)), so that the one of the release"
    " is not touched."
)


@dataclass(frozen=True)
class Chart:
    """What tells one chart from another."""

    name: str
    version: str
    app_version: str = ""


@dataclass(frozen=True)
class Release:
    """The newest revision of a release: its chart, and the values that were set."""

    chart: Chart
    status: str
    values: Mapping[str, object] = field(default_factory=dict)


def read_release(secret: object) -> Release | None:
    """The release in a Secret of Helm 3; None where it is one that `helm list` does not show.

    Raises ClusterError if Helm has not written the Secret.
    """
    try:
        packed = base64.b64decode(base64.b64decode(text_at(secret, "data", "release")))
        document = json.loads(gzip.decompress(packed))
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise ClusterError(
            f"Secret {name_of(secret)} is not a release of Helm: {error}."
        ) from error
    values = dig(document, "config")
    status = text_at(document, "info", "status")
    chart = read_chart(dig(document, "chart", "metadata"))
    if status not in LISTED:
        return None
    return Release(chart, status, dict(values) if isinstance(values, Mapping) else {})


def read_chart(metadata: object) -> Chart:
    """The metadata of a chart, as in Chart.yaml."""
    return Chart(
        text_at(metadata, "name"), text_at(metadata, "version"), text_at(metadata, "appVersion")
    )


def merge_values(
    current: Mapping[str, object],
    asked: Mapping[str, object],
    pointer: Mapping[str, object],
    *,
    exact: bool,
) -> Values:
    """The release's values (not with exact), overridden by the user's and the plugin config."""
    return with_pointer(_merged({} if exact else current, asked), pointer)


def _merged(below: Mapping[str, object], above: Mapping[str, object]) -> Values:
    """Mappings are merged key by key; everything else, lists too, is replaced."""
    found: Values = dict(below)
    for key, value in above.items():
        under = found.get(key)
        both = isinstance(under, Mapping) and isinstance(value, Mapping)
        found[key] = _merged(under, value) if both else value  # type: ignore[arg-type]
    return found


def with_pointer(values: Mapping[str, object], pointer: Mapping[str, object]) -> Values:
    """Values with devicePlugin.config.name and .default set, or removed if the device plugin config
    has none.
    """
    plugin = dict(values.get("devicePlugin") or {})  # type: ignore[call-overload]
    config = {
        name: value
        for name, value in dict(plugin.get("config") or {}).items()
        if name not in ("name", "default")
    }
    config.update({name: value for name, value in pointer.items() if value})
    plugin.pop("config", None)
    if config:
        plugin["config"] = config
    rest = {name: value for name, value in values.items() if name != "devicePlugin"}
    return rest | ({"devicePlugin": plugin} if plugin else {})


def pointer_in(values: Mapping[str, object]) -> Values:
    """devicePlugin.config of values: name, default and create; empty where there is none."""
    config = dig(values, "devicePlugin", "config")
    return (
        {name: config.get(name) for name in ("name", "default", "create")}
        if isinstance(config, Mapping)
        else {}
    )


def check_values(values: Mapping[str, object]) -> None:
    """Raise RefusedError where a release with these values could not serve."""
    if str(pointer_in(values).get("create") or "").lower() in TRUE:
        raise RefusedError(OWN_CONFIG_MAP)
    if said := disabled_part(values):
        raise RefusedError(f"In the release's values {said}")


def would_change(release: Release | None, chart: Chart, values: Mapping[str, object]) -> bool:
    """Whether Helm would write a new revision; as kubernetes.core.helm decides it."""
    return release is None or release.chart != chart or dict(release.values) != dict(values)


def newest(secrets: Iterable[object]) -> str:
    """The name of the Secret of the newest revision; empty where there is no release."""
    numbered = [(text_at(secret, "metadata", "labels", "version"), secret) for secret in secrets]
    found = [(int(number), secret) for number, secret in numbered if number.isdecimal()]
    return name_of(max(found, key=lambda entry: entry[0])[1]) if found else ""
