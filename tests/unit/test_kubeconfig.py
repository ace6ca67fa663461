# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubeconfigs: several files, broken ones, and paths that are relative to them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    ConnectionSettingsError,
)
from ansible_collections.gpufleet.sharing.plugins.plugin_utils._connection.kubeconfig import (
    Entry,
    Surroundings,
    default_path,
    load,
    pick,
)
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions


def surroundings(**environ: str) -> Surroundings:
    return Surroundings(environ, yaml.safe_load)


def document(name: str, user: object = None, cluster: object = None) -> dict[str, Any]:
    """A kubeconfig with one context; its entries carry one name."""
    return {
        "clusters": [{"name": name, "cluster": cluster or {"server": f"https://{name}"}}],
        "users": [{"name": name, "user": {"token": f"of-{name}"} if user is None else user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def written(path: Path, content: object) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(path)


def test_load_joins_files_and_the_first_one_wins(tmp_path: Path) -> None:
    first = written(tmp_path / "a", document("one", user={"token": "first"}))
    second = written(tmp_path / "b", document("one") | {"current-context": "two"})
    third = written(tmp_path / "c", document("two"))
    gone = str(tmp_path / "gone")
    config = load(os.pathsep.join([gone, first, second, "", third]), surroundings())
    assert config.current == "one"
    assert config.users == {"one": {"token": "first"}, "two": {"token": "of-two"}}
    assert sorted(config.contexts) == ["one", "two"]


def test_load_takes_a_mapping() -> None:
    config = load(document("one"), surroundings())
    assert config.clusters == {"one": {"server": "https://one"}}


def test_load_takes_the_default(tmp_path: Path) -> None:
    written(tmp_path / ".kube" / "config", document("home"))
    assert load(None, surroundings(HOME=str(tmp_path))).current == "home"
    other = written(tmp_path / "other", document("other"))
    named = surroundings(HOME=str(tmp_path), KUBECONFIG=other)
    assert load("", named).current == "other"


def test_default_path_without_home() -> None:
    assert default_path(surroundings()) == str(Path.home() / ".kube" / "config")


def test_load_says_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    written(tmp_path / "list", ["a"])
    for name, cause in {
        "gone": "",
        ".": "Is a directory",
        "binary": "'utf-8' codec",
        "list": "YAML",
    }.items():
        with pytest.raises(ConnectionSettingsError) as caught:
            load(str(tmp_path / name), surroundings())
        assert mentions(caught.value, tmp_path / name, cause)


def test_load_passes_over_entries_that_are_none() -> None:
    given = document("one") | {
        "users": ["text", None, {"name": "bad", "user": "text"}, {"name": "null", "user": None}],
        "clusters": None,
    }
    config = load(given, surroundings())
    assert config.users == {"null": {}}
    assert config.clusters == {}


def test_load_makes_paths_absolute(tmp_path: Path) -> None:
    user = {
        "client-certificate": "tls/a.crt",
        "client-key": "/etc/a.key",
        "tokenFile": "~/token",
        "exec": {"command": "bin/login", "args": ["a/b"]},
    }
    cluster = {"server": "https://one", "certificate-authority": "ca.crt"}
    path = written(tmp_path / "kube" / "config", document("one", user, cluster))
    config = load(path, surroundings())
    folder = tmp_path / "kube"
    assert config.clusters["one"]["certificate-authority"] == str(folder / "ca.crt")
    assert config.users["one"] == {
        "client-certificate": str(folder / "tls/a.crt"),
        "client-key": "/etc/a.key",
        "tokenFile": str(Path("~/token").expanduser()),
        "exec": {"command": str(folder / "bin/login"), "args": ["a/b"]},
    }


def test_load_leaves_a_command_of_the_path_alone() -> None:
    user = {"exec": {"command": "aws"}}
    assert load(document("one", user), surroundings()).users["one"] == user


def test_pick() -> None:
    config = load(document("one"), surroundings())
    expected = Entry("one", {"server": "https://one"}, {"token": "of-one"})
    assert pick(config, "") == expected
    assert pick(config, "one") == expected


def test_pick_context_without_a_user() -> None:
    given = document("one") | {"contexts": [{"name": "one", "context": {"cluster": "one"}}]}
    assert pick(load(given, surroundings()), "").user == {}


@pytest.mark.parametrize(
    ("changes", "wanted", "facts"),
    [
        ({}, "two", ("'two'", "one")),
        ({"contexts": []}, "two", ("'two'", "none")),
        ({"current-context": ""}, "", ("O(context)",)),
        ({"clusters": []}, "", ("ontext 'one'", "cluster 'one'")),
        ({"users": []}, "", ("ontext 'one'", "user 'one'")),
        ({"contexts": [{"name": "one", "context": {}}]}, "", ("ontext 'one'", "cluster ''")),
    ],
)
def test_pick_refuses(changes: dict[str, Any], wanted: str, facts: tuple[str, ...]) -> None:
    config = load(document("one") | changes, surroundings())
    with pytest.raises(ConnectionSettingsError) as caught:
        pick(config, wanted)
    assert mentions(caught.value, *facts)


def test_in_cluster_needs_variable_and_token(tmp_path: Path) -> None:
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert not Surroundings(pod, yaml.safe_load, tmp_path).in_cluster
    (tmp_path / "token").write_text("t", encoding="utf-8")
    assert Surroundings(pod, yaml.safe_load, tmp_path).in_cluster
    assert not Surroundings({}, yaml.safe_load, tmp_path).in_cluster
