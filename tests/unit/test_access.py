# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Service accounts with what runs need, their tokens and their files."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.gpufleet.sharing.plugins.module_utils._access.kubeconfig import (
    Kubeconfig,
    read_kubeconfig,
    write_kubeconfig,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._access.manifests import (
    ACCOUNTS,
    OPERATOR,
    READER,
    account_manifests,
    account_permissions,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._access.token import (
    Token,
    read_token,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import SharingError
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.permissions import (
    EXISTING,
    HELM,
    Permission,
    Scope,
)
from ansible_collections.gpufleet.sharing.tests.unit.test_permissions import granted
from ansible_collections.gpufleet.sharing.tests.unit.test_permissions import (
    manifests as documented,
)

SCOPE = Scope(purpose="", manage=EXISTING)
NOW = datetime(2026, 12, 1, tzinfo=UTC)
DAY = 86400


def of_kind(objects: list[Any], *kinds: str) -> list[Any]:
    return [each for each in objects if each["kind"] in kinds]


def given_by(objects: list[Any]) -> set[Permission]:
    return set().union(*map(granted, of_kind(objects, "Role", "ClusterRole")))


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("manage", [EXISTING, HELM])
def test_roles_grant_exactly_the_permissions_of_the_account(account: str, manage: str) -> None:
    scope = Scope(
        purpose="",
        manage=manage,
        namespace="gpus",
        config_map="shares",
        cluster_policy="mine",
        probe_namespace="tries",
    )
    assert given_by(account_manifests([account], scope)) == account_permissions(account, scope)


def test_reader_only_reads() -> None:
    permissions = account_permissions(READER, SCOPE)
    assert {each.verb for each in permissions} == {"get", "list"}
    assert not [each for each in permissions if each.resource == "secrets"]


def test_operator_has_what_the_documented_manifests_grant_and_the_doctor_reads() -> None:
    roles = of_kind(documented(), "Role", "ClusterRole")
    extra = account_permissions(OPERATOR, SCOPE) - set().union(*map(granted, roles))
    assert {(each.verb, each.resource) for each in extra} == {("list", "configmaps")}


@pytest.mark.parametrize("account", ACCOUNTS)
def test_every_role_is_bound_to_the_service_account(account: str) -> None:
    objects: list[Any] = account_manifests([account], SCOPE)
    (service_account,) = of_kind(objects, "ServiceAccount")
    roles = of_kind(objects, "Role", "ClusterRole")
    bindings = of_kind(objects, "RoleBinding", "ClusterRoleBinding")
    assert len(roles) == len(bindings) > 0
    for role, binding in zip(roles, bindings, strict=True):
        assert binding["roleRef"]["name"] == role["metadata"]["name"]
        assert binding["metadata"].get("namespace") == role["metadata"].get("namespace")
        (subject,) = binding["subjects"]
        assert subject["name"] == service_account["metadata"]["name"]
        assert subject["namespace"] == service_account["metadata"]["namespace"]


def test_namespaces_come_before_what_is_in_them() -> None:
    """Only the operator needs the probe's, which is not a probe's own: no probe removes it."""
    assert not of_kind(account_manifests([READER], SCOPE), "Namespace", "PriorityClass")
    objects: list[Any] = account_manifests([READER, OPERATOR], SCOPE)
    assert [each["kind"] for each in objects[:2]] == ["Namespace", "PriorityClass"]
    assert "app.kubernetes.io/component" not in objects[0]["metadata"]["labels"]


def token_text(**claims: object) -> str:
    body = {
        "sub": "system:serviceaccount:gpus:reader",
        "iat": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 90 * DAY,
        "kubernetes.io": {"serviceaccount": {"uid": "a"}, "secret": {"uid": "s"}},
    } | claims
    coded = base64.urlsafe_b64encode(json.dumps(body).encode()).decode().rstrip("=")
    return f"e30.{coded}.c2ln"


def token(**claims: object) -> Token:
    found = read_token(token_text(**claims))
    assert found
    return found


def test_token_says_whose_it_is_and_until_when() -> None:
    found = token()
    assert (found.account_uid, found.secret_uid) == ("a", "s")
    assert found.expires - found.issued == timedelta(days=90)
    assert found.text not in repr(found)


@pytest.mark.parametrize("text", ["", "opaque", "a.b.c", "a.!!.c", "e30.e30.e30", "e30.W10.x"])
def test_what_is_no_token_of_a_service_account(text: str) -> None:
    assert read_token(text) is None


@pytest.mark.parametrize(
    ("days", "asked", "fresh"),
    [
        (0, 90, True),
        (59, 90, True),
        (60, 90, False),  # a third of the lifetime is left
        (91, 90, False),
        (0, 30, False),  # it lives longer than it should now
        (61, 30, True),
        (81, 30, False),
        (0, 365, True),  # the server has allowed less than asked for
    ],
)
def test_when_a_token_is_replaced(days: int, asked: int, fresh: bool) -> None:
    assert token().fresh(NOW + timedelta(days=days), asked * DAY) is fresh


def test_kubeconfig_is_for_its_owner_only_and_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "reader.kubeconfig"
    assert read_kubeconfig(path) is None
    written = Kubeconfig({"server": "https://one:6443"}, token())
    write_kubeconfig(path, written, "gpus")
    assert read_kubeconfig(path) == written
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("content", ["", "a: [", "clusters: []", "- 1", "kind: Config\nusers: []"])
def test_file_of_another_kind_is_not_overwritten(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SharingError, match=str(path)):
        read_kubeconfig(path)


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SharingError, match="file"):
        write_kubeconfig(tmp_path / "file" / "config", Kubeconfig({}, token()), "gpus")
