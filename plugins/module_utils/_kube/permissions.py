# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: the permissions that each kind of run needs.

docs/connection.md lists them as a table and as manifests; a unit test compares both. Helm also
needs permissions for the objects of the chart, which depend on the chart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

VERIFY, PROBE, SITE, UNINSTALL = PURPOSES = ("verify", "probe", "site", "uninstall")
# Reads of site, of history_info, and of the doctor, which requires only nodes.
PLAN, HISTORY, DOCTOR = READS = ("plan", "history", "doctor")
ACCESS = "access"  # creates the service accounts of other runs
_READING = ("get", "list")
HELM, EXISTING = MANAGES = ("helm", "existing")
_WRITES = (SITE, UNINSTALL)
_NVIDIA, _DRA = "nvidia.com", "resource.k8s.io"
_LEASES, _LEASE = ("leases", "coordination.k8s.io"), "gpufleet-sharing"
_REVISIONS = ("controllerrevisions", "apps")
_JOBS, _PRIORITIES = ("jobs", "batch"), ("priorityclasses", "scheduling.k8s.io")
RBAC = "rbac.authorization.k8s.io"
_CRDS = ("customresourcedefinitions", "apiextensions.k8s.io")


@dataclass(frozen=True, order=True)
class Permission:
    """One verb on one resource: in all namespaces, in one, or for one object."""

    verb: str
    resource: str
    group: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        kind = f"{self.resource}.{self.group}" if self.group else self.resource
        kind += f"/{self.subresource}" if self.subresource else ""
        name = f" {self.name}" if self.name else ""
        elsewhere = self.namespace != self.name  # a namespace is not in a namespace
        place = f" in namespace {self.namespace}" if self.namespace and elsewhere else ""
        return f"{self.verb} {kind}{name}{place}"


Permissions = Iterator[Permission]


@dataclass(frozen=True)
class Scope:
    """What a run works on."""

    purpose: str
    manage: str = HELM
    namespace: str = "gpu-operator"
    config_map: str = "device-plugin-config"
    cluster_policy: str = "cluster-policy"
    create_namespace: bool = True
    remove_crds: bool = False
    evict: bool = False
    probe_namespace: str = "gpufleet-sharing-probe"
    probe_prepared: bool = False  # the namespace exists, and is kept


def required_permissions(scope: Scope, *, namespace_exists: bool) -> list[Permission]:
    """All permissions that a run needs, sorted."""
    if scope.purpose == HISTORY:
        revisions = Permission("list", *_REVISIONS, namespace=scope.namespace)
        return [revisions, Permission("list", "gpuclusters", _NVIDIA)]
    if scope.purpose == DOCTOR:
        return [Permission("list", "nodes")]
    if scope.purpose == ACCESS:
        return sorted(_of_access(scope))
    if scope.purpose == PLAN:
        everything = _required(replace(scope, purpose=SITE), namespace_exists=namespace_exists)
        return sorted(each for each in everything if each.verb in _READING)
    return sorted(_required(scope, namespace_exists=namespace_exists))


def doctor_permissions(scope: Scope) -> list[Permission]:
    """All permissions that the doctor uses, sorted."""
    place = scope.namespace
    return sorted(
        [
            *required_permissions(scope, namespace_exists=True),
            Permission("list", "pods"),
            Permission("list", "resourcequotas"),
            Permission("list", "configmaps"),
            Permission("list", "clusterpolicies", _NVIDIA),
            Permission("list", "gpuclusters", _NVIDIA),
            Permission("list", "resourceslices", _DRA),
            Permission("get", "configmaps", namespace=place, name=scope.config_map),
            Permission("list", "daemonsets", "apps", namespace=place),
        ]
    )


