# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: service accounts with the permissions that runs need, as manifests. Pure.

The permissions are those of _kube/permissions.py, and no others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace

from .._common.names import MANAGED_BY, MANAGED_BY_LABEL
from .._kube.permissions import (
    HISTORY,
    PLAN,
    PROBE,
    RBAC,
    SITE,
    UNINSTALL,
    VERIFY,
    Permission,
    Scope,
    doctor_permissions,
    required_permissions,
)
from .._probe.manifests import PRIORITY

Json = dict[str, object]

READER, OPERATOR = ACCOUNTS = ("reader", "operator")
_PURPOSES = {READER: (PLAN, VERIFY, HISTORY), OPERATOR: (SITE, UNINSTALL, PROBE, VERIFY, HISTORY)}


def service_account(account: str) -> str:
    """The name of the ServiceAccount, of its roles and of their bindings."""
    return "gpufleet-sharing" if account == OPERATOR else f"gpufleet-sharing-{account}"


def account_permissions(account: str, scope: Scope) -> set[Permission]:
    """What an account may do: doctor, drift, report, plan, history and verify without probe, or
    also site, verify with probe, rollback and uninstall.
    """
    scope = replace(scope, evict=True, probe_prepared=True, remove_crds=False)
    found = set(doctor_permissions(replace(scope, purpose=VERIFY)))
    for purpose in _PURPOSES[account]:
        found.update(required_permissions(replace(scope, purpose=purpose), namespace_exists=True))
    return found


def account_manifests(accounts: Collection[str], scope: Scope) -> list[Json]:
    """The objects of accounts, in an order in which they can be created."""
    probe = _probe_objects(scope.probe_namespace) if OPERATOR in accounts else []
    return [*probe, *(each for account in accounts for each in _account_objects(account, scope))]


def _account_objects(account: str, scope: Scope) -> list[Json]:
    name, places = service_account(account), defaultdict(list)
    for permission in sorted(account_permissions(account, scope)):
        places[permission.namespace].append(permission)
    subject = {"kind": "ServiceAccount", "name": name, "namespace": scope.namespace}
    found = [_object("v1", "ServiceAccount", name, scope.namespace)]
    for place, permissions in places.items():
        kind = "Role" if place else "ClusterRole"
        rules = _rules(permissions)
        reference = {"apiGroup": RBAC, "kind": kind, "name": name}
        found += [
            _object(f"{RBAC}/v1", kind, name, place, rules=rules),
            _object(
                f"{RBAC}/v1", f"{kind}Binding", name, place, roleRef=reference, subjects=[subject]
            ),
        ]
    return found


def _rules(permissions: Iterable[Permission]) -> list[Json]:
    """One rule for each resource, or object of it."""
    verbs: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for each in permissions:
        resource = f"{each.resource}/{each.subresource}" if each.subresource else each.resource
        verbs[each.group, resource, each.name].append(each.verb)
    rules: list[Json] = []
    for (group, resource, name), may in verbs.items():
        only: Json = {"resourceNames": [name]} if name else {}
        rules.append({"apiGroups": [group], "resources": [resource], "verbs": may, **only})
    return rules


def _probe_objects(namespace: str) -> list[Json]:
    """The namespace and the PriorityClass of the probe, which the account cannot create."""
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    return [
        _object("v1", "Namespace", namespace, labels=restricted),
        _object(
            "scheduling.k8s.io/v1",
            "PriorityClass",
            namespace,
            value=PRIORITY,
            preemptionPolicy="Never",
        ),
    ]


def _object(
    version: str,
    kind: str,
    name: str,
    namespace: str = "",
    *,
    labels: dict[str, str] | None = None,
    **content: object,
) -> Json:
    marks = {MANAGED_BY_LABEL: MANAGED_BY, **(labels or {})}
    place = {"namespace": namespace} if namespace else {}
    metadata = {"name": name, **place, "labels": marks}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}
