# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the Helm release of the GPU Operator: its values, and whether Helm would change it.

The release comes from its Secret, the chart from the output of `helm show chart`.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .._common.documents import dig, list_at, name_of, text_at
from .._common.errors import ClusterError, RefusedError
from .._common.secrets import values_by_key
from .._common.text import some
from .._profiles.plugin import read_version
from .cluster_policy import disabled_part

Values = dict[str, object]
#: Where Helm has made a ClusterPolicy from: gpu-operator/templates/clusterpolicy.yaml.
_SOURCE = re.compile(r"^# Source: (\S+)/templates/", re.MULTILINE)
_POLICY = re.compile(r"^kind: ClusterPolicy\s*$", re.MULTILINE)
FAILED = "failed"
_CONFIG = "devicePlugin.config."
LISTED_STATUSES = ("deployed", FAILED)  # of revisions that `helm list` shows
NVIDIA_CHART = "gpu-operator"
TRUE_WORDS = ("true", "t", "yes", "y", "on", "1", "1.0")  # what Ansible reads as true
OWN_CONFIG_MAP = (
    "The release's values have devicePlugin.config.create: true, so Helm would own the ConfigMap"
    " that this collection manages, and delete it later. Set O(values): {devicePlugin: {config:"
    " {create: false}}} and another ConfigMap name (O(config_map)), so that the one of the release"
    " is not touched."
)


@dataclass(frozen=True)
class Chart:
    """What identifies a chart."""

    name: str
    version: str
    app_version: str = ""


@dataclass(frozen=True)
class Release:
    """The newest revision of a release: its chart, and its user-supplied values. wraps is the key
    of the values below which those of NVIDIA's chart are, where the release's chart contains it.
    retry: Helm has failed to upgrade to it, so that parts of it may be missing.
    """

    chart: Chart
    status: str
    values: Mapping[str, object] = field(default_factory=dict)
    wraps: str = ""
    retry: bool = False


def read_release(secret: object) -> Release | None:
    """The release in a Secret of Helm 3; None if `helm list` does not show it.

    Raises ClusterError if Helm has not written the Secret.
    """
    document = _unpacked(secret)
    values = dig(document, "config")
    status = text_at(document, "info", "status")
    chart = read_chart(dig(document, "chart", "metadata"))
    if status not in LISTED_STATUSES:
        return None
    given = dict(values) if isinstance(values, Mapping) else {}
    retry = status == FAILED and dig(document, "version") not in (None, 1)
    return Release(chart, status, given, wrapped_chart(document), retry)


def failed_patch(secret: object) -> dict[str, object]:
    """The merge patch that makes a release a failed one. Helm, as kubernetes.core runs it, neither
    removes nor upgrades one that it was removing when it was killed. Raises ClusterError if Helm
    has not written the Secret.
    """
    document = _unpacked(secret)
    info = dig(document, "info")
    document["info"] = {**(info if isinstance(info, Mapping) else {}), "status": FAILED}
    packed = base64.b64encode(gzip.compress(json.dumps(document).encode()))
    return {
        "metadata": {"labels": {"status": FAILED}},
        "data": {"release": base64.b64encode(packed).decode()},
    }


def _unpacked(secret: object) -> Values:
    """What Helm has stored in a Secret."""
    try:
        packed = base64.b64decode(base64.b64decode(text_at(secret, "data", "release")))
        return dict(json.loads(gzip.decompress(packed)))
    except (ValueError, TypeError, OSError, EOFError, zlib.error) as error:
        raise ClusterError(
            f"Secret {name_of(secret)} is not a release of Helm: {error}."
        ) from error


def wrapped_chart(document: object) -> str:
    """The key of the values of NVIDIA's chart below another chart, from a release as Helm stores
    it; empty where it is the release's own chart.
    """
    for part in text_at(document, "manifest").split("\n---"):
        source = _SOURCE.search(part) if _POLICY.search(part) else None
        if source:
            return ".".join(source[1].split("/charts/")[1:])
    for dependency in list_at(document, "chart", "metadata", "dependencies"):
        if text_at(dependency, "name") == NVIDIA_CHART:
            return text_at(dependency, "alias") or NVIDIA_CHART
    return ""


def reason_other_chart(name: str, release: Release, chart: Chart) -> str:
    """Why a release must not get a chart, and what to do; empty where it may."""
    if release.wraps:
        return (
            f"Helm release {name} is of the wrapper chart {release.chart.name}"
            f" {release.chart.version}, with the values of the GPU Operator below"
            f" {release.wraps}. Set O(manage): existing, and keep the release as before."
        )
    if release.chart.name != chart.name:
        return (
            f"Helm release {name} is of the chart {release.chart.name}, not {chart.name}. Set"
            " O(chart_ref) to that chart, or O(manage): existing, and keep the release as before."
        )
    return ""


def read_chart(metadata: object) -> Chart:
    """A chart from its metadata, as in Chart.yaml."""
    return Chart(
        text_at(metadata, "name"), text_at(metadata, "version"), text_at(metadata, "appVersion")
    )


