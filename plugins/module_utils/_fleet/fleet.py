# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to the collection: the fleet as the inventory describes it, and the node labels that
follow from it.

Clusters are inventory hosts of the group gpu_clusters; GPU nodes are members of the group gpu_nodes
and never connected to.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches

from ansible_collections.gpufleet.sharing.plugins.module_utils._common.errors import (
    FleetError,
    joined,
    some,
)
from ansible_collections.gpufleet.sharing.plugins.module_utils._common.values import given
from ansible_collections.gpufleet.sharing.plugins.module_utils._profiles.rules import (
    to_whole_number,
)

CLUSTERS_GROUP = "gpu_clusters"
NODES_GROUP = "gpu_nodes"
IMPLICIT_CLUSTER = "localhost"
PROFILE_LABEL = "nvidia.com/device-plugin.config"
PROFILE_VARIABLE = "gpu_sharing_profile"
CLUSTER_VARIABLE = "gpu_sharing_cluster"
NAME_VARIABLE = "gpu_sharing_node_name"
GPUS_VARIABLE = "gpu_sharing_gpus"
NODE_VARIABLES = (PROFILE_VARIABLE, CLUSTER_VARIABLE, NAME_VARIABLE, GPUS_VARIABLE)
VARIABLE_PREFIX = "gpu_sharing_"
#: What is read of clusters, without the prefix. On nodes alone it would have no effect.
CLUSTER_VARIABLES = frozenset(
    VARIABLE_PREFIX + name
    for name in (
        "api_key",
        "ca_cert",
        "client_cert",
        "client_key",
        "context",
        "default_profile",
        "doctor_accept",
        "doctor_fail_on",
        "drain",
        "drain_timeout",
        "host",
        "impersonate_groups",
        "impersonate_user",
        "kubeconfig",
        "max_failures",
        "on_failure",
        "profiles",
        "prometheus_ca_cert",
        "prometheus_token",
        "prometheus_url",
        "prometheus_validate_certs",
        "proxy",
        "report",
        "report_usage",
        "rollout_batches",
        "rollout_mode",
        "rollout_pause",
        "unavailable_nodes",
        "validate_certs",
    )
)
_ALIKE = 0.85  # two names are taken for a name and its misspelling
#: Suboptions of a node in every module that takes nodes: a FleetNode without its cluster.
NODE_OPTIONS: Mapping[str, Mapping[str, object]] = {
    "name": {"type": "str", "required": True},
    "profile": {"type": "str"},
    "group": {"type": "str", "default": ""},
    "gpus": {"type": "int"},
    "host": {"type": "str"},
    "selected": {"type": "bool", "default": True},
}


@dataclass(frozen=True)
class GroupProfile:
    """The profile that one inventory group gives its members."""

    group: str
    profile: object
    ancestors: frozenset[str] = frozenset()
    priority: int = 1


@dataclass(frozen=True)
class FleetNode:
    """One GPU node of the inventory."""

    name: str  # its name in Kubernetes
    host: str  # its name in the inventory
    cluster: str
    group: str
    profile: str | None  # None: no label, the default profile
    gpus: int | None  # physical GPUs, where the inventory states them
    selected: bool  # inside the limit


@dataclass(frozen=True)
class Inventory:
    """What is read from Ansible's inventory, once.

    groups maps group names to host names; variables maps GPU node hosts to NODE_VARIABLES;
    group_profiles lists the groups
    that set a profile themselves; own_profile holds the hosts that set one in their own variables,
    above any group; named maps hosts, nodes and clusters, to the names of all their variables that
    begin with ours.
    """

    groups: Mapping[str, Sequence[str]]
    variables: Mapping[str, Mapping[str, object]]
    group_profiles: Sequence[GroupProfile] = ()
    own_profile: Collection[str] = ()
    named: Mapping[str, Collection[str]] = field(default_factory=dict)

    @property
    def clusters(self) -> list[str]:
        return list(self.groups.get(CLUSTERS_GROUP, [IMPLICIT_CLUSTER]))

    @property
    def nodes(self) -> list[str]:
        return list(self.groups.get(NODES_GROUP, []))


@dataclass(frozen=True)
class Selection:
    """The hosts that --limit left, in Ansible's own resolution.

    hosts is None without a limit. subtracted holds the hosts that terms with ! or & of the limit
    match.
    """

    hosts: Collection[str] | None = None
    limit: str = ""
    subtracted: Collection[str] = ()


@dataclass(frozen=True)
class Fleet:
    clusters: tuple[str, ...]
    nodes: tuple[FleetNode, ...]

    def of(self, cluster: str) -> list[FleetNode]:
        return [node for node in self.nodes if node.cluster == cluster]

    def as_dict(self) -> dict[str, object]:
        """JSON types, for Ansible variables: {clusters: [...], nodes: [{name, host, ...}]}."""
        return {"clusters": list(self.clusters), "nodes": [asdict(node) for node in self.nodes]}


