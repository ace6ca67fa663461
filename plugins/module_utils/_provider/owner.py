# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: who owns the GPU Operator of a cluster, from the metadata of its objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .._common.documents import dig, list_at, mapping_at, name_of, text_at
from .._common.text import either
from .cluster_policy import oldest_first

HELM, NOBODY = "Helm", ""
OPERATOR_NAME = "gpu-operator"  # of the Deployment, also of OLM's, and default of the rest
_RELEASE, _RELEASE_NAMESPACE = "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"

# What tools write on the objects that they manage: a label or annotation, or the start of one.
_MARKS = (
    ("olm.owner", "OLM"),
    ("olm.managed", "OLM"),
    ("operators.coreos.com/", "OLM"),
    ("argocd.argoproj.io/", "Argo CD"),
    ("helm.toolkit.fluxcd.io/", "Flux"),
    ("kustomize.toolkit.fluxcd.io/", "Flux"),
)
# Start of a field manager -> tool. Helm's libraries name the manager after their program.
_MANAGERS = (
    ("helm-controller", "Flux"),
    ("kustomize-controller", "Flux"),
    ("argocd", "Argo CD"),
    ("terraform", "Terraform"),
    ("pulumi", "Pulumi"),
    ("helm", HELM),
)
_NAMES = ("olm.owner", "argocd.argoproj.io/tracking-id", "argocd.argoproj.io/instance")


@dataclass(frozen=True)
class Owner:
    """What manages an object: a tool (HELM is one, NOBODY none), and what it calls the whole, for
    Helm the release and its namespace. seen says which object shows it, and by what.
    """

    tool: str
    name: str = ""
    namespace: str = ""
    seen: str = ""

    def __str__(self) -> str:
        if self.tool == HELM:
            return f"Helm release {self.name} in namespace {self.namespace}"
        return f"{self.tool} ({f'{self.name}, ' if self.name else ''}{self.seen})"


@dataclass(frozen=True)
class Place:
    """The name of a release, and its namespace; empty where they are not known."""

    release: str = ""
    namespace: str = ""

    def __str__(self) -> str:
        given = {"release": self.release, "namespace": self.namespace}
        return " and ".join(f"O({name}) is {value}" for name, value in given.items() if value)

    def fits(self, owner: Owner) -> bool:
        """Whether the owner has what is given of name and namespace."""
        return self.release in ("", owner.name) and self.namespace in ("", owner.namespace)


@dataclass(frozen=True)
class Operator:
    """The operator that a cluster has: the owners of its ClusterPolicies, oldest first, and of its
    Deployments; the ClusterPolicy that is in force, and the namespace of the Deployment.
    """

    owners: Sequence[Owner] = ()
    policy: str = ""
    namespace: str = ""

    @property
    def releases(self) -> list[Owner]:
        return [owner for owner in self.owners if owner.tool == HELM]


def read_operator(policies: Iterable[object], deployments: Iterable[object]) -> Operator:
    """From the ClusterPolicies and the operator's Deployments; their metadata is enough."""
    ordered, there = oldest_first(policies), list(deployments)
    owners = [
        *(read_owner("ClusterPolicy", policy) for policy in ordered),
        *(read_owner("Deployment", deployment) for deployment in there),
    ]
    places = [text_at(deployment, "metadata", "namespace") for deployment in there]
    active = name_of(ordered[0]) if ordered else ""
    return Operator(tuple(dict.fromkeys(owners)), active, places[0] if places else "")


def read_owner(kind: str, document: object) -> Owner:
    """The owner of one object."""
    what = f"{kind} {name_of(document)}"
    annotations = mapping_at(document, "metadata", "annotations")
    marks = annotations | mapping_at(document, "metadata", "labels")
    for start, tool in _MARKS:
        if found := next((key for key in sorted(marks) if key.startswith(start)), ""):
            return Owner(tool, _name_in(marks), seen=f"{what} has {found}")
    for reference in list_at(document, "metadata", "ownerReferences"):
        owner_kind = text_at(reference, "kind")
        tool = "OLM" if owner_kind == "ClusterServiceVersion" else owner_kind
        return Owner(tool, text_at(reference, "name"), seen=f"{what} has an ownerReference")
    manager = _newest_manager(document)
    tool = next((tool for start, tool in _MANAGERS if manager.startswith(start)), NOBODY)
    if tool not in (HELM, NOBODY):
        name = annotations.get(_RELEASE) or marks.get("app.kubernetes.io/instance", "")
        return Owner(tool, name, seen=f"{what} has the field manager {manager}")
    if release := annotations.get(_RELEASE):
        return Owner(HELM, release, annotations.get(_RELEASE_NAMESPACE, ""))
    return Owner(NOBODY, seen=what)


def _name_in(marks: dict[str, str]) -> str:
    """What a tool calls the whole that an object is part of."""
    for group in ("helm.toolkit.fluxcd.io", "kustomize.toolkit.fluxcd.io"):
        if name := marks.get(f"{group}/name"):
            return f"{marks.get(f'{group}/namespace', '')}/{name}"
    return next((marks[key].partition(":")[0] for key in _NAMES if marks.get(key)), "")


def _newest_manager(document: object) -> str:
    """The field manager of a tool that has changed the object last. The API server sets times."""
    known = tuple(start for start, _tool in _MANAGERS)
    entries = [
        (text_at(entry, "time"), text_at(entry, "manager"))
        for entry in list_at(document, "metadata", "managedFields")
        if text_at(entry, "manager").startswith(known) and not dig(entry, "subresource")
    ]
    return max(entries)[1] if entries else ""


def locate(operator: Operator, asked: Place) -> Place:
    """The release to manage: what was asked for, else the operator's, else the default."""
    default = Place(asked.release or OPERATOR_NAME, asked.namespace or OPERATOR_NAME)
    fitting = [owner for owner in operator.releases if asked.fits(owner)]
    if not fitting or any(map(default.fits, fitting)):
        return default
    return Place(fitting[0].name, fitting[0].namespace)


def reason_foreign(operator: Operator, asked: Place, policy: str) -> str:
    """Why Helm must not manage the operator, and what to do; empty where it may. policy is the
    ClusterPolicy that was asked for.
    """
    for owner in operator.owners:
        if owner.tool not in (HELM, NOBODY):
            return (
                f"The GPU Operator is managed by {owner}, so a Helm release of ours would work"
                f" against it. {_existing(operator, asked, policy)} If {owner.tool} reverts the"
                " device plugin config, set the same two values there."
            )
    releases = operator.releases
    if operator.owners and not releases:
        return (
            f"{operator.owners[0].seen} belongs to no Helm release, so Helm cannot take it over."
            f" {_existing(operator, asked, policy)}"
        )
    if releases and not any(map(asked.fits, releases)):
        found = releases[0]
        return (
            f"The GPU Operator belongs to {either([str(owner) for owner in releases])}, but"
            f" {asked}. Set O(release): {found.name} and O(namespace): {found.namespace} to manage"
            " it, or O(manage): existing."
        )
    return ""


def _existing(operator: Operator, asked: Place, policy: str) -> str:
    """The settings for an operator that somebody else manages."""
    more = []
    if operator.policy not in ("", policy):
        more.append(f"O(cluster_policy): {operator.policy}")
    if operator.namespace not in ("", asked.namespace or OPERATOR_NAME):
        more.append(f"O(namespace): {operator.namespace}")
    return f"Set {', '.join(['O(manage): existing', *more])}."
