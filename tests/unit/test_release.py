# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Helm release as its Secret has it, and whether Helm would change it."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    ClusterError,
    RefusedError,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._provider.release import (
    Chart,
    Release,
    ReleaseChange,
    changed_keys,
    check_values,
    newest,
    plan_release,
    read_chart,
    read_release,
    reason_other_chart,
    would_change,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions

VALUES = {"devicePlugin": {"config": {"name": "map", "default": "dev"}}}
CHART = Chart("gpu-operator", "v26.7.0", "v26.7.0")
RELEASE = Release(CHART, "deployed", VALUES)


def secret(
    status: str = "deployed",
    *,
    with_values: bool = True,
    manifest: str = "",
    version: int = 1,
    **chart: Any,
) -> dict[str, Any]:
    """As Helm 3 writes it, with VALUES or with none."""
    values = VALUES if with_values else None
    metadata = {"name": CHART.name, "version": CHART.version, "appVersion": CHART.app_version}
    document = {
        "version": version,
        "info": {"status": status},
        "chart": {"metadata": metadata | chart},
        "config": values,
        "manifest": manifest,
    }
    packed = base64.b64encode(gzip.compress(json.dumps(document).encode()))
    release = base64.b64encode(packed).decode()
    return {
        "metadata": {"name": "sh.helm.release.v1.gpu-operator.v1"},
        "data": {"release": release},
    }


@pytest.mark.parametrize("status", ["deployed", "failed"])
def test_read_release(status: str) -> None:
    assert read_release(secret(status)) == replace(RELEASE, status=status)


def source(*path: str, kind: str = "ClusterPolicy") -> str:
    """A part of a manifest, with the charts below each other that it is from."""
    place = "/charts/".join(path)
    return f"---\n# Source: {place}/templates/x.yaml\napiVersion: v1\nkind: {kind}\n"


NFD = source("gpu-operator", "node-feature-discovery", kind="Deployment")


@pytest.mark.parametrize(
    ("manifest", "dependencies", "wraps"),
    [
        (NFD + source("gpu-operator"), [{"name": "node-feature-discovery"}], ""),
        (source("gpu-operator", "gpu-operator") + NFD, [], "gpu-operator"),  # vendored
        (source("stack", "gpu-operator"), [{"name": "gpu-operator"}], "gpu-operator"),
        (source("stack", "gpus"), [{"name": "gpu-operator", "alias": "gpus"}], "gpus"),
        (source("a", "stack", "gpu-operator"), [{"name": "stack"}], "stack.gpu-operator"),
        ("", [{"name": "gpu-operator", "alias": "gpus"}], "gpus"),  # a post-renderer drops comments
        ("", [{"name": "gpu-operator"}], "gpu-operator"),
        ("kind: ClusterPolicy\n", [], ""),
        (source("mine"), [], ""),  # a copy of the chart
    ],
)
def test_wrapper_chart_is_known_by_its_manifest(
    manifest: str, dependencies: list[dict[str, str]], wraps: str
) -> None:
    found = read_release(secret(manifest=manifest, dependencies=dependencies))
    assert found == replace(RELEASE, wraps=wraps)


@pytest.mark.parametrize(
    ("release", "facts"),
    [
        (RELEASE, ()),
        (replace(RELEASE, wraps="gpus"), ("mine", "gpus", "O(manage): existing")),
        (replace(RELEASE, chart=replace(CHART, name="fork")), ("mine", "fork", "O(chart_ref)")),
        (replace(RELEASE, chart=replace(CHART, version="v1")), ()),
    ],
)
def test_release_of_another_chart(release: Release, facts: tuple[str, ...]) -> None:
    said = reason_other_chart("mine", release, CHART)
    assert bool(said) is bool(facts)
    assert mentions(said, *facts)


@pytest.mark.parametrize("status", ["pending-upgrade", "uninstalled", "superseded"])
def test_release_that_helm_does_not_list(status: str) -> None:
    assert read_release(secret(status)) is None


def test_release_without_values() -> None:
    found = read_release(secret(with_values=False))
    assert found is not None
    assert found.values == {}


@pytest.mark.parametrize("data", ["", "no base64", base64.b64encode(b"aGk=").decode()])
def test_secret_that_is_no_release(data: str) -> None:
    with pytest.raises(ClusterError) as caught:
        read_release({"metadata": {"name": "mine"}, "data": {"release": data}})
    assert mentions(caught.value, "mine")


@pytest.mark.parametrize(
    ("release", "chart", "values", "changes"),
    [
        (RELEASE, CHART, VALUES, False),
        (None, CHART, VALUES, True),
        (RELEASE, replace(CHART, version="v26.8.0"), VALUES, True),
        (RELEASE, replace(CHART, app_version="v26.8.0"), VALUES, True),
        (RELEASE, CHART, {**VALUES, "driver": {"enabled": False}}, True),
    ],
)
def test_would_change(
    release: Release | None, chart: Chart, values: dict[str, object], changes: bool
) -> None:
    assert would_change(release, chart, values) is changes


def test_chart_without_app_version() -> None:
    assert read_chart({"name": "a", "version": "1"}) == Chart("a", "1", "")


@pytest.mark.parametrize(
    ("values", "facts"),
    [
        ({"devicePlugin": {"config": {"create": True}}}, ("devicePlugin.config.create", "true")),
        ({"devicePlugin": {"config": {"create": "yes"}}}, ("devicePlugin.config.create",)),
        ({"gfd": {"enabled": False}}, ("gfd.enabled", "false")),
    ],
)
def test_values_that_cannot_serve(values: dict[str, object], facts: tuple[str, ...]) -> None:
    check_values({**VALUES, "gfd": {"enabled": True}})
    check_values({"devicePlugin": {"config": {"create": "no"}}})
    with pytest.raises(RefusedError) as caught:
        check_values(values)
    assert mentions(caught.value, *facts)


def test_newest() -> None:
    def named(name: str, version: str) -> dict[str, Any]:
        return {"metadata": {"name": name, "labels": {"version": version}}}

    assert newest([named("a", "2"), named("b", "10"), named("c", "x")]) == "b"
    assert newest([]) == ""


@pytest.mark.parametrize(
    ("before", "after", "keys"),
    [
        ({}, {}, []),
        ({"a": {"b": 1}}, {"a": {"b": 1}}, []),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 2, "c": 2}}, ["a.b"]),
        ({}, {"a": {"b": {"c": 1}}, "d": 1}, ["a.b.c", "d"]),
        ({"a": {"b": 1}, "d": [1]}, {"d": [2]}, ["a.b", "d"]),
        ({"a": 1}, {"a": {"b": 1}}, ["a"]),
        ({"a": None}, {"a": {"b": 1}}, ["a.b"]),
        ({"a": {}}, {"a": None}, ["a"]),
    ],
)
def test_changed_keys(before: dict[str, Any], after: dict[str, Any], keys: list[str]) -> None:
    assert changed_keys(before, after) == keys


