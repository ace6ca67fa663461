# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run has to be allowed, and that docs/connection.md says exactly that."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import NotAllowedError
from ansible_collections.gpufleet.sharing.plugins.module_utils._kube.permissions import (
    EXISTING,
    HELM,
    MANAGES,
    PROBE,
    PURPOSES,
    SITE,
    UNINSTALL,
    VERIFY,
    Permission,
    Scope,
    required_permissions,
)
from ansible_collections.gpufleet.sharing.plugins.modules import cluster_info
from ansible_collections.gpufleet.sharing.tests.unit.facts import mentions
from ansible_collections.gpufleet.sharing.tests.unit.fake_api import SERVER, FakeApi

DOCS = Path(__file__).resolve().parents[2] / "docs" / "connection.md"
PLACES = {"cluster": "", "namespace": "gpu-operator", "probe's": "gpufleet-sharing-probe"}
ROW = re.compile(r"^([a-z.0-9]+)(?:/([a-z]+))?(?: `([a-z-]+)`)?(?:, .*)?$")


def needed(purpose: str, manage: str = EXISTING, **settings: Any) -> list[Permission]:
    exists = settings.pop("namespace_exists", True)
    return required_permissions(Scope(purpose, manage, **settings), namespace_exists=exists)


@pytest.mark.parametrize("manage", MANAGES)
def test_verify_reads_only(manage: str) -> None:
    assert list(map(str, needed(VERIFY, manage, namespace_exists=False, remove_crds=True))) == [
        "list gpuclusters.nvidia.com",
        "list nodes",
    ]


@pytest.mark.parametrize(
    ("manage", "settings", "creates"),
    [
        (HELM, {"namespace_exists": False}, True),
        (HELM, {"namespace_exists": True}, False),
        (HELM, {"namespace_exists": False, "create_namespace": False}, False),
        (EXISTING, {"namespace_exists": False}, False),
    ],
)
def test_namespace_is_created_where_it_is_missing(
    manage: str, settings: dict[str, bool], creates: bool
) -> None:
    assert ("create namespaces" in map(str, needed(SITE, manage, **settings))) is creates


@pytest.mark.parametrize(
    ("purpose", "manage", "remove", "asked"),
    [
        (UNINSTALL, HELM, True, True),
        (UNINSTALL, HELM, False, False),
        (UNINSTALL, EXISTING, True, False),
        (SITE, HELM, True, False),
    ],
)
def test_definitions_are_removed_on_demand(
    purpose: str, manage: str, remove: bool, asked: bool
) -> None:
    found = needed(purpose, manage, remove_crds=remove)
    assert any(each.resource == "customresourcedefinitions" for each in found) is asked


@pytest.mark.parametrize(
    ("purpose", "evict", "asked"),
    [
        (SITE, True, True),
        (SITE, False, False),
        (UNINSTALL, True, True),
        (UNINSTALL, False, False),
        (VERIFY, True, False),
    ],
)
def test_evictions_are_asked_for_on_demand(purpose: str, evict: bool, asked: bool) -> None:
    found = map(str, needed(purpose, evict=evict))
    assert ("create pods/eviction" in found) is asked


def test_uninstall_looks_for_pods_that_lose_their_gpu() -> None:
    assert "list pods" in map(str, needed(UNINSTALL))


def test_names_are_those_of_the_scope() -> None:
    names = {"namespace": "gpus", "config_map": "shares", "cluster_policy": "policy"}
    assert [each for each in sorted(needed(SITE, **names)) if each.namespace or each.name] == [
        Permission("create", "configmaps", "", "gpus"),
        Permission("create", "controllerrevisions", "apps", "gpus"),
        Permission("create", "leases", "coordination.k8s.io", "gpus"),
        Permission("delete", "controllerrevisions", "apps", "gpus"),
        Permission("delete", "pods", "", "gpus"),
        Permission("get", "clusterpolicies", "nvidia.com", "", "policy"),
        Permission("get", "configmaps", "", "gpus", "shares"),
        Permission("get", "leases", "coordination.k8s.io", "gpus", "gpufleet-sharing"),
        Permission("get", "namespaces", "", "gpus", "gpus"),
        Permission("list", "controllerrevisions", "apps", "gpus"),
        Permission("list", "daemonsets", "apps", "gpus"),
        Permission("list", "pods", "", "gpus"),
        Permission("patch", "clusterpolicies", "nvidia.com", "", "policy"),
        Permission("patch", "configmaps", "", "gpus", "shares"),
        Permission("patch", "controllerrevisions", "apps", "gpus"),
        Permission("patch", "leases", "coordination.k8s.io", "gpus", "gpufleet-sharing"),
        Permission("patch", "pods", "", "gpus"),
        Permission("watch", "pods", "", "gpus"),
    ]