def read_fleet(inventory: Inventory, selection: Selection) -> Fleet:
    """The fleet with its selected nodes. Raises FleetError with everything that cannot be what was
    meant.
    """
    problems = [*_cluster_problems(inventory), *_profile_conflicts(inventory)]
    if problems:
        raise joined(FleetError, problems)
    group_of = _group_names(inventory)
    problems = []
    nodes = []
    for host in inventory.nodes:
        variables = inventory.variables.get(host, {})
        problems.extend(_variable_problems(host, variables))
        gpus = _whole_number(variables.get(GPUS_VARIABLE))
        nodes.append(
            FleetNode(
                name=str(variables.get(NAME_VARIABLE) or host),
                host=host,
                cluster=str(variables.get(CLUSTER_VARIABLE) or inventory.clusters[0]),
                group=group_of.get(host, NODES_GROUP),
                profile=_text(variables.get(PROFILE_VARIABLE)),
                gpus=gpus,
                selected=False,
            )
        )
    problems.extend(_duplicates(nodes))
    problems.extend(_misplaced(inventory, nodes))
    if problems:
        raise joined(FleetError, problems)
    chosen = _selected_nodes(inventory, nodes, selection)
    marked = (FleetNode(**{**asdict(node), "selected": node.host in chosen}) for node in nodes)
    return Fleet(tuple(inventory.clusters), tuple(marked))


def _cluster_problems(inventory: Inventory) -> Iterable[str]:
    named = defaultdict(list)
    unnamed = []
    for host in inventory.nodes:
        cluster = _text(inventory.variables.get(host, {}).get(CLUSTER_VARIABLE))
        if cluster is None:
            unnamed.append(host)
        else:
            named[cluster].append(host)
    if CLUSTERS_GROUP not in inventory.groups:
        for cluster, hosts in named.items():
            yield (
                f"{some(hosts)}: gpu_sharing_cluster is '{cluster}', but the inventory has no"
                " group gpu_clusters."
                f" Add the group with the host {cluster}, or remove gpu_sharing_cluster to use"
                " the ambient credentials."
            )
        return
    if not inventory.clusters:
        yield (
            "The group gpu_clusters is empty: add a host for each cluster, or remove the group"
            " to use the ambient credentials."
        )
        return
    for cluster, hosts in named.items():
        if cluster not in inventory.clusters:
            yield (
                f"{some(hosts)}: gpu_sharing_cluster is '{cluster}', which is not in the group"
                " gpu_clusters"
                f" ({some(inventory.clusters)})."
            )
    if unnamed and len(inventory.clusters) > 1:
        yield (
            f"{some(unnamed)}: no gpu_sharing_cluster, and there are several clusters"
            f" ({some(inventory.clusters)})."
            " Set gpu_sharing_cluster on the node or on one of its groups."
        )


def _profile_conflicts(inventory: Inventory) -> Iterable[str]:
    """Nodes whose profile Ansible would choose by the alphabetical order of unrelated groups."""
    setters: dict[str, list[GroupProfile]] = defaultdict(list)
    for setting in inventory.group_profiles:
        for host in inventory.groups.get(setting.group, ()):
            setters[host].append(setting)
    for host in inventory.nodes:
        settings = setters.get(host, [])
        if host in inventory.own_profile or len(settings) < 2:
            continue
        inherited = frozenset().union(*(setting.ancestors for setting in settings))
        own = [setting for setting in settings if setting.group not in inherited]
        first = max(setting.priority for setting in own)
        rivals = [setting for setting in own if setting.priority == first]
        if len({str(setting.profile) for setting in rivals}) > 1:
            named = " and ".join(f"{rival.group} ({rival.profile})" for rival in rivals)
            yield (
                f"{host}: belongs to groups with different profiles: {named}."
                " Take it out of one of them, or set gpu_sharing_profile on the host itself."
            )
        elif overruled := _overruled(inventory, host, settings, rivals[0]):
            yield overruled


def _overruled(
    inventory: Inventory, host: str, settings: Sequence[GroupProfile], meant: GroupProfile
) -> str:
    """Where Ansible takes the profile of another group than is meant, in words; else empty."""
    taken = inventory.variables.get(host, {}).get(PROFILE_VARIABLE)
    others = [setting.group for setting in settings if setting.profile == taken]
    if taken == meant.profile or not others:
        return ""
    return (
        f"{host}: gets the profile {taken} of group {some(others)} from Ansible, and not"
        f" {meant.profile} of {meant.group}: to Ansible, variables in group_vars stand above those"
        " in the inventory's files, and groups of a lower level above others, whatever their"
        f" ansible_group_priority. Set gpu_sharing_profile of {meant.group} in group_vars too, take"
        f" it out of {some(others)}, or set it on the host itself."
    )