OLDER = replace(CHART, version="v26.3.0", app_version="v26.3.0")


@pytest.mark.parametrize(
    ("before", "after", "verb", "facts"),
    [
        (None, CHART, "install", ("gpu-operator v26.7.0",)),
        (OLDER, CHART, "upgrade", ("v26.3.0 -> v26.7.0",)),
        (CHART, OLDER, "downgrade", ("v26.7.0 -> v26.3.0",)),
        (CHART, replace(CHART, version="main"), "change", ("v26.7.0 -> main",)),
        (CHART, replace(CHART, app_version="x"), "change", ("(v26.7.0) -> ", "(x)")),
        (CHART, CHART, "", ()),
    ],
)
def test_change_of_a_chart(
    before: Chart | None, after: Chart, verb: str, facts: tuple[str, ...]
) -> None:
    change = ReleaseChange(before, after, ("driver.enabled",))
    assert (change.verb, bool(change.chart)) == (verb, bool(verb))
    assert mentions(change.chart, *facts)
    assert mentions(change, verb, change.chart, "driver.enabled")


def test_plan_of_a_release_has_keys_and_no_values() -> None:
    values = {**VALUES, "driver": {"password": "hush"}}
    change = plan_release(RELEASE, CHART, values)
    assert change == ReleaseChange(CHART, CHART, ("driver.password",))
    assert "hush" not in str(change)
    assert plan_release(RELEASE, CHART, VALUES) is None
    assert plan_release(None, CHART, {}) == ReleaseChange(None, CHART)


@pytest.mark.parametrize(
    ("status", "version", "again"),
    [("deployed", 2, False), ("failed", 2, True), ("failed", 1, False)],
)
def test_failed_upgrade_is_repeated(status: str, version: int, *, again: bool) -> None:
    """A failed installation has created its objects, and the operator is waited for."""
    release = read_release(secret(status, version=version))
    assert release
    change = plan_release(release, CHART, VALUES)
    assert bool(change) is again
    assert change is None or (change.retry, change.keys, change.verb) == (True, (), "")