def test_probe_writes_in_its_own_namespace_only() -> None:
    """But for nodes, pods and the PriorityClass, which it reads."""
    found = needed(PROBE, probe_namespace="proof", probe_prepared=True)
    elsewhere = [each for each in found if each.namespace != "proof"]
    assert sorted(elsewhere) == [
        Permission("get", "priorityclasses", "scheduling.k8s.io", "", "proof"),
        Permission("list", "gpuclusters", "nvidia.com"),
        Permission("list", "nodes"),
        Permission("list", "pods"),
    ]


def test_probe_that_makes_its_namespace_needs_more() -> None:
    more = set(needed(PROBE)) - set(needed(PROBE, probe_prepared=True))
    assert {str(each) for each in more} == {
        "create namespaces",
        *(
            f"{verb} namespaces gpufleet-sharing-probe"
            for verb in ("get", "list", "watch", "patch", "delete")
        ),
        "create priorityclasses.scheduling.k8s.io",
        "patch priorityclasses.scheduling.k8s.io gpufleet-sharing-probe",
    }
    more = set(needed(UNINSTALL)) - set(needed(UNINSTALL, probe_prepared=True))
    assert {each.verb for each in more} == {"get", "delete"}


def manifests() -> list[dict[str, Any]]:
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (block,) = (block for block in blocks if "ClusterRole" in block)
    return list(yaml.safe_load_all(block))


def granted(role: dict[str, Any]) -> set[Permission]:
    return {
        Permission(
            verb,
            resource.partition("/")[0],
            group,
            role["metadata"].get("namespace", ""),
            name,
            resource.partition("/")[2],
        )
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }


def test_documented_roles_grant_exactly_what_an_existing_operator_needs() -> None:
    roles = [document for document in manifests() if "rules" in document]
    asked: dict[str, Any] = {"evict": True, "probe_prepared": True}
    everything = {each for purpose in PURPOSES for each in needed(purpose, **asked)}
    assert set().union(*map(granted, roles)) == everything


def documented(purpose: str, manage: str) -> set[Permission]:
    """The permissions of a column of the table."""
    text = DOCS.read_text(encoding="utf-8")
    lines = text[text.index("| resource | where |") :].partition("\n\n")[0].splitlines()
    head, _rule, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)
    found = set()
    for row in rows:
        cells = dict(zip(head, row, strict=True))
        match = ROW.match(cells["resource"])
        assert match, row
        resource, _dot, group = match[1].partition(".")
        namespace = PLACES[cells["where"]]
        if cells["`gpu_operator_manage`"] in ("any", manage):
            for verb in re.findall(r"\w+", cells[f"`{purpose}`"]):
                name, subresource = match[3] or "", match[2] or ""
                found.add(Permission(verb, resource, group, namespace, name, subresource))
    return found


@pytest.mark.parametrize("manage", MANAGES)
@pytest.mark.parametrize("purpose", PURPOSES)
def test_documented_table_is_what_is_asked_for(purpose: str, manage: str) -> None:
    asked = needed(purpose, manage, namespace_exists=False, remove_crds=True, evict=True)
    assert documented(purpose, manage) == set(asked)


@pytest.mark.parametrize("manage", [HELM, EXISTING])
def test_plan_asks_for_what_site_reads_and_for_nothing_else(manage: str) -> None:
    reads = {each for each in needed(SITE, manage) if each.verb in ("get", "list")}
    assert set(needed("plan", manage)) == reads


def test_history_asks_for_revisions_only() -> None:
    assert list(needed("history")) == [
        Permission("list", "controllerrevisions", "apps", "gpu-operator"),
        Permission("list", "gpuclusters", "nvidia.com"),
    ]


def test_missing_permissions_link_to_the_manifests(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeApi().cluster
    granted = {"get", "watch"}

    def create(_path: str, review: dict[str, Any]) -> dict[str, Any]:
        verb = review["spec"]["resourceAttributes"]["verb"]
        return {"status": {"allowed": verb in granted}}

    monkeypatch.setattr(cluster, "create", create)
    needed = [Permission(verb, "nodes") for verb in ("get", "list", "watch", "patch")]
    with pytest.raises(NotAllowedError) as caught:
        cluster_info.ask_for(cluster, needed, "me")
    assert caught.value.problems == ("list nodes", "patch nodes")
    assert mentions(caught.value, "me", SERVER, "docs/connection.md#manifests")
    assert "\n" not in str(caught.value)