def merge_values(
    current: Mapping[str, object],
    requested: Mapping[str, object],
    pointer: Mapping[str, object],
    *,
    exact: bool,
) -> Values:
    """The current values (none if exact), overridden by the requested ones and by pointer."""
    return with_pointer(_merged({} if exact else current, requested), pointer)


def _merged(base: Mapping[str, object], overrides: Mapping[str, object]) -> Values:
    """Merge mappings key by key. Other values, also lists, are replaced."""
    merged: Values = dict(base)
    for key, value in overrides.items():
        current = merged.get(key)
        both = isinstance(current, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(current, value) if both else value  # type: ignore[arg-type]
    return merged


def with_pointer(values: Mapping[str, object], pointer: Mapping[str, object]) -> Values:
    """Values with devicePlugin.config.name and .default set, or removed if pointer lacks them."""
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
    """devicePlugin.config of values: name, default and create; empty if it is missing."""
    config = dig(values, "devicePlugin", "config")
    return (
        {name: config.get(name) for name in ("name", "default", "create")}
        if isinstance(config, Mapping)
        else {}
    )


def check_values(values: Mapping[str, object]) -> None:
    """Raise RefusedError if GPU sharing cannot work with these values."""
    if str(pointer_in(values).get("create") or "").lower() in TRUE_WORDS:
        raise RefusedError(OWN_CONFIG_MAP)
    if problem := disabled_part(values):
        raise RefusedError(f"In the release's values {problem}")


def would_change(release: Release | None, chart: Chart, values: Mapping[str, object]) -> bool:
    """Whether Helm would write a new revision: by the rules of kubernetes.core.helm, and after an
    upgrade that failed.
    """
    if release is None or release.retry:
        return True
    return release.chart != chart or dict(release.values) != dict(values)


def changed_keys(before: object, after: object, path: str = "") -> list[str]:
    """The paths of values that differ, such as driver.enabled. Values can be secret, so only their
    keys are shown.
    """
    if before == after:
        return []
    maps = [side for side in (before, after) if isinstance(side, Mapping) and side]
    if not maps or any(side and not isinstance(side, Mapping) for side in (before, after)):
        return [path]
    keys = sorted({str(key) for side in maps for key in side})
    old, new = (side if isinstance(side, Mapping) else {} for side in (before, after))
    return [
        found
        for key in keys
        for found in changed_keys(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))
    ]


def values_diff(before: Mapping[str, object], after: Mapping[str, object]) -> Values:
    """What diff mode shows of values that differ: their keys, and of the device plugin config also
    the values. Others can be secret.
    """
    old, new = dict(values_by_key(before)), dict(values_by_key(after))
    return {
        "before": {
            key: _shown(key, old[key], "a value") for key in old if old[key] != new.get(key)
        },
        "after": {
            key: _shown(key, new[key], "another value" if key in old else "a value")
            for key in new
            if new[key] != old.get(key)
        },
    }


def _shown(key: str, value: object, instead: str) -> object:
    return value if key.startswith(_CONFIG) else f"{instead} (not shown)"


@dataclass(frozen=True)
class ReleaseChange:
    """What Helm would change: the chart (before is None for an installation), and the keys of
    values.
    """

    before: Chart | None
    after: Chart
    keys: tuple[str, ...] = ()
    retry: bool = False  # of an upgrade that has failed

    @property
    def verb(self) -> str:
        """What happens to the chart; empty if nothing does."""
        if self.before is None:
            return "install"
        if self.before == self.after:
            return ""
        old, new = read_version(self.before.version), read_version(self.after.version)
        if old is None or new is None or old == new:
            return "change"
        return "upgrade" if old < new else "downgrade"

    @property
    def chart(self) -> str:
        """gpu-operator v26.3.0 -> v26.7.0; empty if the chart stays."""
        if self.before is None or not self.verb:
            return f"{self.after.name} {self.after.version}" if self.verb else ""
        old, new = self.before.version, self.after.version
        if old == new:
            old, new = (f"{c.version} ({c.app_version})" for c in (self.before, self.after))
        return f"{self.after.name} {old} -> {new}"

    def __str__(self) -> str:
        chart = f"{self.verb} chart {self.chart}" if self.verb else ""
        keys = f"values that differ: {some(self.keys)}" if self.keys else ""
        retry = "the upgrade that failed is repeated" if self.retry else ""
        return "; ".join(filter(None, (chart, keys, retry)))


def plan_release(
    release: Release | None, chart: Chart, values: Mapping[str, object]
) -> ReleaseChange | None:
    """What Helm would change; None if it would not write a new revision."""
    if not would_change(release, chart, values):
        return None
    keys = changed_keys(release.values if release else {}, values)
    retry = release is not None and release.retry
    return ReleaseChange(release.chart if release else None, chart, tuple(keys), retry)


def newest(secrets: Iterable[object]) -> str:
    """The name of the Secret of the newest revision; empty if there is no release."""
    numbered = [(text_at(secret, "metadata", "labels", "version"), secret) for secret in secrets]
    revisions = [(int(number), secret) for number, secret in numbered if number.isdecimal()]
    return name_of(max(revisions, key=lambda entry: entry[0])[1]) if revisions else ""
