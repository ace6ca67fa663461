# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal: findings GS012 to GS018: the ConfigMap of profiles and its keys. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

from ..._profiles.reader import ProfileReader
from ..._profiles.rules import Problem, Rule
from ..._profiles.validation import read_text
from ..causes import SITE
from ..engine import Check, Match, Severity, per_node
from ..snapshot import CONFIG_MAP, POLICY, NodeTrace, Snapshot

_NOT_ABOUT_FILES = (Rule.NAME, Rule.FORM)


def _values(snapshot: Snapshot, **more: str) -> Mapping[str, str]:
    location = snapshot.location
    return {"config_map": location.config_map, "namespace": location.namespace, **more}


def _missing(snapshot: Snapshot) -> Iterator[Match]:
    if snapshot.config_map is None and not snapshot.other_namespaces:
        yield Match(snapshot.node_names, _values(snapshot))


def _in_other_namespace(snapshot: Snapshot) -> Iterator[Match]:
    for other in snapshot.other_namespaces if snapshot.config_map is None else ():
        yield Match(snapshot.node_names, _values(snapshot, other=other))


def _no_default_key(snapshot: Snapshot) -> Iterator[Match]:
    key, data = snapshot.plugin_config.default, snapshot.active_data
    if data is not None and key and key not in data:
        yield Match(snapshot.node_names, _values(snapshot, key=key))


def _no_key(trace: NodeTrace, snapshot: Snapshot) -> Iterator[Mapping[str, str]]:
    data = snapshot.active_data
    if data is not None and trace.label and trace.label not in data:
        yield _values(snapshot, key=trace.label)


def _nodes_by_key(
    snapshot: Snapshot, key_of: Callable[[NodeTrace], str]
) -> list[tuple[str, str, tuple[str, ...]]]:
    """The keys of the ConfigMap that nodes use: key, content and nodes."""
    data = snapshot.active_data or {}
    nodes: dict[str, list[str]] = defaultdict(list)
    for trace in snapshot.existing():
        nodes[key_of(trace)].append(trace.node)
    return [(key, data[key], tuple(nodes[key])) for key in sorted(nodes) if key in data]


def _problems(snapshot: Snapshot, key: str, text: str) -> list[Problem]:
    reader = ProfileReader(f"key {key}", lenient=False)
    read_text(text, reader, snapshot.plugin)
    return [problem for problem in reader.problems if problem.rule not in _NOT_ABOUT_FILES]


def _unreadable(*, accepted: bool) -> Callable[[Snapshot], Iterator[Match]]:
    """Keys in use that the plugin rejects, or accepts but partly ignores."""

    def find(snapshot: Snapshot) -> Iterator[Match]:
        for key, text, nodes in _nodes_by_key(snapshot, lambda trace: trace.key):
            problems = _problems(snapshot, key, text)
            fatal = [problem for problem in problems if not problem.rule.accepted_by_plugin]
            if problems and accepted == (not fatal):
                harmless = all(problem.rule.is_notice for problem in problems)
                values = _values(snapshot, key=key, problem=(fatal or problems)[0].text)
                yield Match(nodes, values, Severity.INFO if harmless else None)

    return find


def _edited(snapshot: Snapshot) -> Iterator[Match]:
    """Only keys that nodes should use."""
    files = snapshot.desired.files
    for key, _text, nodes in _nodes_by_key(snapshot, lambda trace: trace.target.key):
        if snapshot.config_map and not snapshot.config_map.holds(key, files[key]):
            yield Match(nodes, _values(snapshot, key=key))


CHECKS = (
    Check(
        code="GS012",
        title="The ConfigMap of profiles is missing",
        cause="ConfigMap {config_map} is missing",
        seen="ConfigMap {config_map} does not exist in namespace {namespace}.",
        why="Running plugins keep their configuration. A plugin that restarts waits until the"
        " ConfigMap can be mounted, and its node has no GPUs until then.",
        fix="Run " + SITE + " to write it.",
        find=_missing,
        follows=("GS001", "GS002", "GS004", "GS055"),
        reads=(CONFIG_MAP,),
    ),
    Check(
        code="GS013",
        title="The ConfigMap is in another namespace",
        cause="ConfigMap {config_map} is in {other}",
        seen="ConfigMap {config_map} does not exist in namespace {namespace}, but in {other}.",
        why="The device plugin mounts only the ConfigMap of its own namespace.",
        fix="Run " + SITE + " to write it to {namespace}. Delete the other one if nothing else uses"
        " it: `kubectl delete configmap {config_map:q} -n {other:q}`",
        find=_in_other_namespace,
        follows=("GS001", "GS004", "GS055"),
        reads=(CONFIG_MAP,),
    ),
    Check(
        code="GS014",
        title="The default key is missing",
        cause="the default key {key} is missing",
        seen="ConfigMap {config_map} in {namespace} has no key {key}, but"
        " devicePlugin.config.default names it.",
        why="A plugin that starts always loads the default first, regardless of its node's label."
        " Without the key it does not start: each node whose plugin restarts loses its GPUs.",
        fix="Run " + SITE + " to write it.",
        find=_no_default_key,
        follows=("GS009",),
        reads=(CONFIG_MAP, POLICY),
    ),
    Check(
        code="GS015",
        title="The label names a missing key",
        cause="key {key} is missing",
        seen="{nodes}: the label is {key}, but ConfigMap {config_map} in {namespace} has no such"
        " key.",
        why="config-manager crash-loops. The node keeps its configuration until the plugin"
        " restarts; then it silently serves the default profile.",
        fix="Run " + SITE + " to write the keys of all profiles and to set the labels.",
        find=per_node(_no_key),
        follows=("GS001", "GS004", "GS024"),
        reads=(CONFIG_MAP, POLICY),
    ),
    Check(
        code="GS016",
        title="The plugin rejects the file of a profile",
        cause="the plugin rejects key {key}",
        seen="Key {key} of ConfigMap {config_map}: {problem}",
        why="A plugin that reads this file stops serving and exits. Its node loses its GPUs, now or"
        " at the next restart of the plugin.",
        fix="Run " + SITE + " to write a file that the plugin accepts. The playbook validate"
        " shows in advance whether a profile is correct.",
        find=_unreadable(accepted=False),
        follows=("GS001", "GS024"),
        reads=(CONFIG_MAP, POLICY),
    ),
    Check(
        code="GS017",
        severity=Severity.WARNING,
        title="The plugin ignores part of the file",
        cause="the plugin ignores part of key {key}",
        seen="Key {key} of ConfigMap {config_map}: {problem}",
        why="The plugin accepts the file but does not do what it appears to say: unknown or"
        " misplaced settings, rename, devices and replicas of single GPUs have no effect.",
        fix="Run " + SITE + " to write the file of the profile. The playbook validate shows what is"
        " wrong with a profile.",
        find=_unreadable(accepted=True),
        follows=("GS001", "GS024"),
        reads=(CONFIG_MAP, POLICY),
    ),
    Check(
        code="GS018",
        title="A key differs from its profile",
        cause="key {key} was changed",
        seen="Key {key} of ConfigMap {config_map} differs from profile {key} of the inventory.",
        why="Plugins do not read a changed file until their next restart, for any reason. The slots"
        " of {count:node} then change unexpectedly.",
        fix="Run " + SITE + " to restore it; or change gpu_sharing_profiles, and run it.",
        find=_edited,
        follows=("GS001", "GS016", "GS017"),
        reads=(CONFIG_MAP, POLICY),
    ),
)