def _variable_problems(host: str, variables: Mapping[str, object]) -> Iterable[str]:
    gpus = variables.get(GPUS_VARIABLE)
    if gpus is not None and not _whole_number(gpus):
        yield (
            f"{host}: gpu_sharing_gpus is {given(gpus)}; allowed: the node's number of physical"
            " GPUs, 1 or more."
        )
    for name in (PROFILE_VARIABLE, CLUSTER_VARIABLE, NAME_VARIABLE):
        value = variables.get(name)
        if value is not None and not isinstance(value, str):
            yield (f"{host}: {name} is {given(value)}; allowed: a text. Put it in quotes.")


def _duplicates(nodes: Iterable[FleetNode]) -> Iterable[str]:
    hosts = defaultdict(list)
    for node in nodes:
        hosts[(node.cluster, node.name)].append(node.host)
    for (cluster, name), same in hosts.items():
        if len(same) > 1:
            yield (
                f"Node {name} of cluster {cluster} is described by several inventory hosts:"
                f" {some(same)}."
            )


def _misplaced(inventory: Inventory, nodes: Iterable[FleetNode]) -> Iterable[str]:
    """Variables of clusters that only nodes have."""
    lost: dict[tuple[str, str], list[str]] = defaultdict(list)
    for node in nodes:
        there = inventory.named.get(node.cluster, ())
        for name in CLUSTER_VARIABLES.intersection(inventory.named.get(node.host, ())):
            if name not in there:
                lost[name, node.cluster].append(node.host)
    for (name, cluster), hosts in sorted(lost.items()):
        yield (
            f"{name} is set on nodes ({some(hosts)}), where it has no effect, and not on their"
            f" cluster. Set it in group_vars/all, or in host_vars/{cluster}."
        )


def misspelt(inventory: Inventory) -> Iterable[str]:
    """Variables that look like ours and are none of ours, in words."""
    known = CLUSTER_VARIABLES.union(NODE_VARIABLES)
    endings = sorted(name.removeprefix(VARIABLE_PREFIX) for name in known)
    found: dict[str, list[str]] = defaultdict(list)
    for host, names in inventory.named.items():
        for name in names:
            if name not in known:
                found[name].append(host)
    for name, hosts in sorted(found.items()):
        for alike in get_close_matches(name.removeprefix(VARIABLE_PREFIX), endings, 1, _ALIKE):
            yield (
                f"{name}, set on {some(hosts)}, is no variable of this collection and has no"
                f" effect. Is {VARIABLE_PREFIX}{alike} meant?"
            )


def _group_names(inventory: Inventory) -> dict[str, str]:
    """The smallest group of each GPU node, for people to read."""
    nodes = set(inventory.nodes)
    named = [name for name in inventory.groups if name not in ("all", "ungrouped", NODES_GROUP)]
    found: dict[str, str] = {}
    for name in sorted(named, key=lambda group: (-len(inventory.groups[group]), group)):
        found.update({host: name for host in inventory.groups[name] if host in nodes})
    return found


def _selected_nodes(
    inventory: Inventory, nodes: Sequence[FleetNode], selection: Selection
) -> set[str]:
    """The hosts of the nodes to act on. Raises FleetError where the limit would do something
    surprising, or nothing.
    """
    everything = {node.host for node in nodes}
    if selection.hosts is None:
        return everything
    hosts = set(selection.hosts)
    clusters = [cluster for cluster in inventory.clusters if cluster in hosts]
    chosen = everything & hosts
    if not clusters:
        raise FleetError(_no_cluster(inventory, nodes, chosen, selection))
    if chosen:
        reached = {node.host for node in nodes if node.host in chosen and node.cluster in clusters}
        if not reached:
            raise FleetError(
                f"--limit {selection.limit}: the selected nodes ({some(sorted(chosen))}) belong"
                " to none of the selected"
                f" clusters ({some(clusters)}), so nothing would be done."
            )
        return reached
    if lost := sorted(everything & set(selection.subtracted)):
        raise FleetError(
            f"--limit {selection.limit} takes away or intersects nodes ({some(lost)}) but names"
            " none to act on; it would"
            " act on all nodes. Use --limit"
            f" '{','.join([*clusters, NODES_GROUP, '!' + lost[0]])}' to leave nodes out, or"
            f" --limit '{','.join([*clusters, lost[0]])}' to name those to act on."
        )
    if others := sorted(hosts - set(inventory.clusters) - {IMPLICIT_CLUSTER}):
        raise FleetError(
            f"--limit {selection.limit}: {some(others)}: in neither group gpu_clusters nor"
            " gpu_nodes, and no node is"
            " selected beside it; it would act on all nodes. Name nodes or groups of gpu_nodes,"
            " or clusters alone."
        )
    return {node.host for node in nodes if node.cluster in clusters}