def _required(scope: Scope, *, namespace_exists: bool) -> Permissions:
    helm = scope.manage == HELM
    place, policy, config_map = scope.namespace, scope.cluster_policy, scope.config_map

    def of(purposes: Collection[str], verbs: str, *resource: str, **where: str) -> Permissions:
        return _verbs(verbs, *resource, **where) if scope.purpose in purposes else iter(())

    yield from of(PURPOSES, "list", "nodes")
    yield from of(PURPOSES, "list", "gpuclusters", _NVIDIA)
    yield from of((SITE,), "watch", "nodes")
    yield from of(_WRITES, "patch", "nodes")
    yield from of(_WRITES, "list", "clusterpolicies", _NVIDIA)
    yield from of((SITE,), "get patch", "clusterpolicies", _NVIDIA, name=policy)
    verbs = "get" if helm else "get patch"
    yield from of((UNINSTALL,), verbs, "clusterpolicies", _NVIDIA, name=policy)
    yield from of(_WRITES, "get", "namespaces", namespace=place, name=place)
    yield from of(_WRITES, "get patch", "configmaps", namespace=place, name=config_map)
    yield from of((SITE,), "create", "configmaps", namespace=place)
    yield from of((UNINSTALL,), "delete", "configmaps", namespace=place, name=config_map)
    yield from of((SITE,), "list watch patch delete", "pods", namespace=place)
    yield from of(_WRITES, "list", "daemonsets", "apps", namespace=place)
    yield from of((*_WRITES, PROBE), "list", "pods")
    yield from of((SITE,), "list", "resourcequotas")
    yield from of((SITE,), "list", "resourceslices", _DRA)
    if scope.evict:
        yield from of(_WRITES, "watch", "pods")
        yield from of(_WRITES, "create", "pods", subresource="eviction")
    yield from of(_WRITES, "get patch", *_LEASES, namespace=place, name=_LEASE)
    yield from of(_WRITES, "create", *_LEASES, namespace=place)
    yield from of((UNINSTALL,), "delete", *_LEASES, namespace=place, name=_LEASE)
    yield from of(_WRITES, "list delete", *_REVISIONS, namespace=place)
    yield from of((SITE,), "create patch", *_REVISIONS, namespace=place)
    yield from _of_probe(scope)
    if not helm:
        return
    yield from of((SITE,), "list", "deployments", "apps")
    yield from of(_WRITES, "get list create update delete", "secrets", namespace=place)
    yield from of(_WRITES, "patch", "namespaces", namespace=place, name=place)
    if scope.create_namespace and not namespace_exists:
        yield from of((SITE,), "create", "namespaces")
    if scope.remove_crds:
        yield from of((UNINSTALL,), "get delete", *_CRDS)


def _of_probe(scope: Scope) -> Permissions:
    """Permissions of the probe, besides reading nodes and pods, and of its removal."""
    namespace = scope.probe_namespace

    def of(purpose: str, verbs: str, *resource: str, **where: str) -> Permissions:
        return _verbs(verbs, *resource, **where) if scope.purpose == purpose else iter(())

    yield from of(PROBE, "create get list watch delete", "pods", namespace=namespace)
    yield from of(PROBE, "create get list watch patch delete", *_JOBS, namespace=namespace)
    yield from of(PROBE, "create get", "resourcequotas", namespace=namespace)
    yield from of(PROBE, "list", "events", namespace=namespace)
    yield from of(PROBE, "get", *_PRIORITIES, name=namespace)
    if scope.probe_prepared:
        return
    yield from of(PROBE, "create", "namespaces")
    yield from of(PROBE, "get list watch patch delete", "namespaces", name=namespace)
    yield from of(UNINSTALL, "get delete", "namespaces", name=namespace)
    yield from of(PROBE, "create", *_PRIORITIES)
    yield from of(PROBE, "patch", *_PRIORITIES, name=namespace)


def _of_access(scope: Scope) -> Permissions:
    """The API server also wants the creator of a role to have its permissions."""
    every, place, probe = "get create patch delete", scope.namespace, scope.probe_namespace
    yield from _verbs(every, "namespaces")
    yield from _verbs(every, *_PRIORITIES)
    for kind in ("clusterroles", "clusterrolebindings"):
        yield from _verbs(every, kind, RBAC)
    for kind in ("roles", "rolebindings"):
        yield from _verbs(every, kind, RBAC, namespace=place)
        yield from _verbs(every, kind, RBAC, namespace=probe)
    yield from _verbs(every, "serviceaccounts", namespace=place)
    yield Permission("create", "serviceaccounts", namespace=place, subresource="token")
    yield from _verbs("create list delete", "secrets", namespace=place)
    yield Permission("list", "gpuclusters", _NVIDIA)


def _verbs(verbs: str, resource: str, group: str = "", **where: str) -> Permissions:
    return (Permission(verb, resource, group, **where) for verb in verbs.split())