def _no_cluster(
    inventory: Inventory, nodes: Sequence[FleetNode], chosen: Collection[str], selection: Selection
) -> str:
    limit = selection.limit or "(the limit)"
    if not chosen:
        return (
            f"--limit {limit} selects {some(sorted(selection.hosts or ()))}, in neither group"
            " gpu_clusters nor gpu_nodes:"
            f" nothing would be done. Clusters are: {some(inventory.clusters)}."
        )
    owners = Counter(node.cluster for node in nodes if node.host in chosen)
    return (
        f"--limit {limit} selects GPU nodes ({some(sorted(chosen))}) but no cluster, so nothing"
        " would be done."
        f" Use --limit '{','.join([*sorted(owners), selection.limit or '<nodes>'])}'."
    )


def undefined_profiles(
    assignments: Mapping[str, str | None], known: Collection[str], default_profile: str | None
) -> Iterable[str]:
    """What is wrong where nodes, or the default, name profiles that are not defined."""
    defined = f"which gpu_sharing_profiles does not define; defined are: {some(sorted(known))}."
    if default_profile is not None and default_profile not in known:
        yield f"gpu_sharing_default_profile is '{default_profile}', {defined}"
    named = defaultdict(list)
    for node, profile in assignments.items():
        if profile is not None and profile not in known:
            named[profile].append(node)
    for profile, nodes in named.items():
        yield f"gpu_sharing_profile of {some(nodes)} is '{profile}', {defined}"


def beyond_limit(
    nodes: Iterable[Mapping[str, object]],
    changed_keys: Collection[str],
    default_profile: str,
    *,
    operator_changed: bool,
) -> list[str]:
    """Which changes of content, pointer or chart would reach nodes that the limit leaves out."""
    outside = [node for node in nodes if not node["selected"]]
    reached = [node for node in outside if (node["profile"] or default_profile) in changed_keys]
    return [
        f"This run would change {what}, which nodes outside --limit share: {some(names)}."
        " Run without the limit, or give the limited nodes a profile of their own."
        for what, hit in (
            ("the GPU Operator's release or its pointer", outside if operator_changed else []),
            (f"the content of {some(sorted(changed_keys))}", reached),
        )
        if (names := [str(node["name"]) for node in hit])
    ]


def _text(value: object) -> str | None:
    return str(value) if value not in (None, "") else None


def _whole_number(value: object) -> int | None:
    """A positive whole number, also as the text that surveys and -e give; None for everything
    else.
    """
    number = to_whole_number(value, lenient=True)
    return number if number is not None and number >= 1 else None


@dataclass(frozen=True)
class LabelChange:
    """One node's label, None meaning no label."""

    node: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class LabelPlan:
    changes: tuple[LabelChange, ...]
    unmanaged: tuple[str, ...]  # GPU nodes that the inventory does not mention
    missing: tuple[str, ...]  # nodes of the inventory that the cluster does not have

    def __bool__(self) -> bool:
        return bool(self.changes)

    def diff(self) -> dict[str, dict[str, str | None]]:
        """What --diff shows: only the nodes that change."""
        return {
            "before": {change.node: change.before for change in self.changes},
            "after": {change.node: change.after for change in self.changes},
        }


def plan_labels(
    desired: Mapping[str, str | None],
    observed: Mapping[str, str | None],
    *,
    known: Collection[str],
    exclusive: bool,
    instead: str | None = None,
) -> LabelPlan:
    """Compare assignments with labels.

    desired (nodes to act on) and observed (GPU nodes of the cluster, and any node of desired that
    it has) map node names to profile names, None meaning no label. known holds every node of the
    inventory, inside the limit or not. With exclusive, GPU nodes that are not known lose their
    label, unless a limit leaves nodes out: those that are not known are outside of any limit. A
    node that has a label and should have none gets the label instead, if there is one.
    """
    unmanaged = sorted(observed.keys() - set(known) - desired.keys())
    limited = bool(set(known) - desired.keys())
    wanted = dict(desired) | (dict.fromkeys(unmanaged) if exclusive and not limited else {})
    changes = []
    for node, profile in sorted(wanted.items()):
        before = observed.get(node) or None
        after = profile or (instead if before else None)
        if node in observed and before != after:
            changes.append(LabelChange(node, before, after))
    return LabelPlan(
        tuple(changes), tuple(unmanaged), tuple(sorted(desired.keys() - observed.keys()))
    )
